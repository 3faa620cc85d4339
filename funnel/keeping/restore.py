"""Put a backup in the place of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.errors import BackupError
from funnel.keeping.backup import Contents, contents_of
from funnel.keeping.guard import alone, sending
from funnel.keeping.history import history
from funnel.keeping.stops import Stops, take_off_again
from funnel.store import copies, ledger, runs, seal
from funnel.store.database import open_database, seconds

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
    kept: Path | None


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
            known, stops = _brought_up_to_date(draft, ledger.path_of(database), ctx, now)
            contents = contents_of(draft)
            copies.finish_draft(draft)
            # Of the mails on the wire when the backup was made, the last run's journal says nothing that holds.
            database.with_name(database.name + ".journal").unlink(missing_ok=True)
            kept = _kept(database, now) if database.exists() else None
            copies.put_in_place(draft, database, kept or database)
        finally:
            copies.drop(draft)
    return Restored(contents, known, stops, kept)


def _brought_up_to_date(draft: Path, journal: Path, ctx: Context, now: datetime) -> tuple[datetime | None, Stops]:
    """Take people off in the copy, and mark it as restored; returns as of when it is."""
    with open_database(draft) as db:
        known = seal.last_known(db)
        with db.transaction():
            stops = take_off_again(db, ctx, history(journal, seal.read(db)).acts)
            runs.put(db, seal.RESTORED, str(seconds(now)))
            runs.put(db, seal.COPIED, str(seconds(known or now)))
        if stops.erased:
            db.rewrite()
    return known, stops


def _kept(database: Path, now: datetime) -> Path:
    """Return a free name for the database that is replaced."""
    name = f"{database.name}.before-{now:%Y%m%d-%H%M%S}"
    taken = [n for n in range(2, 100) if database.with_name(f"{name}-{n}").exists()]
    if not database.with_name(name).exists():
        return database.with_name(name)
    return database.with_name(f"{name}-{max(taken, default=1) + 1}")
