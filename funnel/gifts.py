"""Gift codes, handled like money: one per person for ever, used once, and always accounted for."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import time, timedelta
from typing import TYPE_CHECKING

from funnel import enroll
from funnel.errors import GiftError
from funnel.model import Event, EventKind, Gift, GiftStatus, Kind
from funnel.policy import NO_CODE, holds_for_code
from funnel.schedule import local_instant, zone
from funnel.store import enrollments, events, pool, runs, seal, settling, subscribers
from funnel.store import gifts as rows
from funnel.store.database import moment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.store.ledger import Given

#: Crockford's base 32: no I, L, O, U, so a code survives the telephone.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_CHARACTERS = 12  # 60 bits (SEC-19)
#: The sequence that sends a code once more.
AGAIN = "gift"
#: So few codes left is too few, as is less than were given in the last week.
LOW = 20
WEEK = timedelta(days=7)
UNKNOWN = "There is no such gift code; please check it with the guest."
NOBODYS = "This code is in the pool, but nobody was given it yet; please ask the guest where it comes from."
TAKEN_OUT = "This code was taken out of the pool before anybody was given it."
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


def issue(db: Database, ctx: Context, subscriber_id: int, now: datetime) -> Gift | None:
    """Return the person's gift, giving them a code when they have none; inside the caller's transaction.

    The same person gets the same code for ever, also after leaving, coming back or being forgotten. None when the
    pool is empty: then they wait for the next import, in the order of confirming, and the staff are told (F-50).
    """
    gift = _code_for(db, ctx, subscriber_id, now)
    if gift is not None:
        pool.stop_waiting(db, subscriber_id)
        return gift
    if not pool.anybody_waits(db):
        _alert(db, ctx, now)
    pool.wait(db, subscriber_id, now)
    return None


def _code_for(db: Database, ctx: Context, subscriber_id: int, now: datetime) -> Gift | None:
    """Return the person's gift, a new one where they have none; None when the pool is empty."""
    holder = ctx.holder(subscribers.key_of(db, subscriber_id))
    expires = last_moment(ctx, now)
    while True:
        found = rows.by_holder(db, holder)
        if found:
            return found
        if ctx.config.gift.source != "pool":
            rows.add(db, new_code(), holder, subscriber_id, now=now, expires=expires)
        elif key := pool.give(db, holder, subscriber_id, now=now, expires=expires):
            seal.given(db, code_hash(ctx, key), holder, now)
        else:
            return None


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
        if gift is None and pool.waits(db, subscriber_id):
            raise GiftError("No gift code was left for this person; it goes out by itself when codes are imported.")
        if person is None or gift is None or not person.status.listening:
            raise GiftError("This person gets no mail from us, so no gift code can be sent to them.")
        _refuse(gift, ctx, now)
        if AGAIN not in ctx.sequences:
            raise GiftError(f"There is no emails/{AGAIN}/sequence.toml, so there is no mail to send the code in.")
        enroll.enter(db, ctx, person, AGAIN, now)
        return gift


def look_up(db: Database, typed: str) -> Gift:
    """Return the gift with this code, of the pool or one of ours; raises GiftError when there is none."""
    found = pool.by_key(db, code_key(typed))
    if found is None:
        gift = rows.by_code(db, _read(db, typed))
    elif found["gift_id"] is not None:
        gift = rows.by_id(db, found["gift_id"])
    else:
        raise GiftError(TAKEN_OUT if found["withdrawn_at"] else NOBODYS)
    if gift is None:
        raise GiftError(UNKNOWN)
    return gift


def _read(db: Database, typed: str) -> str:
    """Return a code of ours in its one spelling; where the clinic has codes of its own, any text may be one."""
    try:
        return read_code(typed)
    except GiftError:
        if pool.used(db):
            raise GiftError(UNKNOWN) from None
        raise


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


# --- the clinic's own codes --------------------------------------------------------------------


def code_key(text: str) -> str:
    """Return what makes two codes one at a desk: letters and digits, in capitals."""
    return "".join(c for c in text.upper() if c.isalnum())


def without_codes(db: Database, text: str) -> str:
    """Return a text with an ellipsis for each code of the pool, however it is spelled in there."""
    places = [place for place, c in enumerate(text) if c.isascii() and c.isalnum()]
    letters = "".join(text[place] for place in places).upper()
    shown = list(text)
    for key in pool.within(db, letters):
        for found in re.finditer(f"(?={key})", letters):
            first, last = places[found.start()], places[found.start() + len(key) - 1]
            shown[first : last + 1] = ["…", *[""] * (last - first)]
    return "".join(shown)


