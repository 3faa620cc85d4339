"""The parts of an article, and the blocks that all three readers produce.

A block carries its words twice: ``text`` is inline Markdown for people and mails, ``plain``
is what a reader sees. Everything that identifies a section (its hash, its word count) is
taken from ``plain``, so markup that bare text cannot carry makes no difference.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Kind = Literal["heading", "paragraph", "item", "quote", "code", "table", "cta"]
Format = Literal["markdown", "html", "text"]
AsideKind = Literal["call-to-action", "share", "disclaimer"]

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_TYPOGRAPHY = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "…": "...",
        "\u00ad": None, "\u200b": None, "\u200c": None, "\u200d": None, "\u2060": None, "\ufeff": None,
    }
)  # fmt: skip
_NUMBERING = re.compile(r"^\s*(?:\d{1,2}(?:\.\d{1,2})*[.)]|\d{1,2}(?:\.\d{1,2})+)\s+")
_SPECIAL = re.compile(r"([\\`*_\[\]<])")
_LEADING = re.compile(r"^(#{1,6}(?=\s)|[-+>](?=\s|$)|\d{1,9}(?=[.)]\s)|[=~:|-]{3,})")


@dataclass(frozen=True, slots=True)
class Section:
    """One titled part of an article."""

    id: str  #: a slug that stays when the heading is renamed or the section moves
    heading: str
    level: Literal[2, 3]
    body: str  #: Markdown
    words: int
    hash: str  #: of the words of the body, not of their markup
    line: int  #: where it starts in the file, counted from 1
    plain: str = field(default="", repr=False)  #: the body as a reader sees it, one block a line


@dataclass(frozen=True, slots=True)
class Aside:
    """Something in the article that is not part of what it says."""

    kind: AsideKind
    text: str


@dataclass(frozen=True, slots=True)
class Article:
    """An article as it was read: its sections in order, and what was kept apart."""

    title: str
    sections: tuple[Section, ...]
    asides: tuple[Aside, ...]
    format: Format


@dataclass(frozen=True, slots=True)
class Block:
    """One heading, paragraph, list item, quotation, code block or table."""

    kind: Kind
    text: str
    plain: str
    line: int
    level: int = 0  #: of a heading 1 to 7; of an item its depth, from 0
    id: str = ""
    ordered: bool = False


def name_set(names: str) -> frozenset[str]:
    """Return the names in a blank-separated list."""
    return frozenset(names.split())


def squeeze(text: str) -> str:
    """Return the text on one line with single spaces."""
    return " ".join(text.split())


def escape(text: str) -> str:
    """Return plain text as inline Markdown that shows exactly that text."""
    return _SPECIAL.sub(r"\\\1", text)


def shield(text: str) -> str:
    r"""Return inline Markdown that cannot be taken for a heading, a list or a quotation (``1\.``)."""
    match = _LEADING.match(text)
    if match is None:
        return text
    start = match.group()
    return start + "\\" + text[len(start) :] if start.isdigit() else "\\" + text


def normalise(plain: str) -> str:
    """Return the text without the differences a copy through a browser makes."""
    return squeeze(unicodedata.normalize("NFKC", plain.translate(_TYPOGRAPHY))).casefold()


def words_of(plain: str) -> list[str]:
    """Return the words of a text in order, normalised."""
    return _WORD.findall(normalise(plain))


def plain_of(blocks: Iterable[Block]) -> str:
    """Return what a reader sees of these blocks, one block a line."""
    return "\n".join(block.plain for block in blocks)


def digest(plain: str) -> str:
    """Return sixteen hexadecimal digits that change when the words or the punctuation do."""
    return hashlib.sha256(normalise(plain).encode()).hexdigest()[:16]


def unnumbered(heading: str) -> str:
    """Return the heading without a leading ``3.`` or ``2.1``."""
    return _NUMBERING.sub("", heading) or heading


def slug(text: str, *, longest: int = 60) -> str:
    """Return a name of lower-case letters, digits and hyphens; never empty."""
    bare = unicodedata.normalize("NFKD", unnumbered(text).translate(_TYPOGRAPHY).replace("'", "")).casefold()
    ascii_only = bare.encode("ascii", "ignore").decode()
    name = _hyphenated(ascii_only) or _hyphenated(unicodedata.normalize("NFKC", bare)) or "section"
    if len(name) <= longest:
        return name
    return name[: longest + 1].rpartition("-")[0] or name[:longest]


def _hyphenated(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text).strip("-")


def body_markdown(blocks: Sequence[Block]) -> str:
    """Return the blocks as Markdown, list items without a gap and all else a blank line apart."""
    pieces: list[str] = []
    count = 0
    for before, block in zip((None, *blocks), blocks, strict=False):
        in_list = before is not None and before.kind == block.kind == "item"
        count = count + 1 if in_list and block.level == 0 else count if in_list else 1
        pieces.append(("\n" if in_list else "\n\n") + _rendered(block, count))
    return "".join(pieces).strip("\n")


def _rendered(block: Block, count: int) -> str:
    match block.kind:
        case "item":
            mark = f"{count}." if block.ordered else "-"
            return f"{'   ' * block.level}{mark} {shield(block.text)}"
        case "quote":
            return "> " + shield(block.text)
        case "code":
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", block.text)), default=0))
            return f"{fence}\n{block.text}\n{fence}"
        case "table":
            return block.text
        case _:
            return shield(block.text)
