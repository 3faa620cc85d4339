"""What must not happen, where the other tests would not notice; each came from a fault put in on purpose."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from funnel import enroll
from funnel.app import Funnel
from funnel.model import Delivery, Receipt, Reply
from funnel.store import enrollments, events, ledger, mailings, queue, subscribers
from funnel.store.database import Database, seconds
from funnel.transport.memory import MemoryTransport
from tests.kit import Clock, confirm, make_funnel, sign_up
from tests.sender.test_run import run, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOON = datetime(2026, 6, 1, 17, 0, tzinfo=UTC)  # midday in Chicago
ANN, BEN = "ann@mail.example", "ben@mail.example"
LOST = Reply(Delivery.UNKNOWN, 0, "the server hung up", "dot")
TAKEN = Reply(Delivery.ACCEPTED, 250, "2.0.0 Ok", "dot")
BUSY = Reply(Delivery.TRANSIENT, 452, "4.2.2 mailbox full", "rcpt")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def out() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, out: MemoryTransport) -> Funnel:
    return make_funnel(tmp_path, now=clock, transport=out)


def in_the_series(funnel: Funnel) -> None:
    """Bring Ann so far that the next mail of the series is all that is to come."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    assert words(run(funnel)) == [("guide", "sent")]


def test_an_address_blocked_after_the_first_try_gets_no_second_one(
    funnel: Funnel, out: MemoryTransport, clock: Clock
) -> None:
    """P5: each try asks anew, also about a suppression that came without a change of status."""
    in_the_series(funnel)
    out.answer(ANN, BUSY)
    clock.tick(days=1, hours=2)
    assert words(run(funnel)) == [("did-it-reach-you", "deferred")]
    sent = len(out.accepted)
    with funnel.session() as db, db.transaction():
        key = subscribers.key_of(db, funnel.find_person(db, ANN).id)
        events.suppress(db, funnel.context.hash_of(key), "blocked", clock.now)

    clock.tick(hours=1)
    assert "sent" not in [word for _, word in words(run(funnel))]
    assert len(out.accepted) == sent


def test_who_leaves_before_the_confirmation_went_out_is_not_asked(
    funnel: Funnel, out: MemoryTransport, clock: Clock
) -> None:
    """P5: every way ends, not the series alone; a confirmation may go to people who left, when they ask again."""
    sign_up(funnel, ANN)
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, ANN)
    assert funnel.unsubscribe(person.id, Receipt(act="withdrawn", at=clock.now))

    assert run(funnel) == []
    assert out.accepted == []


@pytest.mark.parametrize(
    ("where", "hour", "goes"),
    [
        ("Asia/Tokyo", 17, False),  # two at night there
        ("Asia/Tokyo", 2, True),
        ("America/Chicago", 17, True),
        ("America/Chicago", 2, False),
    ],
)
def test_a_late_mail_goes_by_the_readers_own_clock(
    funnel: Funnel, clock: Clock, where: str, hour: int, goes: bool
) -> None:
    """Cron was away for a while: what is due waits for the window where the reader lives."""
    in_the_series(funnel)
    with funnel.session() as db:
        db.execute("UPDATE subscriber SET zone = ?", (where,))
    clock.now = datetime(2026, 6, 5, hour, tzinfo=UTC)

    assert words(run(funnel)) == ([("did-it-reach-you", "sent")] if goes else [])


def test_a_mail_that_was_put_off_keeps_its_distance_to_one_of_another_way(
    funnel: Funnel, out: MemoryTransport, clock: Clock
) -> None:
    """The gap is looked at when a mail goes, not only when it is planned."""
    in_the_series(funnel)
    clock.tick(days=1, hours=2)
    with funnel.session() as db:
        way = enrollments.latest(db, funnel.find_person(db, ANN).id, "series")
        assert way is not None
        db.execute("UPDATE enrollment SET last_at = ? WHERE id = ?", (seconds(clock.now) - 3 * 3_600, way.id))
    assert run(funnel) == []

    clock.tick(hours=21)
    assert words(run(funnel)) == [("did-it-reach-you", "sent")]
    assert len(out.accepted) == 3


def test_a_second_try_sends_the_words_of_the_first_also_when_they_were_changed(
    funnel: Funnel, out: MemoryTransport, clock: Clock
) -> None:
    """MSG-6, F-48: the same Message-ID never stands over two different mails."""
    sign_up(funnel, ANN)
    out.answer(ANN, BUSY)
    assert words(run(funnel)) == [("confirm", "deferred")]
    with funnel.session() as db:
        kept = mailings.kept_bytes(db, 1)
    mail = funnel.config.path(funnel.config.content.emails) / "confirm" / "confirm.md"
    mail.write_text(mail.read_text("utf-8") + "\nOne more line.\n", "utf-8")
    assert kept is not None

    clock.tick(minutes=6)
    assert words(run(Funnel(funnel.config, clock=clock, transport=out))) == [("confirm", "sent")]
    assert out.accepted[0].message == kept
    sign_up(funnel, BEN)
    run(Funnel(funnel.config, clock=clock, transport=out))
    assert b"One more line." in out.accepted[1].message


