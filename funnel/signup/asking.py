"""Ask for the guide, or for what was asked for to be sent again. From outside, every address looks the same (SEC-1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel.address import Address, parse_address
from funnel.config import is_zone
from funnel.enroll import enter
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.policy import ASK_AGAIN_AFTER, ASK_AT_MOST, may_ask_again
from funnel.profile import LOCALE, PAGE, clean_name, matching
from funnel.signup.limits import may_ask_tagged, take
from funnel.signup.moving import MOVE
from funnel.store import consents, enrollments, events, subscribers

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
    language: str = ""  #: of the words shown


def ask(db: Database, ctx: Context, request: Request, now: datetime) -> None:
    """Take in a sign-up: keep the receipt, and leave a mail for the sender where one is due.

    New, known, confirmed, unsubscribed and bounced addresses look the same from outside.
    Raises AddressError, with a sentence for the visitor, for text that is no address, and TooManyError when
    the same connection asked too often.
    """
    address = parse_address(request.email, samples=ctx.config.sample)
    with db.transaction():
        take(db, ctx, "signup", request.ip, now)
        person = _person(db, ctx, address, request, now)
        consents.add(db, person.id, _receipt(request, now))
        entered = _enter(db, ctx, person, address, now)
        if entered:
            events.add(db, Event("funnel", f"captured:{entered.id}", EventKind.CAPTURED, now, person.id))


def again(db: Database, ctx: Context, request: Request, now: datetime) -> None:
    """Leave a mail with what somebody asked for before: the guide, or the request to confirm.

    Nobody is added and nothing is agreed to: who is unknown or told us to stop gets nothing.
    Raises AddressError for text that is no address, and TooManyError like ``ask``.
    """
    address = parse_address(request.email, samples=ctx.config.sample)
    with db.transaction():
        take(db, ctx, "again", request.ip, now)
        person = subscribers.by_key(db, address.key)
        asked = person and (person.status.listening or enrollments.latest(db, person.id, "confirm"))
        if person and asked and (person.status.listening or person.status is Status.PENDING):
            _enter(db, ctx, person, address, now)


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
        locale=matching(LOCALE, request.locale) or request.language,
        ip=request.ip,
        agent=request.agent,
        marketing=request.marketing,
    )


def _enter(db: Database, ctx: Context, person: Subscriber, address: Address, now: datetime) -> Enrollment | None:
    """Enter the person where their status calls for it; None when no mail is due.

    A repeated sign-up never undoes a confirmation; it brings the guide again, once a day at most.
    """
    name = "again" if person.status.listening else "confirm"
    # A request to move to this address is one mail to it, too (SEC-2).
    ways = [enrollments.latest(db, person.id, way) for way in ((name,) if name == "again" else (name, MOVE))]
    if any(way and now - way.anchor_at < ASK_AGAIN_AFTER for way in ways):
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
    if name == "confirm" and not may_ask_tagged(db, ctx, address.key, now):
        return None
    return enter(db, ctx, person, name, now)
