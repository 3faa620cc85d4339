"""Ways through sequences: rows of ``enrollment``. ``next_at`` is the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import Enrollment
from funnel.store.database import maybe_moment, maybe_seconds, moment, seconds
from funnel.store.tick import ANYTHING_DUE

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database, Row

#: Costs what is due, not what is stored: the partial index gives the ids, nothing is scanned.
DUE_SQL = "SELECT * FROM enrollment WHERE next_at <= :now ORDER BY next_at, id LIMIT :limit"


def from_row(row: Row) -> Enrollment:
    """Return the enrollment in a row of the table."""
    return Enrollment(
        id=row["id"],
        subscriber_id=row["subscriber_id"],
        sequence=row["sequence"],
        occasion=row["occasion"],
        anchor_at=moment(row["anchor_at"]),
        next_step=row["next_step"],
        next_at=maybe_moment(row["next_at"]),
        last_at=maybe_moment(row["last_at"]),
        ended=row["ended"],
    )


def add(
    db: Database, subscriber_id: int, sequence: str, *, anchor: datetime, next_step: str, next_at: datetime
) -> Enrollment:
    """Enter a person into a sequence once more; the occasion counts how often."""
    row = db.one(
        """INSERT INTO enrollment (subscriber_id, sequence, occasion, anchor_at, next_step, next_at)
            SELECT :person, :sequence, coalesce(max(occasion) + 1, 0), :anchor, :step, :at
              FROM enrollment WHERE subscriber_id = :person AND sequence = :sequence
            RETURNING *""",
        {
            "person": subscriber_id,
            "sequence": sequence,
            "anchor": seconds(anchor),
            "step": next_step,
            "at": seconds(next_at),
        },
    )
    if row is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    return from_row(row)


def by_id(db: Database, enrollment_id: int) -> Enrollment | None:
    """Return one enrollment, or None."""
    row = db.one("SELECT * FROM enrollment WHERE id = ?", (enrollment_id,))
    return from_row(row) if row else None


def latest(db: Database, subscriber_id: int, sequence: str) -> Enrollment | None:
    """Return a person's newest enrollment in a sequence, or None."""
    row = db.one(
        """SELECT * FROM enrollment WHERE subscriber_id = ? AND sequence = ?
             ORDER BY occasion DESC LIMIT 1""",
        (subscriber_id, sequence),
    )
    return from_row(row) if row else None


def entered_since(db: Database, subscriber_id: int, sequence: str, since: datetime) -> int:
    """Return how often a person was entered into a sequence since a moment."""
    return int(
        db.value(
            "SELECT count(*) FROM enrollment WHERE subscriber_id = ? AND sequence = ? AND anchor_at >= ?",
            (subscriber_id, sequence, seconds(since)),
        )
    )


def of(db: Database, subscriber_id: int) -> tuple[Enrollment, ...]:
    """Return all enrollments of a person, oldest first."""
    rows = db.all("SELECT * FROM enrollment WHERE subscriber_id = ? ORDER BY id", (subscriber_id,))
    return tuple(from_row(row) for row in rows)


def due(db: Database, now: datetime, limit: int) -> tuple[Enrollment, ...]:
    """Return at most ``limit`` enrollments whose next step is due, the longest waiting first."""
    return tuple(from_row(row) for row in db.all(DUE_SQL, {"now": seconds(now), "limit": limit}))


def plan(
    db: Database, enrollment_id: int, *, step: str | None, at: datetime | None, anchor: datetime, ended: str = ""
) -> None:
    """Set what comes next, or that nothing does."""
    db.execute(
        "UPDATE enrollment SET next_step = ?, next_at = ?, anchor_at = ?, ended = ? WHERE id = ?",
        (step, maybe_seconds(at), seconds(anchor), ended, enrollment_id),
    )


def put_back(db: Database, enrollment: Enrollment) -> None:
    """Plan again what was planned before a claim that led to nothing, unless the way was ended meanwhile."""
    db.execute(
        """UPDATE enrollment SET next_step = ?, next_at = ?, anchor_at = ?, last_at = ?, ended = ''
            WHERE id = ? AND (next_at IS NOT NULL OR ended = 'done')""",
        (
            enrollment.next_step,
            maybe_seconds(enrollment.next_at),
            seconds(enrollment.anchor_at),
            maybe_seconds(enrollment.last_at),
            enrollment.id,
        ),
    )


def mailed(db: Database, enrollment_id: int, at: datetime | None) -> None:
    """Remember when this way last led to a mail."""
    db.execute("UPDATE enrollment SET last_at = ? WHERE id = ?", (maybe_seconds(at), enrollment_id))


def last_mail_at(db: Database, subscriber_id: int) -> datetime | None:
    """Return when a person was last mailed on any way, or None."""
    return maybe_moment(db.value("SELECT max(last_at) FROM enrollment WHERE subscriber_id = ?", (subscriber_id,)))


def end_all(db: Database, subscriber_id: int, reason: str) -> int:
    """End every open way of a person at once; returns how many there were."""
    return db.execute(
        "UPDATE enrollment SET next_at = NULL, ended = ? WHERE subscriber_id = ? AND next_at IS NOT NULL",
        (reason, subscriber_id),
    ).rowcount


def anything_due(db: Database, now: datetime) -> bool:
    """True when a step or a retry is due; two index look-ups however many people there are."""
    return bool(db.value(ANYTHING_DUE, {"now": seconds(now)}))
