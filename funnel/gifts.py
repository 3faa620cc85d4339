"""Gift codes, handled like money: one per person for ever, used once, and always accounted for."""

from __future__ import annotations

import secrets
from datetime import time, timedelta
from typing import TYPE_CHECKING

from funnel import enroll
from funnel.errors import GiftError
from funnel.model import Event, EventKind, Gift, GiftStatus
from funnel.schedule import local_instant, zone
from funnel.store import events, subscribers
from funnel.store import gifts as rows

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.store.database import Database

#: Crockford's base 32: no I, L, O, U, so a code survives the telephone.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_CHARACTERS = 12  # 60 bits (SEC-19)
#: The sequence that sends a code once more.
AGAIN = "gift"
LOOK_ALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})


def new_code() -> str:
    """Return a fresh random code with its check character: ``7K3M-9QXA-P2VD-5``."""
    bits = secrets.randbits(5 * RANDOM_CHARACTERS)
    body = "".join(ALPHABET[bits >> 5 * i & 31] for i in range(RANDOM_CHARACTERS))
    return spelled(body + check_character(body))


def spelled(code: str) -> str:
    """Return a code in groups of four."""
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def check_character(body: str) -> str:
    """Return the Luhn mod 32 check character: it catches every single wrong character."""
    total = 0
    for i, character in enumerate(reversed(body)):
        value = ALPHABET.index(character) * (2 if i % 2 == 0 else 1)
        total += value // 32 + value % 32
    return ALPHABET[-total % 32]


def read_code(typed: str) -> str:
    """Return the code somebody typed or read out, in its one spelling.

    Case, spaces, hyphens and look-alike letters do not matter. Raises GiftError, saying what is wrong.
    """
    code = "".join(c for c in typed.upper() if c.isalnum()).translate(LOOK_ALIKES)
    if len(code) != RANDOM_CHARACTERS + 1:
        raise GiftError(f"A gift code has 13 letters and digits, like 7K3M-9QXA-P2VD-5; this one has {len(code)}.")
    strange = [c for c in code if c not in ALPHABET]
    if strange:
        raise GiftError(f"No gift code has the character {strange[0]}; please read it again.")
    if check_character(code[:-1]) != code[-1]:
        raise GiftError("One character of this code is wrong; please read it again.")
    return spelled(code)


def issue(db: Database, ctx: Context, subscriber_id: int, now: datetime) -> Gift:
    """Return the person's gift, giving them a code when they have none; inside the caller's transaction.

    The same person gets the same code for ever, also after leaving, coming back or being forgotten.
    """
    holder = ctx.holder(subscribers.key_of(db, subscriber_id))
    expires = last_moment(ctx, now)
    while True:
        found = rows.by_holder(db, holder)
        if found:
            return found
        rows.add(db, new_code(), holder, subscriber_id, now=now, expires=expires)


def last_moment(ctx: Context, now: datetime) -> datetime:
    """Return the last second of a gift given now: its whole last day counts, at the clinic where it is used."""
    where = zone(ctx.config.clinic.time_zone)
    after = now.astimezone(where).date() + timedelta(days=ctx.config.gift.expires_days + 1)
    return local_instant(after, time(0), where) - timedelta(seconds=1)


def of_person(db: Database, ctx: Context, subscriber_id: int) -> Gift | None:
    """Return a person's gift, or None."""
    key = subscribers.key_of(db, subscriber_id)
    return rows.by_holder(db, ctx.holder(key)) if key else None


def usable(gift: Gift | None, now: datetime) -> bool:
    """True while a gift can still be redeemed."""
    return gift is not None and gift.status in {GiftStatus.ISSUED, GiftStatus.SENT} and now < gift.expires_at


def send_again(db: Database, ctx: Context, subscriber_id: int, now: datetime) -> Gift:
    """Plan the mail with a person's code once more, for the next run, and return the gift.

    Raises GiftError when the code is of no use any more, or the person gets no mail from us.
    """
    with db.transaction():
        person, gift = subscribers.by_id(db, subscriber_id), of_person(db, ctx, subscriber_id)
        if person is None or gift is None or not person.status.listening:
            raise GiftError("This person gets no mail from us, so no gift code can be sent to them.")
        _refuse(gift, ctx, now)
        if AGAIN not in ctx.sequences:
            raise GiftError(f"There is no emails/{AGAIN}/sequence.toml, so there is no mail to send the code in.")
        enroll.enter(db, ctx, person, AGAIN, now)
        return gift


def look_up(db: Database, typed: str) -> Gift:
    """Return the gift with this code; raises GiftError when there is none."""
    gift = rows.by_code(db, read_code(typed))
    if gift is None:
        raise GiftError("There is no such gift code; please check it with the guest.")
    return gift


def redeem(db: Database, ctx: Context, typed: str, *, by: str, now: datetime) -> Gift:
    """Use a code once and return it; of two clerks at the same moment one wins.

    Raises GiftError with the reason the guest can be told.
    """
    with db.transaction():
        gift = look_up(db, typed)
        _refuse(gift, ctx, now)
        if not rows.redeem(db, gift.id, by=by, now=now):
            raise GiftError
        events.add(
            db, Event("funnel", f"redeemed:{gift.id}", EventKind.REDEEMED, now, gift.subscriber_id, raw=f"by {by}")
        )
        return look_up(db, gift.code)


def _refuse(gift: Gift, ctx: Context, now: datetime) -> None:
    """Raise GiftError for a code that cannot be used any more."""
    where = zone(ctx.config.clinic.time_zone)
    if gift.status is GiftStatus.REDEEMED and gift.redeemed_at:
        when = gift.redeemed_at.astimezone(where)
        raise GiftError(f"This code was used on {when:%d %B %Y at %H:%M} ({gift.redeemed_by}).")
    if gift.status is GiftStatus.VOID:
        raise GiftError(f"This code was cancelled: {gift.note or 'no reason noted'}.")
    if gift.status is GiftStatus.EXPIRED or now >= gift.expires_at:
        raise GiftError(f"This code expired on {gift.expires_at.astimezone(where):%d %B %Y}.")


def counts(db: Database) -> dict[GiftStatus, int]:
    """Return how many gifts are in each status."""
    return rows.counts(db)
