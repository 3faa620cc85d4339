"""A list of the clinic's own gift codes: looked at line by line, then all of it in one transaction, or nothing."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.address import shorten
from funnel.errors import ImportRefusedError
from funnel.importing.result import MOST_FAULTS, SHOWN
from funnel.store import ledger, pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from funnel.context import Context
    from funnel.store.database import Database

LARGEST_FILE = 20_000_000
SHORTEST, LONGEST = 4, 40
#: Codes with fewer letters and digits are found by trying.
GUESSABLE = 8
#: What the column of codes may be called.
NAMES = frozenset({"code", "codes", "gift code", "coupon", "coupon code", "voucher", "voucher code"})
INNER = " ._-"
CODE = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9{INNER}]*[A-Za-z0-9])?")
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class CodeFault:
    """What is wrong with one line of the file; the code itself is not shown."""

    file: str
    line: int
    says: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.file}, line {self.line}: {self.says}"


@dataclass(slots=True)
class CodeImport:
    """The sums of one import: each code is new, known, repeated or faulty."""

    file: str
    applied: bool = False
    new: int = 0
    known: int = 0
    repeated: int = 0
    faulty: int = 0
    again: int = 0  #: codes that somebody had before the database was put back
    served: int = 0  #: people who had waited and got a code
    waiting: int = 0  #: people who still wait
    free: int = 0  #: codes that are left then
    faults: list[CodeFault] = field(default_factory=list)  #: the first thousand
    notes: list[str] = field(default_factory=list)

    def fault(self, line: int, says: str) -> None:
        """Note what is wrong with a line; the first thousand are kept."""
        self.faulty += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(CodeFault(self.file, line, says))

    def __str__(self) -> str:
        """Return what the command prints: faults, sums, notes, and what was done."""
        lines = [str(fault) for fault in self.faults[:SHOWN]]
        if self.faulty > len(lines):
            lines.append(f"… and {self.faulty - len(lines):,} more faulty lines")
        sums = f"{self.new:,} new, {self.known:,} known (left as they are), {self.repeated:,} repeated"
        lines.append(f"{self.file}: {sums}, {self.faulty:,} faulty.")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes), self._done()])

    def _done(self) -> str:
        if self.faulty:
            return "Nothing was changed: a file comes in whole or not at all. Mend the faulty lines and try again."
        if not self.applied:
            return "Nothing was changed: this was a dry run."
        served = f" {self.served:,} who had waited got one; their mail goes with the next run." if self.served else ""
        waiting = f" {self.waiting:,} still wait." if self.waiting else ""
        codes = "code" if self.free == 1 else "codes"
        again = f" {self.again:,} given before the database was put back: their holders’ again." if self.again else ""
        return f"Done: {self.free:,} {codes} can be given.{again}{served}{waiting}"


def import_codes(db: Database, ctx: Context, file: Path, *, now: datetime, really: bool) -> CodeImport:
    """Put the codes of a file into the pool and serve who waits, or only say what would come of it.

    Nothing changes unless ``really`` and every line is good. Raises ImportRefusedError for a file that cannot be
    read as a list of codes.
    """
    result = CodeImport(file.name)
    codes = _codes(file, result)
    if any(len(key) < GUESSABLE for key in codes):
        result.notes.append(f"some codes have fewer than {GUESSABLE} letters and digits; such codes can be guessed.")
    if ctx.config.gift.source != "pool":
        result.notes.append('gift.source is not "pool", so none of them is given to anybody.')
    with db.transaction():
        new = [(key, code) for key, code in codes.items() if not gifts.known(db, key)]
        result.new, result.known = len(new), len(codes) - len(new)
        if really and not result.faulty:
            pool.add_all(db, new, now)
            result.again = gifts.give_again(db, ctx, ledger.given(ledger.path_of(db.path)))
            result.served = gifts.serve(db, ctx, now)
            result.applied = True
        result.waiting, result.free = pool.count_waiting(db), pool.free(db)
    return result


def _codes(file: Path, result: CodeImport) -> dict[str, str]:
    """Return the good codes of a file by what makes them one, in its order; what is wrong goes into the result."""
    codes: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, cell in _cells(file):
        says = wrong(cell)
        key = gifts.code_key(cell)
        if says:
            result.fault(line, says)
        elif key not in codes:
            codes[key], lines[key] = cell, line
        elif codes[key] == cell:
            result.repeated += 1
        else:
            result.fault(line, f"nobody can tell it from line {lines[key]}: only capitals, blanks or hyphens differ.")
    if not codes and not result.faulty:
        raise ImportRefusedError(f"{file.name} has no code in it.")
    return codes


def wrong(code: str) -> str:
    """Return what is wrong with a code, or nothing."""
    if not CODE.fullmatch(code):
        return "a code has letters from A to Z and digits, and only blanks, dots, - or _ between them."
    if len(code) > LONGEST or len(gifts.code_key(code)) < SHORTEST:
        return f"a code has at least {SHORTEST} letters and digits, and at most {LONGEST} characters."
    return ""


# --- reading -----------------------------------------------------------------------------------


def _cells(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each line's number and its code, without blanks around it; empty lines are left out."""
    rows = _rows(file)
    first = next(rows, (0, []))
    place = _place(file.name, first[1])
    if place is None:
        place = 0
        yield from _cell(first, 0)
    for row in rows:
        yield from _cell(row, place)


def _cell(row: tuple[int, list[str]], place: int) -> Iterator[tuple[int, str]]:
    line, cells = row
    if any(cell.strip() for cell in cells):
        yield line, cells[place].strip() if place < len(cells) else ""


def _place(name: str, header: list[str]) -> int | None:
    """Return which column has the codes; None when the first row is a code itself. Raises ImportRefusedError."""
    plain = [" ".join(cell.split()).lower() for cell in header]
    found = [place for place, cell in enumerate(plain) if cell in NAMES]
    if found:
        return found[0]
    if len(header) > 1:
        shown = ", ".join(shorten(cell) or "(no name)" for cell in header[:20])
        raise ImportRefusedError(f"{name}, line 1: no column is called “code”; the first row names: {shown}.")
    return None


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, or each line of any other as one cell, with the number of the line."""
    text = _text(file)
    if file.suffix.lower() != ".csv":
        yield from ((number, [line]) for number, line in enumerate(text.splitlines(), 1))
        return
    first = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ImportRefusedError(f"{file.name}, line {reader.line_num}: a quotation mark is amiss ({error}).") from None


def _text(file: Path) -> str:
    """Return the text of a file; raises ImportRefusedError when it is none."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ImportRefusedError(f"{file.name} is larger than {LARGEST_FILE // 10**6} MB; split it.")
        content = file.read_bytes()
    except OSError as error:
        raise ImportRefusedError(f"{file.name} cannot be read: {error.strerror}.") from None
    if content.startswith(b"PK\x03\x04"):
        raise ImportRefusedError(f"{file.name} is a spreadsheet; save it as “CSV UTF-8” first.")
    try:
        return content.decode(MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeError:
        raise ImportRefusedError(f"{file.name} is not UTF-8; save it again as “CSV UTF-8”.") from None
