"""Any article to its sections: choose the reader, lift the asides, cut at the headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from funnel.article.asides import lift_asides
from funnel.article.memory import Remembered, Sketch, choose_ids
from funnel.article.parts import (
    Article,
    Block,
    Section,
    body_markdown,
    digest,
    normalise,
    plain_of,
    squeeze,
    words_of,
)
from funnel.errors import ArticleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from funnel.article.parts import Format

INTRODUCTION = "Introduction"
#: A book has fewer letters to a chapter; what is larger is not one article.
LARGEST_TEXT, LARGEST_PAGE = 500_000, 12_000_000
MOST_SECTIONS = 400

_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\u2028\u2029\x85]")
_PAGE = re.compile(r"\A\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|\?xml|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:p|div|h[1-6]|section|article|main|ul|table|span)\b[^<>]*>", re.IGNORECASE)
_MARKED = re.compile(
    r"^(?:#{1,6}[ \t]+\S|(?:=+|-{3,})[ \t]*$|[-*+][ \t]+\S|>[ \t]|```|-{3}$|\+{3}$)|\*\*\S|\]\(", re.MULTILINE
)
_ATX = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
_SUFFIXES = {"md": "markdown", "markdown": "markdown", "mdown": "markdown", "html": "html", "htm": "html"}


def read_article(text: str, *, name: str, remembered: Mapping[str, Remembered] | None = None) -> Article:
    """Return the article in ``text``; ``name`` is its file's name and helps to tell the format.

    Sections that ``remembered`` knows keep their ids, whatever they are called now and wherever
    they stand. Raises ArticleError, in one sentence, for what is no article.
    """
    clean = _cleaned(text, name)
    form = _format(clean, name)
    blocks, titled = _blocks(clean, form, name)
    if sum(len(block.plain) for block in blocks) > LARGEST_TEXT:
        raise _too_large(text, name)
    title, rest = _split_title(_promoted(blocks), titled or _name_as_title(name))
    kept, asides = lift_asides(rest)
    drafts = _sections(_without_contents(kept), title)
    if not any(draft.body for draft in drafts):
        raise ArticleError(f"{name}: there is no text under the title; save or copy the whole article")
    if len(drafts) > MOST_SECTIONS:
        raise ArticleError(f"{name}: {len(drafts)} headings are too many for one article; split the file")
    ids = choose_ids([draft.sketch() for draft in drafts], remembered or {})
    sections = tuple(draft.section(chosen) for draft, chosen in zip(drafts, ids, strict=True))
    return Article(squeeze(title), sections, asides, form)


# --- what kind of text it is


def _cleaned(text: str, name: str) -> str:
    if not text.strip("\ufeff \t\r\n\x00"):
        raise ArticleError(f"{name}: the file is empty; put the article into it")
    if len(text) > LARGEST_PAGE:
        raise _too_large(text, name)
    lines = _LINE_ENDS.sub("\n", text.removeprefix("\ufeff"))
    clean, unreadable = _UNREADABLE.subn("", lines)
    if unreadable * 50 > len(lines) or not clean.strip():
        raise ArticleError(f"{name}: this is not text; save the article as Markdown, HTML or plain text in UTF-8")
    return clean


def _too_large(text: str, name: str) -> ArticleError:
    return ArticleError(
        f"{name}: {len(text) / 1e6:.1f} million characters are too many for one article; save only the article"
    )


def _format(text: str, name: str) -> Format:
    """Return the format by the look of the text; the file's suffix decides where looks do not."""
    start = text[:20_000]
    suffix = _SUFFIXES.get(PurePath(name).suffix.lower().lstrip("."), "text")
    if _PAGE.match(start) or (suffix == "html" and _TAG.search(start)):
        return "html"
    if suffix == "markdown" and (_MARKED.search(text) or _TAG.search(start)):
        return "markdown"
    if len(_ATX.findall(start)) >= 2:
        return "markdown"
    return "html" if len(_TAG.findall(start)) >= 3 else "text"


