"""People as a file for a spreadsheet or for a script."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC
from typing import TYPE_CHECKING

from funnel.importing.rows import FORMULA

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from funnel.model import Subscriber

COLUMNS = ("email", "name", "status", "zone", "locale", "source", "created_at", "confirmed_at", "stopped_at")


def export_people(people: Iterable[Subscriber], *, as_json: bool) -> tuple[bytes, int]:
    """Return people as the bytes of a JSON or CSV file, and how many they are; the forgotten are left out.

    In CSV every field is quoted, and what a spreadsheet would run gets a ' in front (SEC-13).
    """
    rows = [_row(person) for person in people if person.email]
    return (_json(rows) if as_json else _csv(rows)), len(rows)


def _row(person: Subscriber) -> tuple[str, ...]:
    return (
        person.email,
        person.name,
        str(person.status),
        person.zone,
        person.locale,
        person.source,
        _moment(person.created_at),
        _moment(person.confirmed_at),
        _moment(person.stopped_at),
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def _json(rows: list[tuple[str, ...]]) -> bytes:
    people = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return (json.dumps(people, ensure_ascii=False, indent=2) + "\n").encode()


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([marked(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def marked(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; reading it in again takes the mark off."""
    return "'" + cell if FORMULA.match(cell) else cell
