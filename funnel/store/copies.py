"""Whole copies of the database file: taking one while it is in use, looking one over, putting one in its place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from funnel.errors import BackupError, StoreBusyError
from funnel.store import database, ledger
from funnel.store.database import translated
from funnel.store.tick import APPLICATION_ID, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from funnel.store.database import Database

#: Four megabytes at a time, so that it can be stopped and watched.
PAGES = 1024
#: "FunX": marks a database that was replaced, so that whoever still has it open learns that.
REPLACED = 0x46756E58
BESIDE = ("-wal", "-shm", "-journal")


def copy_into(db: Database, target: Path, *, told: Callable[[int, int], None] | None = None) -> None:
    """Write one moment of an open database into an empty file, as one file without a log; nobody waits for it.

    ``told`` hears how many pages are left, of how many. Raises StoreError, or BackupError when the copy is not whole.
    """

    def progress(_: int, left: int, pages: int) -> None:
        if told is not None:
            told(left, pages)

    source = db.connection
    with translated(target), closing(sqlite3.connect(target, isolation_level=None)) as made:
        made.execute("PRAGMA synchronous = OFF")  # the file is brought to the disk at the end, by its owner
        source.execute("BEGIN")
        try:
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it is one moment
            source.backup(made, pages=PAGES, progress=progress)
        finally:
            source.rollback()
        made.execute("PRAGMA journal_mode = DELETE")


def set_value(file: Path, key: str, value: str) -> None:
    """Set one value in a copy that nobody else has open."""
    with translated(file), closing(sqlite3.connect(file, isolation_level=None)) as made:
        made.execute("PRAGMA synchronous = OFF")
        made.execute("PRAGMA journal_mode = MEMORY")
        made.execute(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )


def quick_fault(file: Path) -> str:
    """Return what SQLite finds wrong in a file at a quick look, or nothing."""
    with translated(file), closing(sqlite3.connect(file.as_uri() + "?mode=ro", uri=True)) as made:
        found = made.execute("PRAGMA quick_check(1)").fetchone()[0]
    return "" if found == "ok" else str(found)


def mailings(db: Database) -> int:
    """Return how many mails the ledger knows."""
    return int(db.value("SELECT count(*) FROM mailing"))


def draft_of(file: Path, draft: Path) -> None:
    """Make a copy of a backup to work on, for its owner only; the backup itself is not even opened by SQLite.

    Raises BackupError for what is no database of ours, is damaged, or is of a newer version; then no draft is left.
    """
    drop(draft)
    try:
        _copy(file, draft)
        _look_over(file, draft)
    except BaseException:
        drop(draft)
        raise


def _copy(file: Path, draft: Path) -> None:
    for suffix in ("", "-wal", "-journal"):  # a plain copy may have what belongs to it beside it
        source = file.with_name(file.name + suffix)
        if suffix and not source.exists():
            continue
        handle = os.open(draft.with_name(draft.name + suffix), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as target, source.open("rb") as origin:
            shutil.copyfileobj(origin, target, 1 << 20)


def drop(draft: Path) -> None:
    """Remove a draft with what SQLite put beside it."""
    for suffix in ("", *BESIDE):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _look_over(file: Path, draft: Path) -> None:
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as made:
            ours, version = (
                made.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            _ours(file, ours, version)
            wrong = [row[0] for row in made.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
            wrong += [f"a row of {row[0]} belongs to nothing" for row in made.execute("PRAGMA foreign_key_check")][:1]
            if not wrong:
                made.execute("PRAGMA journal_mode = DELETE")
                made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except sqlite3.DatabaseError as error:
        wrong = [str(error)]
    if wrong:
        raise BackupError(f"{file.name} is damaged ({wrong[0]}), so nothing was changed; use another backup.")


def _ours(file: Path, ours: int, version: int) -> None:
    if ours not in {APPLICATION_ID, REPLACED}:
        raise BackupError(f"{file.name} is no backup of Funnel's database; nothing was changed.")
    if version > SCHEMA_VERSION:
        raise BackupError(
            f"{file.name} was written by a newer version of Funnel (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); nothing was changed. Update Funnel first."
        )


def finish_draft(draft: Path) -> None:
    """Bring a draft to the disk as one file, ready to be put in place."""
    with translated(draft), closing(sqlite3.connect(draft, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sync(draft)


def sync(file: Path) -> None:
    """Bring a file to the disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(draft: Path, path: Path, kept: Path) -> None:
    """Let a finished draft be the database, and keep the one that was there under another name.

    At every moment one of both is whole under ``path``. Raises StoreBusyError while another program has it open.
    """
    if not path.exists():
        draft.replace(path)
        ledger.sync_folder(path.parent)
        return
    with _to_itself(path) as old:
        os.link(path, kept)
        if old is None:
            _move_beside(path, kept)
        draft.replace(path)
        ledger.sync_folder(path.parent)
        if old is not None:  # who waited for the old one must not go on with it
            old.execute(f"PRAGMA application_id = {REPLACED}")


def _move_beside(path: Path, kept: Path) -> None:
    """Keep what belongs to a damaged database with it: beside a new one it would be taken for that one's."""
    for suffix in BESIDE:
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(kept.with_name(kept.name + suffix))


@contextmanager
def _to_itself(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Have the old database to oneself, its log folded in; None for a file that SQLite cannot read.

    Raises StoreBusyError when another program keeps it open.
    """
    with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as old:
        try:
            for pause in _pauses():
                try:
                    old.execute("PRAGMA locking_mode = EXCLUSIVE")
                    # One page is written, at once; a journal of that, left by a crash, would keep readers out.
                    old.execute("PRAGMA journal_mode = MEMORY")
                    old.execute("BEGIN EXCLUSIVE")
                    old.execute("COMMIT")  # the lock stays until the connection ends
                    break
                except sqlite3.OperationalError as error:
                    if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                        raise
                time.sleep(pause)
            else:
                raise StoreBusyError(
                    f"{path.name} is open in another program, so nothing was changed; stop “funnel serve” and every "
                    "run of “funnel send”, and try again."
                )
            usable: sqlite3.Connection | None = old
        except sqlite3.DatabaseError:
            usable = None
        yield usable


def _pauses() -> Iterator[float]:
    """Yield pauses until so long has been waited as any connection of ours waits."""
    until = time.monotonic() + database.BUSY_SECONDS
    while time.monotonic() < until:
        yield 0.05