def _blocks(text: str, form: Format, name: str) -> tuple[list[Block], str]:
    if form != "html" and len(text) > LARGEST_TEXT:
        raise _too_large(text, name)
    if form == "markdown":
        from funnel.article.markdown import read_markdown

        return read_markdown(text, name)
    if form == "html":
        from funnel.article.page import read_page

        return read_page(text)
    from funnel.article.plain import read_plain

    return read_plain(text)


# --- title and headings


def _name_as_title(name: str) -> str:
    return re.sub(r"[-_]+", " ", PurePath(name).stem).strip().capitalize() or "Untitled"


def _split_title(blocks: list[Block], otherwise: str) -> tuple[str, list[Block]]:
    heads = [n for n, block in enumerate(blocks) if block.kind == "heading"]
    if heads and (blocks[heads[0]].level == 1 or _is_alone_on_top(blocks, heads)):
        first = heads[0]
        return blocks[first].plain, blocks[:first] + blocks[first + 1 :]
    same = [n for n in heads[:1] if normalise(blocks[n].plain) == normalise(otherwise)]
    return otherwise, [block for n, block in enumerate(blocks) if n not in same]


def _is_alone_on_top(blocks: Sequence[Block], heads: Sequence[int]) -> bool:
    top = blocks[heads[0]].level
    return heads[0] == 0 and len(heads) > 1 and all(blocks[n].level > top for n in heads[1:])


_BOLD_LINE = re.compile(r"\*\*((?:[^*\\]|\\.)+)\*\*")
_SENTENCE_END = re.compile(r"[.,;:!…]$")


def _promoted(blocks: list[Block]) -> list[Block]:
    """Return the blocks with lines that are all bold taken for the headings they were meant as."""
    out = list(blocks)
    for n, (block, after) in enumerate(pairwise(blocks)):
        bold = block.kind == "paragraph" and _BOLD_LINE.fullmatch(block.text)
        short = len(block.plain) <= 100 and not _SENTENCE_END.search(block.plain)
        if bold and short and after.kind != "heading":
            out[n] = replace(block, kind="heading", text=bold.group(1), level=7)
    return out


_CONTENTS = re.compile(r"^(?:table of )?contents$|^in this (?:article|post|guide)\W?$|^on this page$", re.IGNORECASE)


def _without_contents(blocks: list[Block]) -> list[Block]:
    """Return the blocks without a list of the article's own headings."""
    names = {normalise(block.plain) for block in blocks if block.kind == "heading"}
    listed = [n for n, b in enumerate(blocks) if b.kind == "item" and normalise(b.plain) in names]
    if len(listed) < 2:
        return blocks
    labels = {n - 1 for n in listed if n and _CONTENTS.match(blocks[n - 1].plain)}
    return [block for n, block in enumerate(blocks) if n not in labels and n not in listed]


# --- sections


@dataclass(frozen=True, slots=True)
class _Draft:
    """A section that has no id yet."""

    heading: str
    level: Literal[2, 3]
    body: tuple[Block, ...]
    line: int
    explicit: str

    def sketch(self) -> Sketch:
        return Sketch(self.heading, plain_of(self.body), self.explicit)

    def section(self, chosen: str) -> Section:
        plain = plain_of(self.body)
        body = body_markdown(self.body)
        return Section(chosen, self.heading, self.level, body, len(words_of(plain)), digest(plain), self.line, plain)


def _sections(blocks: Sequence[Block], title: str) -> list[_Draft]:
    cuts = [n for n, block in enumerate(blocks) if block.kind == "heading"]
    top = min((blocks[n].level for n in cuts), default=2)
    drafts: list[_Draft] = []
    before = tuple(blocks[: cuts[0]] if cuts else blocks)
    if before:
        drafts.append(_Draft(INTRODUCTION if cuts else title, 2, before, before[0].line, ""))
    for start, end in pairwise([*cuts, len(blocks)]):
        head = blocks[start]
        level: Literal[2, 3] = 2 if head.level == top else 3
        drafts.append(_Draft(head.plain, level, tuple(blocks[start + 1 : end]), head.line, head.id))
    return drafts
