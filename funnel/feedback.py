"""What an event does: it is kept, a status changes by ``policy``, and mail stops at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import Event, EventKind, MailingStatus, Receipt, Status
from funnel.policy import status_after
from funnel.store import consents, enrollments, events, mailings, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Subscriber
    from funnel.store.database import Database

#: What a suppression is called, by the status that brings it.
REASON = {
    Status.BOUNCED: "bounced",
    Status.UNSUBSCRIBED: "unsubscribed",
    Status.COMPLAINED: "complained",
    Status.ERASED: "erased",
}


def apply(db: Database, ctx: Context, event: Event, now: datetime) -> bool:
    """Take in one event, in one transaction; a second copy of it changes nothing and returns False."""
    with db.transaction():
        if not events.add(db, event):
            return False
        if event.mailing_id is not None:
            _evidence(db, event, now)
        person = subscribers.by_id(db, event.subscriber_id) if event.subscriber_id is not None else None
        if person is not None:
            stop(db, ctx, person, event.kind, now)
    return True


def _evidence(db: Database, event: Event, now: datetime) -> None:
    """Settle a mail of unknown fate by an event that could only follow its arrival at a server."""
    proof = {EventKind.DELIVERED, EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.OPENED, EventKind.CLICKED}
    mailing = mailings.by_id(db, event.mailing_id) if event.mailing_id is not None else None
    if mailing and event.kind in proof and mailing.status in {MailingStatus.UNCERTAIN, MailingStatus.HELD}:
        mailings.settle_by_evidence(db, mailing.id, f"{event.source} said {event.kind}", now)


def stop(db: Database, ctx: Context, person: Subscriber, kind: EventKind, now: datetime) -> bool:
    """Stop everything for a person when an event says so; True when it changed their status (P5)."""
    after = status_after(person.status, kind)
    if after is person.status:
        return False
    key = subscribers.key_of(db, person.id)
    if key:
        events.suppress(db, ctx.hash_of(key), REASON[after], now)
    subscribers.stop(db, person.id, after, now)
    enrollments.end_all(db, person.id, str(after))
    mailings.end_open_of(db, person.id, str(after), now)
    return True


def unsubscribe(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Stop all mail to a person at once. Any number of times is fine; the first moment counts (UNS-8).

    Returns True when it was news.
    """
    with db.transaction():
        person = subscribers.by_id(db, subscriber_id)
        if person is None or not stop(db, ctx, person, EventKind.UNSUBSCRIBED, now):
            return False
        consents.add(db, person.id, receipt)
        times = len(consents.of(db, person.id))
        events.add(db, Event("funnel", f"unsubscribed:{person.id}:{times}", EventKind.UNSUBSCRIBED, now, person.id))
    return True


def pause(db: Database, subscriber_id: int, *, until: datetime | None, now: datetime, receipt: Receipt) -> bool:
    """Pause the series until a moment, or let it go on; False when the person is not in it."""
    with db.transaction():
        person = subscribers.by_id(db, subscriber_id)
        if person is None or not person.status.listening:
            return False
        subscribers.pause(db, person.id, until)
        consents.add(db, person.id, receipt)
        kind = EventKind.PAUSED if until else EventKind.RESUMED
        times = len(consents.of(db, person.id))
        events.add(db, Event("funnel", f"{kind}:{person.id}:{times}", kind, now, person.id))
    return True
