"""The ledger of mail: rows of ``mailing`` and the kept bytes in ``outgoing``.

One row per enrollment and step; inserting it is the claim, so no step is ever mailed by two runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.model import MailingStatus
from funnel.store.database import maybe_moment, maybe_seconds, moment, seconds
from funnel.store.tick import OPEN

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database, Row

LONGEST_REPLY = 500


@dataclass(frozen=True, slots=True)
class Mailing:
    """One row of the ledger."""

    id: int
    enrollment_id: int
    step: str
    kind: str
    status: MailingStatus
    reason: str
    due_at: datetime
    claimed_at: datetime
    first_at: datetime
    finished_at: datetime | None
    retry_at: datetime | None
    attempts: int
    doubts: int
    reply: str
    run_id: int | None = None


def from_row(row: Row) -> Mailing:
    """Return the mailing in a row of the table."""
    return Mailing(
        id=row["id"],
        enrollment_id=row["enrollment_id"],
        step=row["step"],
        kind=row["kind"],
        status=MailingStatus(row["status"]),
        reason=row["reason"],
        due_at=moment(row["due_at"]),
        claimed_at=moment(row["claimed_at"]),
        first_at=moment(row["first_at"]),
        finished_at=maybe_moment(row["finished_at"]),
        retry_at=maybe_moment(row["retry_at"]),
        attempts=row["attempts"],
        doubts=row["doubts"],
        reply=row["reply"],
        run_id=row["run_id"],
    )


def add(
    db: Database,
    enrollment_id: int,
    step: str,
    kind: str,
    status: MailingStatus,
    *,
    due: datetime,
    now: datetime,
    reason: str = "",
    run_id: int | None = None,
) -> int | None:
    """Record what is done with a step and return the row's id, or None when that was recorded before."""
    at = seconds(now)
    sending = status is MailingStatus.SENDING
    row = db.one(
        """INSERT INTO mailing (enrollment_id, step, kind, status, reason, due_at, claimed_at, first_at, finished_at,
                                attempts, run_id)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (enrollment_id, step) DO NOTHING RETURNING id""",
        (
            enrollment_id,
            step,
            kind,
            status.value,
            reason,
            seconds(due),
            at,
            at,
            None if sending else at,
            int(sending),
            run_id,
        ),
    )
    return int(row["id"]) if row else None


def reclaim(db: Database, mailing_id: int, *, now: datetime, run_id: int | None) -> bool:
    """Claim a deferred mailing for another try; False when another run was faster."""
    changed = db.execute(
        """UPDATE mailing SET status = 'sending', claimed_at = ?, retry_at = NULL, attempts = attempts + 1, run_id = ?
            WHERE id = ? AND status = 'deferred'""",
        (seconds(now), run_id, mailing_id),
    ).rowcount
    return changed == 1


def finish(
    db: Database,
    mailing_id: int,
    status: MailingStatus,
    *,
    now: datetime,
    reason: str = "",
    retry_at: datetime | None = None,
    reply: str = "",
    version: str = "",
) -> bool:
    """Record how a claimed mailing ended; False when it was no longer ``sending``."""
    changed = db.execute(
        """UPDATE mailing SET status = :status, reason = :reason, finished_at = :now, retry_at = :retry_at,
                  reply = :reply, version = iif(:version = '', version, :version),
                  doubts = doubts + (:status = 'uncertain')
            WHERE id = :id AND status = 'sending'""",
        {
            "id": mailing_id,
            "status": status.value,
            "reason": reason,
            "now": seconds(now),
            "retry_at": maybe_seconds(retry_at),
            "reply": reply[:LONGEST_REPLY],
            "version": version,
        },
    ).rowcount
    return changed == 1


def release(db: Database, mailing_id: int) -> None:
    """Give back a first claim whose transaction certainly never began: as if it had not been taken."""
    db.execute("DELETE FROM mailing WHERE id = ? AND status = 'sending'", (mailing_id,))


def give_back(db: Database, mailing_id: int, *, now: datetime, attempted: bool) -> None:
    """Let a mail that a dead run had claimed go again: it certainly was not taken."""
    db.execute(
        """UPDATE mailing SET status = 'deferred', retry_at = ?, attempts = max(attempts - ?, 0),
                  reason = 'its run ended before it was sent'
            WHERE id = ? AND status = 'sending'""",
        (seconds(now), 0 if attempted else 1, mailing_id),
    )


def defer_doubtful(db: Database, mailing_id: int, *, now: datetime) -> None:
    """Send a mailing of unknown fate once more, with the doubt on record."""
    db.execute(
        """UPDATE mailing SET status = 'deferred', retry_at = ?, reason = 'goes again: its fate is unknown'
            WHERE id = ? AND status = 'uncertain'""",
        (seconds(now), mailing_id),
    )


def hold_doubtful(db: Database, mailing_id: int) -> None:
    """Leave a doubtful mailing that was to go again to a person: it would come too late to be known as a double."""
    db.execute(
        """UPDATE mailing SET status = 'uncertain', retry_at = NULL,
                  reason = 'its fate is unknown; too late to try again'
            WHERE id = ? AND status = 'deferred'""",
        (mailing_id,),
    )


