"""After a database was put back or moved: what went out is not repeated, what nobody knows is held, nothing is lost."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from funnel.errors import SealError, StoreBusyError
from funnel.keeping import Guard, back_up, restore
from funnel.model import MailingStatus, Status
from funnel.report import make_report
from funnel.store import ledger, seal, settling
from funnel.store.lock import alone
from tests.keeping.kit import ANN, BEN, CLEO, Shop
from tests.kit import confirm, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENT, HELD, DEFERRED = MailingStatus.SENT, MailingStatus.HELD, MailingStatus.DEFERRED
FIRST, SECOND = "did-it-reach-you", "many-reasons"


def back(shop: Shop, kept: Path) -> None:
    """Restore a backup."""
    restore(shop.path, kept, shop.funnel.context, now=shop.clock())


def back_by_hand(shop: Shop, kept: Path) -> None:
    """Copy a file over the database, as somebody in a hurry does."""
    shop.put_back(kept)


WAYS_BACK = [back, back_by_hand]


def keep(shop: Shop) -> Path:
    target = shop.folder.parent / "backup.db"
    back_up(shop.path, target, now=shop.clock(), force=True)
    return target


def week(shop: Shop) -> list[str]:
    """Let a week pass, with a run each half day; returns what went out."""
    done = []
    for _ in range(14):
        shop.clock.tick(hours=12)
        done += shop.send()
    return done


@pytest.mark.parametrize("way_back", WAYS_BACK)
def test_what_went_out_since_is_not_repeated_and_the_series_goes_on(
    shop: Shop, way_back: Callable[[Shop, Path], None]
) -> None:
    """F-45: the ledger and the plan are as if nothing had happened."""
    shop.join(ANN, BEN)
    kept = keep(shop)
    assert week(shop)
    mails = shop.mails()
    with shop.funnel.session(readonly=True) as db:
        planned = [tuple(row) for row in db.all("SELECT id, next_step, next_at, last_at FROM enrollment ORDER BY id")]
    way_back(shop, kept)
    with pytest.raises(SealError):
        shop.send()
    found = shop.resume()

    assert sum(found.sent.values()) == len(mails) - 4
    assert (found.held, found.elsewhere, found.whole) == ({}, 0, True)
    assert shop.mails() == mails
    with shop.funnel.session(readonly=True) as db:
        assert planned == [
            tuple(row) for row in db.all("SELECT id, next_step, next_at, last_at FROM enrollment ORDER BY id")
        ]
        assert make_report(db, shop.funnel.context, shop.clock()).adds_up
    assert shop.send() == []
    before = len(mails)
    week(shop)
    assert len(shop.mails()) > before


def test_looking_changes_nothing(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    week(shop)
    back(shop, kept)
    before, journal = shop.mails(), shop.journal.read_bytes()
    looked = shop.resume(really=False)

    assert shop.mails() == before
    assert shop.journal.read_bytes() == journal
    assert shop.resume() == looked
    assert looked.first is not None
    assert looked.last is not None
    assert looked.first < looked.last


def test_nothing_to_do_is_told(shop: Shop) -> None:
    shop.join(ANN)

    assert shop.resume().why == ""


def test_what_was_due_and_did_not_go_goes(shop: Shop) -> None:
    shop.join(ANN, BEN)
    kept = keep(shop)
    shop.clock.tick(days=1, hours=2)
    back(shop, kept)
    found = shop.resume()

    assert (found.batches, found.sent, found.held) == (0, {}, {})
    assert shop.send() == [f"ann {FIRST} sent", f"ben {FIRST} sent"]


def about_to_go(shop: Shop, *outcome: MailingStatus) -> Path:
    """Let a batch with Ann's first mail go out after a backup, with an outcome or none; returns the backup."""
    shop.join(ANN)
    kept = keep(shop)
    shop.clock.tick(days=1, hours=2)
    with shop.funnel.session() as db, Guard(db) as guard:
        guard.check(shop.clock())
        way = db.value("SELECT id FROM enrollment WHERE sequence = 'series'")
        with db.transaction():
            guard.count()
        guard.note_batch(1, {f"series/{FIRST}": ([99], [way])}, shop.clock())
        guard.note_done([(99, status) for status in outcome])
    return kept


