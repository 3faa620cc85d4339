"""Read the guide's source folder and refuse, with file and line, what cannot be printed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.markdown import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FENCE = "+++"
#: The parts that the builder makes from data, and the anchor each one has.
MADE = {
    "cover": "Cover",
    "contents": "Contents",
    "glossary": "Glossary",
    "references": "References and index",
}
STATUSES = ("V", "P", "M", "2nd")


@dataclass(frozen=True, slots=True)
class Page:
    """One planned page: its number, where its text begins in the file, and its blocks."""

    number: int
    line: int
    blocks: tuple[n.Block, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the guide, or one part that is made from data (then without pages)."""

    id: str
    title: str
    short: str
    first: int
    last: int
    file: str = ""
    number: int = 0
    short_answer: str = ""
    pages: tuple[Page, ...] = ()

    @property
    def made(self) -> bool:
        """True when the builder writes this part itself."""
        return not self.file


@dataclass(frozen=True, slots=True)
class Reference:
    """One source, in the short form that is printed, and how it was checked."""

    key: str
    authors: str
    title: str
    journal: str
    year: str
    doi: str
    status: str

    @property
    def firm(self) -> bool:
        """True when the source itself was read, so that its numbers may be printed."""
        return self.status in ("V", "2nd")


@dataclass(frozen=True)
class Book:
    """The whole source, read and checked for form."""

    root: Path
    subtitle: str
    language: str
    length: int
    parts: tuple[Part, ...]
    references: dict[str, Reference]
    glossary: tuple[tuple[str, str], ...]

    @cached_property
    def cited(self) -> dict[str, int]:
        """The printed number of each source that a page names, in the order of first use."""
        numbers: dict[str, int] = {}
        for _, _, block in self.blocks():
            for run in n.inlines(block):
                for node in n.walk(run):
                    if isinstance(node, n.Cite) and node.key:
                        numbers.setdefault(node.key, len(numbers) + 1)
        return numbers

    def blocks(self) -> Iterator[tuple[Part, Page, n.Block]]:
        """Yield each top-level block with its part and page."""
        for part in self.parts:
            for page in part.pages:
                for block in page.blocks:
                    yield part, page, block

    @cached_property
    def figures(self) -> dict[str, tuple[Page, n.Figure | n.Caption]]:
        """Each figure by its name."""
        found: dict[str, tuple[Page, n.Figure | n.Caption]] = {}
        for _, page, block in self.blocks():
            for inner in n.flatten((block,)):
                if isinstance(inner, (n.Figure, n.Caption)):
                    found[inner.name] = (page, inner)
        return found

    @cached_property
    def worksheets(self) -> dict[str, tuple[Page, n.Box]]:
        """Each worksheet by its id."""
        boxes = ((page, block) for _, page, block in self.blocks() if isinstance(block, n.Box))
        found: dict[str, tuple[Page, n.Box]] = {}
        for page, box in boxes:
            if box.anchor:
                found.setdefault(box.anchor, (page, box))
        return found

    def picture(self, name: str) -> Path:
        """Return the file of a figure."""
        return self.root / "figures" / f"{name}.svg"


