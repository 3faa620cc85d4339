"""The parts made from data: cover, contents, glossary, references, index, back cover."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.typeset import Typesetter, bare, breakable, figure_number, quoted, smart, worksheet_number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from funnel.guide.forms import Field
    from funnel.guide.settings import GuideSettings
    from funnel.guide.source import Book, Part, Reference

#: Type sizes for the references, and the height of a column of them on their first page, in points.
SIZES = (10.0, 9.7, 9.4, 9.1, 8.9, 8.7, 8.5, 8.3, 8.0)
COLUMN = 595
SVG = "{http://www.w3.org/2000/svg}"
COVER_ALT = "Abstract line drawing of a gently curved spine over soft hills."


def document(book: Book, settings: GuideSettings) -> tuple[str, list[Field]]:
    """Return the whole guide as one Typst file, and the places to write on in their order."""
    maker = Typesetter(book, settings.words())
    sheets = "\n".join(_part(book, settings, maker, part) for part in book.parts)
    text = (
        '#import "template/book.typ": *\n'
        f"#show: book.with(title: {quoted(settings.title)}, short: {quoted(smart(title_lines(settings.title)[0]))}, "
        f"author: {quoted(settings.clinic_name)}, "
        f"description: {quoted(book.subtitle)}, keywords: ({quoted(settings.edition)},))\n{sheets}"
    )
    return text, maker.fields


def _part(book: Book, settings: GuideSettings, maker: Typesetter, part: Part) -> str:
    match part.id:
        case "cover":
            return _cover(book, settings)
        case "contents":
            return _contents(book, part)
        case "glossary":
            return _glossary(book, part)
        case "references":
            return _references(book, part)
        case "title":
            return _title(maker, part, settings)
        case "back":
            return _back(maker, part, settings)
        case _:
            return "\n".join(maker.page(part, page) for page in part.pages)


def _cover(book: Book, settings: GuideSettings) -> str:
    title, rest = title_lines(settings.title)
    if not book.picture("cover").is_file():
        raise GuideError("there is no picture figures/cover.svg for the cover; draw it or put it back")
    rows = ", ".join(quoted(smart(text)) for text in (title, rest, book.subtitle))
    clinic, size = quoted(breakable(settings.clinic_name)), quoted(f"{book.length}-page guide")
    return f'#cover("/figures/cover.svg", {quoted(COVER_ALT)}, {rows}, {clinic}, {size})\n'


def title_lines(title: str) -> tuple[str, str]:
    """Return a title's first line, up to its colon, and the rest."""
    first, _, rest = title.partition(":")
    return first.strip(), rest.strip()


def _title(maker: Typesetter, part: Part, settings: GuideSettings) -> str:
    name, rest = title_lines(settings.title)
    words = f"{part.first}, {quoted(part.id)}, {quoted(smart(name))}, {quoted(smart(rest))}"
    return f"#title-page({words})[\n{maker.blocks(part.pages[0].blocks)}\n]\n"


def _back(maker: Typesetter, part: Part, settings: GuideSettings) -> str:
    address = settings.guide_url or settings.website
    code = quoted(qr(address)) if address else "none"
    return (
        f"#back-cover({part.first}, {quoted(part.id)}, {quoted(smart(part.title))}, {code}, "
        f"{quoted(address)}, {quoted(bare(address))})[\n{maker.blocks(part.pages[0].blocks)}\n]\n"
    )


def qr(address: str) -> str:
    """Return a QR code for a web address as SVG. Raises GuideError when it is too long for one."""
    import segno

    try:
        code = segno.make(address, error="m", micro=False)
    except segno.DataOverflowError:
        raise GuideError("guide_url is too long for a QR code; use a shorter address in funnel.toml") from None
    out = io.BytesIO()
    code.save(out, kind="svg", border=2, xmldecl=False, svgns=True, dark="#1f2a2e", light="#ffffff", omitsize=True)
    return out.getvalue().decode()


