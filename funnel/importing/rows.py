"""One row of a file: a person, or what is wrong with it. The usual row passes by a fast way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.address import LONGEST_LOCAL, PLAIN, SPECIAL_ENDINGS, parse_address, shorten
from funnel.config import is_zone
from funnel.errors import AddressError
from funnel.profile import LINK, LOCALE, LONGEST_NAME

if TYPE_CHECKING:
    from funnel.context import Context
    from funnel.importing.sheet import Sheet
    from funnel.store.bulk import Staged

#: A cell that a spreadsheet would run, also after blanks and quotes and in full-width letters (SEC-13).
FORMULA = re.compile(r"""[\t\r\n]|[\s"'\u200b\ufeff]*[=+\-@＝＋－＠]""")
USUAL_NAME = re.compile(r"[^\W\d_][^\W_'’ -]*(?:['’ -][^\W\d_][^\W_'’ -]*){0,5}")
TAG = re.compile(r"[\w-]{1,40}")
BETWEEN_TAGS = re.compile(r"[\s,;|]+")


class CellError(Exception):
    """One cell cannot be used."""

    def __init__(self, column: str, says: str) -> None:
        super().__init__(says)
        self.column = column
        self.says = says


def unmarked(cell: str) -> str:
    """Return a cell without the ' that our export puts before what a spreadsheet would run."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) else cell


class Reader:
    """Reads the rows of one sheet for one funnel; knows each zone and locale after it has met it once."""

    def __init__(self, sheet: Sheet, ctx: Context) -> None:
        self._width = sheet.width
        self._places = sheet.columns
        self._email = sheet.columns["email"]
        self._samples = ctx.config.sample
        self._zones = {"": ctx.config.clinic.time_zone}
        self._locales = {"": ctx.config.clinic.locale}

    def person(self, row: list[str]) -> Staged:
        """Return who a row is about; raises CellError."""
        if len(row) != self._width:
            raise CellError("", f"it has {len(row)} cells and the first row has {self._width}.")
        email, key = self._address(row[self._email])
        return email, key, self._name(row), self._zone(row), self._locale(row)

    def _cell(self, row: list[str], column: str) -> str:
        place = self._places.get(column)
        return "" if place is None else row[place]

    def _address(self, cell: str) -> tuple[str, str]:
        """Return an address and its key; what is plain needs no full check (a property test holds them together)."""
        if (
            PLAIN.fullmatch(cell)
            and len(cell) <= LONGEST_LOCAL
            and cell[0] != "'"
            and cell[cell.rindex(".") + 1 :].lower() not in SPECIAL_ENDINGS
        ):
            return cell, cell.lower()
        if not cell.strip():
            raise CellError("email", "the address is missing.")
        try:
            address = parse_address(unmarked(cell), samples=self._samples)
        except AddressError as error:
            raise CellError("email", str(error)) from None
        return address.typed, address.key

    def _name(self, row: list[str]) -> str:
        cell = self._cell(row, "name")
        if not cell or (len(cell) <= LONGEST_NAME and USUAL_NAME.fullmatch(cell)):
            return cell
        name = " ".join(unmarked(cell).split())
        if FORMULA.match(name):
            raise CellError("name", f"“{shorten(name)}” starts like a formula of a spreadsheet.")
        if len(name) > LONGEST_NAME or not name.isprintable() or LINK.search(name):
            raise CellError("name", f"“{shorten(name)}” is no given name: a link, odd characters, or too long.")
        return name

    def _zone(self, row: list[str]) -> str:
        cell = self._cell(row, "zone")
        if cell not in self._zones:
            if not is_zone(cell.strip()):
                raise CellError("zone", f"“{shorten(cell)}” is no time zone like America/Chicago.")
            self._zones[cell] = cell.strip()
        return self._zones[cell]

    def _locale(self, row: list[str]) -> str:
        cell = self._cell(row, "locale")
        if cell not in self._locales:
            if not LOCALE.fullmatch(cell.strip()):
                raise CellError("locale", f"“{shorten(cell)}” is no language like en-US.")
            self._locales[cell] = cell.strip()
        return self._locales[cell]

    def tags(self, row: list[str]) -> tuple[str, ...]:
        """Return the tags of a row, in one cell with blanks or commas between them; raises CellError."""
        found = tuple(filter(None, BETWEEN_TAGS.split(self._cell(row, "tags"))))
        for tag in found:
            if not TAG.fullmatch(tag):
                raise CellError("tags", f"“{shorten(tag)}” is no tag: letters, digits, - and _, at most 40.")
        return found
