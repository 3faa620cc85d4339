"""What a person on the list may choose about their mails: stay, fewer of them, only the guide, the series again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel import enroll, feedback
from funnel.model import Event, EventKind, Kind, MailingStatus, Receipt, Status
from funnel.signup.leaving import undo, unsubscribe
from funnel.store import choices, consents, enrollments, events, mailings, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment, Subscriber
    from funnel.store.database import Database

SERIES = "series"
#: "Fewer mails": at least so many days between two mails of the series.
SLOW_DAYS = 7
PAUSES = {"pause-14": 14, "pause-28": 28}
#: Why the series of a person ended who wants the guide alone.
GUIDE_ONLY = "wants the guide only"


@dataclass(frozen=True, slots=True)
class Series:
    """How the series of one person stands."""

    going: bool  #: more mails are planned
    guide_only: bool  #: ended because the person wants the guide alone
    slow: bool  #: the person wants fewer mails


def series_of(db: Database, subscriber_id: int) -> Series:
    """Return how a person's series stands."""
    way = enrollments.latest(db, subscriber_id, SERIES)
    return Series(
        going=way is not None and way.next_at is not None,
        guide_only=way is not None and way.ended == GUIDE_ONLY,
        slow=choices.gap_days(db, subscriber_id) > 0,
    )


def choose(db: Database, ctx: Context, person: Subscriber, act: str, *, now: datetime, receipt: Receipt) -> bool:
    """Do what one button of the preferences says; True when that changed something. Raises KeyError for no button."""
    match act:
        case "keep":
            return keep(db, person.id, now=now, receipt=receipt)
        case "slower" | "faster":
            days = SLOW_DAYS if act == "slower" else 0
            return set_gap(db, ctx, person.id, days, now=now, receipt=receipt)
        case "guide-only":
            return guide_only(db, ctx, person.id, now=now, receipt=receipt)
        case "series-again":
            return series_again(db, ctx, person.id, now=now, receipt=receipt)
        case "stop":
            return unsubscribe(db, ctx, person.id, now=now, receipt=receipt)
        case "undo":
            return undo(db, ctx, person.id, now=now, receipt=receipt)
        case "resume":
            paused = person.status is Status.PAUSED
            return paused and feedback.pause(db, person.id, until=None, now=now, receipt=receipt)
        case _:
            until = now + timedelta(days=PAUSES[act])
            return feedback.pause(db, person.id, until=until, now=now, receipt=receipt)


def keep(db: Database, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Record that a person on the list wants to stay on it; False for everybody else."""
    with db.transaction():
        person = _listener(db, subscriber_id)
        if person is None:
            return False
        _record(db, person, EventKind.RESUBSCRIBED, now, receipt)
    return True


def set_gap(db: Database, ctx: Context, subscriber_id: int, days: int, *, now: datetime, receipt: Receipt) -> bool:
    """Let at least so many days lie between two mails of the series, 0 for as before; False when nothing changes."""
    with db.transaction():
        person = _listener(db, subscriber_id)
        if person is None or choices.gap_days(db, person.id) == days:
            return False
        choices.set_gap_days(db, person.id, days)
        way = enrollments.latest(db, person.id, SERIES)
        if way and way.next_at and not _urgent(ctx, way):
            enroll.go_on(db, ctx, person, way, now)
        _record(db, person, EventKind.RESUBSCRIBED, now, receipt)
    return True


def guide_only(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """End the series for a person who keeps the guide, the gift and "send it again"; False when it is not on."""
    with db.transaction():
        person = _listener(db, subscriber_id)
        way = enrollments.latest(db, subscriber_id, SERIES)
        if person is None or way is None or way.next_at is None:
            return False
        if _urgent(ctx, way):  # the guide has not gone out yet, and it is what they want
            enroll.enter(db, ctx, person, "again", now)
        enrollments.plan(db, way.id, step=way.next_step, at=None, anchor=way.anchor_at, ended=GUIDE_ONLY)
        _drop_waiting(db, way, now)
        _record(db, person, EventKind.PAUSED, now, receipt)
    return True


def series_again(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Let the series go on for a person who wanted the guide only; False for everybody else."""
    with db.transaction():
        person = _listener(db, subscriber_id)
        way = enrollments.latest(db, subscriber_id, SERIES)
        if person is None or way is None or way.ended != GUIDE_ONLY:
            return False
        enroll.enter(db, ctx, person, SERIES, now)
        _record(db, person, EventKind.RESUBSCRIBED, now, receipt)
    return True


def _listener(db: Database, subscriber_id: int) -> Subscriber | None:
    person = subscribers.by_id(db, subscriber_id)
    return person if person and person.status.listening else None


def _urgent(ctx: Context, way: Enrollment) -> bool:
    step = ctx.sequences[SERIES].step(way.next_step or "")
    return step is not None and step.urgent


def _drop_waiting(db: Database, way: Enrollment, now: datetime) -> None:
    """Leave out mails of the series that wait for another try; the guide still goes."""
    for mailing in mailings.of_enrollment(db, way.id):
        waits = mailing.status in {MailingStatus.DEFERRED, MailingStatus.HELD}
        if waits and mailing.kind != Kind.GUIDE:
            mailings.skip(db, mailing.id, GUIDE_ONLY, now)


def _record(db: Database, person: Subscriber, kind: EventKind, now: datetime, receipt: Receipt) -> None:
    """Keep receipt and event of a choice: whoever presses one of these buttons is here, and wants something."""
    consents.add(db, person.id, receipt)
    event_id = f"{receipt.act}:{person.id}:{len(consents.of(db, person.id))}"
    events.add(db, Event("funnel", event_id, kind, now, person.id, raw=receipt.act))
