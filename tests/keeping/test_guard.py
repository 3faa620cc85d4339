"""Nothing goes out from a copy, from an older database, or from two machines at once."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from funnel.errors import ElsewhereError, SealError, StoreError
from funnel.founding import found
from funnel.keeping import Guard, trouble
from funnel.store import events, ledger, runs, seal
from funnel.store.database import open_database
from tests.keeping.kit import ANN, BEN, CLEO, Shop
from tests.kit import sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.store.database import Database


def refused(shop: Shop, sentence: str) -> None:
    """Check that sending is refused with one sentence, and says what to do."""
    with pytest.raises(SealError, match=sentence) as told:
        shop.send()
    assert "Nothing was sent. Run “funnel restore --resume”" in str(told.value)
    with shop.funnel.session(readonly=True) as db:
        assert trouble(db)


def the_seal(shop: Shop) -> seal.Seal:
    with shop.funnel.session(readonly=True) as db:
        found = seal.read(db)
    assert found is not None
    return found


# --- the plain way -----------------------------------------------------------------------------


def test_the_first_run_seals_a_database_that_was_never_sealed(shop: Shop) -> None:
    with shop.funnel.session(readonly=True) as db:
        assert seal.read(db) is None
        assert trouble(db) == ""
    assert shop.send() == []
    assert the_seal(shop).places == (shop.journal.stat().st_ino,)
    assert shop.send() == []


def test_a_new_funnel_is_sealed_from_the_start(tmp_path: Path) -> None:
    config = found(tmp_path / "new")
    path = config.path(config.store.path)

    with open_database(path, readonly=True) as db:
        assert seal.read(db) is not None
    assert ledger.stand(ledger.path_of(path)) is not None


def test_database_and_journal_stay_in_step(shop: Shop) -> None:
    shop.join(ANN, BEN)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    shop.leave(BEN)
    shop.clock.tick(days=9)
    shop.send()

    sealed, stand = the_seal(shop), ledger.stand(shop.journal)
    assert stand is not None
    assert (stand.epoch, stand.batch, stand.acts) == (sealed.epoch, sealed.batch, sealed.acts)
    assert sealed.batch == 4
    assert sealed.acts >= 1


def test_the_journal_holds_no_address_and_no_name(shop: Shop) -> None:
    sign_up(shop.funnel, ANN, name="Ann Example")
    shop.join(ANN, BEN)
    shop.leave(BEN)
    text = shop.journal.read_text("ascii")

    assert not re.search(r"@|ann|ben|example", text, re.IGNORECASE)
    assert "stop" in text


# --- copies ------------------------------------------------------------------------------------


def test_a_copy_put_back_over_the_database_is_noticed(shop: Shop) -> None:
    shop.join(ANN)
    copy = shop.copy()
    shop.clock.tick(days=1, hours=2)
    shop.send()
    shop.put_back(copy)

    refused(shop, "older than what was sent: its send journal knows 1 batch of mail more")


def test_a_copy_put_back_when_only_somebody_left_since_is_noticed(shop: Shop) -> None:
    shop.join(ANN, BEN)
    copy = shop.copy()
    shop.leave(ANN)
    shop.leave(BEN)
    shop.put_back(copy)

    refused(shop, "knows of people who left since")


def test_a_copy_put_back_when_nothing_happened_since_is_no_matter(shop: Shop) -> None:
    shop.join(ANN)
    shop.put_back(shop.copy())

    assert shop.send() == []


def test_a_copy_from_before_the_seal_is_noticed(shop: Shop) -> None:
    copy = shop.copy()
    shop.join(ANN)
    shop.put_back(copy)

    refused(shop, "older than its send journal")


def test_a_log_of_the_database_that_is_lost_or_anothers_is_noticed(shop: Shop, original: Shop, tmp_path: Path) -> None:
    """F-16: a crash leaves -wal; who tidies up, or copies files together, changes the database by that."""
    shop.join(ANN)
    shop.copy()
    shutil.copytree(original.folder, tmp_path / "other")
    other = Shop(tmp_path / "other", like=original, clock=shop.clock)
    found = []
    for one, people in ((shop, (BEN, CLEO)), (other, ("dora@mail.example",))):
        with one.funnel.session() as db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.value("SELECT count(*) FROM event")
            one.join(*people)
            found.append((one.path.read_bytes(), beside(one).read_bytes()))
    (crashed, own), (_, foreign) = found

    for log, sentence in ((b"", "older than what was sent"), (foreign, "copied or put back")):
        shop.path.write_bytes(crashed)
        beside(shop).write_bytes(log)
        refused(shop, sentence)
        shop.path.with_name("funnel.db-shm").unlink(missing_ok=True)
    shop.path.write_bytes(crashed)
    beside(shop).write_bytes(own)
    assert shop.send() == []


def beside(shop: Shop) -> Path:
    return shop.path.with_name("funnel.db-wal")


def test_a_backup_put_in_place_by_hand_is_noticed(shop: Shop) -> None:
    from funnel.keeping import back_up

    shop.join(ANN)
    back_up(shop.path, shop.folder / "backup.db", now=shop.clock())
    shop.put_back(shop.folder / "backup.db")

    refused(shop, "put in place by hand")


def test_a_folder_that_was_copied_is_noticed_and_the_original_goes_on(tmp_path: Path, shop: Shop) -> None:
    shop.join(ANN)
    shutil.copytree(shop.folder, tmp_path / "other")
    other = Shop(tmp_path / "other", like=shop, clock=shop.clock)

    refused(other, "copied or put back.*only one of them sends")
    assert shop.send() == []


def test_a_folder_that_was_moved_goes_on(tmp_path: Path, shop: Shop) -> None:
    shop.join(ANN)
    shop.folder.rename(tmp_path / "moved")

    assert Shop(tmp_path / "moved", like=shop, clock=shop.clock).send() == []


def test_another_machine_is_noticed(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "machine-id"
    monkeypatch.setattr(seal, "MACHINE_ID", machine)
    machine.write_text("one\n")
    shop.join(ANN)
    machine.write_text("two\n")
    refused(shop, "belongs to another machine")

    machine.unlink()  # nobody can tell: not refused for that
    assert shop.send() == []
    machine.write_text("one\n")
    assert shop.send() == []


def test_a_journal_that_is_gone_is_noticed(shop: Shop) -> None:
    shop.join(ANN)
    shop.journal.unlink()

    refused(shop, r"funnel\.db\.sent, which tells what was sent, is not beside this database")


def test_a_journal_that_is_damaged_is_noticed(shop: Shop) -> None:
    shop.join(ANN)
    with shop.journal.open("r+b") as file:
        file.write(b"x" * 10)

    refused(shop, r"funnel\.db\.sent, which tells what was sent, is damaged")


def test_a_journal_that_cannot_be_written_keeps_all_mail_back(shop: Shop) -> None:
    shop.join(ANN)
    with shop.funnel.session() as db, Guard(db) as guard:
        guard.check(shop.clock())
        assert guard._pen is not None
        guard._pen.close()
        guard._pen._handle = 999_999
        with pytest.raises(StoreError, match=r"does not take .*, the send journal"):
            guard.note_batch(1, {"series/guide": ([1], [1])}, shop.clock())
        guard._pen = None


# --- what a crash leaves -----------------------------------------------------------------------


def test_a_batch_that_never_left_is_no_matter(shop: Shop) -> None:
    shop.join(ANN)
    with shop.funnel.session() as db, Guard(db) as guard:
        guard.check(shop.clock())
        with db.transaction():
            guard.count()
    assert shop.send() == []

    stand = ledger.stand(shop.journal)
    assert stand is not None
    assert stand.batch == the_seal(shop).batch
    marks = [record for record in ledger.read(shop.journal) if isinstance(record, ledger.Mark)]
    assert [mark.whole for mark in marks] == [False, True]


def test_a_stop_that_was_noted_and_not_committed_is_done_again(shop: Shop) -> None:
    shop.join(ANN)
    key_hash = shop.funnel.context.hash_of(BEN)
    ledger.write(shop.journal, [ledger.Act(the_seal(shop).acts + 1, 5, key_hash, "unsubscribed").line()])

    assert shop.send() == []
    assert shop.suppressed(BEN)
    assert shop.send() == []


def test_a_stop_the_journal_missed_is_written_there_by_the_next_run(shop: Shop) -> None:
    """Nobody's wish to leave fails because the journal cannot be written."""
    shop.join(ANN, BEN)
    shop.journal.rename(shop.journal.with_name("away"))
    shop.leave(BEN)
    shop.journal.with_name("away").rename(shop.journal)
    assert "stop" not in shop.journal.read_text()

    assert shop.send() == []
    assert f" {shop.funnel.context.hash_of(BEN)} unsubscribed" in shop.journal.read_text()


