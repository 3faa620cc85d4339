"""Another address for a person on the list, once whoever reads its mail has confirmed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from funnel import feedback
from funnel.address import parse_address
from funnel.enroll import enter
from funnel.errors import FunnelError, NotFoundError
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.policy import ASK_AGAIN_AFTER, ASK_AT_MOST
from funnel.signup.limits import may_ask_tagged, take
from funnel.store import consents, enrollments, events, gifts, mailings, moves, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.address import Address
    from funnel.context import Context
    from funnel.model import Enrollment
    from funnel.store.database import Database

#: The sequence that asks at the new address.
MOVE = "move"
#: So many addresses one person may name in a day: the form of somebody on the list bombs nobody either (SEC-2).
MOVES_A_DAY = 5


class BusyError(FunnelError):
    """A mail to this person is on its way right now; try again in a minute."""

    exit_code = 75


def ask_to_move(db: Database, ctx: Context, person: Subscriber, email: str, *, now: datetime, receipt: Receipt) -> None:
    """Leave a mail to a person's new address, where one is due; from outside every address looks the same (SEC-1).

    Nothing changes until that mail is answered; of several addresses the last one named counts, so that a slip
    gives nobody else the mails. Raises AddressError for text that is no address, and TooManyError.
    """
    address = parse_address(email, samples=ctx.config.sample)
    with db.transaction():
        take(db, ctx, "signup", receipt.ip, now)
        asker, known = subscribers.by_id(db, person.id), subscribers.by_key(db, address.key)
        if asker is None or not asker.status.listening or MOVE not in ctx.sequences:
            return
        _supersede(db, asker, known, now)
        if not _may_ask(db, ctx, asker, known, address, now=now):
            return
        pending = known or subscribers.add(db, address, zone=asker.zone, locale=asker.locale, source=MOVE, now=now)
        consents.add(db, pending.id, receipt)
        moves.add(db, enter(db, ctx, pending, MOVE, now).id, asker.id, now)


def _supersede(db: Database, asker: Subscriber, known: Subscriber | None, now: datetime) -> None:
    """End what the person asked for at other addresses."""
    for way, pending in moves.targets(db, asker.id).items():
        if known is None or pending != known.id:
            feedback.drop_question(db, way, now)
            moves.close(db, way, "over")


def forget(db: Database, subscriber_id: int, now: datetime) -> None:
    """Forget the new addresses a person has named, unless somebody asked for the guide with one of them (LAW-5)."""
    feedback.drop_questions(db, subscriber_id, now)
    for pending_id in set(moves.targets(db, subscriber_id).values()):
        pending = subscribers.by_id(db, pending_id)
        if pending and pending.status is Status.PENDING and enrollments.latest(db, pending_id, "confirm") is None:
            for drop in (consents.forget, mailings.forget, events.forget):
                drop(db, pending_id)
            subscribers.forget(db, pending_id, now)
    moves.forget(db, subscriber_id)


def _may_ask(
    db: Database, ctx: Context, asker: Subscriber, known: Subscriber | None, address: Address, *, now: datetime
) -> bool:
    """True when a mail may ask at an address: it is nobody's, and was not asked too often (SEC-2)."""
    if known and (known.status is not Status.PENDING or _asked_enough(db, known, now)):
        return False
    if moves.asked_since(db, asker.id, now - timedelta(days=1)) >= MOVES_A_DAY:
        return False
    return _is_free(db, ctx, asker, address) and may_ask_tagged(db, ctx, address.key, now)


def _asked_enough(db: Database, known: Subscriber, now: datetime) -> bool:
    """True when a pending address was asked in the last day, or often in the last month, by whichever form."""
    names = ("confirm", MOVE)
    asked = [enrollments.latest(db, known.id, name) for name in names]
    if any(way and now - way.anchor_at < ASK_AGAIN_AFTER for way in asked):
        return True
    month_ago = now - timedelta(days=30)
    return sum(enrollments.entered_since(db, known.id, name, month_ago) for name in names) >= ASK_AT_MOST


def _is_free(db: Database, ctx: Context, person: Subscriber, address: Address) -> bool:
    """True when an address is not suppressed and its mailbox holds no gift of somebody else who is here (SEC-25)."""
    gift = gifts.by_holder(db, ctx.holder(address.key))
    suppressed = events.suppressed(db, *ctx.suppression_hashes(address.key))
    return not suppressed and (gift is None or gift.subscriber_id in {None, person.id})


def move(
    db: Database, ctx: Context, pending: Subscriber, enrollment: Enrollment, *, now: datetime, receipt: Receipt
) -> tuple[int, bool]:
    """Give the person who asked the address they confirmed, in the caller's transaction.

    Returns who it is, and whether it was done before. Series, gift, choices and history stay theirs. Raises
    NotFoundError when they left since, or the request is over: stopping wins (SEC-42); and BusyError while a
    mail to them is being sent, which must not end up at half of each address.
    """
    request = moves.by_id(db, enrollment.id)
    person = subscribers.by_id(db, request.subscriber_id) if request else None
    if request is None or person is None or not person.status.listening or request.state == "over":
        raise NotFoundError("This request is over; open the link in an email of ours to start again.")
    if request.state == "done":
        return person.id, True
    address = parse_address(pending.email, samples=ctx.config.sample) if pending.status is Status.PENDING else None
    if address is None or not _is_free(db, ctx, person, address):
        raise NotFoundError("This address is somebody's by now; open the link in an email of ours to start again.")
    if moves.being_sent(db, person.id, pending.id):
        raise BusyError
    _hand_over(db, ctx, person, pending, address, now=now)
    moves.close(db, enrollment.id, "done")
    consents.add(db, person.id, receipt)
    told = Event("funnel", f"moved:{enrollment.id}", EventKind.RESUBSCRIBED, now, person.id, raw="a new address")
    events.add(db, told)
    return person.id, False


def _hand_over(
    db: Database, ctx: Context, person: Subscriber, pending: Subscriber, address: Address, *, now: datetime
) -> None:
    old = subscribers.key_of(db, person.id)
    enrollments.end_all(db, pending.id, "moved")
    mailings.end_open_of(db, pending.id, "moved", now)
    moves.drop_bytes(db, person.id)
    moves.become_one(db, pending.id, person.id, address)
    moves.rehold(db, ctx.holder(old), ctx.holder(address.key))
