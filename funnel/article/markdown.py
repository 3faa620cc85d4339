"""Markdown to blocks, by the tokens of markdown-it: nothing is guessed from the letters."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from funnel.article.parts import Block, escape, squeeze
from funnel.errors import ArticleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

#: No paragraph is as long; brackets nested in a longer one would take minutes to read.
LONGEST_PARAGRAPH = 10_000

_HEADING_ID = re.compile(r"[ \t]*\{:?[ \t]*#([A-Za-z][\w:.\-]*)[^{}]*\}[ \t]*$")
_OTHER_ATTRIBUTES = re.compile(r"[ \t]*\{:?[ \t]*[.#\w][^{}]*\}[ \t]*$")
_FRONT_MATTER = re.compile(r"\A(-{3}|\+{3})[ \t]*\n(.*?\n)?\1[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+?)[ \t]*$", re.MULTILINE)
_MARKS = {"strong": "**", "em": "*"}


def read_markdown(source: str, name: str) -> tuple[list[Block], str]:
    """Return the blocks of a Markdown text and the title its front matter gives (or "").

    Raises ArticleError for a paragraph too long to be one.
    """
    front = _FRONT_MATTER.match(source)
    if front is None:
        return _Walk(name).blocks(source, 1), ""
    title = _FRONT_TITLE.search(front.group(2) or "")
    start = 1 + front.group().count("\n")
    return _Walk(name).blocks(source[front.end() :], start), title.group(1).strip("\"'") if title else ""


class _Walk:
    """One walk over the tokens; remembers which list, quotation or table it is in."""

    def __init__(self, name: str) -> None:
        from markdown_it import MarkdownIt

        self.name = name
        self.md: MarkdownIt = MarkdownIt("commonmark").enable("table")
        self.env: dict[str, Any] = {}
        self.out: list[Block] = []
        self.lists: list[bool] = []
        self.quotes = 0
        self.item_open = False
        self.rows: list[list[tuple[str, str]]] | None = None
        self.heading = 0

    def blocks(self, source: str, start: int) -> list[Block]:
        tokens: list[Token] = []
        self.md.block.parse(source, self.md, self.env, tokens)
        line = start
        for token in tokens:
            line = start + token.map[0] if token.map else line
            self.take(token, line)
        return self.out

    def take(self, token: Token, line: int) -> None:
        match token.type:
            case "inline":
                self.words(token, line)
            case "heading_open":
                self.heading = int(token.tag[1])
            case "heading_close":
                self.heading = 0
            case "bullet_list_open" | "ordered_list_open":
                self.lists.append(token.type.startswith("ordered"))
            case "bullet_list_close" | "ordered_list_close":
                self.lists.pop()
            case "list_item_open":
                self.item_open = True
            case "blockquote_open" | "blockquote_close":
                self.quotes += token.nesting
            case "fence" | "code_block":
                code = token.content.rstrip("\n")
                self.out.append(Block("code", code, squeeze(code), line))
            case "html_block":
                self.html(token.content, line)
            case _:
                self.table(token, line)

    def words(self, token: Token, line: int) -> None:
        if len(token.content) > LONGEST_PARAGRAPH:
            raise ArticleError(
                f"{self.name}, line {line}: one paragraph of {len(token.content):,} characters is too long"
                " to read; break it up with blank lines"
            )
        content, anchor = token.content, ""
        if self.heading:
            content, anchor = heading_id(content)
        text, plain = self.inline(content)
        if self.rows is not None:
            self.rows[-1].append((text, plain))
        elif plain:
            self.place(text, plain, line, anchor)

    def place(self, text: str, plain: str, line: int, anchor: str) -> None:
        if self.heading and not self.lists and not self.quotes:
            self.out.append(Block("heading", text, plain, line, self.heading, anchor))
        elif self.lists and (self.item_open or not self.out):
            depth = len(self.lists) - 1
            self.out.append(Block("item", text, plain, line, depth, ordered=self.lists[-1]))
            self.item_open = False
        elif self.lists:
            last = self.out[-1]
            self.out[-1] = replace(last, text=f"{last.text} {text}", plain=f"{last.plain} {plain}")
        else:
            self.out.append(Block("quote" if self.quotes else "paragraph", text, plain, line))

    def html(self, content: str, line: int) -> None:
        from funnel.article.page import read_fragment

        self.out += read_fragment(content, line)

    def table(self, token: Token, line: int) -> None:
        if token.type == "table_open":
            self.rows = []
        elif token.type == "tr_open" and self.rows is not None:
            self.rows.append([])
        elif token.type == "table_close" and self.rows:
            self.out.append(table_block(self.rows, line))
            self.rows = None

    def inline(self, content: str) -> tuple[str, str]:
        tokens: list[Token] = []
        self.md.inline.parse(content, self.md, self.env, tokens)
        return _inline(tokens)


def heading_id(content: str) -> tuple[str, str]:
    """Return a heading without its ``{#name}`` (or other attributes), and that name or ""."""
    match = _HEADING_ID.search(content)
    if match:
        return content[: match.start()], match.group(1)
    return _OTHER_ATTRIBUTES.sub("", content), ""


def table_block(rows: list[list[tuple[str, str]]], line: int) -> Block:
    """Return a table of (Markdown, plain) cells as one block; its first row is the head."""
    width = max(len(row) for row in rows)
    drawn = [_row([text.replace("|", "\\|") for text, _ in row], width) for row in rows]
    drawn.insert(1, _row(["---"] * width, width))
    plain = " ".join(cell for row in rows for _, cell in row if cell)
    return Block("table", "\n".join(drawn), plain, line)


def _row(cells: list[str], width: int) -> str:
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"


def wrapped(mark: str, inner: str) -> str:
    """Return the words between two marks, with blanks at the ends left outside them."""
    core = inner.strip()
    if not core:
        return inner
    lead, _, tail = inner.partition(core)
    return f"{lead}{mark}{core}{mark}{tail}"


def link(text: str, href: str) -> str:
    """Return a Markdown link, or the bare text when there is nowhere to go or nothing to click."""
    target = squeeze(href).replace(" ", "%20").replace("(", "%28").replace(")", "%29")
    if not text.strip() or not target or target.lower().startswith(("javascript:", "data:", "#")):
        return text
    return f"[{text.strip()}]({target})"


def _inline(tokens: Iterable[Token]) -> tuple[str, str]:
    frames: list[tuple[str, list[str]]] = [("", [])]
    plain: list[str] = []
    for token in tokens:
        if token.nesting == 1:
            frames.append((str(token.attrGet("href") or ""), []))
        elif token.nesting == -1 and len(frames) > 1:
            href, inner = frames.pop()
            frames[-1][1].append(_closed(token.type, href, "".join(inner)))
        else:
            text, bare = _leaf(token)
            frames[-1][1].append(text)
            plain.append(bare)
    return squeeze("".join(part for _, inner in frames for part in inner)), squeeze("".join(plain))


def _closed(kind: str, href: str, inner: str) -> str:
    name = kind.removesuffix("_close")
    return link(inner, href) if name == "link" else wrapped(_MARKS.get(name, ""), inner)


def _leaf(token: Token) -> tuple[str, str]:
    match token.type:
        case "text" | "text_special":
            return escape(token.content), token.content
        case "code_inline":
            mark = "``" if "`" in token.content else "`"
            return f"{mark}{token.content}{mark}", token.content
        case "softbreak" | "hardbreak":
            return " ", " "
        case "html_inline" if token.content.lower().startswith("<br"):
            return " ", " "
        case _:
            return "", ""
