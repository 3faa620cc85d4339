"""A saved web page to blocks: find the article in it, drop what stands around it.

First everything goes that is furniture by its element or by the words of its class (menu,
cookie bar, popup, comments …), unless it holds the headline or most of the headings: themes
write such words on the frame of the whole page too. Then, from ``<article>``, ``<main>`` or
the body, the search goes inward as long as one child holds nearly all of the running text.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from funnel.article.markdown import link, table_block, wrapped
from funnel.article.parts import Block, escape, name_set, normalise, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_GONE = name_set(
    "head script style noscript template iframe object embed canvas svg math audio video form button input"
    " select textarea label dialog nav aside footer menu figcaption hr img picture source link meta"
)
_ROLES = name_set("navigation banner contentinfo complementary dialog alertdialog search menu alert")
_FURNITURE = name_set(
    "cookie cookies consent gdpr ccpa popup modal lightbox overlay share sharing shares sharedaddy addtoany"
    " social comment comments commentlist respond disqus sidebar related recommended subscribe subscription"
    " newsletter signup optin breadcrumb breadcrumbs pagination pager nav navbar navigation menu toc author"
    " byline advert advertisement ads promo banner skip meta postmeta tags tagcloud masthead footer"
    " widget widgets"
)
_CALLS = frozenset(("cta", "calltoaction"))
_FOLDING = re.compile(r"accordion|faq|toggle|tab|collaps|panel|answer", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_BUILDER_WIDGET = re.compile(r"^(?:elementor|so|fl|et|vc|siteorigin)[-_].*|^widget-(?:wrap|content|body).*")
_PART = re.compile(r"[A-Za-z][a-z]*")
_BLOCKS = name_set(
    "address article blockquote body center dd details div dl dt fieldset figure header html li main ol p pre"
    " section summary table tbody td tfoot th thead tr ul"
) | frozenset(_HEADINGS)
_STRONG, _EMPHASIS = frozenset(("strong", "b")), frozenset(("em", "i"))
_INLINE_DATA = re.compile(r"""(["'(])data:[^"')\s]{200,}""")
_TITLE_SEPARATOR = re.compile(r"\s+[|–—»·-]\s+")


class _Run(NamedTuple):
    r"""A stretch of inline text, twice: as Markdown and as it is seen. ``\n`` stands for <br>."""

    text: str
    plain: str


def read_page(source: str) -> tuple[list[Block], str]:
    """Return the blocks of the article in this page, its headline first, and the page's title."""
    root = _parsed(source)
    if root is None:
        return [], ""
    headline = _headline(root)
    title = headline.text_content() if headline is not None else _page_title(root)
    _drop_furniture(root, headline)
    blocks = _Reader().read(_main_part(root))
    return _led_by(blocks, squeeze(title)), squeeze(title)


def read_fragment(source: str, line: int) -> list[Block]:
    """Return the blocks of a piece of HTML that stands in a Markdown text."""
    root = _parsed(f"<body>{source}</body>")
    if root is None:
        return []
    return [Block(b.kind, b.text, b.plain, line, b.level, b.id, ordered=b.ordered) for b in _Reader().read(root)]


def _parsed(source: str) -> HtmlElement | None:
    from lxml import etree
    from lxml.html import HTMLParser, document_fromstring

    small = _INLINE_DATA.sub(r"\1", source)
    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return document_fromstring(small.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None


def _page_title(root: HtmlElement) -> str:
    for meta in root.iter("meta"):
        if meta.get("property") == "og:title" and meta.get("content"):
            return str(meta.get("content"))
    found = next(root.iter("title"), None)
    return "" if found is None else _TITLE_SEPARATOR.split(squeeze(found.text_content()))[0]


def _headline(root: HtmlElement) -> HtmlElement | None:
    """Return the h1 that the page's title opens with; without one the first that is not furniture."""
    whole = normalise("".join(title.text_content() for title in root.iter("title")))

    def standing(head: HtmlElement) -> tuple[bool, bool, bool]:
        name = normalise(head.text_content())
        around = any(map(_is_furniture, (head, *head.iterancestors("div", "aside", "section", "header"))))
        return not whole.startswith(name), around, name not in whole

    heads = [head for head in root.iter("h1") if squeeze(head.text_content())]
    return min(heads, key=standing, default=None)


def _led_by(blocks: list[Block], title: str) -> list[Block]:
    same = normalise(title)
    for index, block in enumerate(blocks):
        if block.kind == "heading" and normalise(block.plain) == same:
            return [Block("heading", block.text, block.plain, block.line, 1, block.id), *blocks[index + 1 :]]
        if block.kind == "heading" and block.level > 1:
            break
    return [Block("heading", escape(title), title, 1, 1), *blocks] if title else blocks


# --- what stands around the article


def _name_parts(element: HtmlElement) -> Iterator[str]:
    for name in f"{element.get('class') or ''} {element.get('id') or ''}".split():
        if _BUILDER_WIDGET.match(name) and "widget" in name:
            name = name.replace("widget", "")  # noqa: PLW2901 (page builders wrap every paragraph in one)
        yield from (part.lower() for part in _PART.findall(name))
        yield re.sub(r"[^a-z]", "", name.lower())


def _is_furniture(element: HtmlElement) -> bool:
    if element.get("role") in _ROLES or not _FURNITURE.isdisjoint(_name_parts(element)):
        return True
    unseen = element.get("hidden") is not None or element.get("aria-hidden") == "true"
    if unseen or _HIDDEN.search(element.get("style") or ""):
        return not _FOLDING.search(f"{element.get('class')} {element.get('id')}")
    return False


def _drop_furniture(root: HtmlElement, headline: HtmlElement | None) -> None:
    heads = {head: set(head.iterancestors()) for level in ("h2", "h3") for head in root.iter(level)}
    sacred = set() if headline is None else {headline, *headline.iterancestors()}
    holding: dict[HtmlElement, int] = {}
    for ancestors in heads.values():
        for element in ancestors:
            holding[element] = holding.get(element, 0) + 1
    most = max(2, 0.6 * len(heads))
    for element in list(root.iter()):
        keep = element in sacred or holding.get(element, 0) >= most or element.tag in ("html", "body")
        if not keep and (element.tag in _GONE or _is_furniture(element)) and element.getparent() is not None:
            _drop(element)


def _drop(element: HtmlElement) -> None:
    """Take the element out; a disclaimer in it stays, for it belongs to the words around it."""
    parent = element.getparent()
    kept = [part for part in element.iter("p", "small", "div") if _is_disclaimer(part)]
    if kept and parent is not None:
        parent.insert(parent.index(element), kept[-1])
    element.drop_tree()


def _is_disclaimer(element: HtmlElement) -> bool:
    start = "".join(islice(element.itertext(), 6))[:60]
    return bool(re.match(r"\s*(?:medical\s+|health\s+)?disclaimer\b.", start, re.IGNORECASE | re.DOTALL))


def _main_part(root: HtmlElement) -> HtmlElement:
    weight = _weights(root)
    marked = [e for e in root.iter("article", "main") if weight[e] > 0]
    marked += [e for e in root.iter("div", "section") if e.get("itemprop") == "articleBody" and weight[e] > 0]
    best = max(marked, key=lambda e: weight[e], default=None)
    here: HtmlElement = best if best is not None and weight[best] > 0.4 * weight[root] else root
    while (inner := _holds_nearly_all(here, weight)) is not None:
        here = inner
    return here


def _holds_nearly_all(here: HtmlElement, weight: dict[HtmlElement, int]) -> HtmlElement | None:
    """Return the child with 85 % of the text, or with half of it and headings of its own."""
    inner = max((child for child in here if child.tag in _BLOCKS), key=lambda e: weight[e], default=None)
    if inner is None or inner.tag in ("p", "ul", "ol", "li", "dl", "blockquote", *_HEADINGS):
        return None
    if here.tag in ("article", "main") or (inner.tag == "table" and not _is_layout(inner)):
        return None
    share = weight[inner] / max(1, weight[here])
    structured = sum(1 for _ in inner.iter("h2", "h3", "h4")) >= 2
    return inner if share >= 0.85 or (share >= 0.5 and structured) else None


def _is_layout(table: HtmlElement) -> bool:
    """Return whether a table holds a page (headings, lists, tables, one column) and not figures."""
    nested = next(table.iterdescendants("table", "ul", "ol", *_HEADINGS), None)
    return nested is not None or all(len(row) < 2 for row in table.iter("tr"))


def _weights(root: HtmlElement) -> dict[HtmlElement, int]:
    """Return for each element the letters in it that are not inside a link."""
    weight: dict[HtmlElement, int] = {}
    for element in reversed(list(root.iter())):
        own = len(squeeze(element.text or ""))
        own += sum(weight[child] + len(squeeze(child.tail or "")) for child in element)
        weight[element] = 0 if element.tag == "a" else own
    return weight


# --- the article itself


class _Reader:
    """Walks the chosen element and writes blocks; inline text gathers until a block ends it."""

    def __init__(self) -> None:
        self.out: list[Block] = []
        self.run: list[_Run] = []
        self.line = 1

    def read(self, element: HtmlElement) -> list[Block]:
        self.walk(element)
        self.flush()
        return self.out

    def walk(self, element: HtmlElement) -> None:
        self.line = element.sourceline or self.line
        self.say(element.text)
        for child in element:
            if child.tag in _BLOCKS:
                self.flush()
                self.block(child)
                self.flush()
            else:
                self.run.append(_inline(child))
            self.say(child.tail)

    def say(self, text: str | None) -> None:
        if text:
            seen = re.sub(r"\s+", " ", text)
            self.run.append(_Run(escape(seen), seen))

    def flush(self) -> None:
        text, plain = _joined(self.run)
        self.run.clear()
        pieces = zip(re.split(r"\n\s*\n", text), re.split(r"\n\s*\n", plain), strict=False)
        for piece, seen in pieces:
            if squeeze(seen):
                self.out.append(Block("paragraph", squeeze(piece), squeeze(seen), self.line))

    def block(self, element: HtmlElement) -> None:
        self.line = element.sourceline or self.line
        if not _CALLS.isdisjoint(_name_parts(element)):
            self.call(element)
        elif element.tag in _HEADINGS:
            self.heading(element, _HEADINGS[element.tag])
        elif element.tag == "summary":
            self.heading(element, 6)
        elif element.tag in ("ul", "ol"):
            self.items(element, 0)
        elif element.tag == "dl":
            self.definitions(element)
        elif element.tag == "blockquote":
            self.quote(element)
        elif element.tag == "pre":
            code = element.text_content().strip("\n")
            self.out.append(Block("code", code, squeeze(code), self.line))
        elif element.tag == "table" and not _is_layout(element):
            self.table(element)
        else:
            self.walk(element)

    def call(self, element: HtmlElement) -> None:
        text = " ".join(filter(None, map(squeeze, element.itertext())))
        if text:
            self.out.append(Block("cta", escape(text), text, self.line))

    def heading(self, element: HtmlElement, level: int) -> None:
        plain = squeeze(_contents(element).plain)
        if plain:
            text = squeeze(_contents(element).text)
            self.out.append(Block("heading", text, plain, self.line, level, _anchor(element)))

    def items(self, element: HtmlElement, depth: int) -> None:
        for item in element:
            nested = [part for part in item if part.tag in ("ul", "ol")]
            if item.tag in ("ul", "ol"):
                self.items(item, depth + 1)
                continue
            text, plain = _contents(item, without=frozenset(("ul", "ol")))
            if squeeze(plain):
                line = item.sourceline or self.line
                ordered = element.tag == "ol"
                self.out.append(
                    Block("item", squeeze(text), squeeze(plain), line, depth, _anchor(item), ordered=ordered)
                )
            for part in nested:
                self.items(part, depth + 1)

    def definitions(self, element: HtmlElement) -> None:
        term = _Run("", "")
        for part in element.iter("dt", "dd"):
            text, plain = (squeeze(word) for word in _contents(part))
            if part.tag == "dt":
                plain = plain.rstrip(":")
                term = _Run(f"{wrapped('**', text.rstrip(':') + ':')} ", f"{plain}: ")
            elif plain:
                self.out.append(Block("item", term.text + text, term.plain + plain, self.line))

    def quote(self, element: HtmlElement) -> None:
        inner = _Reader().read_inside(element)
        self.out += [
            Block("quote" if b.kind == "paragraph" else b.kind, b.text, b.plain, b.line, b.level) for b in inner
        ]

    def read_inside(self, element: HtmlElement) -> list[Block]:
        self.walk(element)
        self.flush()
        return self.out

    def table(self, element: HtmlElement) -> None:
        rows = [[_cell(cell) for cell in row if cell.tag in ("td", "th")] for row in element.iter("tr")]
        if any(rows):
            self.out.append(table_block([row for row in rows if row], self.line))


def _anchor(element: HtmlElement) -> str:
    """Return the id a writer gave a heading; one that a program numbered is not lasting."""
    name = element.get("id") or ""
    made = re.search(r"\d{2,}|^(?:h|toc|heading|elementor|block|ftoc|ez)[-_]|__", name)
    return name if re.fullmatch(r"[A-Za-z][\w:.\-]*", name) and not made else ""


def _cell(element: HtmlElement) -> tuple[str, str]:
    run = _contents(element)
    return squeeze(run.text), squeeze(run.plain)


def _joined(runs: list[_Run]) -> _Run:
    return _Run("".join(run.text for run in runs), "".join(run.plain for run in runs))


def _contents(element: HtmlElement, without: frozenset[str] = frozenset()) -> _Run:
    runs: list[_Run] = []
    for text, child in _children(element):
        if child is not None and child.tag not in without:
            gap = _Run(" ", " ") if child.tag in _BLOCKS else _Run("", "")
            runs += [gap, _inline(child), gap]
        if text:
            seen = re.sub(r"\s+", " ", text)
            runs.append(_Run(escape(seen), seen))
    return _joined(runs)


def _children(element: HtmlElement) -> Iterator[tuple[str | None, HtmlElement | None]]:
    yield element.text, None
    for child in element:
        yield child.tail, child


def _inline(element: HtmlElement) -> _Run:
    if element.tag == "br":
        return _Run("\n", "\n")
    if element.tag in _GONE or not isinstance(element.tag, str):
        return _Run("", "")
    inner = _contents(element)
    if element.tag in _STRONG and "**" not in inner.text:
        return _Run(wrapped("**", inner.text), inner.plain)
    if element.tag in _EMPHASIS:
        return _Run(wrapped("*", inner.text), inner.plain)
    if element.tag == "a":
        return _Run(link(inner.text, element.get("href") or ""), inner.plain)
    if element.tag in ("code", "kbd", "samp", "tt") and "`" not in inner.plain and inner.plain.strip():
        return _Run(f"`{inner.plain.strip()}`", inner.plain)
    return inner
