"""Bare text, as it comes out of a browser's clipboard, to blocks.

Nothing is marked, so a heading is known by its look and its place: a short line of its own
that starts like one, does not end like a sentence, and has text under it. Lines that were
wrapped by a mail program or an editor are joined first; a break is a wrap when the next word
would not have fitted. ``levels`` says which headings stand under others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from funnel.article import asides
from funnel.article.levels import Heading, infer_levels
from funnel.article.parts import Block, escape, squeeze, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_BULLET = re.compile(r"^(\s*)(?:[•◦▪●‣·∙○■□➢✓✔*–-]|o(?=\t))(?:\s+)(?=\S)")
_NUMBER = re.compile(r"^(\s*)\d{1,2}[.)]\s+(?=\S)")
_TERM = re.compile(r"^([^\s:.!?][^:.!?]{0,58}?)\s*:\s+(?=\S)")
_ENDS = re.compile(r"[.!,;:…][\"'”’»)\]]*$")
_CONTACT = re.compile(
    r"@|https?://|www\.|\d{3}[\s.\-–]\d{3,4}|^\W|^(?:phone|tel|fax|e-?mail|address|hours)\s*:", re.IGNORECASE
)
_BYLINE = re.compile(
    r"^(?:by [A-Z][\w.]*(?: [A-Z][\w.]*){0,3}.{0,60}|(?:posted|published|updated|last updated|written|reviewed)"
    r" (?:on|by|in)?\b.{0,60}|.{0,60}\b\d+ min(?:ute)?s?(?: read)?|"
    r"(?:[A-Z][a-z]+ \d{1,2}, \d{4}|\d{1,2} [A-Z][a-z]+ \d{4}|\d{4}-\d\d-\d\d)(?: .{0,40})?)$"
)  # fmt: skip
_LONGEST_HEADING, _MOST_WORDS = 100, 14
_LONGEST_TITLE = 160
_WIDEST_WRAP = 120


@dataclass(slots=True)
class _Line:
    """One line of the text and what it was taken for."""

    text: str
    no: int
    gap: int  #: empty lines before it
    indent: int = 0
    kind: str = "paragraph"  #: paragraph, bullet, number, row (of a table) or heading


def read_plain(source: str) -> tuple[list[Block], str]:
    """Return the blocks of a bare text; its first line is the title unless it reads like a sentence."""
    lines = _unwrapped(source.split("\n"))
    if not lines:
        return [], ""
    title = None if _is_sentence(lines[0].text) else lines.pop(0)
    while title and lines and len(lines) > 1 and _BYLINE.match(lines[0].text):
        lines.pop(0)
    _settle_numbers(lines)
    _settle_headings(lines)
    blocks = [_block(line) for line in lines]
    _set_levels(blocks, lines, title.text if title else "")
    head = [Block("heading", escape(title.text), title.text, title.no, 1)] if title else []
    return head + blocks, ""


def _is_sentence(text: str) -> bool:
    return len(text) > _LONGEST_TITLE or text.endswith(".") or bool(_BULLET.match(text))


# --- lines


def _unwrapped(rows: Sequence[str]) -> list[_Line]:
    width = _wrap_width(rows)
    lines: list[_Line] = []
    gap, before = 0, ""
    for no, row in enumerate(rows, start=1):
        text = row.strip()
        if not text:
            gap, before = gap + 1, ""
            continue
        if before and width and _was_wrapped(before, text, width):
            lines[-1].text += " " + squeeze(text)
        else:
            lines.append(_line(row, no, gap))
        gap, before = 0, row.rstrip()
    return lines


def _line(row: str, no: int, gap: int) -> _Line:
    expanded = row.expandtabs(4)
    indent = len(expanded) - len(expanded.lstrip())
    if bullet := _BULLET.match(row):
        return _Line(squeeze(row[bullet.end() :]), no, gap, indent, "bullet")
    kind = "number" if _NUMBER.match(row) else "row" if "\t" in row.strip() else "paragraph"
    return _Line(squeeze(row), no, gap, indent, kind)


def _was_wrapped(before: str, text: str, width: int) -> bool:
    if _BULLET.match(text) or _NUMBER.match(text):
        return False
    return len(before) + 1 + len(text.split(maxsplit=1)[0]) > width


def _wrap_width(rows: Sequence[str]) -> int:
    """Return the column the text was wrapped at; 0 when its lines are whole paragraphs."""
    width = max((len(row.rstrip()) for row in rows), default=0)
    if not 40 <= width <= _WIDEST_WRAP:
        return 0
    wraps = [
        before.rstrip()
        for before, after in pairwise(rows)
        if before.strip() and after.strip() and _was_wrapped(before.rstrip(), after.strip(), width)
    ]
    open_ended = sum(1 for row in wraps if not re.search(r"[.!?][\"'”’)]*$", row))
    return width if len(wraps) >= 3 and open_ended >= 0.6 * len(wraps) else 0


# --- headings and lists


def _settle_numbers(lines: Sequence[_Line]) -> None:
    """Lines that count on, one after the other, are a list; a lone one may be a numbered heading."""
    counted = {n for n, pair in enumerate(pairwise(lines)) if _counts_on(*pair)}
    for n, line in enumerate(lines):
        if line.kind == "number" and n not in counted and n - 1 not in counted:
            line.kind = "paragraph"
    for line in lines:
        if line.kind == "number":
            line.text = _NUMBER.sub("", line.text)


def _counts_on(line: _Line, after: _Line) -> bool:
    both = line.kind == after.kind == "number" and line.indent == after.indent
    return both and _number(after) == _number(line) + 1


def _number(line: _Line) -> int:
    return int(line.text.partition(".")[0].partition(")")[0])


def _settle_headings(lines: Sequence[_Line]) -> None:
    looks = [line.kind == "paragraph" and _looks_like_heading(line.text) for line in lines]
    index = 0
    while index < len(lines):
        end = index
        while end < len(lines) and looks[end]:
            end += 1
        _settle_run(lines, index, end)
        index = end + 1 if end == index else end


def _settle_run(lines: Sequence[_Line], start: int, end: int) -> None:
    """Decide on a run of lines that all look like headings.

    The last one is a heading when text follows; the one before it may be the heading above
    it. What stands between in a longer run has lost its bullets on the way.
    """
    heads = [n for n in range(start, end) if not asides.is_around(lines[n].text)]
    if not heads or end == len(lines) or (_is_aside(lines[end]) and len(heads) < 2):
        heads = []
    if heads and _is_aside(lines[end]):
        heads.pop()
    announced = start > 0 and lines[start - 1].text.endswith(":")
    if len(heads) > 2:
        for n in heads[0 if announced else 1 : -1]:
            lines[n].kind = "bullet"
        heads = heads[-1:] if announced else [heads[0], heads[-1]]
    for n in heads:
        lone_call = n < end - 1 and asides.is_call(lines[n].text, last=False)
        lines[n].kind = "paragraph" if lone_call else "heading"
    for n in range(start, end):
        if asides.is_around(lines[n].text):
            lines[n].kind = "heading"


def _is_aside(line: _Line) -> bool:
    return asides.is_aside_line(line.text)


def _looks_like_heading(text: str) -> bool:
    if len(text) > _LONGEST_HEADING or _ENDS.search(text) or _CONTACT.search(text):
        return False
    if asides.is_aside_line(text) or asides.is_network(text) or text[-1] in "”\"’'" or "©" in text:
        return False
    first = next((letter for letter in text if letter.isalnum()), "")
    count = len(words_of(text))
    return first != "" and not first.islower() and count <= _MOST_WORDS and (count > 2 or text[-1] != "?")


# --- blocks


def _block(line: _Line) -> Block:
    plain = line.text
    match line.kind:
        case "heading":
            return Block("heading", escape(plain), plain, line.no, 2)
        case "bullet" | "number":
            return Block("item", _with_term(plain), plain, line.no, ordered=line.kind == "number")
        case _ if asides.is_disclaimer(plain) and len(plain.split()) <= 3:
            return Block("heading", escape(plain), plain, line.no, 2)
        case _:
            return Block("paragraph", escape(plain), plain, line.no)


def _with_term(plain: str) -> str:
    """Return a list item with the term before its colon in bold, as it stood on the page."""
    term = _TERM.match(plain)
    if term is None or len(term.group(1).split()) > 6:
        return escape(plain)
    return f"**{escape(term.group(1))}:** {escape(plain[term.end() :])}"


def _set_levels(blocks: list[Block], lines: Sequence[_Line], title: str) -> None:
    _set_depths(blocks, lines)
    kept, _ = asides.lift_asides(blocks)
    real = {id(block) for block in kept}
    places = [n for n, block in enumerate(blocks) if block.kind == "heading" and id(block) in real]
    heads = []
    for place, after in pairwise([*places, len(blocks)]):
        body = [block for block in blocks[place + 1 : after] if id(block) in real]
        has_list = any(block.kind == "item" for block in body)
        heads.append(Heading(blocks[place].plain, tuple(block.plain for block in body), has_list, lines[place].gap))
    for place, level in zip(places, infer_levels(heads, title) if heads else [], strict=True):
        blocks[place] = replace(blocks[place], level=level)


def _set_depths(blocks: list[Block], lines: Sequence[_Line]) -> None:
    """Nest list items by how far they are indented within their own list."""
    steps: list[int] = []
    for n, (block, line) in enumerate(zip(blocks, lines, strict=True)):
        if block.kind != "item":
            steps = []
            continue
        while steps and line.indent < steps[-1]:
            steps.pop()
        if not steps or line.indent > steps[-1] + 1:
            steps.append(line.indent)
        blocks[n] = replace(block, level=len(steps) - 1)