def code_hash(ctx: Context, key: str) -> str:
    """Return the keyed hash under which the send journal knows a code of the pool."""
    return ctx.hash_of(f"code {key}")


def known(db: Database, key: str) -> bool:
    """True when a code was imported before, or is one that we made ourselves."""
    return pool.knows(db, key) or rows.by_code(db, spelled(key)) is not None


def serve(db: Database, ctx: Context, now: datetime) -> int:
    """Give codes to those who wait, in the order they confirmed, and let their held mail go with the next run.

    In the caller's transaction; returns how many people are served.
    """
    served = 0
    for person in pool.waiting(db):
        if _code_for(db, ctx, person, now) is None:
            break
        pool.stop_waiting(db, person)
        served += 1
    pool.release(db, NO_CODE, now)
    return served


def holds(db: Database, ctx: Context, kind: Kind, subscriber_id: int) -> bool:
    """True when a mail of this kind is kept back because its person waits for a code."""
    waits = kind is Kind.GUIDE and pool.waits(db, subscriber_id)
    held = waits and pool.holds(db, subscriber_id, NO_CODE)
    return holds_for_code(kind, ctx.config.gift.when_empty, waits=waits, held=held)


def give_again(db: Database, ctx: Context, given: Mapping[str, Given]) -> int:
    """Do again what the send journal knows of codes that look free, in the caller's transaction; returns how many.

    Each goes to whom it was given, also when this database does not know them: they have it when they come again.
    """
    hashes = {code_hash(ctx, key): key for key in pool.free_keys(db)} if given else {}
    again = {key: given[code] for code, key in hashes.items() if code in given}
    people = {ctx.holder(address): person for person, address in settling.keys(db)} if again else {}
    for key, record in again.items():
        at, person = moment(record.at), people.get(record.holder)
        pool.give_again(db, key, record.holder, person, at=at, expires=last_moment(ctx, at))
        if person is not None:
            pool.stop_waiting(db, person)
    return len(again)


def waits(db: Database, subscriber_id: int) -> bool:
    """True while a person waits for a code."""
    return pool.waits(db, subscriber_id)


def withdraw(db: Database, now: datetime) -> int:
    """Take every free code out of the pool, for good; returns how many."""
    with db.transaction():
        return pool.withdraw(db, now)


@dataclass(frozen=True, slots=True)
class Stock:
    """How the pool stands."""

    free: int  #: codes nobody has
    waiting: int  #: people who confirmed when none was left
    last_week: int  #: codes given in the last seven days

    @property
    def low(self) -> bool:
        """True when somebody waits, or soon will."""
        return bool(self.waiting) or self.free < max(LOW, self.last_week)

    def __str__(self) -> str:
        """Return what staff should know, in a sentence; the same with and without trouble."""
        left = f"{self.free:,} gift {'code is' if self.free == 1 else 'codes are'} left in the pool"
        if self.waiting:
            who = f"{self.waiting:,} {'person waits' if self.waiting == 1 else 'people wait'}"
            return f"{left}, and {who} for one: run “funnel gift import FILE”."
        lately = f"{left}; {self.last_week:,} went in the last seven days"
        return f"{lately}: import more soon (“funnel gift import FILE”)." if self.low else f"{lately}."


def stock(db: Database, now: datetime, *, in_use: bool = False) -> Stock | None:
    """Return how the pool stands; None when it is not ``in_use``, gave no code lately, and nobody waits."""
    waiting, last_week = pool.count_waiting(db), pool.given_since(db, now - WEEK)
    return Stock(pool.free(db), waiting, last_week) if in_use or waiting or last_week else None


def _alert(db: Database, ctx: Context, now: datetime) -> None:
    """Let the weekly mail to staff go with the next run instead of on Monday: somebody begins to wait for a gift."""
    staff = runs.get(db, enroll.STAFF)
    weekly = next((s for s in ctx.sequences.values() if s.weekly), None)
    way = enrollments.latest(db, int(staff), weekly.name) if staff and weekly else None
    if way and way.next_at and way.next_at > now:
        enrollments.plan(db, way.id, step=way.next_step, at=now, anchor=now)