def _contents(book: Book, part: Part) -> str:
    rows = "".join(
        f"({quoted(entry.id)}, {entry.number}, {quoted(smart(entry.title))}), "
        for entry in book.parts
        if entry.id not in ("cover", "title", "about", "contents", "back")
    )
    figures = "".join(
        f"({quoted(name)}, {quoted(figure_number(name))}, {quoted(figure_title(book, name))}), "
        for name in sorted(name for name in book.figures if figure_number(name))
    )
    sheets = "".join(
        f"({quoted(name)}, {quoted('Worksheet ' + worksheet_number(name))}, {quoted(box.title)}), "
        for name, (_, box) in sorted(book.worksheets.items(), key=lambda row: int(worksheet_number(row[0])))
    )
    return f"#contents({part.first}, ({rows}), ({figures}), ({sheets}))\n"


def figure_title(book: Book, name: str) -> str:
    """Return the short title of a figure: its picture's title, or the first sentence of its caption."""
    path = book.picture(name)
    title = _svg_title(path) if path.is_file() else ""
    return smart(title or n.plain(_caption(book, name)).split(". ")[0].rstrip("."))


def _caption(book: Book, name: str) -> tuple[n.Inline, ...]:
    figure = book.figures[name][1]
    return figure.caption if isinstance(figure, n.Figure) else figure.body


def _svg_title(path: Path) -> str:
    found = _svg(path).find(f"{SVG}title")
    return "".join(found.itertext()).strip() if found is not None else ""


def svg_texts(path: Path) -> list[str]:
    """Return the words printed in a picture, one entry for each text. Raises GuideError for broken SVG."""
    return [" ".join("".join(text.itertext()).split()) for text in _svg(path).iter(f"{SVG}text")]


def _svg(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()  # noqa: S314 - a file of the operator's own guide
    except ET.ParseError as error:
        raise GuideError(f"figures/{path.name} is not well-formed SVG: {error}") from None


def _glossary(book: Book, part: Part) -> str:
    terms = sorted(book.glossary, key=lambda row: row[0].lower())
    rows = "".join(f"({quoted(smart(term))}, {quoted(smart(means))}), " for term, means in terms)
    half = share([len(term) + len(means) + 20 for term, means in terms], 0.52)
    return f"#glossary({part.first}, {half}, ({rows}))\n"


def _references(book: Book, part: Part) -> str:
    rows = "".join(
        f"({number}, {quoted(reference_words(book.references[key])[0])}, "
        f"{quoted(reference_words(book.references[key])[1])}, {quoted(book.references[key].doi)}), "
        for key, number in book.cited.items()
    )
    size = reference_size(book)
    heights = _heights(book, size)
    full = share(heights, min(1.0, 2 * COLUMN / sum(heights, 1.0)))
    return f"#references({part.first}, {size}pt, {full}, ({rows}))\n"


def share(weights: Sequence[float], part: float) -> int:
    """Return how many of the items, taken in order, make up this part of the whole weight."""
    limit, total = sum(weights) * part, 0.0
    for count, weight in enumerate(weights):
        total += weight
        if total > limit:
            return count
    return len(weights)


def reference_size(book: Book) -> float:
    """Return the largest type size, in points, at which the references leave room for the index."""
    index = 62 + 12 * math.ceil(len(_terms(book)) * 1.15 / 5)
    room = 2 * (COLUMN + 648 - index)
    return next((size for size in SIZES if sum(_heights(book, size)) <= room), SIZES[-1])


def _heights(book: Book, size: float) -> list[float]:
    """About how high each reference is, from how many letters of this size a line holds."""
    letters = 214 / (0.412 * size)
    counts = (len(" ".join(reference_words(book.references[key]))) for key in book.cited)
    return [math.ceil(count / letters) * (size + 1) + 2.5 for count in counts]


def _terms(book: Book) -> set[str]:
    runs = (run for _, _, block in book.blocks() for run in n.inlines(block))
    return {node.key for run in runs for node in n.walk(run) if isinstance(node, n.Term)}


def reference_words(reference: Reference) -> tuple[str, str]:
    """Return authors with title, and where it was published, as they are printed."""
    authors = f"{reference.authors}. " if reference.authors else ""
    stop = "" if reference.title.endswith("?") else "."
    year = f", {reference.year}" if reference.year else ""
    return smart(f"{authors}{reference.title}{stop}"), f"{reference.journal}{year}."
