"""Rows that a restored database brings up to date: mails that went out after it was made, and people who left since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import MailingStatus
from funnel.policy import BY_HAND
from funnel.store import mailings
from funnel.store.database import seconds
from funnel.store.enrollments import from_row
from funnel.store.tick import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.model import Enrollment
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing


def keys(db: Database) -> Iterator[tuple[int, str]]:
    """Yield everybody who has an address, with its canonical form."""
    for row in db.all("SELECT id, email_key FROM subscriber WHERE email_key IS NOT NULL"):
        yield row["id"], row["email_key"]


def add(
    db: Database, way: Enrollment, step: str, kind: str, status: MailingStatus, *, at: datetime, reason: str
) -> None:
    """Record a mail that went out, or may have, at a moment this database does not know."""
    db.execute(
        """INSERT INTO mailing (enrollment_id, step, kind, status, reason, due_at, claimed_at, first_at, finished_at,
                                attempts, doubts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)""",
        (
            way.id, step, kind, status.value, reason, seconds(way.next_at or at), seconds(at), seconds(at),
            seconds(at), int(status is MailingStatus.HELD),
        ),
    )  # fmt: skip


def settle(db: Database, mailing: Mailing, status: MailingStatus, *, at: datetime, reason: str) -> bool:
    """Record what became of a mail that this database still holds open; False when it does not."""
    changed = db.execute(
        """UPDATE mailing SET status = :status, reason = :reason, finished_at = :at, retry_at = NULL,
                  doubts = doubts + (:status = 'held')
            WHERE id = :id AND status IN ('sending', 'deferred', 'uncertain', 'held')""",
        {"id": mailing.id, "status": status.value, "reason": reason, "at": seconds(at)},
    ).rowcount
    if changed and status is MailingStatus.SENT:
        mailings.drop_bytes(db, mailing.id)
    return changed == 1


def waiting(db: Database, now: datetime) -> tuple[Enrollment, ...]:
    """Return every way whose next step is due, the longest waiting first."""
    rows = db.all("SELECT * FROM enrollment WHERE next_at <= ? ORDER BY next_at, id", (seconds(now),))
    return tuple(from_row(row) for row in rows)


def retries(db: Database, now: datetime) -> tuple[Mailing, ...]:
    """Return every deferred mail whose time has come, and every one that a run held when this copy was made."""
    rows = db.all(
        f"SELECT * FROM mailing WHERE {OPEN} AND (status = 'sending' OR (status = 'deferred' AND retry_at <= ?))",  # noqa: S608
        (seconds(now),),
    )
    return tuple(mailings.from_row(row) for row in rows)


def let_go(db: Database, mailing_id: int, now: datetime) -> bool:
    """Let a mail that is held or of unknown fate go with the next run; False when it is neither."""
    return (
        db.execute(
            """UPDATE mailing SET status = 'deferred', retry_at = ?, reason = ?
                WHERE id = ? AND status IN ('held', 'uncertain')""",
            (seconds(now), f"goes again: {BY_HAND}", mailing_id),
        ).rowcount
        == 1
    )
