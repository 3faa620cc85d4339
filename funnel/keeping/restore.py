"""Put a backup in the place of the database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.errors import BackupError
from funnel.keeping.backup import Contents, contents_of
from funnel.keeping.history import history
from funnel.keeping.keys import check_keys
from funnel.keeping.stops import Stops, take_off_again
from funnel.store import copies, ledger, runs, seal
from funnel.store.database import open_database, seconds
from funnel.store.lock import alone, sending

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from funnel.context import Context


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, as of when, what was done again in it, and where the replaced database is kept."""

    contents: Contents
    known: datetime | None
    stops: Stops
    codes: int  #: of the pool, that were given since
    whole: bool  #: the journal knows all that happened since
    kept: Path | None = None


def restore(database: Path, file: Path, ctx: Context, *, now: datetime) -> Restored:
    """Make a backup the database, with everybody taken off who left since; sending then waits for ``resume``.

    At every moment the old database or the new one is whole in its place. The old one is kept under another name.
    Raises BackupError for a file that cannot be used, StoreBusyError; then nothing was changed.
    """
    if not file.is_file():
        raise BackupError(f"{file} is not there, or is no file; name a backup made by “funnel backup”.")
    if database.exists() and file.samefile(database):
        raise BackupError(f"{file.name} is the database itself; name a backup.")
    draft = database.with_name(database.name + ".restoring")
    with alone(database, sending()):
        try:
            copies.draft_of(file, draft)
            done = _brought_up_to_date(draft, ledger.path_of(database), ctx, now)
            copies.finish_draft(draft)
            # Of the mails on the wire when the backup was made, the last run's journal says nothing that holds.
            database.with_name(database.name + ".journal").unlink(missing_ok=True)
            kept = _kept(database, now) if database.exists() else None
            copies.put_in_place(draft, database, kept or database)
        finally:
            copies.drop(draft)
    return replace(done, kept=kept)


def _brought_up_to_date(draft: Path, journal: Path, ctx: Context, now: datetime) -> Restored:
    """Take people off in the copy, give codes again, and mark it as restored; returns what that was."""
    with open_database(draft) as db:
        check_keys(db, ctx.keys)
        known = seal.last_known(db)
        with db.transaction():
            past = history(journal, seal.read(db))
            codes = gifts.give_again(db, ctx, past.given)  # before those who left are forgotten
            stops = take_off_again(db, ctx, past.acts)
            runs.put(db, seal.RESTORED, str(seconds(now)))
            runs.put(db, seal.COPIED, str(seconds(known or now)))
        if stops.erased:
            db.rewrite()
    return Restored(contents_of(draft), known, stops, codes, past.whole)


def _kept(database: Path, now: datetime) -> Path:
    """Return a free name for the database that is replaced."""
    name = f"{database.name}.before-{now:%Y%m%d-%H%M%S}"
    taken = [n for n in range(2, 100) if database.with_name(f"{name}-{n}").exists()]
    if not database.with_name(name).exists():
        return database.with_name(name)
    return database.with_name(f"{name}-{max(taken, default=1) + 1}")
