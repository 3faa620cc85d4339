"""What a person chose on the pages: how far apart their mails are, and what stood before they stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from funnel.store import seal
from funnel.store.database import moment, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database

#: What of a person, their ways and their unsettled mail a stop changes; all of it can be put back.
PERSON = "SELECT status, stopped_at, paused_until FROM subscriber WHERE id = ?"
WAYS = "SELECT id, next_at, ended FROM enrollment WHERE subscriber_id = ? AND next_at IS NOT NULL"
#: A mail of once unknown fate must go with its old bytes or not at all, and those are dropped by a stop.
MAILS = """SELECT m.id, m.status, m.reason, m.retry_at, m.finished_at
             FROM enrollment e JOIN mailing m ON m.enrollment_id = e.id
            WHERE e.subscriber_id = ? AND m.status IN ('deferred', 'held') AND m.doubts = 0"""


def gap_days(db: Database, subscriber_id: int) -> int:
    """Return the least number of days a person wants between two mails of the series; 0 for the clinic's own."""
    return int(db.value("SELECT gap_days FROM subscriber WHERE id = ?", (subscriber_id,)) or 0)


def set_gap_days(db: Database, subscriber_id: int, days: int) -> None:
    """Keep how many days a person wants between two mails."""
    db.execute("UPDATE subscriber SET gap_days = ? WHERE id = ?", (days, subscriber_id))


def state(db: Database, subscriber_id: int, key_hash: str) -> dict[str, Any]:
    """Return everything about a person that a stop changes."""
    return {
        "person": [list(row) for row in db.all(PERSON, (subscriber_id,))],
        "ways": [list(row) for row in db.all(WAYS, (subscriber_id,))],
        "mails": [list(row) for row in db.all(MAILS, (subscriber_id,))],
        "suppression": [list(row) for row in db.all("SELECT reason, at FROM suppression WHERE hash = ?", (key_hash,))],
    }


def keep_undo(db: Database, subscriber_id: int, before: dict[str, Any], now: datetime) -> None:
    """Keep what stood before a stop at ``now``."""
    db.execute("INSERT OR REPLACE INTO undo VALUES (?, ?, ?)", (subscriber_id, seconds(now), json.dumps(before)))


def undo_of(db: Database, subscriber_id: int) -> tuple[datetime, dict[str, Any]] | None:
    """Return when a person stopped and what stood before, or None."""
    row = db.one("SELECT at, before FROM undo WHERE subscriber_id = ?", (subscriber_id,))
    return (moment(row["at"]), json.loads(row["before"])) if row else None


def put_back(db: Database, subscriber_id: int, key_hash: str, before: dict[str, Any], at: datetime) -> None:
    """Put back what a stop at ``at`` changed, and lift the suppression that came from it, and only that one."""
    for person in before["person"]:
        db.execute(
            "UPDATE subscriber SET status = ?, stopped_at = ?, paused_until = ? WHERE id = ?",
            (*person, subscriber_id),
        )
    for way, next_at, ended in before["ways"]:
        db.execute("UPDATE enrollment SET next_at = ?, ended = ? WHERE id = ?", (next_at, ended, way))
    for mail, status, reason, retry_at, finished_at in before["mails"]:
        db.execute(
            """UPDATE mailing SET status = ?, reason = ?, retry_at = ?, finished_at = ?
                WHERE id = ? AND status = 'skipped'""",
            (status, reason, retry_at, finished_at, mail),
        )
    lifted = db.execute(
        "DELETE FROM suppression WHERE hash = ? AND reason = 'unsubscribed' AND at = ?", (key_hash, seconds(at))
    ).rowcount
    if lifted and not before["suppression"]:
        seal.lifted(db, key_hash)
    for reason, since in before["suppression"] if lifted else ():
        db.execute("INSERT INTO suppression VALUES (?, ?, ?)", (key_hash, reason, since))
    drop_undo(db, subscriber_id)


def drop_undo(db: Database, subscriber_id: int) -> None:
    """Forget what stood before a person stopped."""
    db.execute("DELETE FROM undo WHERE subscriber_id = ?", (subscriber_id,))


def purge_undos(db: Database, before: datetime) -> int:
    """Forget what stood before stops that are older than a moment; returns how many."""
    return db.execute("DELETE FROM undo WHERE at < ?", (seconds(before),)).rowcount
