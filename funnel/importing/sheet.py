"""A CSV file as people keep them: its encoding, its delimiter, its names of columns, and its records.

The file is looked through once before anything is read from it, so that no line and no byte can
surprise the reader: then it is read record by record.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.address import shorten
from funnel.errors import ImportRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FILE = 200_000_000
LONGEST_LINE = 65_536
MOST_ROWS = 2_000_000
CHUNK = 1 << 20

#: What a column may be called in the files of other programs.
ALIASES = {
    "email": ("email", "e-mail", "mail", "email address", "e-mail address", "email_address"),
    "name": ("name", "first name", "first_name", "firstname", "given name"),
    "zone": ("zone", "time zone", "timezone", "time_zone"),
    "locale": ("locale", "language"),
    "tags": ("tags", "tag"),
}
MEANING = {alias: column for column, aliases in ALIASES.items() for alias in aliases}
BYTE_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that can be read: how, and which of our columns stands where."""

    path: Path
    encoding: str
    delimiter: str
    width: int
    columns: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that is no record."""

    says: str


def open_sheet(path: Path) -> Sheet:
    """Return how to read a CSV file; raises ImportRefusedError when it cannot be read safely."""
    try:
        encoding, notes = _encoding(path)
        with path.open(encoding=encoding, newline="") as file:
            line = file.readline()
    except OSError as error:
        raise ImportRefusedError(f"{path.name} cannot be read: {error.strerror}.") from None
    if not line.strip():
        raise ImportRefusedError(f"{path.name} is empty or starts with an empty line; the first row names the columns.")
    delimiter, header = _header(line, path.name)
    columns = _columns(header, path.name)
    ignored = [shorten(name) for name in header if _plain(name) not in MEANING]
    if ignored:
        notes.append(f"these columns are not taken over: {', '.join(ignored)}.")
    return Sheet(path, encoding, delimiter, len(header), columns, tuple(notes))


def _encoding(path: Path) -> tuple[str, list[str]]:
    """Return the encoding in which the whole file makes sense, and what staff should know about it."""
    if not path.is_file():
        raise ImportRefusedError(f"There is no file {path.name}.")
    if path.stat().st_size > LARGEST_FILE:
        raise ImportRefusedError(
            f"{path.name} is larger than {LARGEST_FILE // 10**6} MB; split it and import the parts."
        )
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"PK\x03\x04"):
        raise ImportRefusedError(f"{path.name} is a spreadsheet, not a CSV file; save it as “CSV UTF-8” first.")
    marked = next((name for mark, name in BYTE_MARKS.items() if start.startswith(mark)), "")
    for encoding in [marked] if marked else ["utf-8", "cp1252", "latin-1"]:
        try:
            _look_through(path, encoding)
        except UnicodeError:
            continue
        return encoding, [] if marked or encoding == "utf-8" else [_odd(path.name, encoding)]
    raise ImportRefusedError(f"{path.name} starts as {marked} but is damaged further on; save it again as “CSV UTF-8”.")


def _odd(name: str, encoding: str) -> str:
    return f"{name} is not UTF-8 and was read as {encoding}; check names with accents."


def _look_through(path: Path, encoding: str) -> None:
    """Raise ImportRefusedError for what no honest file has; UnicodeError when the encoding is another one."""
    number, length = 1, 0
    with path.open(encoding=encoding) as file:
        while chunk := file.read(CHUNK):
            lines = chunk.split("\n")
            if "\0" in chunk:
                number += next(i for i, line in enumerate(lines) if "\0" in line)
                raise ImportRefusedError(f"{path.name} line {number}: there is a NUL byte; save it as “CSV UTF-8”.")
            lengths = [length + len(lines[0]), *map(len, lines[1:])]
            if max(lengths) > LONGEST_LINE:
                number += next(i for i, n in enumerate(lengths) if n > LONGEST_LINE)
                raise ImportRefusedError(f"{path.name} line {number} is longer than 64 kB; this is no list of people.")
            number, length = number + len(lines) - 1, lengths[-1]


def _header(line: str, name: str) -> tuple[str, list[str]]:
    """Return the delimiter and the names in the first row: the reading that finds most columns."""
    readings: list[tuple[str, list[str]]] = []
    for delimiter in ",;\t":
        try:
            readings.append((delimiter, next(csv.reader([line], delimiter=delimiter, strict=True))))
        except csv.Error:
            continue
    if not readings:
        raise ImportRefusedError(
            f"{name}: the first row, which names the columns, has a quotation mark that never ends."
        )
    return max(readings, key=lambda reading: (_has_email(reading[1]), len(reading[1])))


def _has_email(header: list[str]) -> bool:
    return any(MEANING.get(_plain(cell)) == "email" for cell in header)


def _plain(cell: str) -> str:
    return " ".join(cell.split()).lower()


def _columns(header: list[str], name: str) -> dict[str, int]:
    """Return where each of our columns stands; raises ImportRefusedError unless each name is there and clear."""
    plain = [_plain(cell) for cell in header]
    shown = ", ".join(shorten(cell) or "(no name)" for cell in header[:20])
    if not _has_email(header):
        raise ImportRefusedError(f"{name}: no column is called “email”; the first row names: {shown}.")
    if "" in plain:
        raise ImportRefusedError(f"{name}: column {plain.index('') + 1} has no name in the first row; give it one.")
    columns: dict[str, int] = {}
    for place, cell in enumerate(plain):
        meaning = MEANING.get(cell, cell)
        if meaning in columns:
            other = shorten(header[columns[meaning]])
            raise ImportRefusedError(
                f"{name}: the columns “{other}” and “{shorten(header[place])}” mean the same; keep one of them."
            )
        columns[meaning] = place
    return {column: place for column, place in columns.items() if column in ALIASES}


def records(sheet: Sheet) -> Iterator[list[str] | Broken]:
    """Yield every record under the row of names; one without a word in it is an empty list.

    A quotation mark that never ends swallows the rest of the file: reading stops there.
    """
    with sheet.path.open(encoding=sheet.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=sheet.delimiter, strict=True)
        next(reader)
        while True:
            try:
                for row in reader:
                    yield row if any(row) else []
            except csv.Error as error:
                inside = "expected after" in str(error)
                yield Broken(_WORDS[inside])
                if inside:
                    continue
            return


_WORDS = {
    True: "a quotation mark stands inside a cell; double it or take it out.",
    False: "a quotation mark opens here and never ends.",
}
