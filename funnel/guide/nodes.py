"""A chapter as a small tree. Both editions, PDF and HTML, are written from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Plain words."""

    text: str


@dataclass(frozen=True, slots=True)
class Styled:
    """Words in ``strong`` or ``emph``."""

    style: str
    body: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Words that lead to a web address, a telephone or an anchor (``#ch03``)."""

    target: str
    body: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Cite:
    """A source key; from memory when the claim was not read in the source itself."""

    key: str
    memory: bool = False


@dataclass(frozen=True, slots=True)
class PageOf:
    """The page number of an anchor, as a link."""

    anchor: str


@dataclass(frozen=True, slots=True)
class Dots:
    """How sure we are, one to four, with the word."""

    level: int


@dataclass(frozen=True, slots=True)
class Icon:
    """One of the small pictures that mark the boxes."""

    name: str


@dataclass(frozen=True, slots=True)
class Term:
    """Words that the index lists under ``key``."""

    key: str
    body: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A word that the clinic fills in."""

    name: str


@dataclass(frozen=True, slots=True)
class Blank:
    """A line to write on, to the right margin."""


@dataclass(frozen=True, slots=True)
class Tick:
    """An empty box to tick."""


@dataclass(frozen=True, slots=True)
class Break:
    """A new line inside a paragraph."""


Inline = Text | Styled | Link | Cite | PageOf | Dots | Icon | Term | Setting | Blank | Tick | Break


@dataclass(frozen=True, slots=True)
class Para:
    """One paragraph."""

    body: tuple[Inline, ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 2 or 3, with an anchor or none."""

    level: int
    anchor: str
    body: tuple[Inline, ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Items:
    """A list of one level."""

    ordered: bool
    items: tuple[tuple[Inline, ...], ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first row is its header."""

    header: tuple[tuple[Inline, ...], ...]
    rows: tuple[tuple[tuple[Inline, ...], ...], ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its alternative text and caption."""

    name: str
    alt: str
    caption: tuple[Inline, ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """The caption of a figure that is a table: it stands above the table and carries the anchor."""

    name: str
    body: tuple[Inline, ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Empty lines to write on."""

    count: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """A box of one kind; a worksheet is a box with an anchor."""

    kind: str
    title: str
    body: tuple[Block, ...]
    anchor: str = ""
    line: int = 0


Block = Para | Heading | Items | Table | Figure | Caption | Lines | Box


def plain(body: tuple[Inline, ...], words: dict[str, str] | None = None) -> str:
    """Return the words alone: what a reader hears, without source keys."""
    return "".join(_plain(node, words or {}) for node in body)


def _plain(node: Inline, words: dict[str, str]) -> str:
    match node:
        case Text(text):
            return text
        case Styled(_, body) | Link(_, body) | Term(_, body):
            return plain(body, words)
        case Setting(name):
            return words.get(name, "the clinic")
        case PageOf():
            return "00"
        case Break():
            return " "
        case _:
            return ""


def inlines(block: Block) -> tuple[tuple[Inline, ...], ...]:
    """Return each run of words in a block, boxes opened, in reading order."""
    match block:
        case Para(body=body) | Heading(body=body) | Caption(body=body):
            return (body,)
        case Items(items=items):
            return items
        case Table(header=header, rows=rows):
            return (*header, *(cell for row in rows for cell in row))
        case Figure(caption=caption):
            return (caption,)
        case Box(body=blocks):
            return tuple(run for inner in blocks for run in inlines(inner))
        case Lines():
            return ()


def flatten(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the blocks and, after each box, what stands in it."""
    found: list[Block] = []
    for block in blocks:
        found.append(block)
        if isinstance(block, Box):
            found.extend(flatten(block.body))
    return tuple(found)


def walk(body: tuple[Inline, ...]) -> tuple[Inline, ...]:
    """Return every inline node in reading order, nested ones too."""
    found: list[Inline] = []
    for node in body:
        found.append(node)
        if isinstance(node, (Styled, Link, Term)):
            found.extend(walk(node.body))
    return tuple(found)
