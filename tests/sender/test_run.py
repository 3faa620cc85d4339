"""The sender against a real SMTP server that misbehaves on purpose, with a ledger of what it really took."""

from __future__ import annotations

import itertools
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from funnel.config import Smtp
from funnel.demo.mailserver import HANG_UP, TAKE_AND_HANG_UP, MailServer
from funnel.errors import RunActiveError, TransportError
from funnel.model import EventKind, MailingStatus, Receipt, Status
from funnel.sender import Sender
from funnel.store import enrollments, events, mailings, runs, seal, subscribers
from funnel.store.database import moment
from funnel.transport.memory import MemoryTransport
from funnel.transport.smtp import SmtpTransport
from tests.kit import Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.compose.letters import Merge
    from funnel.model import Outcome, Outgoing, Reply

NOON = datetime(2026, 6, 1, 17, 0, tzinfo=UTC)  # midday in Chicago
ANN, BEN = "ann@mail.example", "ben@mail.example"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, server: MailServer) -> Funnel:
    made = make_funnel(tmp_path, now=clock)
    smtp = Smtp(host="127.0.0.1", port=server.port, security="none", timeout=3)
    made._transport = SmtpTransport(smtp, "", hostname="clinic.example")
    return made


def run(funnel: Funnel) -> list[Outcome]:
    with funnel.session() as db:
        return list(funnel.sender(db).send_due())


def live(funnel: Funnel, clock: Clock, **length: float) -> list[tuple[datetime, Outcome]]:
    """Let time pass, with cron at each moment something is due; return what happened when."""
    end = clock.now + timedelta(**length)
    happened: list[tuple[datetime, Outcome]] = []
    while True:
        with funnel.session() as db:
            due = db.value(
                """SELECT min(at) FROM (SELECT min(next_at) AS at FROM enrollment
                   UNION ALL SELECT min(retry_at) FROM mailing WHERE status = 'deferred')"""
            )
        if due is None or moment(due) > end:
            clock.now = end
            return happened
        clock.now = max(clock.now, moment(due))
        happened += [(clock.now, outcome) for outcome in run(funnel)]


def words(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(o.step, str(o.status)) for o in outcomes]


def the_mailing(funnel: Funnel, mailing_id: int = 1) -> mailings.Mailing:
    with funnel.session() as db:
        found = mailings.by_id(db, mailing_id)
    assert found is not None
    return found


def status_of(funnel: Funnel, email: str) -> Status:
    with funnel.session() as db:
        return funnel.find_person(db, email).status


# --- the plain way -----------------------------------------------------------------------------