def test_a_stop_that_is_rolled_back_is_not_noted(shop: Shop) -> None:
    shop.join(ANN)
    before = shop.journal.read_bytes()

    def stop_twice(db: Database) -> None:
        with db.transaction():
            seal.stopped(db, "ab" * 32, "unsubscribed", shop.clock())
            db.execute("INSERT INTO setting VALUES ('seal', 'twice')")

    with shop.funnel.session() as db:
        with pytest.raises(sqlite3.IntegrityError):
            stop_twice(db)
        with db.transaction():
            runs.put(db, "something", "else")

    assert shop.journal.read_bytes() == before
    assert shop.send() == []


# --- a full journal ----------------------------------------------------------------------------


def test_a_full_journal_is_continued_in_a_new_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "ROTATE_BYTES", 150)
    shop.join(ANN, BEN)
    for _ in range(4):
        shop.clock.tick(days=4)
        shop.send()

    assert shop.journal.stat().st_size < 1000
    assert ledger.older(shop.journal).exists()
    assert the_seal(shop).batch >= 4
    assert not shop.journal.with_name("funnel.db.sent.next").exists()


@pytest.mark.parametrize("crash_at", ["begin", "link", "replace"])
def test_a_crash_while_a_new_file_is_begun_is_no_matter(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    shop.join(ANN)
    monkeypatch.setattr(ledger, "ROTATE_BYTES", 10)
    with shop.funnel.session() as db:
        sealed = the_seal(shop)
        next_one = shop.journal.with_name("funnel.db.sent.next")
        mark = ledger.Mark(sealed.id, sealed.epoch, sealed.batch, sealed.acts, sealed.batch, whole=True)
        inode = ledger.begin(next_one, mark)
    if crash_at != "begin":
        shop.edit_seal(places=(shop.journal.stat().st_ino, inode))
        ledger.older(shop.journal).hardlink_to(shop.journal)
    if crash_at == "replace":
        next_one.replace(shop.journal)

    assert db is not None
    assert shop.send() == []
    shop.clock.tick(days=1, hours=2)
    assert shop.send() == ["ann did-it-reach-you sent"]
    assert shop.send() == []


# --- two machines ------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Give a database from which a machine without an id sends right now."""
    monkeypatch.setattr(seal, "MACHINE_ID", tmp_path / "none")
    shop.join(ANN)
    shop.edit_seal(boot="another", name="other-host")
    with shop.funnel.session() as db:
        runs.start(db, host="other-host", pid=1, now=shop.clock())
    return shop


def test_two_machines_without_ids_are_told_apart_by_their_runs(elsewhere: Shop) -> None:
    """F-53: the file lock does not reach from one machine to the other."""
    with pytest.raises(ElsewhereError, match="other-host is sending from this database at this moment"):
        elsewhere.send()
    elsewhere.clock.tick(minutes=16)
    assert elsewhere.send() == []
    assert the_seal(elsewhere).name != "other-host"


def test_a_run_of_another_machine_that_is_over_is_no_matter(elsewhere: Shop) -> None:
    with elsewhere.funnel.session() as db:
        last = runs.latest(db)
        assert last is not None
        runs.finish(db, last.id, now=elsewhere.clock() + timedelta(seconds=1), counts={})

    assert elsewhere.send() == []


def test_a_machine_that_started_anew_goes_on(shop: Shop) -> None:
    shop.join(ANN)
    shop.edit_seal(boot="before")
    with shop.funnel.session() as db:
        runs.start(db, host=the_seal(shop).name, pid=1, now=shop.clock())

    assert shop.send() == []


def test_the_boot_of_a_machine_that_does_not_tell_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "BOOT_ID", tmp_path / "none")

    assert seal.boot() == ""