def test_who_leaves_right_after_the_claim_is_seen_before_the_wire(
    funnel: Funnel, out: MemoryTransport, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: the last look is needed from the end of the claim on, not from a moment later."""
    in_the_series(funnel)
    clock.tick(days=1, hours=2)
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, ANN)
    whole = Database.transaction
    left: list[bool] = []

    @contextmanager
    def then_somebody_leaves(db: Database) -> Iterator[Database]:
        with whole(db):
            yield db
        if not left and db.value("SELECT EXISTS (SELECT 1 FROM mailing WHERE status = 'sending')"):
            left.append(True)
            assert funnel.unsubscribe(person.id, Receipt(act="withdrawn", at=clock.now))

    monkeypatch.setattr(Database, "transaction", then_somebody_leaves)
    assert words(run(funnel)) == [("did-it-reach-you", "skipped")]
    assert left
    assert len(out.accepted) == 2


def about_to_leave(funnel: Funnel, clock: Clock) -> tuple[int, int]:
    """Let Ann be in the series with stay-or-go unanswered, and her gift code asked for; return her and that way."""
    in_the_series(funnel)
    clock.tick(days=60)
    with funnel.session() as db, db.transaction():
        person = funnel.find_person(db, ANN)
        way = enrollments.latest(db, person.id, "series")
        assert way is not None
        asked = seconds(clock.now) - 14 * 86_400
        db.execute(
            """INSERT INTO mailing (enrollment_id, step, kind, status, due_at, claimed_at, first_at)
               VALUES (?, 'stay-or-go', 'drip', 'sent', ?, ?, ?)""",
            (way.id, asked, asked, asked),
        )
        db.execute("UPDATE enrollment SET next_step = 'sunset', next_at = ? WHERE id = ?", (asked, way.id))
        return person.id, enroll.enter(db, funnel.context, person, "gift", clock.now).id


def test_who_is_taken_off_the_list_gets_nothing_else_that_is_due_at_the_same_time(
    funnel: Funnel, out: MemoryTransport, clock: Clock
) -> None:
    """What was read before somebody was taken off the list counts no more, also within one batch."""
    person, _ = about_to_leave(funnel, clock)

    assert words(run(funnel)) == [("sunset", "skipped")]
    assert run(funnel) == []
    assert len(out.accepted) == 2
    with funnel.session(readonly=True) as db:
        assert [way.next_at for way in enrollments.of(db, person) if way.sequence == "gift"] == [None]


def test_nobody_is_taken_off_the_list_while_a_second_try_is_on_its_way(funnel: Funnel, clock: Clock) -> None:
    """The mail that was taken up first goes first; what was decided together is done in that order."""
    _, way = about_to_leave(funnel, clock)
    now = seconds(clock.now)
    with funnel.session() as db, db.transaction():
        db.execute(
            """INSERT INTO mailing (enrollment_id, step, kind, status, due_at, claimed_at, first_at, retry_at, attempts)
               VALUES (?, 'gift-again', 'guide', 'deferred', ?, ?, ?, ?, 1)""",
            (way, now, now, now, now),
        )
        db.execute("UPDATE enrollment SET next_at = NULL, ended = 'done' WHERE id = ?", (way,))

    assert words(run(funnel)) == [("gift-again", "sent"), ("sunset", "skipped")]


def test_what_was_claimed_is_not_claimed_again(funnel: Funnel) -> None:
    """The insert is the lock: whatever a second run believes, the row of the first stays as it is."""
    sign_up(funnel, ANN)
    with funnel.session() as db:
        way = enrollments.latest(db, funnel.find_person(db, ANN).id, "confirm")
        assert way is not None
        at = seconds(NOON)
        ways = [(at, None, None, at, "done", way.id)]
        queue.claim(db, [(7, way.id, "confirm", "confirm", at, at, 1)], ways)
        with pytest.raises(sqlite3.IntegrityError), db.transaction():
            queue.claim(db, [(8, way.id, "confirm", "confirm", at, at, 2)], ways)
        claimed = mailings.of_enrollment(db, way.id)

    assert [(mailing.id, mailing.run_id) for mailing in claimed] == [(7, 1)]


@pytest.mark.parametrize(("reply", "ends"), [(LOST, []), (BUSY, [False]), (TAKEN, [True])])
def test_the_send_journal_knows_how_a_mail_ended_only_where_that_is_known(
    funnel: Funnel, out: MemoryTransport, reply: Reply, ends: list[bool]
) -> None:
    """F-46, P3: what may have arrived must not go again after a restore, as what was refused does."""
    sign_up(funnel, ANN)
    out.answer(ANN, reply)
    run(funnel)

    with funnel.session() as db:
        records = list(ledger.read(ledger.path_of(db.path)))
    assert [(record.sent, record.mailings) for record in records if isinstance(record, ledger.Ended)] == [
        (end, [1]) for end in ends
    ]


def test_after_two_doubts_a_mail_never_goes_a_third_time(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    """P3, under retry: two copies at most, also after hours and days."""
    sign_up(funnel, ANN)
    out.answer(ANN, *[LOST] * 9)
    assert words(run(funnel)) == [("confirm", "uncertain")]
    clock.tick(minutes=1)
    assert words(run(funnel)) == [("confirm", "uncertain")]
    for _ in range(8):
        clock.tick(hours=7)
        assert run(funnel) == []

    assert len(out.answers[ANN]) == 7
