"""The tables as the migrations leave them; ``python tests/store/test_migrations.py`` writes schema.sql anew."""

from __future__ import annotations

import re
import sqlite3
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_utils import Database as Tables

from funnel.errors import StoreError
from funnel.model import GiftStatus, MailingStatus, Receipt, Status
from funnel.store import consents, migrations, tick
from funnel.store.database import moment, open_database, seconds

SCHEMA = Path(migrations.__file__).with_name("schema.sql")
HEAD = """\
-- The database, table by table. Moments are UTC seconds since 1970; words are those of funnel.model.
-- Generated from the migrations by tests/store/test_migrations.py; edit those, not this.
"""


def schema(folder: Path) -> str:
    """Return the text of schema.sql, from an empty database."""
    open_database(folder / "empty.db", create=True).close()
    return schema_of(folder / "empty.db")


def schema_of(path: Path) -> str:
    """Return the tables and indexes of a database as text."""
    with open_database(path) as db:
        rows = db.all("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
    return HEAD + "".join(f"\n{row['sql']};\n" for row in rows)


def test_the_schema_file_is_where_the_migrations_lead(tmp_path: Path) -> None:
    assert SCHEMA.read_text("utf-8") == schema(tmp_path), "run: python tests/store/test_migrations.py"


def test_a_new_database_is_marked_as_ours(tmp_path: Path) -> None:
    with open_database(tmp_path / "new.db", create=True) as db:
        assert db.value("PRAGMA application_id") == tick.APPLICATION_ID
        assert db.value("PRAGMA user_version") == tick.SCHEMA_VERSION
        assert db.value("PRAGMA journal_mode") == "wal"
        assert db.value("PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize(("table", "words"), [("subscriber", Status), ("mailing", MailingStatus), ("gift", GiftStatus)])
def test_the_words_of_the_tables_are_those_of_the_model(
    tmp_path: Path, table: str, words: type[Status | MailingStatus | GiftStatus]
) -> None:
    with open_database(tmp_path / "new.db", create=True) as db:
        sql = str(db.value("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)))
    listed = sql[sql.index("CHECK (status") :].partition("),")[0].partition(")\n")[0]

    assert sorted(re.findall("'([a-z]+)'", listed)) == sorted(words)


def test_every_table_is_strict(tmp_path: Path) -> None:
    """A wrong type is refused, not kept."""
    with open_database(tmp_path / "new.db", create=True) as db:
        loose = [r["name"] for r in db.all("PRAGMA table_list") if not r["strict"] and not r["name"].startswith("_")]
        assert [name for name in loose if not name.startswith("sqlite_")] == []
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT INTO suppression VALUES ('hash', 'reason', 'yesterday')")


def test_two_programs_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    failures: list[BaseException] = []

    def make() -> None:
        try:
            open_database(path, create=True).close()
        except StoreError as error:  # whoever comes second may find the file, but never half a table
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with open_database(path) as db:
        assert db.value("SELECT count(*) FROM setting") == 0
    assert all("cannot be made" in str(error) for error in failures)


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with open_database(path, create=True) as db:
        db.execute("INSERT INTO setting VALUES ('a', 'b')")
        before = list(db.connection.iterdump())
    migrations.migrate(path)

    with open_database(path) as db:
        assert list(db.connection.iterdump()) == before


def test_a_database_of_the_first_version_keeps_every_row(tmp_path: Path) -> None:
    """SQL-8: receipts move into the wider table whole, with their numbers, and so do mails."""
    path = tmp_path / "old.db"
    old = sqlite3.connect(path, isolation_level=None)
    migrations._versions().apply(Tables(old), stop_before="m002_choices")
    old.execute(f"PRAGMA application_id = {tick.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.execute(
        "INSERT INTO subscriber VALUES (7, 'a@x.org', 'a@x.org', 'confirmed', '', 'UTC', 'en', '/', 1, 2, 3, 4)"
    )
    old.execute("INSERT INTO wording VALUES ('h', 'the words', 1)")
    receipts = [(9, 7, "requested", 1, "h", "f", "/", "en", "192.0.2.1", "phone", "", "", 1),
                (12, 7, "confirmed", 2, None, "f", "/c", "en", "", "", "", "", None)]  # fmt: skip
    old.executemany("INSERT INTO consent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", receipts)
    old.execute("INSERT INTO enrollment VALUES (5, 7, 'series', 0, 1, 'guide', NULL, 2, '')")
    mails = [(3, 5, "guide", "guide", "uncertain", "why", 1, 2, 3, 4, 5, 6, 7, 8, "<3@x>", "v", "", "250 ok"),
             (4, 5, "plate", "drip", "sending", "", 1, 2, 3, None, None, 1, 0, 8, "", "", "", "")]  # fmt: skip
    old.executemany(f"INSERT INTO mailing VALUES ({', '.join('?' * 18)})", mails)
    old.execute("INSERT INTO outgoing VALUES (3, '<3@x>', x'41')")
    old.execute("INSERT INTO event VALUES (1, 'dsn', 'e1', 'bounced', 9, 7, 3, '')")
    old.close()

    with open_database(path) as db:
        assert db.tuples("SELECT * FROM mailing ORDER BY id") == [(*mail[:14], mail[15], mail[17]) for mail in mails]
        assert db.tuples("SELECT * FROM outgoing") == [(3, b"A")]
        assert db.tuples("SELECT mailing_id FROM event") == [(3,)]
        assert [tuple(row) for row in db.all("SELECT * FROM consent ORDER BY id")] == receipts
        assert tuple(db.all("SELECT * FROM subscriber")[0])[-4:] == (2, 3, 4, 0)
        assert db.value("PRAGMA user_version") == tick.SCHEMA_VERSION
        assert db.all("PRAGMA foreign_key_check") == []
        consents.add(db, 7, Receipt("restored", moment(5)))
        with pytest.raises(sqlite3.IntegrityError):
            consents.add(db, 7, Receipt("dreamt of", moment(5)))
    assert schema_of(path) == SCHEMA.read_text("utf-8")


def test_a_migration_that_fails_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL-8: all or nothing."""
    monkeypatch.setattr(migrations, "INITIAL", migrations.INITIAL + "CREATE TABLE setting (again TEXT) STRICT;\n")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(tmp_path / "new.db", create=True)
    monkeypatch.undo()

    connection = sqlite3.connect(tmp_path / "new.db")
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()
    open_database(tmp_path / "new.db", create=True).close()


def test_moments_are_kept_as_whole_seconds(tmp_path: Path) -> None:
    at = datetime(2027, 3, 14, 8, 0, 0, 999_999, tzinfo=UTC)
    assert moment(seconds(at)) == at.replace(microsecond=0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        SCHEMA.write_text(schema(Path(folder)), "utf-8")