@pytest.mark.parametrize("outcome", [(), (MailingStatus.UNCERTAIN,)])
def test_what_may_have_gone_out_is_held(shop: Shop, outcome: tuple[MailingStatus, ...]) -> None:
    back(shop, about_to_go(shop, *outcome))
    found = shop.resume()

    assert (found.sent, found.held) == ({}, {f"series/{FIRST}": 1})
    assert shop.mails()[f"ann {FIRST}"] == "held"
    assert shop.send() == []


def test_what_the_server_refused_goes_again(shop: Shop) -> None:
    back(shop, about_to_go(shop, MailingStatus.DEFERRED))
    found = shop.resume()

    assert (found.batches, found.sent, found.held) == (1, {}, {})
    assert shop.send() == [f"ann {FIRST} sent"]


@pytest.mark.parametrize(("known", "after"), [(SENT, "sent"), (None, "held"), (DEFERRED, "deferred")])
def test_a_mail_that_was_being_sent_during_the_backup_is_settled(
    shop: Shop, known: MailingStatus | None, after: str
) -> None:
    """F-46: the copy says “sending”; only the journal knows how that ended."""
    shop.join(ANN)
    shop.clock.tick(days=1, hours=2)
    with shop.funnel.session() as db, Guard(db) as guard:
        guard.check(shop.clock())
        with db.transaction():
            guard.count()
            (way,) = settling.waiting(db, shop.clock())
            settling.add(db, way, FIRST, "drip", MailingStatus.SENDING, at=shop.clock(), reason="")
        mailing = db.value("SELECT max(id) FROM mailing")
        guard.note_batch(1, shop.named(db, mailing), shop.clock())
        kept = keep(shop)
        guard.note_done([(mailing, known)] if known else [])
    back(shop, kept)
    shop.resume()

    assert shop.mails()[f"ann {FIRST}"] == after


def test_a_mail_that_waited_in_a_batch_that_never_left_goes(shop: Shop) -> None:
    shop.join(ANN)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    with shop.funnel.session() as db:
        db.execute("UPDATE mailing SET status = 'sending' WHERE step = ?", (FIRST,))
    records = [r for r in ledger.read(shop.journal) if not (isinstance(r, ledger.Batch) and r.number == 3)]
    shop.journal.write_bytes(b"".join(record.line() for record in records))
    back(shop, keep(shop))
    shop.resume()

    assert shop.mails()[f"ann {FIRST}"] == "deferred"
    assert shop.send() == [f"ann {FIRST} sent"]


def test_a_retry_that_went_out_since_is_sent(shop: Shop) -> None:
    shop.join(ANN)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    with shop.funnel.session() as db:
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = 1 WHERE step = ?", (FIRST,))
    kept = keep(shop)
    assert shop.send() == [f"ann {FIRST} sent"]
    back(shop, kept)

    assert shop.mails()[f"ann {FIRST}"] == "deferred"
    assert shop.resume().sent == {f"series/{FIRST}": 1}
    assert shop.mails()[f"ann {FIRST}"] == "sent"


@pytest.mark.parametrize("way_back", WAYS_BACK)
def test_who_left_since_gets_nothing_more(shop: Shop, way_back: Callable[[Shop, Path], None]) -> None:
    shop.join(ANN, BEN)
    kept = keep(shop)
    shop.leave(BEN)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    way_back(shop, kept)
    shop.resume()

    assert shop.status(BEN) is Status.UNSUBSCRIBED
    assert not [mail for mail in week(shop) if mail.startswith("ben")]


