"""Markdown of one page to the tree of funnel.guide.nodes. What the format does not know is refused."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide import nodes as n

if TYPE_CHECKING:
    from collections.abc import Callable

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

KINDS = ("try", "ask", "safety", "note", "example", "write", "worksheet", "emergency", "urgent")
ALLOWED = "paragraphs, **bold**, *italic*, lists, tables, links, pictures and ::: boxes"
HEADING_ID = re.compile(r"\s*\{#([a-z0-9-]+)\}\s*$")
LINES = re.compile(r"_{4,}(?:\s+(\d+))?")
SPECIAL = re.compile(
    r"\[(?P<cite>R\d+[a-z]?)(?P<memory> M)?\]|(?P<doubt>\s?\[M\])|\[(?P<word>[A-Z][A-Z_]{4,})\]"
    r"|\{page:(?P<page>[\w-]+)\}|\{dots:(?P<dots>[1-4])\}|\{icon:(?P<icon>hand|pencil|speech|leaf)\}|(?P<blank>_{4,})"
)
WORDS = (
    "CLINIC_NAME",
    "CLINIC_ADDRESS",
    "CLINIC_PHONE",
    "CLINIC_URL",
    "BOOKING_URL",
    "REVIEWER",
    "EDITION",
    "GIFT_NAME",
    "GUIDE_URL",
)


def parse(text: str, where: str, first_line: int = 1) -> tuple[n.Block, ...]:
    """Return the blocks of one page. Raises GuideError with file and line for what is not allowed."""
    tokens = _parser().parse(text)
    return _Reader(tokens, where, first_line).blocks()


def parse_inline(text: str, where: str) -> tuple[n.Inline, ...]:
    """Return one line of words, as in a title. Raises GuideError when it holds more than words."""
    blocks = parse(text, where)
    if len(blocks) != 1 or not isinstance(blocks[0], n.Para):
        raise GuideError(f"{where}: '{text[:60]}' must be one line of plain words")
    return blocks[0].body


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.attrs import attrs_plugin
    from mdit_py_plugins.container import container_plugin

    parser = MarkdownIt("commonmark", {"typographer": True, "html": True, "quotes": "“”‘’"})
    parser.enable(["table", "smartquotes"]).disable(["code", "reference", "lheading"])
    parser.use(container_plugin, name="box", validate=lambda *_: True)
    return parser.use(attrs_plugin, spans=True, after=())


class _Reader:
    """One pass over the tokens of a page."""

    def __init__(self, tokens: list[Token], where: str, first_line: int) -> None:
        self.tokens, self.where, self.first_line = tokens, where, first_line
        self.at = 0

    def blocks(self, end: str = "") -> tuple[n.Block, ...]:
        found: list[n.Block] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.type == end:
                return tuple(found)
            read = READ.get(token.type)
            if read is None:
                raise self.refuse(token, f"{_plain_name(token)} cannot be used here; use {ALLOWED}")
            found.append(read(self, token))
            self.at += 1
        return tuple(found)

    def refuse(self, token: Token, says: str) -> GuideError:
        return GuideError(f"{self.where}, line {self.line(token)}: {says}")

    def line(self, token: Token) -> int:
        return self.first_line + (token.map[0] if token.map else 0)

    def heading(self, token: Token) -> n.Block:
        level = int(token.tag[1])
        if level not in (2, 3):
            raise self.refuse(token, "use ## or ### for a heading; the chapter's title stands in its first lines")
        inline = self.tokens[self.at + 1]
        anchor = HEADING_ID.search(inline.content)
        if anchor:
            inline.content = HEADING_ID.sub("", inline.content)
            _strip_id(inline)
        self.at += 2
        return n.Heading(level, anchor[1] if anchor else "", self.inline(inline), self.line(token))

    def paragraph(self, token: Token) -> n.Block:
        inline = self.tokens[self.at + 1]
        self.at += 2
        lines = LINES.fullmatch(inline.content)
        if lines:
            return n.Lines(int(lines[1] or 1), self.line(token))
        children = inline.children or []
        if len(children) == 1 and children[0].type == "image":
            return self.figure(children[0], self.line(token))
        body = self.inline(inline)
        caption = _caption(body)
        return n.Caption(*caption, self.line(token)) if caption else n.Para(body, self.line(token))

    def figure(self, image: Token, line: int) -> n.Figure:
        caption = str(image.attrs.get("title", ""))
        words = parse_inline(caption, f"{self.where}, line {line}") if caption else ()
        return n.Figure(str(image.attrs["src"]), image.content.replace("\n", " "), words, line)

    def rule(self, token: Token) -> n.Block:
        if not token.markup.startswith("_"):
            raise self.refuse(token, "a line --- starts a page and cannot stand inside a box")
        return n.Lines(1, self.line(token))

    def items(self, token: Token) -> n.Block:
        ordered, end = token.type == "ordered_list_open", token.type.replace("open", "close")
        found: list[tuple[n.Inline, ...]] = []
        self.at += 1
        while self.tokens[self.at].type != end:
            self.at += 1
            body = self.blocks("list_item_close")
            if any(not isinstance(block, n.Para) for block in body):
                raise self.refuse(token, "a list has one level and words only; take the inner list out")
            found.append(_joined(body))
            self.at += 1
        return n.Items(ordered, tuple(found), self.line(token))

    def table(self, token: Token) -> n.Block:
        rows: list[tuple[tuple[n.Inline, ...], ...]] = []
        row: list[tuple[n.Inline, ...]] = []
        while self.tokens[self.at].type != "table_close":
            inner = self.tokens[self.at]
            if inner.type == "tr_open":
                row = []
            elif inner.type == "inline":
                row.append(self.inline(inner))
            elif inner.type == "tr_close":
                rows.append(tuple(row))
            self.at += 1
        return n.Table(rows[0], tuple(rows[1:]), self.line(token))

    def box(self, token: Token) -> n.Block:
        kind, _, rest = token.info.strip().partition(" ")
        if kind not in KINDS:
            raise self.refuse(token, f"there is no box '{kind}'; use one of {', '.join(KINDS)}")
        anchor, title = "", rest.strip()
        if kind == "worksheet":
            anchor, _, title = title.partition(" ")
            if not re.fullmatch(r"w\d+", anchor) or not title.strip():
                raise self.refuse(token, "a worksheet needs id and title, as in '::: worksheet w4 Flare-up plan'")
        self.at += 1
        body = self.blocks("container_box_close")
        heading = n.plain(parse_inline(title, self.where)) if title else ""
        return n.Box(kind, heading, body, anchor, self.line(token))

    def inline(self, token: Token) -> tuple[n.Inline, ...]:
        return _Inline(token.children or [], lambda says: self.refuse(token, says)).read()


class _Inline:
    """The words of one paragraph."""

    def __init__(self, tokens: list[Token], refuse: Callable[[str], GuideError]) -> None:
        self.tokens, self.refuse, self.at = tokens, refuse, 0

    def read(self, end: str = "") -> tuple[n.Inline, ...]:
        found: list[n.Inline] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == end:
                break
            found.extend(self.one(token))
        return _keys_after_stops(found)

    def one(self, token: Token) -> tuple[n.Inline, ...]:
        match token.type:
            case "text":
                return self.text(token)
            case "softbreak":
                return (n.Text(" "),)
            case "hardbreak":
                return (n.Break(),)
            case "strong_open" | "em_open":
                style = "strong" if token.type == "strong_open" else "emph"
                return (n.Styled(style, self.read(token.type.replace("open", "close"))),)
            case "link_open":
                return (n.Link(str(token.attrs["href"]), self.read("link_close")),)
            case "span_open":
                return (self.span(token),)
            case _:
                raise self.refuse(f"{_plain_name(token)} cannot be used here; use {ALLOWED}")

    def span(self, token: Token) -> n.Inline:
        body = self.read("span_close")
        if token.attrs.get("class") != "idx":
            raise self.refuse(f"'{n.plain(body)}' has an unknown mark; only {{.idx}} is known")
        return n.Term(str(token.attrs.get("key") or n.plain(body)), body)

    def text(self, token: Token) -> tuple[n.Inline, ...]:
        found: list[n.Inline] = []
        content, start = token.content, 0
        if self.at == 1 and content.startswith(("[ ] ", "[x] ")):
            found, start = [n.Tick()], 4
        for match in SPECIAL.finditer(content, start):
            before = content[start : match.start()]
            if before:
                found.append(n.Text(before))
            found.append(self.special(match))
            start = match.end()
        rest = content[start:]
        if re.search(r"\{(page|dots|icon)\b|\[R\d", rest):
            says = f"'{rest.strip()[:40]}' is not a mark of the guide"
            raise self.refuse(f"{says}; see {{page:ID}}, {{dots:1-4}}, [R1]")
        return (*found, n.Text(rest)) if rest else tuple(found)

    def special(self, match: re.Match[str]) -> n.Inline:
        if match["cite"]:
            return n.Cite(match["cite"], bool(match["memory"]))
        if match["doubt"]:
            return n.Cite("", memory=True)
        if match["page"]:
            return n.PageOf(match["page"])
        if match["dots"]:
            return n.Dots(int(match["dots"]))
        if match["icon"]:
            return n.Icon(match["icon"])
        if match["blank"]:
            return n.Blank()
        if match["word"] not in WORDS:
            raise self.refuse(f"there is no setting [{match['word']}]; use one of {', '.join(WORDS)}")
        return n.Setting(match["word"])


def _joined(body: tuple[n.Block, ...]) -> tuple[n.Inline, ...]:
    found: list[n.Inline] = []
    for block in body:
        if found:
            found.append(n.Break())
        found.extend(block.body if isinstance(block, n.Para) else ())
    return tuple(found)


def _caption(body: tuple[n.Inline, ...]) -> tuple[str, tuple[n.Inline, ...]] | None:
    """Return name and words when a paragraph is '**Figure 16. …**' and nothing else."""
    words = body[0] if len(body) == 1 else None
    if not isinstance(words, n.Styled) or words.style != "strong" or not isinstance(words.body[0], n.Text):
        return None
    match = re.match(r"Figure (\d+)\. ", words.body[0].text)
    if not match:
        return None
    return f"fig-{int(match[1]):02}", (n.Text(words.body[0].text[match.end() :]), *words.body[1:])


def _keys_after_stops(found: list[n.Inline]) -> tuple[n.Inline, ...]:
    """Move source keys behind the full stop or comma that follows them, and take the space before them."""
    tidy: list[n.Inline] = []
    for node in found:
        last = tidy[-1] if tidy else None
        if isinstance(node, n.Cite) and isinstance(last, n.Text):
            tidy[-1] = n.Text(last.text.rstrip(" "))
        if isinstance(node, n.Text) and isinstance(last, n.Cite) and node.text[0] in ".,;:":
            tidy.insert(_first_key(tidy), n.Text(node.text[0]))
            tidy.append(n.Text(node.text[1:]))
        else:
            tidy.append(node)
    return tuple(node for node in tidy if node != n.Text(""))


def _first_key(tidy: list[n.Inline]) -> int:
    """Where the run of source keys at the end begins."""
    at = len(tidy)
    while at and isinstance(tidy[at - 1], n.Cite):
        at -= 1
    return at


def _strip_id(inline: Token) -> None:
    last = (inline.children or [])[-1]
    last.content = HEADING_ID.sub("", last.content)


def _plain_name(token: Token) -> str:
    names = {
        "html_block": "a raw HTML tag",
        "html_inline": "a raw HTML tag",
        "fence": "a block of code",
        "code_inline": "code",
        "blockquote_open": "a quotation",
        "image": "a picture inside a sentence",
    }
    return names.get(token.type, token.type.replace("_", " "))


READ: dict[str, Callable[[_Reader, Token], n.Block]] = {
    "heading_open": _Reader.heading,
    "paragraph_open": _Reader.paragraph,
    "hr": _Reader.rule,
    "bullet_list_open": _Reader.items,
    "ordered_list_open": _Reader.items,
    "table_open": _Reader.table,
    "container_box_open": _Reader.box,
}
