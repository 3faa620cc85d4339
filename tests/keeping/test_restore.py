"""A backup takes the place of the database safely, and who left since stays off."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import stat
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from funnel.errors import BackupError, SealError, StoreBusyError, StoreError
from funnel.keeping import back_up, restore
from funnel.model import Status
from funnel.store import database, runs
from funnel.store.database import open_database
from funnel.store.tick import SCHEMA_VERSION
from tests.keeping.kit import ANN, BEN, CLEO, Shop, files
from tests.kit import sign_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.keeping import Restored


@pytest.fixture
def backup(shop: Shop) -> Path:
    """Give a backup with Ann and Ben in it; nothing happened since."""
    shop.join(ANN, BEN)
    target = shop.folder.parent / "backup.db"
    back_up(shop.path, target, now=shop.clock())
    return target


def put(shop: Shop, file: Path) -> Restored:
    return restore(shop.path, file, shop.funnel.context, now=shop.clock())


def test_it_is_the_database_and_the_old_one_is_kept(shop: Shop, backup: Path) -> None:
    sign_up(shop.funnel, CLEO)
    was = backup.read_bytes()
    done = put(shop, backup)

    assert (done.contents.people, done.contents.mailings, done.known) == (2, 4, shop.clock())
    assert done.kept is not None
    with closing(sqlite3.connect(done.kept)) as kept:
        assert kept.execute("SELECT count(*) FROM subscriber WHERE email = ?", (CLEO,)).fetchone()[0] == 1
    assert files(shop.folder, but=[done.kept.name, "funnel.db-wal", "funnel.db-shm"]) == {
        "funnel.db", "funnel.db.lock", "funnel.db.sent", "funnel.secret", "funnel.toml",
    }  # fmt: skip
    assert stat.S_IMODE(shop.path.stat().st_mode) == 0o600
    assert backup.read_bytes() == was
    with closing(sqlite3.connect(shop.path)) as live:
        assert live.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_sending_waits_even_when_nothing_went_out_since(shop: Shop, backup: Path) -> None:
    put(shop, backup)

    with pytest.raises(SealError, match="restored from a backup"):
        shop.send()


def test_who_still_waits_for_the_old_one_does_not_go_on_with_it(shop: Shop, backup: Path) -> None:
    """A request that waited while the files changed places would write where nobody looks any more."""
    kept = put(shop, backup).kept

    assert kept is not None
    with pytest.raises(StoreError, match="another program's database"):
        open_database(kept)


def test_what_was_kept_can_be_restored(shop: Shop, backup: Path) -> None:
    sign_up(shop.funnel, CLEO)
    kept = put(shop, backup).kept
    assert kept is not None
    shop.clock.tick(seconds=1)
    put(shop, kept)

    assert shop.status(CLEO) is Status.PENDING


def test_twice_in_one_second_keeps_both(shop: Shop, backup: Path) -> None:
    kept = [put(shop, backup).kept for _ in range(3)]

    assert len(set(kept)) == 3
    assert all(file is not None and file.exists() for file in kept)


def test_without_a_database_it_just_takes_the_place(shop: Shop, backup: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        shop.path.with_name(shop.path.name + suffix).unlink(missing_ok=True)

    assert put(shop, backup).kept is None
    assert shop.status(ANN) is Status.CONFIRMED


def test_a_damaged_database_is_kept_with_what_belongs_to_it(shop: Shop, backup: Path) -> None:
    shop.copy()
    shop.path.write_bytes(b"x" * 9999)
    wal = shop.path.with_name("funnel.db-wal")
    wal.write_bytes(b"left over")
    kept = put(shop, backup).kept

    assert kept is not None
    assert kept.read_bytes() == b"x" * 9999
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"left over"
    assert shop.status(ANN) is Status.CONFIRMED


def test_a_plain_copy_with_its_log_is_taken_whole(shop: Shop, backup: Path) -> None:
    with shop.funnel.session() as db:
        runs.put(db, "late", "yes")
        for suffix in ("", "-wal"):
            shutil.copyfile(shop.path.with_name(shop.path.name + suffix), backup.with_name("plain.db" + suffix))
    put(shop, backup.with_name("plain.db"))

    with shop.funnel.session(readonly=True) as db:
        assert runs.get(db, "late") == "yes"
    assert (backup.with_name("plain.db-wal")).exists()


# --- who left since ----------------------------------------------------------------------------


def test_who_left_since_is_off_again(shop: Shop, backup: Path) -> None:
    """F-45: the backup knows them as confirmed."""
    shop.leave(ANN)
    done = put(shop, backup)

    assert (done.stops.people, done.stops.erased) == (1, 0)
    assert shop.status(ANN) is Status.UNSUBSCRIBED
    assert shop.suppressed(ANN)
    assert shop.status(BEN) is Status.CONFIRMED


def test_who_was_forgotten_since_is_forgotten_again(shop: Shop, backup: Path) -> None:
    shop.forget(ANN)
    done = put(shop, backup)

    assert (done.stops.people, done.stops.erased) == (1, 1)
    assert ANN.encode() not in shop.path.read_bytes()
    assert shop.suppressed(ANN)


def test_who_left_and_came_back_is_on(shop: Shop, backup: Path) -> None:
    shop.leave(ANN)
    shop.come_back(ANN)

    assert put(shop, backup).stops.people == 0
    assert shop.status(ANN) is Status.CONFIRMED
    assert not shop.suppressed(ANN)


def test_who_left_before_the_backup_and_came_back_before_it_is_on(shop: Shop) -> None:
    shop.join(ANN)
    with shop.funnel.session() as db, db.transaction():
        shop._stopped(db, BEN, "unsubscribed")
    shop.come_back(BEN)
    back_up(shop.path, shop.folder / "b.db", now=shop.clock())

    assert put(shop, shop.folder / "b.db").stops.addresses == 0


# --- refusals ----------------------------------------------------------------------------------


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE bookmark (url)")


def no_database(file: Path) -> None:
    file.write_bytes(b"hello " * 1000)


def cut(file: Path) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])


def overwritten(file: Path) -> None:
    with file.open("r+b") as raw:
        for page in range(3, 30):
            raw.seek(4096 * page + 8)
            raw.write(b"\xff" * 64)


def orphaned(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("DELETE FROM subscriber WHERE id = 1")


def gone(file: Path) -> None:
    file.unlink()


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (newer, "written by a newer version of Funnel"),
        (foreign, "is no backup of Funnel's database"),
        (no_database, "is damaged"),
        (cut, "is damaged"),
        (overwritten, "is damaged"),
        (orphaned, "is damaged .a row of"),
        (gone, "is not there, or is no file"),
        (folder, "is not there, or is no file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_used_is_refused_and_nothing_changes(
    shop: Shop, backup: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(backup)
    before, names = shop.path.read_bytes(), files(shop.folder)

    with pytest.raises(BackupError, match=sentence):
        put(shop, backup)
    assert shop.path.read_bytes() == before
    assert files(shop.folder) == names | {"funnel.db.lock"}
    assert shop.send() == []


def test_the_database_itself_is_no_backup(shop: Shop, backup: Path) -> None:
    with pytest.raises(BackupError, match="is the database itself"):
        put(shop, shop.path)


def test_it_waits_for_no_run(shop: Shop, backup: Path) -> None:
    with shop.path.with_name("funnel.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreBusyError, match="A run is sending"):
            put(shop, backup)


def test_a_program_that_keeps_the_database_open_is_told_of(
    shop: Shop, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    with shop.funnel.session() as web:
        runs.put(web, "open", "yes")
        with pytest.raises(StoreBusyError, match=r"is open in another program.*stop “funnel serve”"):
            put(shop, backup)
        assert runs.get(web, "open") == "yes"

    assert shop.send() == []


def test_who_has_it_open_for_a_moment_is_waited_for(shop: Shop, backup: Path) -> None:
    opened = threading.Event()

    def visit() -> None:
        with shop.funnel.session() as db:
            runs.put(db, "visit", "yes")
            opened.set()
            time.sleep(0.3)

    visitor = threading.Thread(target=visit)
    visitor.start()
    opened.wait()
    done = put(shop, backup)
    visitor.join()

    assert done.kept is not None
    with closing(sqlite3.connect(done.kept)) as kept:
        assert kept.execute("SELECT value FROM setting WHERE key = 'visit'").fetchone() == ("yes",)


def test_an_older_backup_is_brought_up_to_date(shop: Shop, tmp_path: Path) -> None:
    """One of the first version, as the migrations' own test makes it."""
    from funnel.store.migrations import INITIAL
    from funnel.store.tick import APPLICATION_ID

    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as db:
        db.executescript(INITIAL)
        db.execute("CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT,"
                   " applied_at TEXT)")  # fmt: skip
        db.execute("INSERT INTO _sqlite_migrations VALUES (1, 'funnel', 'm001_initial', '2026-01-01')")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    put(shop, old)

    with shop.funnel.session(readonly=True) as live:
        assert live.value("SELECT count(*) FROM move") == 0
