"""Many people at once: rows are staged in a temporary table, then each real table is filled by one statement.

Staging touches no table of ours and takes no lock; memory does not grow with the number of rows.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from funnel.store.database import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from funnel.model import Receipt, Status
    from funnel.store.database import Database

#: email, key, name, zone, locale
Staged = tuple[str, str, str, str, str]
BATCH = 100


@contextmanager
def staging(db: Database) -> Iterator[None]:
    """Keep the temporary tables for a block."""
    _drop(db)
    db.execute("CREATE TEMP TABLE staged (row INTEGER PRIMARY KEY, email, key, name, zone, locale)")
    db.execute("CREATE TEMP TABLE staged_tag (key, tag, PRIMARY KEY (key, tag)) WITHOUT ROWID")
    try:
        yield
    finally:
        _drop(db)


def _drop(db: Database) -> None:
    db.execute("DROP TABLE IF EXISTS temp.staged")
    db.execute("DROP TABLE IF EXISTS temp.staged_tag")


def stage(db: Database, people: Sequence[Staged]) -> None:
    """Stage some people in their order; a batch in one statement is much faster than one each."""
    if people:
        db.execute(_insert(len(people)), [value for person in people for value in person])


@cache
def _insert(count: int) -> str:
    return "INSERT INTO staged (email, key, name, zone, locale) VALUES " + ",".join(["(?,?,?,?,?)"] * count)  # noqa: S608


def stage_tags(db: Database, key: str, tags: Sequence[str]) -> None:
    """Stage the tags of one person."""
    for tag in tags:
        db.execute("INSERT OR IGNORE INTO staged_tag VALUES (?, ?)", (key, tag))


def suppression_hashes(db: Database) -> frozenset[str]:
    """Return the keyed hash of every address that must not be mailed."""
    return frozenset(row["hash"] for row in db.all("SELECT hash FROM suppression"))


# --- what staged people are to us --------------------------------------------------------------


def known_rows(db: Database) -> int:
    """Return how many staged rows are about people who are here already."""
    return int(
        db.value(
            """SELECT count(*) FROM staged s
                WHERE EXISTS (SELECT 1 FROM subscriber p WHERE p.email_key = s.key)"""
        )
    )


def new_people(db: Database) -> int:
    """Return how many different people among the staged rows are not here yet."""
    return int(
        db.value(
            """SELECT count(DISTINCT key) FROM staged s
                WHERE NOT EXISTS (SELECT 1 FROM subscriber p WHERE p.email_key = s.key)"""
        )
    )


# --- writing, inside the caller's transaction --------------------------------------------------


def last_person(db: Database) -> int:
    """Return the highest id of a person, 0 when there is nobody; whoever comes now has a higher one."""
    return db.value("SELECT max(id) FROM subscriber") or 0


def add_people(db: Database, status: Status, *, source: str, now: datetime, confirmed_at: datetime | None) -> int:
    """Add every staged person who is new; of repeated rows the first counts. Returns how many came.

    They are added in the order of their keys: the index grows at its end and not all over the file.
    """
    return db.execute(
        """INSERT INTO subscriber (email, email_key, status, name, zone, locale, source, created_at, confirmed_at)
            SELECT email, key, :status, name, zone, locale, :source, :now, :confirmed FROM staged
             WHERE true ORDER BY key, row ON CONFLICT (email_key) DO NOTHING""",
        {
            "status": status.value,
            "source": source,
            "now": seconds(now),
            "confirmed": seconds(confirmed_at) if confirmed_at else None,
        },
    ).rowcount


def add_tags(db: Database, after: int) -> None:
    """Give the people who came after id ``after`` their staged tags."""
    db.execute(
        """INSERT OR IGNORE INTO tag SELECT p.id, t.tag FROM staged_tag t JOIN subscriber p ON p.email_key = t.key
            WHERE p.id > ?""",
        (after,),
    )


def add_receipts(db: Database, after: int, receipt: Receipt) -> None:
    """Append one and the same receipt for everybody who came after id ``after``."""
    db.execute(
        """INSERT INTO consent (subscriber_id, act, at, form, page, locale, ip, agent, operator, detail)
            SELECT id, ?, ?, ?, '', '', '', '', ?, ? FROM subscriber WHERE id > ?""",
        (receipt.act, seconds(receipt.at), receipt.form, receipt.operator, receipt.detail, after),
    )


def add_import_events(db: Database, after: int, now: datetime) -> None:
    """Record that everybody who came after id ``after`` was imported."""
    db.execute(
        """INSERT INTO event (source, event_id, kind, at, subscriber_id)
            SELECT 'funnel', 'imported:' || id, 'imported', ?, id FROM subscriber WHERE id > ?""",
        (seconds(now), after),
    )


def zones_after(db: Database, after: int) -> tuple[str, ...]:
    """Return the time zones of the people who came after id ``after``."""
    return tuple(row["zone"] for row in db.all("SELECT DISTINCT zone FROM subscriber WHERE id > ?", (after,)))


def enter_all(db: Database, after: int, sequence: str, step: str, *, now: datetime, due: Mapping[str, datetime]) -> int:
    """Enter everybody who came after id ``after`` into a sequence, due by time zone; returns how many."""
    return sum(
        db.execute(
            """INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at)
                SELECT id, ?, ?, ?, ? FROM subscriber WHERE id > ? AND zone = ?""",
            (sequence, seconds(now), step, seconds(at), after, zone),
        ).rowcount
        for zone, at in due.items()
    )


def ids_after(db: Database, after: int) -> Iterator[int]:
    """Yield the ids of the people who came after id ``after``."""
    for row in db.each("SELECT id FROM subscriber WHERE id > ? ORDER BY id", (after,)):
        yield row["id"]
