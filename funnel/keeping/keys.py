"""Are these the keys a database was made with? Hashes under them say whom never to mail, and whose gift is whose.

With other keys every such hash looks new: who was forgotten or blocked could be mailed again, and nothing would
say so (F-52, LAW-6). So a database remembers a mark of its keys, and is not written to with any others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.address import keyed_hash
from funnel.errors import KeysError
from funnel.store import events, gifts, runs, settling, subscribers
from funnel.store.database import open_database
from funnel.store.lock import alone, sending

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.tokens import Keys

#: Under which key the database keeps the mark.
MARK = "keys"
WRONG = (
    "These are not the keys this database was made with, so nobody could tell whom never to mail; nothing was done. "
    "Put the old keys back: the last line of the secret is what counts. If they are lost for good, say "
    "“funnel restore --new-keys”."
)


@dataclass(frozen=True, slots=True)
class Renewed:
    """What is known again under new keys, and how many stopped addresses are not."""

    stopped: int
    gifts: int
    unknown: int


def mark_of(keys: Keys) -> str:
    """Return what tells these keys from all others, and nothing about them; only the root of the pepper counts."""
    return keyed_hash(keys.pepper, "the keys of this database")[:16]


def fit(db: Database, keys: Keys) -> bool:
    """True unless a database was made with other keys."""
    return runs.get(db, MARK) in {None, mark_of(keys)}


def check_keys(db: Database, keys: Keys) -> None:
    """Raise KeysError for a database that was made with other keys; one without a mark takes that of these."""
    known, mark = runs.get(db, MARK), mark_of(keys)
    if known is None:
        runs.put(db, MARK, mark)
    elif known != mark:
        raise KeysError(WRONG)


def take_new_keys(database: Path, ctx: Context, now: datetime) -> Renewed | None:
    """Let a database be used with other keys, because its own are lost; None when these are its own.

    Everybody who stopped and is not forgotten stays off, everybody's gift stays theirs. The hashes of the
    forgotten and the blocked say nothing any more. Raises StoreBusyError while a run is at work.
    """
    with open_database(database) as db, alone(database, sending()), db.transaction():
        if fit(db, ctx.keys):
            return None
        before, stopped, held = sum(events.suppressions(db).values()), 0, 0
        for person_id, key in settling.keys(db):
            person = subscribers.by_id(db, person_id)
            if person is not None and person.status.stopped:
                events.suppress(db, ctx.hash_of(key), person.status, person.stopped_at or now)
                stopped += 1
            held += gifts.give_holder(db, person_id, ctx.holder(key))
        runs.put(db, MARK, mark_of(ctx.keys))
    return Renewed(stopped, held, max(0, before - stopped))
