"""Gift codes: one row each, one code per holder for ever, one redemption per code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import Gift, GiftStatus
from funnel.store import pool
from funnel.store.database import maybe_moment, moment, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database, Row


def from_row(row: Row) -> Gift:
    """Return the gift in a row of the table."""
    return Gift(
        id=row["id"],
        code=row["code"],
        status=GiftStatus(row["status"]),
        subscriber_id=row["subscriber_id"],
        issued_at=moment(row["issued_at"]),
        expires_at=moment(row["expires_at"]),
        redeemed_at=maybe_moment(row["redeemed_at"]),
        redeemed_by=row["redeemed_by"],
        note=row["note"],
    )


def add(db: Database, code: str, holder: str, subscriber_id: int, *, now: datetime, expires: datetime) -> bool:
    """Give a new code to a holder; False when the code or the holder has one already."""
    return (
        db.execute(
            """INSERT INTO gift (code, holder, subscriber_id, status, issued_at, expires_at)
               VALUES (?, ?, ?, 'issued', ?, ?) ON CONFLICT DO NOTHING""",
            (code, holder, subscriber_id, seconds(now), seconds(expires)),
        ).rowcount
        == 1
    )


def by_holder(db: Database, holder: str) -> Gift | None:
    """Return the gift of a holder, or None."""
    row = db.one("SELECT * FROM gift WHERE holder = ?", (holder,))
    return from_row(row) if row else None


def by_id(db: Database, gift_id: int) -> Gift | None:
    """Return one gift, or None."""
    row = db.one("SELECT * FROM gift WHERE id = ?", (gift_id,))
    return from_row(row) if row else None


def by_code(db: Database, code: str) -> Gift | None:
    """Return the gift with this code, or None."""
    row = db.one("SELECT * FROM gift WHERE code = ?", (code,))
    return from_row(row) if row else None


def sent(db: Database, gift_id: int) -> None:
    """Record that a mail with the code was accepted."""
    db.execute("UPDATE gift SET status = 'sent' WHERE id = ? AND status = 'issued'", (gift_id,))


def redeem(db: Database, gift_id: int, *, by: str, now: datetime) -> bool:
    """Use a code; False when somebody else was faster or it is not usable."""
    return (
        db.execute(
            """UPDATE gift SET status = 'redeemed', redeemed_at = ?, redeemed_by = ?
                WHERE id = ? AND status IN ('issued', 'sent')""",
            (seconds(now), by, gift_id),
        ).rowcount
        == 1
    )


def expire(db: Database, now: datetime) -> int:
    """Mark codes whose last day has passed; returns how many."""
    return db.execute(
        "UPDATE gift SET status = 'expired' WHERE status IN ('issued', 'sent') AND expires_at <= ?", (seconds(now),)
    ).rowcount


def give_holder(db: Database, subscriber_id: int, holder: str) -> int:
    """Let a person's gift be known by another hash; returns how many that are."""
    sql = "UPDATE OR IGNORE gift SET holder = ? WHERE subscriber_id = ?"
    return db.execute(sql, (holder, subscriber_id)).rowcount


def forget(db: Database, subscriber_id: int) -> None:
    """Cut a gift loose from its person; the keyed holder hash stays, so nobody gets a second one.

    Who waits for a code gives up the place.
    """
    db.execute("UPDATE gift SET subscriber_id = NULL WHERE subscriber_id = ?", (subscriber_id,))
    pool.stop_waiting(db, subscriber_id)


def counts(db: Database) -> dict[GiftStatus, int]:
    """Return how many gifts are in each status."""
    rows = db.all("SELECT status, count(*) AS n FROM gift GROUP BY status")
    return {GiftStatus(row["status"]): row["n"] for row in rows}
