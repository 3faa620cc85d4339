"""Everybody who could still get mail, page by page: nobody else's query waits, and memory stays flat."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from funnel.store import enrollments, subscribers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.model import Enrollment, Subscriber
    from funnel.store.database import Database

PAGE = 500


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person and the ways on which something is still to come."""

    person: Subscriber
    ways: tuple[Enrollment, ...]


def each(db: Database) -> Iterator[Recipient]:
    """Yield people whose status allows mail and for whom something is planned, in the order they came."""
    after = 0
    while page := _page(db, after):
        after = page[-1].id
        ways = _ways(db, page[0].id, after)
        yield from (Recipient(person, ways[person.id]) for person in page if person.id in ways)


def _page(db: Database, after: int) -> list[Subscriber]:
    rows = db.all(
        """SELECT * FROM subscriber WHERE id > ? AND status IN ('pending', 'confirmed', 'paused')
             ORDER BY id LIMIT ?""",
        (after, PAGE),
    )
    return [subscribers.from_row(row) for row in rows]


def _ways(db: Database, first: int, last: int) -> dict[int, tuple[Enrollment, ...]]:
    """Return what is planned for the people from one id to another."""
    rows = db.all(
        """SELECT * FROM enrollment WHERE subscriber_id BETWEEN ? AND ? AND next_at IS NOT NULL
             ORDER BY subscriber_id, id""",
        (first, last),
    )
    found = groupby(map(enrollments.from_row, rows), key=lambda way: way.subscriber_id)
    return {person: tuple(ways) for person, ways in found}
