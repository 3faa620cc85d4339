"""Many callers in one commit: each its own all or nothing, nobody answered early, nobody shut out."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.errors import StoreBusyError, StoreError
from funnel.store import database
from funnel.store.database import open_database
from funnel.store.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from funnel.store.database import Database
    from tests.conftest import Keep

TABLE = "CREATE TABLE note (text TEXT PRIMARY KEY) STRICT"
COUNT = "SELECT count(*) FROM note"


class Desk:
    """A database with one table, its writer, and how often it was opened."""

    def __init__(self, folder: Path, idle: float = 2.0) -> None:
        self.path = folder / "funnel.db"
        self.opened = 0
        with open_database(self.path, create=True) as db:
            db.execute(TABLE)
        self.writer = Together(self.session, self.path, idle=idle)

    @contextmanager
    def session(self) -> Iterator[Database]:
        with open_database(self.path) as db:
            self.opened += 1
            yield db

    def notes(self) -> set[str]:
        """Return what another program finds in the file."""
        with open_database(self.path, readonly=True) as db:
            return {row["text"] for row in db.all("SELECT text FROM note")}

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
def desk(tmp_path: Path, closing: Keep) -> Desk:
    return closing(Desk(tmp_path))


def note(text: str) -> Callable[[Database], str]:
    """Return work that leaves a note."""

    def work(db: Database) -> str:
        with db.transaction():
            db.execute("INSERT INTO note VALUES (?)", (text,))
        return text

    return work


def at_once(desk: Desk, works: list[Callable[[Database], str]]) -> list[str | BaseException]:
    """Give all the work while the disk is busy, so that it is done together; return what each caller got."""
    busy, go = threading.Event(), threading.Event()

    def hold(_: Database) -> None:
        busy.set()
        assert go.wait(60)

    def call(work: Callable[[Database], str]) -> str | BaseException:
        try:
            return desk.writer.run(work)
        except Exception as error:  # noqa: BLE001 - what came of it is looked at
            return error

    with ThreadPoolExecutor(len(works) + 1) as pool:
        first = pool.submit(desk.writer.run, hold)
        assert busy.wait(60)
        calls = [pool.submit(call, work) for work in works]
        while len(desk.writer._waiting) < len(works):
            time.sleep(0.001)
        go.set()
        first.result(60)
        return [call.result(60) for call in calls]


def test_one_caller_gets_what_the_work_returns(desk: Desk) -> None:
    assert desk.writer.run(note("one")) == "one"
    assert desk.notes() == {"one"}


def test_nobody_is_answered_before_it_is_on_the_disk(desk: Desk) -> None:
    """P1: whoever has an answer finds the row from outside."""

    def write(number: int) -> bool:
        return desk.writer.run(note(str(number))) in desk.notes()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(write, range(200)))
    with desk.session() as db:
        assert db.value("PRAGMA synchronous") == 2
        assert db.value(COUNT) == 200
    assert desk.opened == 2, "one connection for everybody, and this one"


def test_who_waits_together_shares_a_commit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = []
    commit = database.Database._commit

    def counted(db: Database) -> None:
        commits.append(db)
        commit(db)

    monkeypatch.setattr(database.Database, "_commit", counted)
    assert at_once(desk, [note(str(number)) for number in range(20)]) == [str(number) for number in range(20)]
    assert len(commits) == 2, "the one that held it up, and one for all the others"
    assert len(desk.notes()) == 20


def test_a_commit_that_fails_is_told_to_everybody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: no answer but an error, and nothing in the file; the next one is well."""
    desk.writer.run(note("before"))
    commit, full = database.Database._commit, iter([False, True])

    def failing(db: Database) -> None:
        if next(full, False):
            db.connection.rollback()
            raise StoreError("The disk is full")
        commit(db)

    monkeypatch.setattr(database.Database, "_commit", failing)
    answers = at_once(desk, [note("a"), note("b"), note("c")])
    assert [type(answer) for answer in answers] == [StoreError] * 3
    assert desk.notes() == {"before"}
    assert desk.writer.run(note("after")) == "after"


