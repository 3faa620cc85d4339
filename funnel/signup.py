"""From the form to a confirmed person: ask, confirm, be forgotten. Each act is one transaction.

The answer to the form is the same for every address (SEC-1); what differs is which mail is left for
the sender to pick up, if any.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel import feedback, gifts
from funnel.address import Address, parse_address
from funnel.config import is_zone
from funnel.enroll import enter
from funnel.errors import NotFoundError
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.policy import ASK_AGAIN_AFTER, ASK_AT_MOST, may_ask_again
from funnel.profile import LOCALE, PAGE, clean_name, matching
from funnel.store import consents, enrollments, events, mailings, subscribers
from funnel.store import gifts as gift_rows

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment
    from funnel.store.database import Database

FORM = "guide-form-1"


@dataclass(frozen=True, slots=True)
class Request:
    """What a form sent in. Everything but the address is optional and checked; nothing else is kept (HLT-1)."""

    email: str
    wording: str  #: the exact words the person saw beside the button
    zone: str = ""
    locale: str = ""
    page: str = ""
    ip: str = ""
    agent: str = ""
    name: str = ""
    form: str = FORM
    marketing: bool | None = None


def ask(db: Database, ctx: Context, request: Request, now: datetime) -> None:
    """Take in a sign-up: keep the receipt, and leave a mail for the sender where one is due.

    New, known, confirmed, unsubscribed and bounced addresses look the same from outside.
    Raises AddressError, with a sentence for the visitor, for text that is no address.
    """
    address = parse_address(request.email, samples=ctx.config.sample)
    with db.transaction():
        person = _person(db, ctx, address, request, now)
        consents.add(db, person.id, _receipt(request, now))
        entered = _enter(db, ctx, person, address, now)
        if entered:
            events.add(db, Event("funnel", f"captured:{entered.id}", EventKind.CAPTURED, now, person.id))


def _person(db: Database, ctx: Context, address: Address, request: Request, now: datetime) -> Subscriber:
    """Return who this is, adding them when the address is new."""
    return subscribers.by_key(db, address.key) or subscribers.add(
        db,
        address,
        zone=request.zone if is_zone(request.zone) else ctx.config.clinic.time_zone,
        locale=matching(LOCALE, request.locale) or ctx.config.clinic.locale,
        source=matching(PAGE, request.page),
        name=clean_name(request.name) if ctx.config.signup.name_field else "",
        now=now,
    )


def _receipt(request: Request, now: datetime) -> Receipt:
    return Receipt(
        act="requested",
        at=now,
        wording=request.wording,
        form=request.form,
        page=matching(PAGE, request.page),
        locale=matching(LOCALE, request.locale),
        ip=request.ip,
        agent=request.agent,
        marketing=request.marketing,
    )


def _enter(db: Database, ctx: Context, person: Subscriber, address: Address, now: datetime) -> Enrollment | None:
    """Enter the person where their status calls for it; None when no mail is due.

    A repeated sign-up never undoes a confirmation; it brings the guide again, once a day at most.
    """
    name = "again" if person.status.listening else "confirm"
    latest = enrollments.latest(db, person.id, name)
    if latest and now - latest.anchor_at < ASK_AGAIN_AFTER:
        return None
    if enrollments.entered_since(db, person.id, name, now - timedelta(days=30)) >= ASK_AT_MOST:
        return None
    if name == "again":
        recent = enrollments.last_mail_at(db, person.id)
        if recent and now - recent < timedelta(hours=1):
            return None
    suppressed = events.suppressed(db, *ctx.suppression_hashes(address.key))
    if suppressed and not may_ask_again(*suppressed, now):
        return None
    return enter(db, ctx, person, name, now)


# --- confirming --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Who confirmed; ``again`` is true when they had done so before."""

    subscriber_id: int
    again: bool


def confirm(db: Database, ctx: Context, enrollment_id: int, *, now: datetime, receipt: Receipt) -> Confirmed:
    """Confirm one request: status, gift code and the way into the series, all or nothing.

    Twice is the same as once. Raises NotFoundError when the person was erased, or left after asking:
    then only a new request helps (F-51, SEC-42).
    """
    with db.transaction():
        enrollment = enrollments.by_id(db, enrollment_id)
        person = subscribers.by_id(db, enrollment.subscriber_id) if enrollment else None
        if enrollment is None or person is None or person.status is Status.ERASED:
            raise NotFoundError("This request is not there any more; please ask for the guide again.")
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


# --- on the guide's page -----------------------------------------------------------------------


def downloaded(db: Database, subscriber_id: int, now: datetime) -> None:
    """Record that a person, not a scanner, pressed "Open the guide"; the first time each day counts."""
    with db.transaction():
        events.add(
            db,
            Event("funnel", f"downloaded:{subscriber_id}:{now:%Y-%m-%d}", EventKind.DOWNLOADED, now, subscriber_id),
        )


# --- being forgotten ---------------------------------------------------------------------------


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
        events.forget_raw(db, now - timedelta(days=retention.raw_event_days))
    return len(old)
