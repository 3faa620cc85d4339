"""Take off again whoever left after a backup was made (F-45)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel import feedback, signup
from funnel.model import Event, EventKind, Status
from funnel.store import events, settling, subscribers
from funnel.store.database import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.store.ledger import Act

#: What happened to a person, by the reason they are kept off; any other was a wish.
KIND = {"bounced": EventKind.BOUNCED, "complained": EventKind.COMPLAINED, "erased": EventKind.ERASED}


@dataclass(frozen=True, slots=True)
class Stops:
    """How many addresses are kept off again, how many people that stopped, and how many were forgotten again."""

    addresses: int = 0
    people: int = 0
    erased: int = 0


def take_off_again(db: Database, ctx: Context, acts: Mapping[str, Act]) -> Stops:
    """Do again what the journal knows of people who left and did not come back, in the caller's transaction."""
    left = {key_hash: act for key_hash, act in acts.items() if act.reason}
    for key_hash, act in left.items():
        events.suppress(db, key_hash, act.reason, moment(act.at))
    people = erased = 0
    for person_id, key in settling.keys(db) if left else ():
        of_person = left.get(ctx.hash_of(key))
        if of_person is not None and _stopped(db, ctx, person_id, of_person):
            people += 1
            erased += of_person.reason == "erased"
    return Stops(len(left), people, erased)


def _stopped(db: Database, ctx: Context, person_id: int, act: Act) -> bool:
    """Stop one person; False when they were stopped before."""
    person, at = subscribers.by_id(db, person_id), moment(act.at)
    if person is None or person.status is Status.ERASED:
        return False
    if act.reason == "erased":
        signup.erase(db, ctx, person_id, now=at, operator="restore")
        return True
    kind = KIND.get(act.reason, EventKind.UNSUBSCRIBED)
    if not feedback.stop(db, ctx, person, kind, at, reason=act.reason):
        return False
    events.add(db, Event("restore", f"{kind}:{person_id}:{act.at}", kind, at, person_id))
    return True