@given(st.lists(st.sampled_from(["good", "bad", "half", "twice"]), min_size=1, max_size=12))
def test_one_callers_fault_is_nobody_elses(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    """Each caller's part is all or nothing, whatever the others do; a database error is a fault as any other."""
    desk = Desk(tmp_path_factory.mktemp("desk"))

    def work_of(number: int, kind: str) -> Callable[[Database], str]:
        def work(db: Database) -> str:
            if kind == "bad":
                raise KeyError(number)
            with db.transaction():
                db.execute("INSERT INTO note VALUES (?)", (str(number),))
                if kind == "half":
                    raise ValueError(number)
                if kind == "twice":
                    db.execute("INSERT INTO note VALUES (?)", (str(number),))
            return str(number)

        return work

    try:
        answers = at_once(desk, [work_of(number, kind) for number, kind in enumerate(kinds)])
        wanted = {"bad": KeyError, "half": ValueError, "twice": sqlite3.IntegrityError, "good": str}
        assert [type(answer) for answer in answers] == [wanted[kind] for kind in kinds]
        assert desk.notes() == {str(number) for number, kind in enumerate(kinds) if kind == "good"}
    finally:
        desk.close()


def test_sqlite_giving_up_is_told_to_everybody(desk: Desk) -> None:
    """A full disk rolls back all, also what other callers did: nobody may be told that it is kept."""

    def gives_up(db: Database) -> str:
        db.connection.rollback()  # as SQLite does by itself then
        raise StoreError("The disk is full")

    answers = at_once(desk, [note("a"), gives_up, note("b")])
    assert [type(answer) for answer in answers] == [StoreError] * 3
    assert desk.notes() == set()
    assert desk.writer.run(note("after")) == "after"


def test_a_restored_file_is_noticed(desk: Desk) -> None:
    """What is written after a restore is in the file that is there now."""
    copy = desk.path.with_name("copy.db")
    with desk.session() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(desk.path, copy)
    desk.writer.run(note("lost with the old file"))
    copy.replace(desk.path)
    for end in ("-wal", "-shm"):
        desk.path.with_name(desk.path.name + end).unlink(missing_ok=True)
    desk.writer.run(note("kept"))
    desk.close()
    assert desk.notes() == {"kept"}


def test_a_missing_file_is_said_and_made_good(desk: Desk) -> None:
    away = desk.path.with_name("away.db")
    desk.close()
    desk.path.rename(away)
    with pytest.raises(StoreError, match="no database"):
        desk.writer.run(note("one"))
    away.rename(desk.path)
    assert desk.writer.run(note("two")) == "two"
    assert desk.notes() == {"two"}


def test_a_locked_file_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with desk.session() as other, other.transaction(), pytest.raises(StoreBusyError):
        desk.writer.run(note("one"))
    assert desk.writer.run(note("two")) == "two"


def test_the_thread_ends_when_nobody_comes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, idle=0.01)
    desk.writer.run(note("one"))
    until = time.monotonic() + 60
    while desk.writer._thread is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert desk.writer._thread is None
    desk.writer.run(note("two"))
    assert desk.notes() == {"one", "two"}
    desk.close()
    assert desk.writer._thread is None


def test_closing_finishes_what_waits_and_leaves_no_log(desk: Desk) -> None:
    for number in range(5):
        desk.writer.run(note(str(number)))
    desk.close()
    assert not desk.path.with_name("funnel.db-wal").exists()
    assert len(desk.notes()) == 5
    desk.close()


def test_others_get_in_while_many_write(desk: Desk) -> None:
    """SEC-28: a stop or the sender is not shut out by a flood of sign-ups."""
    stop = threading.Event()

    def flood(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            desk.writer.run(note(f"{number} {turn}"))

    with ThreadPoolExecutor(16) as pool:
        floods = [pool.submit(flood, number) for number in range(16)]
        waits = []
        try:
            for number in range(20):
                start = time.monotonic()
                with desk.session() as db, db.transaction():
                    db.execute("INSERT INTO note VALUES (?)", (f"other {number}",))
                waits.append(time.monotonic() - start)
        finally:
            stop.set()
        for done in floods:
            done.result(60)
    # The limit after which SQLite gives up is 10 s; once the machine itself may have been away.
    assert sum(wait >= 5 for wait in waits) <= 1
