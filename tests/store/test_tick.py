"""Cron's short answer: right when it says "nothing", silent about everything it is not sure of."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.model import MailingStatus
from funnel.store import enrollments, ledger, mailings, runs, seal
from funnel.store.database import moment, open_database
from funnel.store.tick import NOTE, leave_note, nothing_due
from tests.store.rows import NOW, START, one_of_each

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Give a settings file with a database beside it, a note, and one way that is due tomorrow."""
    (tmp_path / "funnel.toml").write_text("# the settings")
    with open_database(tmp_path / "funnel.db", create=True) as db, db.transaction():
        one_of_each(db)
        mailings.finish(db, 1, MailingStatus.SENT, now=NOW)
        enrollments.plan(db, 1, step="next", at=moment(START + DAY), anchor=NOW)
    leave_note(str(tmp_path / "funnel.toml"), str(tmp_path / "funnel.db"))
    return str(tmp_path / "funnel.toml")


def last_tick(settings: str) -> str | None:
    with open_database(path_of(settings), readonly=True) as db:
        return runs.get(db, "last_tick")


def path_of(settings: str) -> Path:
    return Path(settings).with_name("funnel.db")


def test_nothing_is_due_and_the_visit_is_on_record(settings: str) -> None:
    assert nothing_due(settings, START)
    assert last_tick(settings) == str(START)
    assert nothing_due(settings, START + 60)
    assert last_tick(settings) == str(START + 60)


def test_a_step_is_due_to_the_second(settings: str) -> None:
    assert nothing_due(settings, START + DAY - 1)
    assert not nothing_due(settings, START + DAY)


@pytest.mark.parametrize(
    ("status", "at", "expected"),
    [
        (MailingStatus.DEFERRED, START, False),
        (MailingStatus.DEFERRED, START + 1, True),
        (MailingStatus.HELD, None, True),
        (MailingStatus.UNCERTAIN, None, True),
        (MailingStatus.FAILED, None, True),
        (MailingStatus.SENDING, None, False),
    ],
)
def test_what_a_dead_run_left_and_retries_are_due(
    settings: str, status: MailingStatus, at: int | None, expected: bool
) -> None:
    with open_database(path_of(settings)) as db:
        db.execute("UPDATE mailing SET status = ?, retry_at = ?", (status.value, at))

    assert nothing_due(settings, START) is expected


def change_settings(settings: str) -> None:
    with Path(settings).open("a", encoding="utf-8") as file:
        file.write("\n# another database, perhaps")


def replace_settings(settings: str) -> None:
    """Write the same words to a new file: an editor does that."""
    found = Path(settings).stat()
    Path(shutil.copy(settings, settings + "~")).replace(settings)
    os.utime(settings, ns=(found.st_atime_ns, found.st_mtime_ns))


def somebody_elses(settings: str) -> None:
    path_of(settings).unlink()
    sqlite3.connect(path_of(settings)).close()
    other = sqlite3.connect(path_of(settings))
    other.execute("CREATE TABLE enrollment (next_at)")
    other.close()


def newer(settings: str) -> None:
    other = sqlite3.connect(path_of(settings))
    other.execute("PRAGMA user_version = 99")
    other.close()


def spoiled_note(content: bytes) -> Callable[[str], None]:
    def spoil(settings: str) -> None:
        (path_of(settings).parent / NOTE).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        change_settings,
        replace_settings,
        somebody_elses,
        newer,
        lambda settings: Path(settings).unlink(),
        lambda settings: path_of(settings).unlink(),
        lambda settings: path_of(settings).write_bytes(b""),
        lambda settings: path_of(settings).write_bytes(b"not a database" * 500),
        lambda settings: (path_of(settings).parent / NOTE).unlink(),
        spoiled_note(b""),
        spoiled_note(b"\xff\xfe\0"),
        spoiled_note(b"1 2 3\n/nowhere"),
        spoiled_note(b"one line only"),
    ],
    ids=["settings", "new file", "another's", "newer", "no settings", "no database", "empty", "damaged", "no note",
         "empty note", "no text", "old note", "half a note"],
)  # fmt: skip
def test_anything_unusual_is_for_the_full_command(settings: str, spoil: Callable[[str], None]) -> None:
    assert nothing_due(settings, START)
    spoil(settings)

    assert not nothing_due(settings, START + 1)


def lose_the_journal(path: Path) -> None:
    ledger.path_of(path).unlink()


def another_journal(path: Path) -> None:
    ledger.path_of(path).rename(path.with_name("other"))
    ledger.begin(ledger.path_of(path), ledger.Mark("ab", 1, 0, 0, 0, whole=False))


def older_than_its_journal(path: Path) -> None:
    with open_database(path) as db:
        db.execute("DELETE FROM setting WHERE key = 'seal'")


def put_back(path: Path) -> None:
    with open_database(path) as db:
        runs.put(db, seal.COPIED, "1")


@pytest.mark.parametrize("spoil", [lose_the_journal, another_journal, older_than_its_journal, put_back])
def test_a_database_that_may_not_send_is_for_the_full_command(settings: str, spoil: Callable[[Path], None]) -> None:
    """Which says why; with the journal of its own beside it, also while that one is being changed, all is well."""
    with open_database(path_of(settings)) as db:
        sealed = seal.found(db)
        for places in ((1, *sealed.places), (*sealed.places, 1), sealed.places):
            seal.write(db, replace(sealed, places=places))
            assert nothing_due(settings, START)
    spoil(path_of(settings))

    assert not nothing_due(settings, START)


def test_a_locked_database_is_for_the_full_command(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, timeout, isolation_level: connect(path, 0.05, isolation_level=isolation_level)
    )
    other = connect(path_of(settings), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    assert not nothing_due(settings, START)
    other.close()


def test_nothing_is_written_when_something_is_due(settings: str) -> None:
    path = path_of(settings)
    with open_database(path) as db:
        enrollments.plan(db, 1, step="next", at=NOW, anchor=NOW)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}

    assert not nothing_due(settings, START)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before


def test_the_note_is_for_its_owner_and_costs_nothing_when_it_cannot_be(tmp_path: Path) -> None:
    settings = tmp_path / "funnel.toml"
    settings.touch()
    leave_note(str(settings), "funnel.db")
    assert (tmp_path / ".funnel").stat().st_mode & 0o777 == 0o700

    shutil.rmtree(tmp_path / ".funnel")
    (tmp_path / ".funnel").write_text("a file where the folder should be")
    leave_note(str(settings), "funnel.db")
    leave_note(str(tmp_path / "missing.toml"), "funnel.db")
    assert not nothing_due(str(settings), START)


def test_settings_are_found_from_their_own_folder(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron's line is ``cd /srv/shop && funnel send``: the name has no folder then."""
    monkeypatch.chdir(Path(settings).parent)
    assert nothing_due("funnel.toml", START)
