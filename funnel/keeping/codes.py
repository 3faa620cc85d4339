"""Give away again the clinic's own codes that were given after a backup was made, so that nobody else gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel import gifts
from funnel.store import pool, settling
from funnel.store.database import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.store.ledger import Given


def give_again(db: Database, ctx: Context, given: Mapping[str, Given]) -> int:
    """Do again what the journal knows of codes that look free, in the caller's transaction; returns how many.

    Each goes to whom it was given, also when this database does not know them: they have it when they come again.
    """
    hashes = {gifts.code_hash(ctx, key): key for key in pool.free_keys(db)} if given else {}
    again = {key: given[code] for code, key in hashes.items() if code in given}
    people = {ctx.holder(address): person for person, address in settling.keys(db)} if again else {}
    for key, record in again.items():
        at, person = moment(record.at), people.get(record.holder)
        pool.give_again(db, key, record.holder, person, at=at, expires=gifts.last_moment(ctx, at))
        if person is not None:
            pool.stop_waiting(db, person)
    return len(again)
