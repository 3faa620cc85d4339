"""The queue: what is due with all that a decision needs, in one look, and a batch of claims in one go."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from funnel.model import Due, Enrollment, MailingStatus, Status, Subscriber
from funnel.store.database import maybe_moment, maybe_seconds, moment, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.model import Step
    from funnel.store.database import Database

#: CROSS JOIN keeps SQLite from starting with the people.
WAITING = """SELECT e.id, e.subscriber_id, e.sequence, e.occasion, e.anchor_at, e.next_step, e.next_at, e.last_at,
                    e.ended, s.email, s.status, s.zone, s.locale, s.created_at, s.name, s.source, s.confirmed_at,
                    s.stopped_at, s.paused_until, s.email_key, s.gap_days,
                    (SELECT max(o.last_at) FROM enrollment o WHERE o.subscriber_id = e.subscriber_id),
                    (SELECT group_concat(m.step, char(10)) FROM mailing m WHERE m.enrollment_id = e.id)
               FROM enrollment e CROSS JOIN subscriber s ON s.id = e.subscriber_id"""
#: Costs what is due, not what is stored.
DUE = f"{WAITING} WHERE e.next_at <= :now ORDER BY e.next_at, e.id LIMIT :limit"
ONE = f"{WAITING} WHERE e.id = :id"


class Waiting(NamedTuple):
    """A way whose next step is due, as it is stored; a name for each column of the query."""

    id: int
    person: int
    sequence: str
    occasion: int
    anchor: int
    next_step: str | None
    next_at: int | None
    last_at: int | None
    ended: str
    email: str | None
    status: str
    zone: str
    locale: str
    created: int
    name: str
    source: str
    confirmed: int | None
    stopped: int | None
    paused: int | None
    email_key: str | None
    gap_days: int
    mailed_at: int | None  #: when this person was last mailed on any way
    dealt_with: str | None

    @property
    def key(self) -> str:
        """The canonical address; empty once erased."""
        return self.email_key or ""

    @property
    def had(self) -> frozenset[str]:
        """The steps of this way that were dealt with."""
        return _names(self.dealt_with)

    def due(self, step: Step, *, suppressed: bool) -> Due:
        """Return it with its step, and all else that a decision needs."""
        way = Enrollment(
            self.id, self.person, self.sequence, self.occasion, moment(self.anchor), self.next_step,
            maybe_moment(self.next_at), maybe_moment(self.last_at), self.ended,
        )  # fmt: skip
        person = Subscriber(
            self.person, self.email or "", STATUS[self.status], self.zone, self.locale, moment(self.created), self.name,
            self.source, maybe_moment(self.confirmed), maybe_moment(self.stopped), maybe_moment(self.paused),
        )  # fmt: skip
        return Due(
            way, person, step, suppressed, key=self.key, gap_days=self.gap_days,
            mailed_at=maybe_moment(self.mailed_at), had=self.had,
        )  # fmt: skip


class Claimed(NamedTuple):
    """One claim to be written down, and what comes next on its way."""

    mailing_id: int
    enrollment_id: int
    step: str
    kind: str
    due_at: datetime
    next_step: str | None
    next_at: datetime | None
    anchor_at: datetime
    ended: str


def due(db: Database, now: datetime, limit: int) -> list[Waiting]:
    """Return at most ``limit`` ways whose next step is due, the longest waiting first."""
    return list(map(Waiting._make, db.tuples(DUE, {"now": seconds(now), "limit": limit})))


def one(db: Database, enrollment_id: int) -> Waiting:
    """Return one way, whether its next step is due or not; it must be there."""
    [row] = db.tuples(ONE, {"id": enrollment_id})
    return Waiting._make(row)


@lru_cache(maxsize=256)
def _names(lines: str | None) -> frozenset[str]:
    """Return the names of steps, one a line."""
    return frozenset(lines.split("\n")) if lines else frozenset()


STATUS = {str(status): status for status in Status}


def next_id(db: Database) -> int:
    """Return the first number no mailing has; good until the transaction ends."""
    return int(db.value("SELECT coalesce(max(id), 0) + 1 FROM mailing"))


def claim(db: Database, claims: Sequence[Claimed], *, now: datetime, run_id: int) -> None:
    """Record that a run sends these, and what comes next for each; in the caller's transaction."""
    at, sending = seconds(now), MailingStatus.SENDING.value
    db.many(
        """INSERT INTO mailing (id, enrollment_id, step, kind, status, due_at, claimed_at, first_at, attempts, run_id)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)""",
        [(c.mailing_id, c.enrollment_id, c.step, c.kind, sending, seconds(c.due_at), at, at, run_id) for c in claims],
    )
    db.many(
        "UPDATE enrollment SET last_at = ?, next_step = ?, next_at = ?, anchor_at = ?, ended = ? WHERE id = ?",
        [(at, c.next_step, maybe_seconds(c.next_at), seconds(c.anchor_at), c.ended, c.enrollment_id) for c in claims],
    )


def sent(db: Database, mails: Sequence[tuple[int, str, str, int]]) -> None:
    """Record that claimed mails were taken: when, the server's words, the mail's version, and which mailing.

    In the caller's transaction.
    """
    db.many(
        """UPDATE mailing SET status = 'sent', finished_at = ?, reply = ?, version = ?
            WHERE id = ? AND status = 'sending'""",
        mails,
    )
