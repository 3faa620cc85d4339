"""Facts and suppressions: append-only events, and the keyed hashes of whom never to mail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from funnel.model import Event, EventKind
from funnel.store import seal
from funnel.store.database import moment, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from funnel.store.database import Database


def add(db: Database, event: Event) -> bool:
    """Append an event; False when its source already told us of it."""
    return (
        db.execute(
            """INSERT INTO event (source, event_id, kind, at, subscriber_id, mailing_id, raw)
               VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, event_id) DO NOTHING""",
            (
                event.source,
                event.event_id,
                event.kind.value,
                seconds(event.at),
                event.subscriber_id,
                event.mailing_id,
                event.raw,
            ),
        ).rowcount
        == 1
    )


def of(db: Database, subscriber_id: int) -> tuple[Event, ...]:
    """Return a person's events, oldest first."""
    rows = db.all("SELECT * FROM event WHERE subscriber_id = ? ORDER BY at, id", (subscriber_id,))
    return tuple(
        Event(
            source=row["source"],
            event_id=row["event_id"],
            kind=EventKind(row["kind"]),
            at=moment(row["at"]),
            subscriber_id=row["subscriber_id"],
            mailing_id=row["mailing_id"],
            raw=row["raw"],
        )
        for row in rows
    )


def last(db: Database, subscriber_id: int, kinds: tuple[EventKind, ...]) -> datetime | None:
    """Return when one of these last happened to a person, or None."""
    latest = [
        db.value("SELECT max(at) FROM event WHERE subscriber_id = ? AND kind = ?", (subscriber_id, kind.value))
        for kind in kinds
    ]
    found = [at for at in latest if at is not None]
    return moment(max(found)) if found else None


def forget(db: Database, subscriber_id: int) -> None:
    """Remove the raw sources of a person's events; kinds and times stay."""
    db.execute("UPDATE event SET raw = '' WHERE subscriber_id = ?", (subscriber_id,))


def forget_raw(db: Database, before: datetime) -> int:
    """Drop the raw sources of events from before a moment; what they meant stays. Returns how many (LAW-8)."""
    return db.execute("UPDATE event SET raw = '' WHERE raw <> '' AND at < ?", (seconds(before),)).rowcount


def suppress(db: Database, key_hash: str, reason: str, now: datetime) -> None:
    """Never mail this address again until it is lifted; the weightier reason of two stays."""
    db.execute(
        """INSERT INTO suppression VALUES (:hash, :reason, :at) ON CONFLICT (hash) DO UPDATE
              SET reason = excluded.reason, at = excluded.at
            WHERE suppression.reason NOT IN ('complained', 'blocked') OR excluded.reason = 'blocked'""",
        {"hash": key_hash, "reason": reason, "at": seconds(now)},
    )
    db.stops = True
    seal.stopped(db, key_hash, reason, now)


def suppressed(db: Database, *key_hashes: str) -> tuple[str, datetime] | None:
    """Return reason and moment of the first of these hashes that is suppressed, or None."""
    for key_hash in key_hashes:
        row = db.one("SELECT reason, at FROM suppression WHERE hash = ?", (key_hash,))
        if row:
            return row["reason"], moment(row["at"])
    return None


def suppressed_among(db: Database, key_hashes: Iterable[str]) -> frozenset[str]:
    """Return which of these keyed hashes are suppressed."""
    rows = db.all(
        "SELECT hash FROM suppression WHERE hash IN (SELECT value FROM json_each(?))", (json.dumps(list(key_hashes)),)
    )
    return frozenset(row[0] for row in rows)


def lift(db: Database, *key_hashes: str) -> None:
    """Mail this address again: its owner asked for it and confirmed."""
    for key_hash in key_hashes:
        if db.execute("DELETE FROM suppression WHERE hash = ?", (key_hash,)).rowcount:
            seal.lifted(db, key_hash)


def suppressions(db: Database) -> dict[str, int]:
    """Return how many addresses are suppressed for each reason."""
    rows = db.all("SELECT reason, count(*) AS n FROM suppression GROUP BY reason ORDER BY reason")
    return {row["reason"]: row["n"] for row in rows}
