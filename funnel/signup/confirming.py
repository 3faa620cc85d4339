"""Confirm a request, and press "Open the guide"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.enroll import enter
from funnel.errors import NotFoundError
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.signup.moving import MOVE, move
from funnel.store import choices, consents, enrollments, events, mailings, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment
    from funnel.store.database import Database


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Who confirmed; ``again`` is true when they had done so before, ``moved`` when it was their new address."""

    subscriber_id: int
    again: bool
    moved: bool = False


def confirm(db: Database, ctx: Context, enrollment_id: int, *, now: datetime, receipt: Receipt) -> Confirmed:
    """Confirm one request: status, gift code and the way into the series, all or nothing.

    With an empty pool of codes they wait for one instead (F-50). Twice is the same as once. Raises NotFoundError
    when the person was erased, or left after asking: then only a new request helps (F-51, SEC-42).
    """
    with db.transaction():
        enrollment = enrollments.by_id(db, enrollment_id)
        person = subscribers.by_id(db, enrollment.subscriber_id) if enrollment else None
        if enrollment is None or person is None or person.status is Status.ERASED:
            raise NotFoundError("This request is not there any more; please ask for the guide again.")
        if enrollment.sequence == MOVE:
            owner, again = move(db, ctx, person, enrollment, now=now, receipt=receipt)
            return Confirmed(owner, again=again, moved=True)
        if person.status.listening:
            return Confirmed(person.id, again=True)
        if person.stopped_at and person.stopped_at >= enrollment.anchor_at:
            raise NotFoundError("You asked us to stop after this request; please ask for the guide again.")
        _welcome(db, ctx, person, enrollment, now=now, receipt=receipt)
    return Confirmed(person.id, again=False)


def _welcome(
    db: Database, ctx: Context, person: Subscriber, enrollment: Enrollment, *, now: datetime, receipt: Receipt
) -> None:
    returning = enrollments.latest(db, person.id, "series") is not None
    subscribers.confirm(db, person.id, now)
    choices.set_gap_days(db, person.id, 0)
    choices.drop_undo(db, person.id)
    consents.add(db, person.id, receipt)
    events.lift(db, *ctx.suppression_hashes(subscribers.key_of(db, person.id)))
    enrollments.end_all(db, person.id, "confirmed")
    mailings.end_open_of(db, person.id, "confirmed", now)
    gifts.issue(db, ctx, person.id, now)
    kind = EventKind.RESUBSCRIBED if returning else EventKind.CONFIRMED
    events.add(db, Event("funnel", f"confirmed:{enrollment.id}", kind, now, person.id))
    confirmed = subscribers.by_id(db, person.id) or person
    enter(db, ctx, confirmed, "series", now)
    if returning:
        enter(db, ctx, confirmed, "again", now)


def downloaded(db: Database, subscriber_id: int, now: datetime) -> None:
    """Record that a person, not a scanner, pressed "Open the guide"; the first time each day counts."""
    with db.transaction():
        events.add(
            db,
            Event("funnel", f"downloaded:{subscriber_id}:{now:%Y-%m-%d}", EventKind.DOWNLOADED, now, subscriber_id),
        )
