"""Open the one file strictly, and give out transactions. Contains no query about people or mail."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from funnel.errors import StoreBusyError, StoreError
from funnel.store.lock import alone, lock_of
from funnel.store.tick import APPLICATION_ID, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: STRICT tables need SQLite 3.37.
MINIMUM_SQLITE = (3, 37)
BUSY_SECONDS = 10.0
#: What a sender has seen holds for so long: looking takes as long as writing a mail does. Who takes somebody off waits
#: until that is over before they are told that it is done, so that no mail starts afterwards (P5).
LOOK_SECONDS = 0.001

Row = sqlite3.Row


class Database:
    """One connection to the database file. Not shared between threads."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        #: Lines for the send journal, written right before and right after the transaction at hand is on the disk.
        self.before_commit: list[bytes] = []
        self.after_commit: list[bytes] = []
        #: Somebody is taken off in the transaction at hand.
        self.stops = False
        self._depth = 0
        self._seen = (0, 0.0)

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Run a block as one transaction that takes the write lock at once; a nested one joins the outer.

        Durable when it returns (``synchronous=FULL``); rolled back whole when the block raises.
        """
        if self._depth:
            yield self
            return
        with translated(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield self
        except BaseException:
            self.connection.rollback()
            raise
        else:
            self._commit()
        finally:
            self._depth = 0
            self.stops = False
            self.before_commit.clear()
            self.after_commit.clear()

    def _commit(self) -> None:
        self._note(self.before_commit, durable=True)
        try:
            with translated(self.path):
                self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        self._note(self.after_commit, durable=False)
        if self.stops:
            time.sleep(2 * LOOK_SECONDS)

    def _note(self, lines: list[bytes], *, durable: bool) -> None:
        """Tell the send journal; where it cannot be written, the next run brings it up to date from the database."""
        if lines:
            from funnel.store import ledger

            with suppress(StoreError):  # nobody's wish to leave fails because of a file beside the database
                ledger.write(ledger.path_of(self.path), lines, durable=durable)

    def execute(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement; faults a person can mend become StoreError."""
        try:  # not by translated(): this is the hot path
            return self.connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of many rows; faults a person can mend become StoreError."""
        try:
            self.connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error

    def keep_little(self) -> None:
        """Keep fewer pages in memory: who passes once over all that is due uses hardly any of them again."""
        self.execute("PRAGMA cache_size = -4000")

    @property
    def version(self) -> int:
        """Return a number that changes when another connection has written, and not when this one has."""
        try:  # once per mail
            (number,) = self.connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error
        return int(number)

    def still(self, version: int) -> bool:
        """Return whether no other connection has written since this was the version; see ``LOOK_SECONDS``."""
        seen, until = self._seen
        if seen != version or time.monotonic() >= until:
            at = time.monotonic()
            seen = self.version
            self._seen = (seen, at + LOOK_SECONDS)
        return seen == version

    def one(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        try:
            row: Row | None = self.connection.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error
        return row

    def all(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error

    def tuples(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query as plain tuples, for where there are many."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        try:
            return cursor.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error

    def each(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Iterator[Row]:
        """Yield the rows of a query one by one, however many there are."""
        with translated(self.path):
            yield from self.connection.execute(sql, values)

    def value(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self.one(sql, values)
        return row[0] if row else None

    def rewrite(self) -> None:
        """Write the file anew, without free pages, and empty the log: what was deleted is gone from the disk.

        Raises StoreBusyError when another program kept reading, so that old pages may still be there.
        """
        with translated(self.path):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.connection.execute("VACUUM")
            (busy, *_) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreBusyError(
                f"It is done, but another program kept {self.path.name} open, so traces are still on the disk; "
                "they go when that program ends and the next person is erased."
            )

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(path: Path, *, create: bool = False, readonly: bool = False) -> Database:
    """Return the open database, migrated to this version.

    Raises StoreError when the file is missing (and ``create`` is false), is another program's, is
    damaged, is newer than this version, or may not be read or written; StoreBusyError when it is locked.
    """
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        raise StoreError(f"SQLite 3.37 or newer is needed; this Python has {sqlite3.sqlite_version}.")
    if not create and not path.exists():
        raise StoreError(
            f"There is no database {path.name} yet; run “funnel init” to make one, or put a backup in its place with "
            "“funnel restore”."
        )
    if path.exists() and not path.is_file():
        raise StoreError(f"{path.name} is no file; name the database in [store] path.")
    with translated(path):
        db = Database(_connect(path, create=create, readonly=readonly), path)
        try:
            _set_up(db.connection)
            _prepare(db, create=create, readonly=readonly)
        except BaseException:
            db.close()
            raise
    return db


def _connect(path: Path, *, create: bool, readonly: bool) -> sqlite3.Connection:
    """Return a connection; a new file is readable by its owner only (SEC-23)."""
    if create and not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(f"{path.name} cannot be made in {path.parent}: {error.strerror}.") from None
    mode = "ro" if readonly else "rw"
    uri = path.resolve().as_uri() + f"?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _set_up(connection: sqlite3.Connection) -> None:
    """Set what every connection of ours has (SQL-1)."""
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -16000")


def _prepare(db: Database, *, create: bool, readonly: bool) -> None:
    """Refuse what is not ours, and bring what is ours up to this version."""
    ours = db.value("PRAGMA application_id")
    version = db.value("PRAGMA user_version")
    if (ours, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return
    empty = not db.value("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%sqlite_%'")
    if ours not in {0, APPLICATION_ID} or (ours == 0 and not (empty and version == 0)):
        raise StoreError(f"{db.path.name} is another program's database; name ours in [store] path.")
    if empty and not create:
        raise StoreError(
            f"{db.path.name} is empty, so what was in it is lost; nothing was sent or changed. "
            "Restore it from your latest backup."
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{db.path.name} was written by a newer version of Funnel (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update Funnel to use it."
        )
    if readonly:
        raise StoreError(f"{db.path.name} was made by an older version; run any writing command once to update it.")
    _bring_up_to_date(db.path)


def _bring_up_to_date(path: Path) -> None:
    """Migrate a database, while no run of the version before can be at work in it (F-58)."""
    from funnel.store.migrations import migrate

    busy = StoreBusyError(
        f"A run of an older version is sending from {path.name}, which this version first has to bring up to date; "
        "nothing was changed. Try again when that run has ended."
    )
    with alone(path, busy) if lock_of(path).exists() else nullcontext():
        migrate(path)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the faults of SQLite that a person can mend into a sentence; others stay bugs."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _told(error, path) from error


def _told(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """Return what a person can mend as a sentence, anything else as it is."""
    if isinstance(error, sqlite3.OperationalError):
        return _sentence(error, path)
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StoreError(
            f"{path.name} is not a database or is damaged; nothing was sent or changed. "
            "Restore it from your latest backup."
        )
    return error


#: SQLite's shared memory and our journals take less than this, in bytes.
LITTLE_ROOM = 1_000_000
#: By the start of SQLite's error name (its extended names add a suffix).
SENTENCES = {
    "SQLITE_BUSY": "{name} is locked by another program; try again in a moment.",
    "SQLITE_LOCKED": "{name} is locked by another program; try again in a moment.",
    "SQLITE_READONLY_ROLLBACK": "A change of {name} was broken off; say “funnel send” once, which mends it.",
    "SQLITE_READONLY": "{name} cannot be written; check who owns the file and its folder.",
    "SQLITE_CANTOPEN": "{name} cannot be opened; check that its folder is there, is yours, and takes new files.",
    "SQLITE_PERM": "{name} cannot be opened; check who owns the file and its folder.",
    "SQLITE_FULL": "The disk is full; {name} could not be written. Nothing was lost; free some space.",
    "SQLITE_IOERR": "The disk failed while {name} was in use; check the disk before going on.",
}


def _sentence(error: sqlite3.OperationalError, path: Path) -> Exception:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_IOERR") and _full(path):
        name = "SQLITE_FULL"  # SQLite's memory beside the database had no room to grow, which it calls a failure
    for start, sentence in SENTENCES.items():
        if name.startswith(start):
            kind = StoreBusyError if start in {"SQLITE_BUSY", "SQLITE_LOCKED"} else StoreError
            return kind(sentence.format(name=path.name))
    return error


def _full(path: Path) -> bool:
    """Return whether the disk that a file is on has next to no room left."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LITTLE_ROOM


# --- moments -----------------------------------------------------------------------------------


def seconds(moment: datetime) -> int:
    """Return a moment as it is stored: whole UTC seconds since 1970."""
    return int(moment.timestamp())


def maybe_seconds(moment: datetime | None) -> int | None:
    """Return a moment as it is stored, None for none."""
    return None if moment is None else int(moment.timestamp())


def moment(stored: int) -> datetime:
    """Return a stored moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(stored, UTC)


def maybe_moment(stored: int | None) -> datetime | None:
    """Return a stored moment, None for none."""
    return None if stored is None else datetime.fromtimestamp(stored, UTC)