def test_new_people_who_got_old_numbers_are_not_mixed_up(shop: Shop) -> None:
    """After an older copy was put back, Cleo gets the numbers that Ben had; what went to Ben did not go to her."""
    shop.join(ANN)
    kept = shop.copy()
    shop.clock.tick(hours=1)
    shop.join(BEN)
    shop.put_back(kept)
    shop.clock.tick(hours=1)
    sign_up(shop.funnel, CLEO)
    found = shop.resume()

    assert found.elsewhere == 2
    assert found.sent == {}
    assert shop.send() == ["cleo confirm sent"]


def test_a_confirmation_since_is_told_and_may_be_done_again(shop: Shop) -> None:
    sign_up(shop.funnel, ANN)
    shop.send()
    kept = keep(shop)
    confirm(shop.funnel, ANN)
    shop.send()
    back(shop, kept)

    assert shop.resume().elsewhere == 1
    confirm(shop.funnel, ANN)
    assert shop.send() == ["ann guide sent"]


# --- when the journal does not know ------------------------------------------------------------


def test_on_another_machine_without_the_journal_all_that_was_due_is_held(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    shop.journal.unlink()
    shop.clock.tick(days=9)
    back(shop, kept)
    found = shop.resume()

    assert not found.whole
    steps = [f"series/{step.name}" for step in shop.funnel.context.sequences["series"].steps]
    assert found.held == dict.fromkeys(steps[1:5], 1)
    assert shop.send() == []
    with shop.funnel.session(readonly=True) as db:
        assert make_report(db, shop.funnel.context, shop.clock()).adds_up
    assert week(shop)  # the series goes on


def test_somebody_who_knows_that_nothing_went_out_may_say_so(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    shop.journal.unlink()
    shop.clock.tick(days=1, hours=2)
    back(shop, kept)

    assert shop.resume(nothing_since=True).held == {}
    assert shop.send() == [f"ann {FIRST} sent"]


def test_a_folder_that_was_copied_goes_on_after_a_word(shop: Shop, tmp_path: Path) -> None:
    """Nothing is held: the journal came along and knows all."""
    shop.join(ANN)
    shutil.copytree(shop.folder, tmp_path / "new")
    new = Shop(tmp_path / "new", like=shop, clock=shop.clock)
    found = new.resume()

    assert (found.whole, found.held) == (True, {})
    new.clock.tick(days=1, hours=2)
    assert new.send() == [f"ann {FIRST} sent"]


def test_the_journal_of_another_funnel_is_set_aside(shop: Shop, tmp_path: Path, original: Shop) -> None:
    shutil.copytree(original.folder, tmp_path / "other")
    other = Shop(tmp_path / "other", like=shop, clock=shop.clock)
    other.join(ANN, BEN)
    shop.join(ANN)
    foreign = other.journal.read_bytes()
    shutil.copyfile(other.journal, shop.journal)
    shop.clock.tick(days=1, hours=2)
    found = shop.resume()

    assert (found.whole, found.sent) == (False, {})
    (aside,) = shop.folder.glob("funnel.db.sent.other-*")
    assert aside.read_bytes() == foreign
    assert shop.send() == []


def test_a_copy_from_before_the_seal_holds_all_that_was_due(shop: Shop) -> None:
    sign_up(shop.funnel, ANN)
    kept = shop.copy()
    shop.send()
    shop.put_back(kept)
    found = shop.resume()

    assert (found.whole, found.held) == (False, {"confirm/confirm": 1})
    assert shop.send() == []


def test_the_replaced_database_put_back_is_not_taken_for_the_new_one(shop: Shop) -> None:
    """Its batches are as many; but they are others, and what this one knows of them is in doubt."""
    shop.join(ANN)
    kept = keep(shop)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    replaced = shop.copy("replaced.db")
    back(shop, kept)
    shop.resume()
    shop.put_back(replaced)
    with pytest.raises(SealError, match="older than what was sent"):
        shop.send()
    shop.clock.tick(days=9)

    assert not shop.resume().whole
    assert shop.mails()[f"ann {SECOND}"] == "held"


def test_a_journal_that_begins_too_late_does_not_know(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    week(shop)
    records = list(ledger.read(shop.journal))
    sealed = next(r for r in records if isinstance(r, ledger.Mark))
    late = replace(sealed, batch=3)
    rest = [r for r in records if isinstance(r, ledger.Batch) and r.number > 3]
    with shop.journal.open("r+b") as file:
        file.truncate()
        file.write(late.line() + b"".join(batch.line() for batch in rest))
    back(shop, kept)

    assert not shop.resume(really=False).whole


def test_it_waits_for_no_run(shop: Shop) -> None:
    shop.join(ANN)
    with alone(shop.path), pytest.raises(StoreBusyError):
        shop.resume()


def test_it_may_be_done_again_and_again(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    week(shop)
    mails = shop.mails()
    for epoch in (2, 3, 4):
        back(shop, kept)
        shop.resume()
        assert shop.mails() == mails
        with shop.funnel.session(readonly=True) as db:
            sealed = seal.read(db)
        assert sealed is not None
        assert sealed.epoch == epoch
    assert shop.send() == []


# --- the rest of what a run does ---------------------------------------------------------------


def test_who_was_erased_since_is_erased_again(shop: Shop) -> None:
    shop.join(ANN, BEN)
    kept = shop.copy()
    shop.forget(BEN)
    shop.clock.tick(days=1, hours=2)
    shop.send()
    shop.put_back(kept)
    assert BEN.encode() in shop.path.read_bytes()

    assert shop.resume().stops.erased == 1
    assert BEN.encode() not in shop.path.read_bytes()
    assert shop.resume().why == ""


def test_the_guide_that_went_out_since_took_its_gift_along(shop: Shop) -> None:
    sign_up(shop.funnel, ANN)
    shop.send()
    confirm(shop.funnel, ANN)
    kept = keep(shop)
    shop.send()
    back(shop, kept)
    shop.resume()

    with shop.funnel.session(readonly=True) as db:
        assert db.value("SELECT status FROM gift") == "sent"


def test_what_a_run_held_and_what_waited_is_held_when_nobody_knows(shop: Shop) -> None:
    shop.join(ANN, BEN)
    with shop.funnel.session() as db:
        db.execute("UPDATE mailing SET status = 'sending' WHERE id = 3")
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = 1 WHERE id = 4")
    shop.journal.unlink()
    found = shop.resume()

    assert found.held == {"series/guide": 2}
    assert shop.mails() == {"ann confirm": "sent", "ben confirm": "sent", "ann guide": "held", "ben guide": "held"}


def test_a_step_without_a_mail_is_not_held(shop: Shop) -> None:
    shop.join(ANN, BEN)
    shop.leave(BEN)
    with shop.funnel.session() as db:
        db.execute("UPDATE enrollment SET next_step = 'sunset', next_at = 1 WHERE sequence = 'series' AND ended = ''")
        db.execute("UPDATE enrollment SET next_at = 1 WHERE sequence = 'series' AND ended <> ''")
    shop.journal.unlink()

    assert shop.resume().held == {}


def test_a_mail_of_a_step_that_is_no_more_is_recorded(shop: Shop) -> None:
    shop.join(ANN)
    kept = keep(shop)
    with shop.funnel.session() as db, Guard(db) as guard:
        guard.check(shop.clock())
        way = db.value("SELECT id FROM enrollment WHERE sequence = 'series'")
        with db.transaction():
            guard.count()
        guard.note_batch(1, {"series/gone": ([90], [way]), "series/guide": ([91], [way])}, shop.clock())
        guard.note_done([(90, SENT), (91, SENT)])
    back(shop, kept)

    assert shop.resume().sent == {"series/gone": 1}
    assert shop.mails()["ann gone"] == "sent"
