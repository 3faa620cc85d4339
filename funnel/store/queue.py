"""The queue: what is due with all that a decision needs, in one look, and a batch of claims in one go."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from funnel.model import Due, Enrollment, Status, Subscriber
from funnel.store.database import maybe_moment, moment, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.model import Step
    from funnel.store.database import Database

#: CROSS JOIN keeps SQLite from starting with the people.
WAITING = """SELECT e.sequence, e.next_step, s.status, s.zone, s.paused_until, s.gap_days,
                    (SELECT group_concat(m.step, char(10)) FROM mailing m WHERE m.enrollment_id = e.id),
                    e.id, e.subscriber_id, e.occasion, e.anchor_at, e.next_at, e.last_at, e.ended,
                    s.email, s.email_key, s.locale, s.created_at, s.name, s.source, s.confirmed_at, s.stopped_at,
                    (SELECT max(o.last_at) FROM enrollment o WHERE o.subscriber_id = e.subscriber_id)
               FROM enrollment e CROSS JOIN subscriber s ON s.id = e.subscriber_id"""
#: So many of the first columns are of no one person: who has the same in all of them is in the same place.
ALIKE = 7
#: Those that waited longest; costs what is due, not what is stored.
LONGEST = "SELECT id FROM enrollment WHERE next_at <= :now ORDER BY next_at, id LIMIT :limit"
#: Read in the order they are stored in, page after page.
DUE = f"{WAITING} WHERE e.id IN ({LONGEST}) ORDER BY e.id"
ONE = f"{WAITING} WHERE e.id = :id"


class Waiting(NamedTuple):
    """A way whose next step is due, as it is stored; a name for each column of the query."""

    sequence: str
    next_step: str | None
    status: str
    zone: str
    paused: int | None
    gap_days: int
    dealt_with: str | None
    id: int
    person: int
    occasion: int
    anchor: int
    next_at: int | None
    last_at: int | None
    ended: str
    email: str | None
    email_key: str | None
    locale: str
    created: int
    name: str
    source: str
    confirmed: int | None
    stopped: int | None
    mailed_at: int | None  #: when this person was last mailed on any way

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


NEXT_AT = itemgetter(Waiting._fields.index("next_at"))
#: Of a claimed mail: its number, way, step, kind, when it was due, when it is claimed, and by which run.
ClaimRow = tuple[int, int, str, str, int, int, int]
#: Of its way: when it led to a mail, its next step and when that comes, its anchor, why it ended, and its number.
WayRow = tuple[int, str | None, int | None, int, str, int]


def due(db: Database, now: datetime, limit: int) -> list[Waiting]:
    """Return at most ``limit`` ways whose next step is due, the longest waiting first."""
    found = list(map(Waiting._make, db.tuples(DUE, {"now": seconds(now), "limit": limit})))
    found.sort(key=NEXT_AT)
    return found


def one(db: Database, enrollment_id: int) -> Waiting | None:
    """Return one way, whether its next step is due or not, or None."""
    return next(map(Waiting._make, db.tuples(ONE, {"id": enrollment_id})), None)


@lru_cache(maxsize=256)
def _names(lines: str | None) -> frozenset[str]:
    """Return the names of steps, one a line."""
    return frozenset(lines.split("\n")) if lines else frozenset()


STATUS = {str(status): status for status in Status}


def next_id(db: Database) -> int:
    """Return the first number no mailing has; good until the transaction ends."""
    return int(db.value("SELECT coalesce(max(id), 0) + 1 FROM mailing"))


def claim(db: Database, claims: Sequence[ClaimRow], ways: Sequence[WayRow]) -> None:
    """Record that a run sends these, and what comes next for each; in the caller's transaction."""
    db.many(
        """INSERT INTO mailing (id, enrollment_id, step, kind, status, due_at, claimed_at, first_at, attempts, run_id)
           VALUES (?1, ?2, ?3, ?4, 'sending', ?5, ?6, ?6, 1, ?7)""",
        claims,
    )
    db.many(
        "UPDATE enrollment SET last_at = ?, next_step = ?, next_at = ?, anchor_at = ?, ended = ? WHERE id = ?", ways
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
