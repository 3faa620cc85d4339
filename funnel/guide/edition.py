"""The accessible HTML edition: the same tree as one file that asks the network for nothing."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.matter import qr, reference_words, title_lines
from funnel.guide.palette import load_palette
from funnel.guide.source import continues, known_anchors
from funnel.guide.typeset import BOX_WORDS, DOT_WORDS, bare, dial, figure_number, smart, worksheet_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from funnel.guide.settings import GuideSettings
    from funnel.guide.source import Book, Page, Part

ICONS = {
    "try": "leaf",
    "ask": "speech",
    "safety": "hand",
    "example": "person",
    "write": "pencil",
    "worksheet": "pencil",
    "emergency": "hand",
    "urgent": "speech",
}
#: What a picture need not carry into the page, and what it may not.
PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<title\b.*?</title>|<desc\b.*?</desc>", re.DOTALL)
UNSAFE = re.compile(
    r"<script|<foreignObject|\son\w+\s*=|href\s*=\s*[\"'](?!#|data:image/)|url\(\s*[\"']?(?!#)", re.IGNORECASE
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def edition(book: Book, settings: GuideSettings) -> str:
    """Return the whole HTML edition. Raises GuideError for a picture that cannot stand in a web page."""
    writer = _Writer(book, settings.words())
    parts = "\n".join(writer.part(part) for part in book.parts if part.id not in ("cover", "title"))
    cover = f'<div class="cover" aria-hidden="true">{_cover(book)}</div>'
    name, rest = title_lines(settings.title)
    return (
        f'<!doctype html>\n<html lang="{escape(book.language)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(smart(settings.title))}</title>\n<style>\n{_style(book)}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#help">Skip to: get help now</a>\n'
        f"<header>{cover}<h1>{escape(smart(name))} <span>{escape(smart(rest))}</span></h1>"
        f"<p>{escape(smart(book.subtitle))}</p>"
        f"<p>{escape(settings.clinic_name)} · {escape(settings.edition)}</p></header>\n"
        f"<main>\n{parts}\n</main>\n"
        f'<footer><a href="#help">Jump to help now</a></footer>\n</body>\n</html>\n'
    )


def _cover(book: Book) -> str:
    picture = inline_svg(book.picture("cover"), "cover")
    return picture.replace("<svg ", '<svg preserveAspectRatio="xMidYMid slice" ', 1)


def _style(book: Book) -> str:
    colours = "".join(f"--{name.replace('_', '-')}:{value};" for name, value in load_palette(book.root).hexes().items())
    try:
        css = (book.root / "template" / "edition.css").read_text("utf-8")
    except OSError:
        raise GuideError("template/edition.css is missing from the guide's folder; put it back") from None
    return f":root{{{colours}}}\n{css}"


def inline_svg(path: Path, prefix: str) -> str:
    """Return an SVG to stand in a page: its ids made unique, its own title left to the alt text.

    Raises GuideError when the picture is missing, runs code or asks the network for something.
    """
    where = f"figures/{path.name}"
    try:
        text = path.read_text("utf-8")
    except OSError:
        raise GuideError(f"{where} is missing; draw it or put it back") from None
    text = PROLOGUE.sub("", text)
    if UNSAFE.search(text):
        raise GuideError(f"{where} holds a script or an outside address; a figure may hold only its own drawing")
    text = re.sub(r'\s(role|aria-\w+|id="[^"]*-(?:title|desc)")="[^"]*"', "", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    return re.sub(r"<svg\b", '<svg aria-hidden="true" focusable="false"', text.strip(), count=1)


class _Writer:
    """Writes HTML for one book and one clinic."""

    def __init__(self, book: Book, words: dict[str, str]) -> None:
        self.book, self.words = book, words
        self.pages = known_anchors(book)
        self.level = 2

    def part(self, part: Part) -> str:
        match part.id:
            case "contents":
                return self._contents()
            case "glossary":
                return self._glossary(part)
            case "references":
                return self._references(part)
            case _:
                return self._chapter(part)

    def _chapter(self, part: Part) -> str:
        self.level = 2
        kicker = f'<span class="kicker">Chapter {part.number}</span> ' if part.number else ""
        answer = ""
        if part.short_answer:
            answer = f'<p class="answer"><b>The short answer.</b> {escape(smart(part.short_answer))}</p>'
        pages = "\n".join(self.page(page) for page in part.pages)
        code = self._code() if part.id == "back" else ""
        head = f"<h2>{kicker}{escape(smart(part.title))}</h2>"
        return f'<section id="{part.id}">\n{head}\n{answer}\n{pages}{code}\n</section>'

    def _code(self) -> str:
        address = self.words["GUIDE_URL"] or self.words["CLINIC_URL"]
        label = f"QR code that opens {bare(address)}"
        return f'<div class="qr" role="img" aria-label="{escape(label)}">{qr(address)}</div>' if address else ""

    def page(self, page: Page) -> str:
        """Return the blocks of one page; a worksheet continued from the page before gets no second id."""
        body = "\n".join(self.block(block, own=not continues(self.book, page, block)) for block in page.blocks)
        return f'<div id="page-{page.number}"><p class="folio">Page {page.number}</p>\n{body}</div>'

    def block(self, block: n.Block, *, own: bool = True) -> str:
        match block:
            case n.Para(body):
                return f"<p>{self._labelled(body)}</p>"
            case n.Heading(level, anchor, body):
                deep = level + 1 if self.level >= 3 or level == 2 else 3
                self.level = max(self.level, deep)
                name = f' id="{anchor}"' if anchor else ""
                return f"<h{deep}{name}>{self.inline(body)}</h{deep}>"
            case n.Items(ordered, items):
                tag = "ol" if ordered else "ul"
                return f"<{tag}>{''.join(self._item(item) for item in items)}</{tag}>"
            case n.Table():
                return self._table(block)
            case n.Figure():
                return self._figure(block)
            case n.Caption(name, body):
                return f'<p class="caption" id="{name}"><b>{figure_number(name)}.</b> {self.inline(body)}</p>'
            case n.Lines(count):
                return f'<p><textarea rows="{count + 1}" aria-label="Your notes"></textarea></p>'
            case n.Box():
                return self._box(block, own=own)

    def _labelled(self, body: tuple[n.Inline, ...], about: str = "") -> str:
        """A line to write on is a field, and the words before it are its label."""
        if not any(isinstance(node, n.Blank) for node in body):
            return self.inline(body)
        out, label = [], list[n.Inline]()
        for node in body:
            if isinstance(node, n.Blank):
                hint = f'<span class="hidden">{escape(about)}</span> ' if about else ""
                out.append(f"<label>{hint}{self.inline(label)} <input></label>")
                label = []
            else:
                label.append(node)
        return " ".join(out) + self.inline(label)

    def _item(self, item: tuple[n.Inline, ...]) -> str:
        if item and isinstance(item[0], n.Tick):
            return f'<li class="tick"><label><input type="checkbox"> {self.inline(item[1:])}</label></li>'
        return f"<li>{self._labelled(item)}</li>"

    def _table(self, table: n.Table) -> str:
        head = "".join(f'<th scope="col">{self.inline(cell)}</th>' for cell in table.header)
        names = [n.plain(cell, self.words) for cell in table.header]
        rows = "".join(f"<tr>{''.join(self._cells(row, names, index))}</tr>" for index, row in enumerate(table.rows, 1))
        name = escape(" and ".join(filter(None, (names[0], names[-1]))))
        region = f'<div class="table" role="region" tabindex="0" aria-label="Table: {name}">'
        return f"{region}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"

    def _cells(self, row: tuple[tuple[n.Inline, ...], ...], names: list[str], index: int) -> Iterator[str]:
        first = n.plain(row[0], self.words).strip() or f"row {index}"
        for name, cell in zip(names, row, strict=False):
            if cell:
                yield f"<td>{self._labelled(cell, name)}</td>"
            else:
                yield f'<td><input aria-label="{escape(f"{name}, {first}".strip(", "))}"></td>'

    def _figure(self, figure: n.Figure) -> str:
        picture = inline_svg(self.book.picture(figure.name), figure.name)
        number = figure_number(figure.name)
        caption = f"<b>{number}</b> {self.inline(figure.caption)}" if number else self.inline(figure.caption)
        words = f"<figcaption>{caption}</figcaption>" if figure.caption else ""
        image = f'<div role="img" aria-label="{escape(figure.alt)}">{picture}</div>'
        return f'<figure id="{figure.name}">{image}{words}</figure>'

    def _box(self, box: n.Box, *, own: bool) -> str:
        icon = self._icon(ICONS[box.kind]) if box.kind in ICONS else ""
        kicker = f'<span class="kicker">Worksheet {worksheet_number(box.anchor)}</span> ' if box.anchor else ""
        title = box.title or BOX_WORDS[box.kind]
        head = f'<p class="label">{icon}{kicker}{escape(title)}</p>' if title else ""
        name = f' id="{box.anchor}"' if box.anchor and own else ""
        body = "\n".join(self.block(inner) for inner in box.body)
        return f'<aside class="box {box.kind}"{name}>{head}{body}</aside>'

    def _icon(self, name: str) -> str:
        path = self.book.root / "template" / "icons" / f"{name}.svg"
        return inline_svg(path, name)

    def inline(self, body: Iterable[n.Inline]) -> str:
        """Return a run of words."""
        return "".join(self._one(node) for node in body)

    def _one(self, node: n.Inline) -> str:
        match node:
            case n.Text(text):
                return escape(text, quote=False)
            case n.Styled(style, body):
                tag = "strong" if style == "strong" else "em"
                return f"<{tag}>{self.inline(body)}</{tag}>"
            case n.Link(target, body):
                return f'<a href="{escape(target)}">{self.inline(body)}</a>'
            case n.Term(_, body):
                return self.inline(body)
            case n.Cite(key):
                number = self.book.cited.get(key, 0)
                return f'<sup><a href="#ref-{number}" aria-label="source {number}">{number}</a></sup>' if key else ""
            case n.PageOf(anchor):
                return f'<a href="#{anchor}">{self.pages[anchor]}</a>'
            case n.Dots(level):
                row = "●" * level + "○" * (4 - level)
                return f'<span class="dots" aria-hidden="true">{row}</span> {DOT_WORDS[level]}'
            case n.Icon(name):
                return f'<span class="icon">{self._icon(name)}</span> '
            case n.Setting(name):
                return self._setting(name)
            case n.Break():
                return "<br>"
            case _:
                return ""

    def _setting(self, name: str) -> str:
        value = self.words[name]
        if name in ("CLINIC_URL", "BOOKING_URL", "GUIDE_URL") and value:
            return f'<a href="{escape(value)}">{escape(bare(value))}</a>'
        if name == "CLINIC_PHONE" and any(letter.isdigit() for letter in value):
            return f'<a href="tel:{dial(value)}">{escape(value)}</a>'
        return escape(value)

    def _contents(self) -> str:
        rows = "".join(
            f'<li><a href="#{part.id}">{f"{part.number}. " if part.number else ""}{escape(smart(part.title))}</a></li>'
            for part in self.book.parts
            if part.id not in ("cover", "title", "contents")
        )
        sheets = "".join(
            f'<li><a href="#{name}">{escape(box.title)}</a></li>'
            for name, (_, box) in sorted(self.book.worksheets.items())
        )
        return (
            f'<nav id="contents" aria-labelledby="contents-title"><h2 id="contents-title">Contents</h2><ul>{rows}</ul>'
            f"<h3>Worksheets</h3><ul>{sheets}</ul></nav>"
        )

    def _glossary(self, part: Part) -> str:
        terms = sorted(self.book.glossary, key=lambda row: row[0].lower())
        rows = "".join(f"<dt>{escape(smart(term))}</dt><dd>{escape(smart(means))}</dd>" for term, means in terms)
        return f'<section id="{part.id}"><h2>{part.title}</h2><dl>{rows}</dl></section>'

    def _references(self, part: Part) -> str:
        rows = "".join(self._reference(key, number) for key, number in self.book.cited.items())
        return f'<section id="{part.id}"><h2>References</h2><ol class="references">{rows}</ol></section>'

    def _reference(self, key: str, number: int) -> str:
        reference = self.book.references[key]
        words, journal = (escape(text) for text in reference_words(reference))
        if reference.doi:
            journal = f'<a href="https://doi.org/{escape(reference.doi)}">{journal}</a>'
        return f'<li id="ref-{number}">{words} {journal}</li>'
