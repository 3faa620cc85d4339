"""Opening the file: every state it can be in that is not ours gets its own sentence, and is left as it was."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from funnel.errors import StoreBusyError, StoreError
from funnel.store import database, tick
from funnel.store.database import Database, open_database
from funnel.store.lock import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a good database with something in it."""
    with open_database(tmp_path / "funnel.db", create=True) as db, db.transaction():
        for i in range(500):
            db.execute("INSERT INTO setting VALUES (?, ?)", (f"key {i}", "x" * 100))
    return tmp_path / "funnel.db"


@pytest.fixture
def held(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Give a connection of another program that holds the file; nobody waits long for it here."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    yield other
    other.close()


def version(number: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.close()

    return write


def somebody_elses(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmark (url)")
    connection.close()


def with_another_mark(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 1234")
    connection.close()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), r"no database funnel\.db yet; run “funnel init”"),
        (lambda path: path.write_bytes(b""), r"is empty.*nothing was sent or changed.*backup"),
        (lambda path: path.write_text("Dear diary, " * 500), r"not a database or is damaged.*backup"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), r"not a database or is damaged"),
        (somebody_elses, r"another program's database; name ours in \[store\] path"),
        (with_another_mark, r"another program's database"),
        (version(tick.SCHEMA_VERSION + 1), r"newer version of Funnel .*; update Funnel"),
        (folder_instead, r"is no file; name the database"),
    ],
    ids=["missing", "zero-length", "text", "garbage", "another's", "marked", "newer", "folder"],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_not_ours_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], sentence: str, readonly: bool
) -> None:
    """F-15."""
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=sentence) as raised:
        open_database(path, readonly=readonly)

    assert not isinstance(raised.value, StoreBusyError)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("readonly", [False, True])
def test_damage_inside_is_told_when_it_is_met(path: Path, readonly: bool) -> None:
    """F-15: pages overwritten behind a good head."""
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
    path.write_bytes(content)

    with (
        pytest.raises(StoreError, match=r"is damaged; nothing was sent or changed"),
        open_database(path, readonly=readonly) as db,
    ):
        list(db.each("SELECT * FROM setting"))


def test_a_file_cut_short_is_told_when_it_is_met(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(StoreError, match=r"damaged|disk failed"), open_database(path) as db:
        list(db.each("SELECT * FROM setting"))


def test_an_older_version_is_not_updated_by_who_only_reads(path: Path) -> None:
    version(0)(path)
    with pytest.raises(StoreError, match=r"made by an older version; run any writing command"):
        open_database(path, readonly=True)


def test_nothing_is_brought_up_to_date_under_a_run_of_the_version_before(path: Path) -> None:
    """F-58: its statements are about tables as they were; cron's next minute does it."""
    version(0)(path)
    before = path.read_bytes()
    with alone(path), pytest.raises(StoreBusyError, match=r"older version is sending.*Try again when") as raised:
        open_database(path)

    assert raised.value.exit_code == 75
    assert path.read_bytes() == before

    with open_database(path) as db:
        assert db.value("PRAGMA user_version") == tick.SCHEMA_VERSION


def test_a_locked_file_says_so_and_asks_to_come_back(path: Path, held: sqlite3.Connection) -> None:
    """F-14: exit code 75, nothing half done."""
    held.execute("BEGIN EXCLUSIVE")
    with open_database(path) as db, pytest.raises(StoreBusyError, match=r"locked by another program; try") as raised:
        db.execute("DELETE FROM setting")
    assert raised.value.exit_code == 75

    held.execute("COMMIT")
    with open_database(path) as db, db.transaction():
        assert db.value("SELECT count(*) FROM setting") == 500


def test_reading_goes_on_while_another_program_writes(path: Path, held: sqlite3.Connection) -> None:
    held.execute("BEGIN IMMEDIATE")
    held.execute("DELETE FROM setting")
    with open_database(path, readonly=True) as db:
        assert db.value("SELECT count(*) FROM setting") == 500


def test_who_opened_for_reading_cannot_write(path: Path) -> None:
    with open_database(path, readonly=True) as db, pytest.raises(StoreError, match="cannot be written; check who owns"):
        db.execute("DELETE FROM setting")


def test_no_database_is_made_where_there_can_be_none(path: Path) -> None:
    """A file stands where the folder should be; true for root, too."""
    with pytest.raises(StoreError, match=r"inner\.db cannot be made in"):
        open_database(path / "inner.db", create=True)


def test_a_full_disk_is_told_and_loses_nothing(path: Path) -> None:
    """F-11: the file may not grow, as on a full disk."""
    with open_database(path) as db:
        pages = db.value("PRAGMA page_count")
        db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="disk is full"), db.transaction():
            db.execute("INSERT INTO setting SELECT 'more ' || key, hex(zeroblob(9999)) FROM setting")
        assert db.value("SELECT count(*) FROM setting") == 500
        with db.transaction():
            db.execute("DELETE FROM setting WHERE key = 'key 1'")
        assert db.value("SELECT count(*) FROM setting") == 499