def put_off(db: Database, mailing_id: int, until: datetime) -> None:
    """Try a deferred mailing again at ``until``, not before."""
    db.execute("UPDATE mailing SET retry_at = ? WHERE id = ? AND status = 'deferred'", (seconds(until), mailing_id))


def skip(db: Database, mailing_id: int, reason: str, now: datetime) -> None:
    """Leave out a deferred mailing: what it was for no longer holds."""
    db.execute(
        """UPDATE mailing SET status = 'skipped', reason = ?, retry_at = NULL, finished_at = ?
            WHERE id = ? AND status IN ('deferred', 'held')""",
        (reason, seconds(now), mailing_id),
    )
    drop_bytes(db, mailing_id)


def settle_by_evidence(db: Database, mailing_id: int, evidence: str, now: datetime) -> None:
    """Record that a mailing of unknown fate did arrive, and how that is known."""
    db.execute(
        """UPDATE mailing SET status = 'sent', reason = ?, finished_at = ?, retry_at = NULL
            WHERE id = ? AND status IN ('uncertain', 'held')""",
        (evidence, seconds(now), mailing_id),
    )
    drop_bytes(db, mailing_id)


def by_id(db: Database, mailing_id: int) -> Mailing | None:
    """Return one mailing, or None."""
    row = db.one("SELECT * FROM mailing WHERE id = ?", (mailing_id,))
    return from_row(row) if row else None


def of_step(db: Database, enrollment_id: int, step: str) -> Mailing | None:
    """Return what became of one step of a way, or None when it has not come yet."""
    row = db.one("SELECT * FROM mailing WHERE enrollment_id = ? AND step = ?", (enrollment_id, step))
    return from_row(row) if row else None


def retries_due(db: Database, now: datetime, limit: int, *, not_of_run: int = 0) -> tuple[Mailing, ...]:
    """Return at most ``limit`` deferred mailings whose time has come, the longest waiting first.

    What ``not_of_run`` has tried already is left for a later run.
    """
    rows = db.all(
        """SELECT * FROM mailing WHERE status = 'deferred' AND retry_at <= ? AND run_id IS NOT ?
            ORDER BY retry_at, id LIMIT ?""",
        (seconds(now), not_of_run, limit),
    )
    return tuple(from_row(row) for row in rows)


def of_enrollment(db: Database, enrollment_id: int) -> tuple[Mailing, ...]:
    """Return the mailings of one enrollment in the order they came up."""
    rows = db.all("SELECT * FROM mailing WHERE enrollment_id = ? ORDER BY first_at, id", (enrollment_id,))
    return tuple(from_row(row) for row in rows)


def in_status(db: Database, status: MailingStatus, limit: int = -1) -> tuple[Mailing, ...]:
    """Return mailings in one of the open states, oldest first."""
    rows = db.all(f"SELECT * FROM mailing WHERE status = ? AND {OPEN} ORDER BY id LIMIT ?", (status.value, limit))  # noqa: S608
    return tuple(from_row(row) for row in rows)


def sending_of_dead_runs(db: Database, run_id: int) -> tuple[Mailing, ...]:
    """Return what other runs left in ``sending``; the caller holds the lock, so those runs are dead."""
    rows = db.all(
        f"SELECT * FROM mailing WHERE status = 'sending' AND {OPEN} AND run_id IS NOT ? ORDER BY id",  # noqa: S608
        (run_id,),
    )
    return tuple(from_row(row) for row in rows)


def keep_bytes(db: Database, mailing_id: int, message: bytes) -> None:
    """Keep the bytes of a mail that may have to go again unchanged (MSG-6)."""
    db.execute("INSERT OR REPLACE INTO outgoing VALUES (?, ?)", (mailing_id, message))


def kept_bytes(db: Database, mailing_id: int) -> bytes | None:
    """Return the bytes kept for a mailing, or None."""
    row = db.one("SELECT message FROM outgoing WHERE mailing_id = ?", (mailing_id,))
    return row["message"] if row else None


def drop_bytes(db: Database, mailing_id: int) -> None:
    """Forget the kept bytes of a mailing that is settled."""
    db.execute("DELETE FROM outgoing WHERE mailing_id = ?", (mailing_id,))


def end_open_of(db: Database, subscriber_id: int, reason: str, now: datetime) -> int:
    """Settle every mail of a person that waits for another try or a decision; returns how many."""
    ids = [
        row["id"]
        for row in db.all(
            """SELECT m.id FROM enrollment e JOIN mailing m ON m.enrollment_id = e.id
                WHERE e.subscriber_id = ? AND m.status IN ('deferred', 'held')""",
            (subscriber_id,),
        )
    ]
    for mailing_id in ids:
        skip(db, mailing_id, reason, now)
    return len(ids)


def forget(db: Database, subscriber_id: int) -> None:
    """Remove kept bytes and server replies of a person's mail; the facts stay."""
    db.execute(
        """DELETE FROM outgoing WHERE mailing_id IN
           (SELECT m.id FROM mailing m JOIN enrollment e ON e.id = m.enrollment_id WHERE e.subscriber_id = ?)""",
        (subscriber_id,),
    )
    db.execute(
        """UPDATE mailing SET reply = '' WHERE enrollment_id IN
           (SELECT id FROM enrollment WHERE subscriber_id = ?)""",
        (subscriber_id,),
    )
