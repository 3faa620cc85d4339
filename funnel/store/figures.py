"""Counts for the report. Each is one query over an index or one pass; none is used while sending."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from funnel.store.database import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.model import EventKind
    from funnel.store.database import Database


def people_by_status(db: Database) -> dict[str, int]:
    """Return how many people are in each status."""
    rows = db.all("SELECT status, count(*) AS n FROM subscriber WHERE source <> 'staff' GROUP BY status")
    return {row["status"]: row["n"] for row in rows}


def people_with(db: Database, kind: EventKind) -> int:
    """Return how many different people an event of this kind happened to."""
    return int(db.value("SELECT count(DISTINCT subscriber_id) FROM event WHERE kind = ?", (kind.value,)))


def mailings_by_step(db: Database) -> dict[tuple[str, str], dict[str, int]]:
    """Return how many mailings are in each status, by sequence and step."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    rows = db.all(
        """SELECT e.sequence, m.step, m.status, count(*) AS n FROM mailing m
             JOIN enrollment e ON e.id = m.enrollment_id GROUP BY e.sequence, m.step, m.status"""
    )
    for row in rows:
        found.setdefault((row["sequence"], row["step"]), {})[row["status"]] = row["n"]
    return found


def entered(db: Database, sequence: str) -> int:
    """Return how many times people were entered into a sequence."""
    return int(db.value("SELECT count(*) FROM enrollment WHERE sequence = ?", (sequence,)))


def ahead(db: Database, sequence: str, until: tuple[str, ...], step: str) -> int:
    """Return how many open ways still lead to a step: their next one is it or comes before it."""
    return int(
        db.value(
            """SELECT count(*) FROM enrollment e
                WHERE e.sequence = ? AND e.next_at IS NOT NULL
                  AND e.next_step IN (SELECT value FROM json_each(?))
                  AND NOT EXISTS (SELECT 1 FROM mailing m WHERE m.enrollment_id = e.id AND m.step = ?)""",
            (sequence, json.dumps(until), step),
        )
    )


def left(db: Database, sequence: str, until: tuple[str, ...], step: str) -> int:
    """Return how many ways never had a step and no longer lead to it: they ended, or are past its place."""
    return int(
        db.value(
            """SELECT count(*) FROM enrollment e
                WHERE e.sequence = ?
                  AND (e.next_at IS NULL OR e.next_step NOT IN (SELECT value FROM json_each(?)))
                  AND NOT EXISTS (SELECT 1 FROM mailing m WHERE m.enrollment_id = e.id AND m.step = ?)""",
            (sequence, json.dumps(until), step),
        )
    )


def people_between(db: Database, since: datetime, until: datetime) -> dict[str, int]:
    """Return to how many people each kind of event happened in a time; one pass over the events."""
    rows = db.all(
        """SELECT kind, count(DISTINCT subscriber_id) AS n FROM event
            WHERE at >= ? AND at < ? GROUP BY kind""",
        (seconds(since), seconds(until)),
    )
    return {row["kind"]: row["n"] for row in rows}


def mailings_between(db: Database, since: datetime, until: datetime) -> dict[str, int]:
    """Return how many mails to people were claimed in a time, by what became of them; one pass over the ledger."""
    rows = db.all(
        """SELECT status, count(*) AS n FROM mailing
            WHERE claimed_at >= ? AND claimed_at < ? AND kind NOT IN ('digest', 'sunset') GROUP BY status""",
        (seconds(since), seconds(until)),
    )
    return {row["status"]: row["n"] for row in rows}


def unsettled(db: Database) -> int:
    """Return how many mails wait for somebody to decide."""
    return int(db.value("SELECT count(*) FROM mailing WHERE status IN ('uncertain', 'held')"))


def quick_stops(db: Database, since: datetime, until: datetime) -> int:
    """Return how many people unsubscribed within a minute of a mail being accepted: a scanner may have (UNS-15)."""
    return int(
        db.value(
            """SELECT count(DISTINCT e.subscriber_id) FROM event e
                 JOIN enrollment w ON w.subscriber_id = e.subscriber_id
                 JOIN mailing m ON m.enrollment_id = w.id
                WHERE e.kind = 'unsubscribed' AND e.at >= ? AND e.at < ?
                  AND m.status = 'sent' AND m.finished_at BETWEEN e.at - 60 AND e.at""",
            (seconds(since), seconds(until)),
        )
    )


def due_count(db: Database, now: datetime) -> int:
    """Return how many steps and retries are due."""
    return int(
        db.value(
            """SELECT (SELECT count(*) FROM enrollment WHERE next_at <= :now)
                    + (SELECT count(*) FROM mailing WHERE status = 'deferred' AND retry_at <= :now)""",
            {"now": seconds(now)},
        )
    )