# --- a good one --------------------------------------------------------------------------------


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """SQL-7: also with a generous umask; -wal and -shm inherit it."""
    before = os.umask(0o022)
    try:
        with open_database(tmp_path / "deep" / "new.db", create=True) as db:
            db.execute("INSERT INTO setting VALUES ('a', 'b')")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "deep").iterdir()}
    finally:
        os.umask(before)

    assert modes == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


@pytest.mark.parametrize("readonly", [False, True])
def test_every_connection_is_strict(path: Path, readonly: bool) -> None:
    """SQL-1."""
    with open_database(path, readonly=readonly) as db:
        assert db.value("PRAGMA synchronous") == 2
        assert db.value("PRAGMA foreign_keys") == 1
        assert db.value("PRAGMA trusted_schema") == 0
        assert db.value("PRAGMA busy_timeout") >= 5_000
        assert db.value("PRAGMA journal_mode") == "wal"


def test_a_reference_to_nobody_is_refused(path: Path) -> None:
    with open_database(path) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO tag VALUES (77, 'vip')")


def test_opening_again_keeps_what_is_there(path: Path) -> None:
    with open_database(path, create=True) as db:
        assert db.value("SELECT count(*) FROM setting") == 500


# --- transactions ------------------------------------------------------------------------------


def count(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM setting"))


def test_what_fails_inside_a_transaction_leaves_no_trace(path: Path) -> None:
    with open_database(path) as db:
        with pytest.raises(ZeroDivisionError), db.transaction():  # noqa: PT012
            db.execute("DELETE FROM setting")
            with db.transaction():
                db.execute("INSERT INTO setting VALUES ('inner', '')")
            raise ZeroDivisionError
        assert count(db) == 500


def test_a_nested_transaction_that_fails_takes_the_outer_one_with_it(path: Path) -> None:
    with open_database(path) as db:
        with pytest.raises(ZeroDivisionError), db.transaction():  # noqa: PT012
            db.execute("INSERT INTO setting VALUES ('outer', '')")
            with db.transaction():
                db.execute("DELETE FROM setting")
                raise ZeroDivisionError
        assert count(db) == 500
        with db.transaction():  # and the next one is a real one again
            db.execute("DELETE FROM setting")
    with open_database(path) as db:
        assert count(db) == 0


def test_nothing_of_a_nested_transaction_is_seen_before_the_outer_one_ends(path: Path) -> None:
    with open_database(path) as db, open_database(path, readonly=True) as reader:
        with db.transaction():
            with db.transaction():
                db.execute("DELETE FROM setting")
            assert count(reader) == 500
        assert count(reader) == 0


def test_a_transaction_takes_the_lock_at_its_start(path: Path, held: sqlite3.Connection) -> None:
    """SQL-2: it waits before it reads, and never finds out at the end that it was too late."""
    held.execute("BEGIN IMMEDIATE")
    with open_database(path) as db:
        with pytest.raises(StoreBusyError), db.transaction():
            raise AssertionError("the lock was never had")
        held.execute("ROLLBACK")
        with db.transaction():
            db.execute("DELETE FROM setting")
        assert count(db) == 0


def test_rewriting_leaves_nothing_of_what_was_deleted(path: Path) -> None:
    with open_database(path) as db:
        db.execute("INSERT INTO setting VALUES ('secret', 'mother of pearl')")
        db.execute("DELETE FROM setting WHERE key = 'secret'")
        db.rewrite()
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        assert b"mother of pearl" not in b"".join(file.read_bytes() for file in files)


def test_rewriting_says_when_somebody_kept_old_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAW-5: never "forgotten" while a reader holds on to the old state."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with open_database(path, readonly=True) as reader, open_database(path) as db:
        reader.execute("BEGIN")
        assert count(reader) == 500
        db.execute("DELETE FROM setting")
        with pytest.raises(StoreBusyError, match="traces are still on the disk"):
            db.rewrite()
        reader.execute("COMMIT")
        db.rewrite()
        assert count(reader) == 0
