"""Take a backup while everything goes on."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.errors import BackupError
from funnel.store import copies, figures, ledger, runs, seal
from funnel.store.database import open_database, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds."""

    people: int
    mailings: int
    size: int  #: bytes


def contents_of(file: Path) -> Contents:
    """Return what a copy of the database holds; raises StoreError."""
    with open_database(file, readonly=True) as copy:
        people = sum(n for status, n in figures.people_by_status(copy).items() if status != "erased")
        return Contents(people, copies.mailings(copy), file.stat().st_size)


def back_up(
    database: Path, target: Path, *, now: datetime, force: bool = False, told: Callable[[int, int], None] | None = None
) -> Contents:
    """Write a whole, checked copy of a database to ``target``, for its owner only, and return what it holds.

    Nobody waits for it, and it is one moment of the database. Under its name there is all of it or nothing. Raises
    BackupError when that file is there already (and ``force`` is false) or cannot be written; StoreError.
    """
    _refuse(database, target, force=force)
    draft = target.with_name(target.name + ".part")
    with open_database(database, readonly=True) as db, _private(draft):
        copies.copy_into(db, draft, told=told)
        for key in (seal.COPIED, seal.BACKED_UP):
            copies.set_value(draft, key, str(seconds(now)))
        wrong = copies.quick_fault(draft.resolve())
        if wrong:
            raise BackupError(f"{database.name} is damaged ({wrong}), so no backup was written; restore an older one.")
        contents = contents_of(draft)
        copies.sync(draft)
        _name(draft, target, force=force)
    return contents


def note(database: Path, now: datetime) -> None:
    """Keep in a database that it was backed up; raises StoreError, and the backup is as good without."""
    with open_database(database) as db:
        runs.put(db, seal.BACKED_UP, str(seconds(now)))


def _refuse(database: Path, target: Path, *, force: bool) -> None:
    if target.is_dir() or not target.parent.is_dir():
        raise BackupError(f"{target} is no place for a backup; name a file in a folder that exists.")
    if target.exists() and database.exists() and target.samefile(database):
        raise BackupError(f"{target.name} is the database itself; name another file for the backup.")
    if target.exists() and not force:
        raise BackupError(f"{target.name} exists already; name another file, or add --force.")


@contextlib.contextmanager
def _private(draft: Path) -> Iterator[None]:
    """Have an empty file that only its owner can read, and leave none behind when the block fails."""
    try:
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BackupError(f"{draft.name} cannot be written in {draft.parent}: {error.strerror}.") from None
    try:
        _take(handle, draft)
        try:
            yield
        except BaseException:
            copies.drop(draft)
            raise
    finally:
        os.close(handle)


def _take(handle: int, draft: Path) -> None:
    """Empty a file and have it to oneself; raises BackupError while another backup is being written to it."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if draft.exists() and draft.stat().st_ino == os.fstat(handle).st_ino:  # it got no other name meanwhile
            os.fchmod(handle, 0o600)
            os.ftruncate(handle, 0)
            return
    raise BackupError(f"Another backup is being written to {draft.name}; nothing was changed.")


def _name(draft: Path, target: Path, *, force: bool) -> None:
    """Give the finished copy its name; one that came there meanwhile is not written over unless asked for."""
    if force:
        draft.replace(target)
    else:
        try:
            os.link(draft, target)
        except FileExistsError:
            raise BackupError(f"{target.name} exists already; name another file, or add --force.") from None
        except OSError:  # a file system without links
            draft.replace(target)
        draft.unlink(missing_ok=True)
    ledger.sync_folder(target.parent)
