"""Another address for a person on the list, once whoever reads its mail has confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.address import parse_address
from funnel.enroll import enter
from funnel.errors import NotFoundError
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.policy import ASK_AGAIN_AFTER
from funnel.signup.limits import may_ask_tagged, take
from funnel.store import consents, enrollments, events, mailings, moves, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment
    from funnel.store.database import Database

#: The sequence that asks at the new address.
MOVE = "move"


def ask_to_move(db: Database, ctx: Context, person: Subscriber, email: str, *, now: datetime, receipt: Receipt) -> None:
    """Leave a mail to a person's new address, where one is due; from outside every address looks the same (SEC-1).

    Nothing changes until that mail is answered. Raises AddressError for text that is no address, and TooManyError.
    """
    address = parse_address(email, samples=ctx.config.sample)
    with db.transaction():
        take(db, ctx, "signup", receipt.ip, now)
        known = subscribers.by_key(db, address.key)
        if not person.status.listening or MOVE not in ctx.sequences or (known and not _free(db, known, now)):
            return
        if events.suppressed(db, *ctx.suppression_hashes(address.key)) or not may_ask_tagged(db, ctx, address.key, now):
            return
        pending = known or subscribers.add(
            db, address, zone=person.zone, locale=person.locale, source=MOVE, now=now, name=""
        )
        moves.put(db, pending.id, person.id, now)
        consents.add(db, pending.id, receipt)
        enter(db, ctx, pending, MOVE, now)


def _free(db: Database, known: Subscriber, now: datetime) -> bool:
    """True when an address that is here already is nobody's yet, and was not asked in the last day (SEC-2)."""
    asked = [enrollments.latest(db, known.id, name) for name in ("confirm", MOVE)]
    recent = any(way and now - way.anchor_at < ASK_AGAIN_AFTER for way in asked)
    return known.status is Status.PENDING and not recent


def move(
    db: Database, ctx: Context, pending: Subscriber, enrollment: Enrollment, *, now: datetime, receipt: Receipt
) -> int:
    """Give the person who asked the address they confirmed, in the caller's transaction; returns who it is.

    Series, gift, choices and history stay theirs. Raises NotFoundError when they left since, or the request is
    over: stopping wins (SEC-42).
    """
    person = subscribers.by_id(db, moves.owner_of(db, pending.id) or 0)
    address = parse_address(pending.email, samples=ctx.config.sample) if pending.email else None
    if person is None or address is None or not person.status.listening or pending.status is not Status.PENDING:
        raise NotFoundError("This request is over; open the link in an email of ours to start again.")
    if events.suppressed(db, *ctx.suppression_hashes(address.key)):
        raise NotFoundError("This address asked us to stop; ask for the guide with it to come back.")
    moves.hand_over(db, pending.id, person.id)
    moves.drop(db, pending.id)
    enrollments.end_all(db, pending.id, "moved")
    mailings.end_open_of(db, pending.id, "moved", now)
    subscribers.forget(db, pending.id, now)
    moves.readdress(db, person.id, address)
    moves.rehold(db, person.id, ctx.holder(address.key))
    consents.add(db, person.id, receipt)
    told = Event("funnel", f"moved:{enrollment.id}", EventKind.RESUBSCRIBED, now, person.id, raw="a new address")
    events.add(db, told)
    return person.id