def test_confirmation_then_guide_then_series(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    sign_up(funnel, ANN)
    assert words(run(funnel)) == [("confirm", "sent")]
    assert run(funnel) == []

    confirm(funnel, ANN)
    assert words(run(funnel)) == [("guide", "sent")]
    clock.tick(days=1, hours=1)
    assert words(run(funnel)) == [("did-it-reach-you", "sent")]
    assert [message.recipient for message in server.ledger] == [ANN] * 3


def test_every_point_is_run_twice_and_nothing_goes_twice(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    for _ in range(20):
        live(funnel, clock, days=3)
        assert run(funnel) == []

    ids = [message_from_bytes(message.content)["Message-ID"] for message in server.ledger]
    assert len(ids) == len(set(ids)) > 10


def test_nobody_gets_two_mails_within_the_gap_after_three_silent_weeks(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """F-44: overdue mail is spread out again, not sent in a burst."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    run(funnel)
    clock.tick(days=21)
    sent = [at for at, o in live(funnel, clock, days=20) if o.status is MailingStatus.SENT]

    gaps = [after - before for before, after in itertools.pairwise(sent)]
    assert len(sent) >= 5
    assert min(gaps) >= timedelta(days=2)  # the series keeps its own pace of three days


# --- refusals ----------------------------------------------------------------------------------


def test_an_address_that_does_not_exist_stops_that_person_only(funnel: Funnel, server: MailServer) -> None:
    """F-26: one 550 5.1.1 at RCPT, the others go on."""
    server.answer("rcpt", "550 5.1.1 no such user", to=ANN)
    sign_up(funnel, ANN)
    sign_up(funnel, BEN)

    assert sorted(words(run(funnel))) == [("confirm", "failed"), ("confirm", "sent")]
    assert status_of(funnel, ANN) is Status.BOUNCED
    assert status_of(funnel, BEN) is Status.PENDING


@pytest.mark.parametrize("reply", ["552 5.2.2 mailbox full", "550 5.2.2 user over quota"])
def test_a_full_mailbox_is_no_dead_one(funnel: Funnel, server: MailServer, reply: str) -> None:
    """F-27: the mail has failed, and nobody is suppressed for it; 5.7.x is about us."""
    server.answer("rcpt", reply, to=ANN)
    sign_up(funnel, ANN)
    sign_up(funnel, BEN)

    assert sorted(words(run(funnel))) == [("confirm", "failed"), ("confirm", "sent")]
    assert status_of(funnel, ANN) is Status.PENDING
    with funnel.session() as db:
        assert events.suppressions(db) == {}


@pytest.mark.parametrize(
    ("reply", "stage"),
    [("452 4.2.2 mailbox full", "rcpt"), ("451 greylisted", "rcpt"), ("450 busy", "data"), ("451 try later", "dot")],
)
def test_a_refusal_for_now_is_tried_again_with_the_same_bytes(
    funnel: Funnel, server: MailServer, clock: Clock, reply: str, stage: str
) -> None:
    """F-25, F-28, F-29, MSG-6."""
    server.answer(stage, reply)
    sign_up(funnel, ANN)
    assert words(run(funnel)) == [("confirm", "deferred")]
    with funnel.session() as db:
        kept = mailings.kept_bytes(db, 1)
    assert run(funnel) == []

    clock.tick(minutes=6)
    assert words(run(funnel)) == [("confirm", "sent")]
    assert kept is not None
    assert server.ledger[0].content == kept
    assert status_of(funnel, ANN) is Status.PENDING


def test_after_three_days_of_trying_a_mail_has_failed(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    server.always[("rcpt", ANN)] = "452 4.2.2 mailbox full"
    sign_up(funnel, ANN)
    live(funnel, clock, days=5)

    assert the_mailing(funnel).status is MailingStatus.FAILED
    assert status_of(funnel, ANN) is Status.PENDING
    assert the_mailing(funnel).attempts >= 5


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("mail", "550 5.7.1 sender rejected"),
        ("rcpt", "550 5.7.1 blocked using a blocklist"),
        ("dot", "550 5.7.515 Access denied, sending domain does not meet the required authentication level"),
        ("dot", "421 4.7.28 unusual rate of unsolicited mail, rate limited"),
    ],
)
def test_when_we_are_refused_the_run_halts_and_nobody_is_suppressed(
    funnel: Funnel, server: MailServer, clock: Clock, stage: str, reply: str
) -> None:
    """BNC-3, F-24, F-30: the sender's fault stops everything and blames no subscriber."""
    server.answer(stage, reply)
    sign_up(funnel, ANN)
    sign_up(funnel, BEN)
    assert words(run(funnel)) == [("confirm", "deferred")]
    assert run(funnel) == []

    with funnel.session() as db:
        assert events.suppressions(db) == {}
        last = runs.latest(db)
    assert last is not None
    assert "refuses us" in last.note
    clock.tick(hours=2)
    assert words(run(funnel)) == [("confirm", "sent")] * 2


def test_a_vague_policy_refusal_halts_the_run_only_when_it_repeats(funnel: Funnel, server: MailServer) -> None:
    """BNC-3: one recipient's filter stops nobody else; three such refusals in a run are our fault."""
    server.answer("rcpt", *["550 5.7.1 message refused by policy"] * 40)
    for number in range(40):
        sign_up(funnel, f"p{number}@mail.example")

    refused = words(run(funnel))
    lines = 8
    assert set(refused) == {("confirm", "deferred")}
    assert 3 <= len(refused) <= 3 + 2 * lines  # what was on its way when the third came
    with funnel.session() as db:
        assert events.suppressions(db) == {}
        assert len(enrollments.due(db, funnel.clock(), 99)) == 40 - len(refused)


def test_one_vague_refusal_stops_nobody(funnel: Funnel, server: MailServer) -> None:
    server.answer("rcpt", "550 5.7.1 message refused by policy")
    for name in "abcde":
        sign_up(funnel, f"{name}@mail.example")

    assert sorted(words(run(funnel))) == [("confirm", "deferred"), *[("confirm", "sent")] * 4]


# --- lost answers ------------------------------------------------------------------------------


def test_a_lost_answer_to_a_drip_is_uncertain_and_never_repeated(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """F-31, P3 with hold: at most once, and visible."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    run(funnel)
    server.answer("dot", TAKE_AND_HANG_UP)
    clock.tick(days=1, hours=2)
    assert words(run(funnel)) == [("did-it-reach-you", "uncertain")]
    for _ in range(5):
        clock.tick(hours=1)
        assert run(funnel) == []

    assert len(server.ledger) == 3
    with funnel.session() as db:
        assert [row["status"] for row in funnel.open_mail(db)] == ["uncertain"]


@pytest.mark.parametrize("taken", [True, False])
def test_a_lost_answer_to_the_guide_is_repeated_once_with_the_same_bytes(
    funnel: Funnel, server: MailServer, clock: Clock, taken: bool
) -> None:
    """F-31, F-33, P3 with retry: at least once, two copies at most."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    lost = TAKE_AND_HANG_UP if taken else HANG_UP
    server.answer("dot", lost, lost)
    assert words(run(funnel)) == [("guide", "uncertain")]
    clock.tick(minutes=1)
    assert words(run(funnel)) == [("guide", "uncertain")]
    clock.tick(minutes=1)
    assert run(funnel) == []

    copies = [message.content for message in server.ledger[1:]]
    assert len(copies) == (2 if taken else 0)
    assert len(set(copies)) == (1 if taken else 0)
    assert the_mailing(funnel, 2).doubts == 2


@pytest.mark.parametrize("garbage", ["hello?", "999 what", "250" + "x" * 9000])
def test_an_unreadable_answer_after_the_dot_is_never_called_sent(
    funnel: Funnel, server: MailServer, garbage: str
) -> None:
    """P4, F-31: only a readable 2yz is sent; a line nobody can read leaves the fate unknown."""
    server.answer("dot", garbage)
    sign_up(funnel, ANN)

    assert words(run(funnel))[0] == ("confirm", "uncertain")


def test_251_after_the_dot_is_sent_and_a_refused_quit_changes_nothing(funnel: Funnel, server: MailServer) -> None:
    """F-31, F-34."""
    server.answer("dot", "251 will forward")
    server.answer("quit", "500 no")
    sign_up(funnel, ANN)

    assert words(run(funnel)) == [("confirm", "sent")]


def test_a_server_that_closes_between_two_mails_is_called_again(funnel: Funnel, server: MailServer) -> None:
    """F-35: nobody's attempt is used up."""
    server.answer("mail", "250 ok", HANG_UP)
    sign_up(funnel, ANN)
    sign_up(funnel, BEN)

    assert words(run(funnel)) == [("confirm", "sent")] * 2
    assert the_mailing(funnel, 2).attempts == 1


# --- no mail can go at all ---------------------------------------------------------------------


@pytest.mark.parametrize("banner", ["554 no service", "421 busy", HANG_UP])
def test_a_server_that_will_not_talk_costs_nobody_an_attempt(
    funnel: Funnel, server: MailServer, clock: Clock, banner: str
) -> None:
    """F-18, F-19: exit 75, and everything is as before."""
    server.answer("connect", banner)
    sign_up(funnel, ANN)
    with pytest.raises(TransportError) as raised:
        run(funnel)
    assert raised.value.exit_code == 75

    assert words(run(funnel)) == [("confirm", "sent")]
    assert len(server.ledger) == 1


def test_nothing_is_sent_while_it_cannot_be_recorded(funnel: Funnel, server: MailServer) -> None:
    """P7, F-14: the database is locked by somebody else."""
    sign_up(funnel, ANN)
    other = sqlite3.connect(funnel.database_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with funnel.session() as db:
        db.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(Exception, match="locked"):
            list(funnel.sender(db).send_due())
    other.execute("ROLLBACK")
    other.close()

    assert server.ledger == []


# --- crashes and races -------------------------------------------------------------------------


def killed_before(funnel: Funnel, method: str) -> None:
    """Run in a process of its own, which dies right before it calls a method of the sender."""
    child = os.fork()
    if child == 0:
        try:
            setattr(Sender, method, lambda *_: os._exit(9))
            run(funnel)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert the_mailing(funnel).status is MailingStatus.SENDING


def test_a_run_killed_before_the_answer_leaves_a_doubt_that_policy_treats(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """F-32: handed over, killed before the answer was read; a confirmation goes once more, the very same bytes."""
    sign_up(funnel, ANN)
    killed_before(funnel, "_answered")

    clock.tick(minutes=1)
    assert words(run(funnel)) == [("confirm", "sent")]
    assert the_mailing(funnel).doubts == 1
    first, second = (message.content for message in server.ledger)
    assert first == second


def test_a_run_killed_before_it_wrote_the_answer_down_leaves_no_doubt(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """The journal knows that the server took it."""
    sign_up(funnel, ANN)
    killed_before(funnel, "_record")

    clock.tick(minutes=1)
    assert run(funnel) == []
    assert the_mailing(funnel).status is MailingStatus.SENT
    assert len(server.ledger) == 1


def test_a_run_killed_before_anything_left_costs_nobody_an_attempt(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    sign_up(funnel, ANN)
    killed_before(funnel, "_ready")

    clock.tick(minutes=1)
    assert words(run(funnel)) == [("confirm", "sent")]
    mailing = the_mailing(funnel)
    assert (mailing.doubts, mailing.attempts) == (0, 1)
    assert len(server.ledger) == 1


@pytest.mark.parametrize("method", ["_ready", "_answered", "_record"])
def test_after_a_power_cut_the_journal_counts_for_nothing(
    funnel: Funnel, clock: Clock, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The machine has another boot id, so whatever was claimed may have been sent."""
    sign_up(funnel, ANN)
    killed_before(funnel, method)
    monkeypatch.setattr(seal, "boot_id", lambda: b"another")

    clock.tick(minutes=1)
    run(funnel)
    assert the_mailing(funnel).doubts == 1


def test_two_runs_at_once_do_not_both_send(funnel: Funnel) -> None:
    """F-9: one works, the other leaves politely with exit code 0."""
    sign_up(funnel, ANN)
    with funnel.session() as one, funnel.session() as two:
        at_work = funnel.sender(one).send_due()
        next(at_work)
        with pytest.raises(RunActiveError) as raised:
            list(funnel.sender(two).send_due())
        assert raised.value.exit_code == 0
        list(at_work)


def test_an_unsubscribe_between_claim_and_wire_stops_the_mail(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    """P5, F-38: the last look is taken right before the transaction."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    with funnel.session() as db:
        sender = funnel.sender(db)
        person = funnel.find_person(db, ANN)
        write = sender.composer.one_of

        def stop_meanwhile(merge: Merge, place: int) -> bytes:
            message = write(merge, place)
            assert funnel.unsubscribe(person.id, Receipt(act="withdrawn", at=clock.now))
            return message

        with patch.object(sender.composer, "one_of", stop_meanwhile):
            outcomes = list(sender.send_due())
    assert words(outcomes) == [("guide", "skipped")]
    assert len(server.ledger) == 1


def test_who_leaves_while_others_are_on_the_wire_gets_no_mail_that_was_written_already(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """P5: mails are written several in a row, and each person is looked up when their own turn comes."""
    names = [ANN, BEN, "cy@mail.example", "dan@mail.example"]
    for email in names:
        sign_up(funnel, email)
    run(funnel)
    for email in names:
        confirm(funnel, email)
    funnel._transport = SmtpTransport(
        Smtp(host="127.0.0.1", port=server.port, security="none", timeout=3, connections=1), "", hostname="mill.example"
    )
    with funnel.session(readonly=True) as db:
        last = funnel.find_person(db, names[-1])

    def leave(_: object) -> None:
        funnel.unsubscribe(last.id, Receipt(act="withdrawn", at=clock.now))

    server.on_accept = leave
    assert sorted(words(run(funnel))) == [("guide", "sent")] * 3 + [("guide", "skipped")]
    assert sorted(entry.recipient for entry in server.ledger[4:]) == sorted(set(names) - {last.email})


def test_a_mail_that_cannot_be_written_waits_for_somebody_to_mend_it(
    funnel: Funnel, server: MailServer, clock: Clock
) -> None:
    """P7, F-47: one person's fault is that person's; the others go on, and nothing is sent half."""
    for email in (ANN, BEN, "cy@mail.example"):
        sign_up(funnel, email)
    with funnel.session() as db:
        sender = funnel.sender(db)
        db.execute("UPDATE subscriber SET email = 'ben> @mail.example' WHERE email = ?", (BEN,))
        outcomes = list(sender.send_due())
        db.execute("UPDATE subscriber SET email = ? WHERE email_key = ?", (BEN, BEN))
    assert sorted(words(outcomes)) == [("confirm", "deferred"), ("confirm", "sent"), ("confirm", "sent")]
    assert not sender.halted
    assert "A header value" in the_mailing(funnel, 2).reason

    clock.tick(minutes=6)
    assert words(run(funnel)) == [("confirm", "sent")]
    assert sorted(message.recipient for message in server.ledger) == [ANN, BEN, "cy@mail.example"]


def test_without_memory_a_run_ends_as_if_killed_and_the_next_one_sends_the_rest(
    funnel: Funnel, server: MailServer
) -> None:
    """F-56: nobody is left out, nobody gets it twice, nobody's try is used up."""
    people = [ANN, BEN, "cy@mail.example"]
    for email in people:
        sign_up(funnel, email)
    with funnel.session() as db:
        sender = funnel.sender(db)
        write = sender.composer.one_of

        def short_of(merge: Merge, place: int) -> bytes:
            if merge.to[place] == BEN:
                raise MemoryError
            return write(merge, place)

        with patch.object(sender.composer, "one_of", short_of), pytest.raises(MemoryError):
            list(sender.send_due())

    run(funnel)
    assert sorted(message.recipient for message in server.ledger) == people
    with funnel.session() as db:
        assert {the_mailing(funnel, n).status for n in (1, 2, 3)} == {MailingStatus.SENT}
        assert db.value("SELECT max(attempts) FROM mailing") == 1


def test_a_mail_that_nobody_can_get_stops_the_run(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    """F-47: after the first three; the others are not touched, and nothing rests when it is mended."""
    for number in range(9):
        sign_up(funnel, f"p{number}@mail.example")
    with funnel.session() as db:
        sender = funnel.sender(db)
        sender.fields_of = lambda *_, **__: ({}, {})
        outcomes = list(sender.send_due())
    assert words(outcomes) == [("confirm", "deferred")] * 3
    assert sender.halted.startswith("3 mails could not be written: ")
    assert server.ledger == []

    assert words(run(funnel)) == [("confirm", "sent")] * 6
    clock.tick(minutes=6)
    assert words(run(funnel)) == [("confirm", "sent")] * 3


# --- conditions and pauses ---------------------------------------------------------------------


def test_a_pause_puts_the_series_off_and_keeps_its_pace(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    run(funnel)
    with funnel.session() as db:
        person = funnel.find_person(db, ANN)
    assert funnel.pause(person, 14, Receipt(act="paused", at=clock.now))
    started = clock.now
    sent = [at - started for at, o in live(funnel, clock, days=25) if o.status is MailingStatus.SENT]

    assert min(sent) >= timedelta(days=14)
    assert all(b - a >= timedelta(hours=20) for a, b in itertools.pairwise(sent))


def test_a_step_is_left_out_with_its_reason_when_its_condition_fails(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    run(funnel)
    with funnel.session() as db:
        funnel.downloaded(funnel.find_person(db, ANN))
    clock.tick(days=1, hours=2)
    outcomes = run(funnel)

    assert words(outcomes) == [("did-it-reach-you", "skipped")]
    assert outcomes[0].reason == "the guide was opened already"


def test_coming_back_never_starts_a_second_series(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    """Leaving and coming back sends nothing twice, misses nothing, and runs one series."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    live(funnel, clock, days=10)
    with funnel.session() as db:
        person = funnel.find_person(db, ANN)
    assert funnel.unsubscribe(person.id, Receipt(act="withdrawn", at=clock.now))
    before = len(server.ledger)
    clock.tick(days=2)
    assert run(funnel) == []

    sign_up(funnel, ANN)
    assert words(run(funnel)) == [("confirm", "sent")]
    confirm(funnel, ANN)
    assert words(run(funnel)) == [("guide-again", "sent")]
    live(funnel, clock, days=60)
    with funnel.session() as db:
        series = [e for e in enrollments.of(db, person.id) if e.sequence == "series"]
        steps = [m.step for m in mailings.of_enrollment(db, series[0].id)]
    assert len(series) == 1
    assert len(steps) == len(set(steps)) == len(funnel.library.sequences["series"].steps)
    assert len(server.ledger) > before + 2


def test_a_dry_run_says_what_would_happen_and_changes_nothing(funnel: Funnel, server: MailServer, clock: Clock) -> None:
    sign_up(funnel, ANN)
    with funnel.session(readonly=True) as db:
        planned = funnel.sender(db).would_send(clock.now)
    assert [(p.step, p.would) for p in planned] == [("confirm", "send")]
    assert server.ledger == []
    with funnel.session() as db:
        assert subscribers.by_id(db, 1) is not None
        assert events.last(db, 1, (EventKind.SENT,)) is None
        assert mailings.by_id(db, 1) is None


class Late(MemoryTransport):
    """Has taken over two mails when it is told to stop, and lets the second one go as it stops."""

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        first, second = next(mails), next(mails)
        starting(first.mailing_id)
        try:
            yield first, self.deliver(first)
        finally:
            starting(second.mailing_id)
            self.deliver(second)


def test_what_leaves_while_a_run_breaks_off_is_uncertain_and_not_given_back(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a transport is told to stop before anything is given back, or a mail on its way would go twice."""
    funnel = make_funnel(tmp_path, now=clock, transport=(out := Late()))
    sign_up(funnel, ANN)
    sign_up(funnel, BEN)
    monkeypatch.setattr(Sender, "_enough", lambda _: True)
    with funnel.session() as db:
        at_work = funnel.sender(db).send_due()
        next(at_work)
        at_work.close()  # type: ignore[attr-defined]

    assert len(out.accepted) == 2
    assert the_mailing(funnel, 1).status is MailingStatus.SENT
    assert the_mailing(funnel, 2).doubts == 1
