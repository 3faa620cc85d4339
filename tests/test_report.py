"""Figures that add up whatever happened, and an answer for each person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel import feedback, gifts
from funnel.model import Delivery, Receipt, Reply, Status
from funnel.report import Report, make_report, why
from funnel.transport.memory import MemoryTransport
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.report import Answer

ANN = "ann@mail.example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock) -> Funnel:
    return make_funnel(tmp_path, now=clock, transport=MemoryTransport())


def send(funnel: Funnel) -> None:
    with funnel.session() as db:
        list(funnel.sender(db).send_due())


def report(funnel: Funnel) -> Report:
    with funnel.session(readonly=True) as db:
        return make_report(db, funnel.context, funnel.clock())


def answer(funnel: Funnel, email: str = ANN) -> Answer:
    with funnel.session(readonly=True) as db:
        return why(db, funnel.context, funnel.sender(db), funnel.find_person(db, email), funnel.clock())


def stop(funnel: Funnel, email: str = ANN) -> None:
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, email)
    funnel.unsubscribe(person.id, Receipt("withdrawn", funnel.clock()))


def test_an_empty_funnel_adds_up(funnel: Funnel) -> None:
    found = report(funnel)

    assert found.adds_up
    assert set(found.people) == set(Status)
    assert set(found.people.values()) == {0}
    assert found.last_tick is None


def test_figures_of_one_way(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, ANN)
    send(funnel)
    confirm(funnel, ANN)
    send(funnel)
    found = report(funnel)
    steps = {f"{step.sequence}/{step.step}": step for step in found.steps}

    assert steps["confirm/confirm"].by_status == {"sent": 1}
    assert steps["series/guide"].by_status == {"sent": 1}
    assert (steps["series/many-reasons"].ahead, steps["series/many-reasons"].left) == (1, 0)
    assert (found.gifts, found.funnel["confirmed"], found.due_now) == ({"sent": 1}, 1, 0)
    assert found.last_tick == clock.now

    stop(funnel)
    steps = {f"{step.sequence}/{step.step}": step for step in report(funnel).steps}
    assert (steps["series/many-reasons"].ahead, steps["series/many-reasons"].left) == (0, 1)


ACTS = st.lists(
    st.tuples(st.sampled_from(["ask", "confirm", "stop", "pause", "erase", "redeem", "bounce", "send", "wait"]),
              st.integers(0, 2)),
    max_size=25,
)  # fmt: skip


@settings(max_examples=15)
@given(acts=ACTS)
def test_the_sums_match_whatever_happened(
    acts: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """P2: everybody who was entered is in exactly one named state, for every mail."""
    clock = Clock()
    transport = MemoryTransport()
    funnel = make_funnel(tmp_path_factory.mktemp("acts"), now=clock, transport=transport)
    for act, number in acts:
        do(funnel, clock, act, f"p{number}@mail.example", transport)
        found = report(funnel)
        assert found.adds_up, act
        with funnel.session(readonly=True) as db:
            assert sum(found.people.values()) == db.value("SELECT count(*) FROM subscriber")


def do(funnel: Funnel, clock: Clock, act: str, email: str, transport: MemoryTransport) -> None:
    """Let something happen, where it can."""
    with funnel.session(readonly=True) as db:
        found = db.one("SELECT id, status FROM subscriber WHERE email_key = ?", (email,))
    if act == "ask":
        sign_up(funnel, email)
    elif act == "send":
        send(funnel)
    elif act == "wait":
        clock.tick(days=4)
    elif act == "bounce":
        transport.answer(email, Reply(Delivery.PERMANENT, 550, "5.1.1 no such user", "rcpt"))
    elif found and act == "erase":
        funnel.erase(email, "staff")
    elif found and act == "stop":
        stop(funnel, email)
    elif found and act == "confirm" and found["status"] == "pending" and clock.now - NOW < timedelta(days=1):
        confirm(funnel, email)
    elif found and act in {"pause", "redeem"} and found["status"] in {"confirmed", "paused"}:
        with funnel.session() as db:
            person = funnel.find_person(db, email)
            gift = gifts.of_person(db, funnel.context, person.id)
            if act == "pause":
                receipt = Receipt("paused", clock.now)
                feedback.pause(db, person.id, until=clock.now + timedelta(days=5), now=clock.now, receipt=receipt)
            elif gifts.usable(gift, clock.now) and gift:
                gifts.redeem(db, funnel.context, gift.code, by="Anna", now=clock.now)


def test_making_a_report_changes_nothing(funnel: Funnel) -> None:
    sign_up(funnel, ANN)
    with funnel.session(readonly=True) as db:
        before = list(db.connection.iterdump())
        make_report(db, funnel.context, NOW)
        why(db, funnel.context, funnel.sender(db), funnel.find_person(db, ANN), NOW)
        assert list(db.connection.iterdump()) == before


# --- why ---------------------------------------------------------------------------------------


def lines(answer: Answer) -> str:
    return "\n".join(f"{line.what} | {line.why}" for line in answer.past + answer.ahead)


def test_a_reader_of_the_series_is_told_what_comes(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, ANN)
    send(funnel)
    confirm(funnel, ANN)
    send(funnel)
    told = answer(funnel)

    assert told.gift.endswith("(sent)")
    assert "series/guide sent | the server said: 250 kept in memory" in lines(told)
    steps = funnel.context.sequences["series"].steps
    assert [line.what for line in told.ahead if line.what.startswith("series/")] == [
        f"series/{step.name}" for step in steps[1:]
    ]
    assert "series/did-it-reach-you | planned for then" in lines(told)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(Delivery.TRANSIENT, 451, "greylisted", "rcpt"), "deferred | mailbox refused it for now; goes again"),
        (Reply(Delivery.PERMANENT, 550, "5.1.1 no such user", "rcpt"), "confirm/confirm failed | no such address; 550"),
        (Reply(Delivery.UNKNOWN, 0, "gone", "dot"), "it may have arrived"),
        (Reply(Delivery.PERMANENT, 552, "5.3.4 message too big", "dot"), "refused for good (content)"),
    ],
)  # fmt: skip
def test_a_mail_that_did_not_go_says_why(funnel: Funnel, reply: Reply, said: str) -> None:
    transport = funnel.transport
    assert isinstance(transport, MemoryTransport)
    transport.answer(ANN, reply)
    sign_up(funnel, ANN)
    send(funnel)

    text = lines(answer(funnel))
    assert said in text or (reply.delivery is Delivery.UNKNOWN and "fate is unknown" in text)


def test_who_left_is_told_so(funnel: Funnel) -> None:
    sign_up(funnel, ANN)
    send(funnel)
    confirm(funnel, ANN)
    stop(funnel)
    told = answer(funnel)

    assert told.person.status is Status.UNSUBSCRIBED
    assert told.suppressed.startswith("unsubscribed since 2026-11-17")
    assert "series: nothing more to come | unsubscribed" in lines(told)


def test_who_paused_is_told_until_when(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, ANN)
    send(funnel)
    confirm(funnel, ANN)
    send(funnel)
    with funnel.session() as db:
        person = funnel.find_person(db, ANN)
        until = clock.now + timedelta(days=30)
        feedback.pause(db, person.id, until=until, now=clock.now, receipt=Receipt("paused", clock.now))

    assert "waits: " in lines(answer(funnel))
    assert answer(funnel).person.paused_until == until


def test_the_past_is_in_order(funnel: Funnel, clock: Clock) -> None:
    for _ in range(3):
        sign_up(funnel, ANN)
        send(funnel)
        clock.tick(days=2)
    times = [line.at for line in answer(funnel).past if line.at]

    assert times == sorted(times)
    assert len(times) == 6
