"""Stop the mails, take that back for a while, be forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from funnel import feedback
from funnel.model import Event, EventKind, Receipt, Status
from funnel.signup import moving
from funnel.store import choices, consents, enrollments, events, mailings, moves, quotas, subscribers
from funnel.store import gifts as gift_rows

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.store.database import Database

#: How long a stop can be taken back with one press (UNS-15).
UNDO_WITHIN = timedelta(minutes=30)


def unsubscribe(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Stop all mail to a person at once, and keep for half an hour what stood before; True when it was news (UNS-8)."""
    with db.transaction():
        before = choices.state(db, subscriber_id, _hash(db, ctx, subscriber_id))
        if not feedback.unsubscribe(db, ctx, subscriber_id, now=now, receipt=receipt):
            return False
        choices.keep_undo(db, subscriber_id, before, now)
    return True


def can_undo(db: Database, subscriber_id: int, now: datetime) -> bool:
    """True while a person who stopped the mails on our pages can take that back."""
    person, kept = subscribers.by_id(db, subscriber_id), choices.undo_of(db, subscriber_id)
    if person is None or kept is None or person.status is not Status.UNSUBSCRIBED:
        return False
    return person.stopped_at == kept[0] and now - kept[0] <= UNDO_WITHIN


def undo(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Take a stop back: status and series are as they were, and only the suppression it brought is lifted.

    False, and nothing is changed, when it is too late or there is nothing to take back.
    """
    with db.transaction():
        kept = choices.undo_of(db, subscriber_id)
        if kept is None or not can_undo(db, subscriber_id, now):
            return False
        at, before = kept
        choices.put_back(db, subscriber_id, _hash(db, ctx, subscriber_id), before, at)
        consents.add(db, subscriber_id, receipt)
        times = len(consents.of(db, subscriber_id))
        events.add(db, Event("funnel", f"undone:{subscriber_id}:{times}", EventKind.RESUBSCRIBED, now, subscriber_id))
    return True


def _hash(db: Database, ctx: Context, subscriber_id: int) -> str:
    return ctx.hash_of(subscribers.key_of(db, subscriber_id))


def erase(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, operator: str) -> None:
    """Forget a person: address, name, page, IP, raw events and kept mail go; facts and a keyed hash stay (LAW-5).

    The database file is rewritten afterwards by ``Funnel.erase``, so that no trace stays in free pages.
    """
    with db.transaction():
        person = subscribers.by_id(db, subscriber_id)
        if person is None or person.status is Status.ERASED:
            return
        feedback.stop(db, ctx, person, EventKind.ERASED, now)
        consents.add(db, person.id, Receipt(act="erased", at=now, operator=operator))
        consents.forget(db, person.id)
        mailings.forget(db, person.id)
        events.forget(db, person.id)
        gift_rows.forget(db, person.id)
        choices.drop_undo(db, person.id)
        moving.forget(db, person.id, now)
        subscribers.forget(db, person.id, now)
        events.add(db, Event("funnel", f"erased:{person.id}", EventKind.ERASED, now, person.id))


def purge(db: Database, ctx: Context, now: datetime) -> int:
    """Drop what has been kept long enough; returns how many people were forgotten (LAW-3, LAW-8).

    Those are who asked and never confirmed within ``retention.pending_days``.
    """
    retention = ctx.config.retention
    old = subscribers.pending_before(db, now - timedelta(days=retention.pending_days))
    with db.transaction():
        for subscriber_id in old:
            enrollments.end_all(db, subscriber_id, "never confirmed")
            consents.forget(db, subscriber_id)
            mailings.forget(db, subscriber_id)
            events.forget(db, subscriber_id)
            subscribers.forget(db, subscriber_id, now)
        consents.truncate_ips(db, now - timedelta(days=retention.ip_days))
        choices.purge_undos(db, now - UNDO_WITHIN)
        quotas.purge(db, now)
        moves.purge(db, now - timedelta(days=retention.pending_days))
        events.forget_raw(db, now - timedelta(days=retention.raw_event_days))
    return len(old)