def load(root: Path) -> Book:
    """Return the guide in ``root``. Raises GuideError for a source that cannot be printed."""
    plan = _toml(root / "guide.toml")
    parts = tuple(_part(root, row) for row in _need(plan, "part", "guide.toml"))
    book = Book(
        root=root,
        subtitle=_text(plan, "subtitle", "guide.toml"),
        language=_text(plan, "language", "guide.toml", "en-US"),
        length=_need(plan, "pages", "guide.toml"),
        parts=parts,
        references=_references(root),
        glossary=tuple(
            (_text(row, "term", "glossary.toml"), _text(row, "means", "glossary.toml"))
            for row in _toml(root / "glossary.toml").get("term", [])
        ),
    )
    _refuse_gaps(book)
    _refuse_unknown(book)
    return book


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise GuideError(f"{path.name} is missing from the guide's folder {path.parent.name}/; put it back") from None
    except UnicodeDecodeError:
        raise GuideError(f"{path.name} is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise GuideError(f"{path.name} is not valid TOML: {error}") from None


def _need(table: dict[str, Any], key: str, where: str) -> Any:
    if key not in table:
        raise GuideError(f"{where}: '{key}' is missing; add it")
    return table[key]


def _text(table: dict[str, Any], key: str, where: str, otherwise: str | None = None) -> str:
    value = table.get(key, otherwise) if otherwise is not None else _need(table, key, where)
    if not isinstance(value, str) or "\n" in value:
        raise GuideError(f"{where}: {key} must be one line of text in quotes")
    return value


def _part(root: Path, row: dict[str, Any]) -> Part:
    if "made" in row:
        made = row["made"]
        if made not in MADE:
            raise GuideError(f"guide.toml: the builder cannot make '{made}'; it makes {', '.join(MADE)}")
        first, last = _span(row, "guide.toml")
        return Part(made, MADE[made], MADE[made], first, last)
    return _chapter(root, _need(row, "file", "guide.toml"))


def _span(table: dict[str, Any], where: str) -> tuple[int, int]:
    match _need(table, "pages", where):
        case [int(first), int(last)] if 1 <= first <= last:
            return first, last
        case _:
            raise GuideError(f"{where}: pages must be the first and the last page, as in pages = [34, 39]")


def _chapter(root: Path, name: str) -> Part:
    where = f"{root.name}/{name}"
    head, body, line = _split(_file(root / name, where), where)
    first, last = _span(head, where)
    pages = tuple(_pages(body, line, first, where))
    if len(pages) != last - first + 1:
        raise GuideError(
            f"{where}: pages = [{first}, {last}] is {last - first + 1} pages, but the text has {len(pages)}; "
            "each line --- starts a page"
        )
    title = _text(head, "title", where)
    number = head.get("number", 0)
    if not isinstance(number, int):
        raise GuideError(f"{where}: number must be a number, as in number = 7")
    return Part(
        id=_text(head, "id", where),
        title=title,
        short=_text(head, "short", where, title),
        first=first,
        last=last,
        file=where,
        number=number,
        short_answer=_text(head, "short_answer", where, ""),
        pages=pages,
    )


def _file(path: Path, where: str) -> str:
    try:
        return path.read_text("utf-8").replace("\r\n", "\n").lstrip("\ufeff")
    except FileNotFoundError:
        raise GuideError(f"{where} is missing, but guide.toml names it; put it back or take the line out") from None
    except UnicodeDecodeError:
        raise GuideError(f"{where} is not UTF-8 text; save it as UTF-8") from None


def _split(text: str, where: str) -> tuple[dict[str, Any], str, int]:
    parts = re.split(r"^\+\+\+[ \t]*$\n?", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0].strip():
        raise GuideError(f"{where}: the file must begin with its settings between two lines {FENCE}")
    try:
        return tomllib.loads(parts[1]), parts[2], parts[1].count("\n") + 3
    except tomllib.TOMLDecodeError as error:
        raise GuideError(f"{where}: the settings between the lines {FENCE} are not valid TOML: {error}") from None


def _pages(body: str, line: int, first: int, where: str) -> Iterator[Page]:
    for offset, text in enumerate(re.split(r"^---[ \t]*\n", body, flags=re.MULTILINE)):
        yield Page(first + offset, line, parse(text, where, line))
        line += text.count("\n") + 1


def _references(root: Path) -> dict[str, Reference]:
    found: dict[str, Reference] = {}
    for key, row in _toml(root / "references.toml").items():
        where = f"references.toml [{key}]"
        status = _need(row, "status", where)
        if status not in STATUSES:
            raise GuideError(f"{where}: status is '{status}'; use one of {', '.join(STATUSES)}")
        text = {name: str(row.get(name, "")) for name in ("authors", "journal", "year", "doi")}
        found[key] = Reference(key=key, title=_text(row, "title", where), status=status, **text)
    return found


def _refuse_gaps(book: Book) -> None:
    """Raise unless the parts follow each other from page 1 to the last page."""
    expected = 1
    for part in book.parts:
        if part.first != expected:
            where = part.file or "guide.toml"
            raise GuideError(f"{where}: '{part.title}' begins on page {part.first}, but page {expected} comes next")
        expected = part.last + 1
    if expected - 1 != book.length:
        raise GuideError(f"guide.toml: the parts make {expected - 1} pages, but the guide has {book.length}")


def _refuse_unknown(book: Book) -> None:
    """Raise for an anchor, a source key or a picture that does not exist, and for an id used twice."""
    anchors = known_anchors(book)
    for part, _, top in book.blocks():
        for block in n.flatten((top,)):
            where = f"{part.file}, line {block.line}"
            if isinstance(block, n.Figure) and not book.picture(block.name).is_file():
                raise GuideError(f"{where}: there is no picture figures/{block.name}.svg; draw it or take the line out")
            if not isinstance(block, n.Box):
                _refuse_dangling(book, anchors, block, where)


def _refuse_dangling(book: Book, anchors: dict[str, int], block: n.Block, where: str) -> None:
    for run in n.inlines(block):
        for node in n.walk(run):
            if isinstance(node, n.Cite) and node.key and node.key not in book.references:
                raise GuideError(f"{where}: source [{node.key}] is not in references.toml; add it or correct the key")
            target = node.anchor if isinstance(node, n.PageOf) else ""
            if isinstance(node, n.Link) and node.target.startswith("#"):
                target = node.target[1:]
            if target and target not in anchors:
                says = f"{where}: there is no chapter, heading, figure or worksheet '{target}'"
                raise GuideError(f"{says}; correct the id")


def known_anchors(book: Book) -> dict[str, int]:
    """Return the planned page of each id: parts, headings, figures, worksheets. Raises for an id used twice."""
    found: dict[str, int] = {}
    for where, anchor, page in _anchors(book):
        if anchor in found:
            raise GuideError(f"{where}: the id '{anchor}' is used twice (page {found[anchor]} too); ids are unique")
        found[anchor] = page
    return found


def continues(book: Book, page: Page, block: n.Block) -> bool:
    """Return whether a worksheet is the second half of the one on the page before."""
    if not isinstance(block, n.Box) or block.kind != "worksheet":
        return False
    return book.worksheets[block.anchor][0].number == page.number - 1


def _anchors(book: Book) -> Iterator[tuple[str, str, int]]:
    for part in book.parts:
        yield part.file or "guide.toml", part.id, part.first
        for page in part.pages:
            for block in n.flatten(page.blocks):
                if continues(book, page, block):
                    continue
                where = f"{part.file}, line {block.line}"
                if isinstance(block, (n.Figure, n.Caption)):
                    yield where, block.name, page.number
                elif isinstance(block, (n.Heading, n.Box)) and block.anchor:
                    yield where, block.anchor, page.number
