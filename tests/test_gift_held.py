"""The guide mail of somebody who waits for a gift code: held with the reason, let go by the next import, told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel import gifts, outbox, report
from funnel.config import Smtp
from funnel.errors import TransportError
from funnel.importing import CodeImport, import_codes
from funnel.model import Kind, MailingStatus, Outcome, Receipt, Subscriber
from funnel.policy import NO_CODE, holds_for_code
from funnel.preview import parts_of
from funnel.store import enrollments, mailings
from funnel.transport.memory import MemoryTransport
from funnel.transport.smtp import SmtpTransport
from tests.kit import Clock, confirm, make_funnel, sign_up
from tests.sender.test_run import live, words

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.store.mailings import Mailing

ANN, BEN = "ann@mail.example", "ben@mail.example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> MemoryTransport:
    return MemoryTransport()


def make(folder: Path, clock: Clock, out: MemoryTransport, **more: object) -> Funnel:
    return make_funnel(folder, now=clock, transport=out, gift={"source": "pool", **more})


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, out: MemoryTransport) -> Funnel:
    return make(tmp_path, clock, out)


def run(funnel: Funnel) -> list[Outcome]:
    with funnel.session() as db:
        return list(funnel.sender(db).send_due())


def join(funnel: Funnel, *emails: str) -> None:
    """Sign up and confirm, with the mail that asks sent in between."""
    for email in emails:
        sign_up(funnel, email)
    run(funnel)
    for email in emails:
        confirm(funnel, email)


def put(funnel: Funnel, *codes: str) -> CodeImport:
    file = funnel.config.path("codes.txt")
    file.write_text("\n".join(codes))
    with funnel.session() as db:
        return import_codes(db, funnel.context, file, now=funnel.clock(), really=True)


def guide_of(funnel: Funnel, email: str = ANN) -> Mailing:
    with funnel.session(readonly=True) as db:
        way = enrollments.latest(db, funnel.find_person(db, email).id, "series")
        assert way is not None
        found = mailings.of_step(db, way.id, "guide")
    assert found is not None
    return found


def guides(out: MemoryTransport) -> list[tuple[str, str]]:
    """Return to whom the guide went, and its text."""
    texts = [(mail.recipient, parts_of(mail.message)[1]) for mail in out.accepted]
    return [(to, text) for to, text in texts if "Here is your guide" in text]


@given(
    kind=st.sampled_from(Kind), when_empty=st.sampled_from(["hold", "send"]), waits=st.booleans(), held=st.booleans()
)
def test_only_the_first_mail_with_the_guide_is_held(kind: Kind, when_empty: str, waits: bool, held: bool) -> None:
    found = holds_for_code(kind, when_empty, waits=waits, held=held)

    assert found is (kind is Kind.GUIDE and when_empty == "hold" and waits and not held)


def test_it_is_held_and_goes_with_the_code_after_the_next_import(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    """F-50: nobody is skipped, and nobody is mailed an empty promise."""
    put(funnel, "MILL-0001")
    join(funnel, ANN, BEN)
    assert sorted(words(run(funnel))) == [("guide", "held"), ("guide", "sent")]
    assert guide_of(funnel, BEN).reason == NO_CODE
    assert run(funnel) == []

    clock.tick(days=2)
    run(funnel)  # what else is due goes on
    put(funnel, "MILL-0002")
    assert words(run(funnel)) == [("guide", "sent")]
    assert [to for to, _ in guides(out)] == [ANN, BEN]
    assert "MILL-0002" in guides(out)[1][1]
    assert (guide_of(funnel, BEN).status, guide_of(funnel, BEN).first_at) == (MailingStatus.SENT, clock.now)
    with funnel.session(readonly=True) as db:
        assert report.make_report(db, funnel.context, clock.now).adds_up
        gift = gifts.look_up(db, "mill0002")
    assert gift.status == "sent"


def test_the_mail_is_dated_when_it_goes_not_when_it_was_held(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    join(funnel, ANN)
    run(funnel)
    clock.tick(days=12)
    put(funnel, "MILL-0001")
    run(funnel)
    (mail,) = [mail for mail in out.accepted if "Here is your guide" in parts_of(mail.message)[1]]

    assert f"Date: {clock.now:%a, %d %b %Y}".encode() in mail.message


def test_held_mail_goes_in_the_order_of_confirming_as_far_as_codes_go(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    emails = [f"p{n}@mail.example" for n in (3, 1, 2)]
    for email in emails:
        join(funnel, email)
        run(funnel)
        clock.tick(minutes=5)
    put(funnel, "MILL-0001", "MILL-0002")
    run(funnel)

    found = [(to, text.partition("Your code: ")[2][:9]) for to, text in guides(out)]
    assert found == [(emails[0], "MILL-0001"), (emails[1], "MILL-0002")]
    assert guide_of(funnel, emails[2]).status is MailingStatus.HELD


def test_by_a_setting_it_goes_at_once_without_a_code(tmp_path: Path, clock: Clock, out: MemoryTransport) -> None:
    funnel = make(tmp_path, clock, out, when_empty="send")
    join(funnel, ANN)

    assert words(run(funnel)) == [("guide", "sent")]
    assert "Your code" not in guides(out)[0][1]
    put(funnel, "MILL-0001")
    assert run(funnel) == []
    gift = funnel.gift_of(person(funnel))
    assert gift is not None
    assert gift.code == "MILL-0001"


def person(funnel: Funnel, email: str = ANN) -> Subscriber:
    with funnel.session(readonly=True) as db:
        return funnel.find_person(db, email)


def test_who_asks_again_gets_the_guide_without_the_code(funnel: Funnel, clock: Clock) -> None:
    join(funnel, ANN)
    run(funnel)
    clock.tick(hours=30)
    sign_up(funnel, ANN)
    steps = words(run(funnel))

    assert ("guide-again", "sent") in steps
    assert guide_of(funnel).status is MailingStatus.HELD


def test_who_left_gets_no_mail_but_finds_the_code(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    join(funnel, ANN)
    run(funnel)
    funnel.unsubscribe(person(funnel).id, Receipt("withdrawn", clock.now))
    put(funnel, "MILL-0001")

    assert run(funnel) == []
    assert guides(out) == []
    assert guide_of(funnel).status is MailingStatus.SKIPPED
    assert funnel.gift_of(person(funnel)) is not None


def test_a_stop_that_is_taken_back_leaves_no_mail_behind(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    """The code came in between, so nobody would wait for it any more."""
    join(funnel, ANN)
    run(funnel)
    ann = person(funnel)
    funnel.unsubscribe(ann.id, Receipt("withdrawn", clock.now))
    put(funnel, "MILL-0001")
    clock.tick(minutes=3)
    assert funnel.choose(ann, "undo", Receipt("restored", clock.now))
    run(funnel)

    assert [to for to, _ in guides(out)] == [ANN]


def test_a_server_that_is_away_costs_nobody_the_mail(funnel: Funnel, clock: Clock) -> None:
    """A first claim that leads to nothing is dropped; this one, which was held, is put back."""
    join(funnel, ANN)
    run(funnel)
    put(funnel, "MILL-0001")
    taker, funnel._transport = (
        funnel._transport,
        SmtpTransport(Smtp(host="127.0.0.1", port=1, security="none", timeout=1), "", hostname="clinic.example"),
    )
    funnel.__dict__.pop("transport", None)
    with pytest.raises(TransportError):
        run(funnel)
    assert guide_of(funnel).status is MailingStatus.DEFERRED

    funnel._transport = taker
    funnel.__dict__.pop("transport", None)
    assert words(run(funnel)) == [("guide", "sent")]


def test_a_held_mail_is_told_apart_and_may_go_without_a_code(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    join(funnel, ANN)
    run(funnel)
    held = guide_of(funnel)
    with funnel.session() as db:
        (row,) = [row for row in funnel.open_mail(db) if row["status"] == "held"]
        made = report.make_report(db, funnel.context, clock.now)
        assert (made.held, made.without_code) == (1, 1)
        assert not [line for line in report.week(db, clock.now, clock.now) if "for a decision" in line]
        assert outbox.in_doubt(db) == ()
        left = outbox.resolve(db, funnel.context, [held.id], sent=True, by="Dana", now=clock.now)
        assert left.left == ((held.id, "it never went out, because it waits for a gift code"),)
        assert outbox.resolve(db, funnel.context, [held.id], sent=False, by="Dana", now=clock.now).done == (held.id,)

    assert (row["why"], row["do"]) == (NO_CODE, "gift import, or --resend without a code")
    assert words(run(funnel)) == [("guide", "sent")]
    assert "Your code" not in guides(out)[0][1]


def test_a_dry_run_and_why_say_that_it_will_be_held(funnel: Funnel, clock: Clock) -> None:
    join(funnel, ANN)
    with funnel.session(readonly=True) as db:
        sender = funnel.sender(db)
        (planned,) = sender.would_send(clock.now)
        answer = report.why(db, funnel.context, sender, person(funnel), clock.now)

    assert (planned.would, planned.why) == ("hold", NO_CODE)
    assert f"as things stand it will be held: {NO_CODE}" in [line.why for line in answer.ahead]


def test_when_the_pool_is_given_up_codes_are_made_and_mail_goes(
    tmp_path: Path, clock: Clock, out: MemoryTransport
) -> None:
    funnel = make(tmp_path, clock, out)
    join(funnel, ANN)
    run(funnel)
    other = make_funnel(tmp_path, now=clock, transport=out)

    assert words(run(other)) == [("guide", "sent")]
    assert "Your code" in guides(out)[0][1]


def test_the_series_goes_on_meanwhile(funnel: Funnel, clock: Clock) -> None:
    join(funnel, ANN)
    run(funnel)

    assert [o.step for _, o in live(funnel, clock, days=4)] == ["did-it-reach-you", "many-reasons"]
    assert guide_of(funnel).status is MailingStatus.HELD