# --- older databases ---------------------------------------------------------------------------


def test_a_first_run_killed_between_journal_and_seal_is_no_matter(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-1: it was held back, as a copy that knows less than its journal, though that knew of nothing."""
    sign_up(shop.funnel, CLEO)
    with shop.funnel.session() as db:
        events.suppress(db, shop.funnel.context.hash_of(ANN), "blocked", shop.clock())
    with monkeypatch.context() as patch:
        patch.setattr(seal, "place", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shop.send()
    with shop.funnel.session(readonly=True) as db:
        assert (seal.read(db), trouble(db)) == (None, "")
    assert shop.journal.exists()

    assert shop.send() == ["cleo confirm sent"]
    assert the_seal(shop).places == (shop.journal.stat().st_ino,)


def test_an_unsealed_copy_beside_a_journal_that_knows_of_a_stop_only_is_noticed(shop: Shop) -> None:
    copy = shop.copy()
    shop.send()
    with shop.funnel.session() as db, db.transaction():
        events.suppress(db, shop.funnel.context.hash_of(ANN), "blocked", shop.clock())
    shop.put_back(copy)

    refused(shop, "older than its send journal")


def test_an_unsealed_copy_beside_the_rest_of_a_journal_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was continued begins with how much went out, also when the older one was thrown away."""
    copy = shop.copy()
    monkeypatch.setattr("funnel.store.ledger.ROTATE_BYTES", 1)
    shop.join(ANN)
    shop.send()
    ledger.older(shop.journal).unlink()
    assert all(isinstance(record, ledger.Mark) for record in ledger.read(shop.journal))
    shop.put_back(copy)

    refused(shop, "older than its send journal")


def test_a_database_of_today_without_a_seal_is_sealed_with_those_who_left(shop: Shop) -> None:
    """Whoever updates is surprised by nothing, and an older copy does not bring back who left before."""
    sign_up(shop.funnel, CLEO)
    with shop.funnel.session() as db:
        db.execute(
            "INSERT INTO suppression VALUES (?, 'complained', ?)",
            (shop.funnel.context.hash_of(CLEO), int(shop.clock().timestamp())),
        )
    shop.send()

    assert f"{shop.funnel.context.hash_of(CLEO)} complained" in shop.journal.read_text()


def test_the_guard_costs_nothing_in_the_schema(shop: Shop) -> None:
    shop.join(ANN)
    with closing(sqlite3.connect(shop.path)) as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    assert not any("seal" in name for name in names)
