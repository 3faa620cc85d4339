"""What a person may choose after confirming, and taking a stop back."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import feedback, signup
from funnel.model import Event, EventKind, MailingStatus, Receipt, Status, Subscriber
from funnel.signup.choosing import GUIDE_ONLY, choose
from funnel.store import choices, consents, enrollments, events, mailings
from funnel.transport.memory import MemoryTransport
from tests.kit import Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.model import Enrollment

ANN = "ann@mail.example"
#: All that a stop may touch; receipts and events only ever grow.
TABLES = ("subscriber", "enrollment", "mailing", "gift", "suppression")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock) -> Funnel:
    return make_funnel(tmp_path, now=clock, transport=MemoryTransport())


def join(funnel: Funnel, email: str = ANN) -> Subscriber:
    sign_up(funnel, email)
    confirm(funnel, email)
    return person(funnel, email)


def person(funnel: Funnel, email: str = ANN) -> Subscriber:
    with funnel.session(readonly=True) as db:
        return funnel.find_person(db, email)


def series(funnel: Funnel) -> Enrollment:
    with funnel.session(readonly=True) as db:
        way = enrollments.latest(db, 1, "series")
    assert way is not None
    return way


def send(funnel: Funnel) -> list[str]:
    with funnel.session() as db:
        return [out.step for out in funnel.sender(db).send_due() if out.status is MailingStatus.SENT]


def live(funnel: Funnel, clock: Clock, days: int) -> list[int]:
    """Let days pass, sending each morning, and return after how many days a mail went out."""
    start, sent = clock.now, list[int]()
    for _ in range(days):
        clock.tick(days=1)
        sent += [(clock.now - start).days] * len(send(funnel))
    return sent


def press(funnel: Funnel, act: str, email: str = ANN) -> bool:
    return funnel.choose(person(funnel, email), act, Receipt(act=_act(act), at=funnel.clock(), wording=act))


def _act(button: str) -> str:
    named = {"keep": "kept", "stop": "withdrawn", "undo": "restored", "resume": "resumed"}
    return named.get(button, "paused" if button.startswith("pause") else button)


def rows(funnel: Funnel) -> dict[str, list[Any]]:
    with funnel.session(readonly=True) as db:
        return {name: [tuple(row) for row in db.all(f"SELECT * FROM {name}")] for name in TABLES}


def acts(funnel: Funnel) -> list[str]:
    with funnel.session(readonly=True) as db:
        return [receipt.act for receipt in consents.of(db, 1)]


# --- staying -----------------------------------------------------------------------------------


def test_staying_is_on_record_and_counts_as_being_here(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    before = rows(funnel)
    clock.tick(days=35)
    assert press(funnel, "keep")
    assert rows(funnel) == before
    assert acts(funnel)[-1] == "kept"
    with funnel.session(readonly=True) as db:
        assert events.last(db, 1, (EventKind.RESUBSCRIBED,)) == clock.now


@pytest.mark.parametrize("act", ["keep", "slower", "guide-only", "series-again", "pause-14", "resume"])
def test_who_is_off_the_list_is_brought_back_by_no_button(funnel: Funnel, act: str) -> None:
    join(funnel)
    press(funnel, "stop")
    before, receipts = rows(funnel), acts(funnel)
    assert not press(funnel, act)
    assert (rows(funnel), acts(funnel)) == (before, receipts)


def test_an_unknown_button_is_a_fault_of_ours(funnel: Funnel) -> None:
    ann = join(funnel)
    with funnel.session() as db, pytest.raises(KeyError):
        choose(db, funnel.context, ann, "nonsense", now=funnel.clock(), receipt=Receipt("kept", funnel.clock()))


# --- fewer mails -------------------------------------------------------------------------------


def test_fewer_mails_come_a_week_apart_and_every_few_days_again(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    send(funnel)
    assert press(funnel, "slower")
    assert not press(funnel, "slower")
    slow = live(funnel, clock, 36)
    assert len(slow) >= 4
    assert min(b - a for a, b in pairwise(slow)) >= 7

    assert press(funnel, "faster")
    fast = live(funnel, clock, 12)
    gaps = [b - a for a, b in pairwise(fast)]
    assert set(gaps) == {3}, "what was put off is spread out again, not sent in a burst"
    assert acts(funnel)[-2:] == ["slower", "faster"]


def test_the_guide_itself_does_not_wait_a_week(funnel: Funnel) -> None:
    join(funnel)
    assert press(funnel, "slower")
    assert send(funnel) == ["guide"]


def test_coming_back_is_coming_back_to_the_usual_pace(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    press(funnel, "slower")
    press(funnel, "stop")
    clock.tick(days=2)
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    assert not funnel.series_of(person(funnel)).slow


# --- only the guide ----------------------------------------------------------------------------


def test_only_the_guide_ends_the_series_and_nothing_else(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    send(funnel)
    assert press(funnel, "guide-only")
    assert not press(funnel, "guide-only")
    assert (series(funnel).next_at, series(funnel).ended) == (None, GUIDE_ONLY)
    ann = person(funnel)
    assert ann.status is Status.CONFIRMED
    assert funnel.can_use(funnel.gift_of(ann))
    assert rows(funnel)["suppression"] == []
    assert live(funnel, clock, 20) == []
    sign_up(funnel, ANN)
    assert send(funnel) == ["guide-again"]


def test_the_guide_still_comes_when_it_had_not_gone_out(funnel: Funnel) -> None:
    join(funnel)
    assert press(funnel, "guide-only")
    assert send(funnel) == ["guide-again"]


def test_a_mail_of_the_series_that_waits_is_left_out_the_guide_is_not(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    send(funnel)
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = ?", (int(clock.now.timestamp()),))
        mailings.add(db, series(funnel).id, "two-maps", "drip", MailingStatus.HELD, due=clock.now, now=clock.now)
    press(funnel, "guide-only")
    with funnel.session(readonly=True) as db:
        found = {m.step: m.status for m in mailings.of_enrollment(db, series(funnel).id)}
    assert found == {"guide": MailingStatus.DEFERRED, "two-maps": MailingStatus.SKIPPED}


def test_the_series_goes_on_where_it_stopped(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    send(funnel)
    first = live(funnel, clock, 8)
    press(funnel, "guide-only")
    clock.tick(days=30)
    assert press(funnel, "series-again")
    assert not press(funnel, "series-again")
    assert len(first) >= 2
    later = live(funnel, clock, 7)
    assert len(later) == 3
    with funnel.session(readonly=True) as db:
        steps = [m.step for m in mailings.of_enrollment(db, series(funnel).id)]
    assert len(steps) == len(set(steps))


# --- taking a stop back ------------------------------------------------------------------------


def paused(funnel: Funnel) -> None:
    press(funnel, "pause-28")


def guide_waits(funnel: Funnel) -> None:
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = 5, reason = 'greylisted', finished_at = 4")


def slow(funnel: Funnel) -> None:
    press(funnel, "slower")


def nothing(funnel: Funnel) -> None:
    assert funnel.database_path.exists()


@pytest.mark.parametrize("before_that", [nothing, paused, guide_waits, slow])
def test_undo_puts_everything_back_as_it_was(funnel: Funnel, before_that: Callable[[Funnel], None]) -> None:
    """UNS-15: status, pause, series and waiting mail; both acts have their receipts."""
    join(funnel)
    send(funnel)
    before_that(funnel)
    before = rows(funnel)
    assert press(funnel, "stop")
    assert rows(funnel) != before
    assert press(funnel, "undo")
    assert rows(funnel) == before
    assert acts(funnel)[-2:] == ["withdrawn", "restored"]
    assert not press(funnel, "undo"), "once is enough"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(minutes=st.floats(0, 60), acts_before=st.lists(st.sampled_from(["slower", "pause-14", "resume", "keep"])))
def test_undo_works_for_half_an_hour_whatever_was_chosen(
    tmp_path_factory: pytest.TempPathFactory, minutes: float, acts_before: list[str]
) -> None:
    """UNS-15."""
    clock = Clock()
    funnel = make_funnel(tmp_path_factory.mktemp("undo"), now=clock)
    join(funnel)
    for act in acts_before:
        press(funnel, act)
    before = rows(funnel)
    press(funnel, "stop")
    stopped = rows(funnel)
    clock.now += timedelta(minutes=minutes)
    assert press(funnel, "undo") == (minutes <= 30)
    assert rows(funnel) == (before if minutes <= 30 else stopped)


def test_undo_takes_back_the_stop_of_the_person_and_no_other(funnel: Funnel, clock: Clock) -> None:
    """A complaint, a block by staff and a newer stop are not undone by it."""
    join(funnel)
    press(funnel, "stop")
    with funnel.session() as db:
        event = Event("esp", "1", EventKind.COMPLAINED, clock.now, 1)
        feedback.apply(db, funnel.context, event, clock.now)
    before = rows(funnel)
    assert not press(funnel, "undo")
    assert rows(funnel) == before
    assert person(funnel).status is Status.COMPLAINED


def test_a_block_by_staff_outlives_the_undo(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    press(funnel, "stop")
    with funnel.session() as db, db.transaction():
        events.suppress(db, funnel.context.hash_of(ANN), "blocked", clock.now)
    assert press(funnel, "undo")
    with funnel.session(readonly=True) as db:
        assert events.suppressions(db) == {"blocked": 1}
    assert send(funnel) == []


def test_an_older_suppression_comes_back(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    with funnel.session() as db, db.transaction():
        events.suppress(db, funnel.context.hash_of(ANN), "bounced", clock.now)
    before = rows(funnel)
    clock.tick(minutes=5)
    press(funnel, "stop")
    press(funnel, "undo")
    assert rows(funnel)["suppression"] == before["suppression"]


def test_a_second_stop_does_not_make_the_half_hour_longer(funnel: Funnel, clock: Clock) -> None:
    """UNS-8: the first moment counts."""
    join(funnel)
    press(funnel, "stop")
    clock.tick(minutes=20)
    assert not press(funnel, "stop")
    clock.tick(minutes=11)
    assert not press(funnel, "undo")


def test_a_mail_of_unknown_fate_does_not_go_twice_after_an_undo(funnel: Funnel, clock: Clock) -> None:
    """P3: without its bytes it may not go again."""
    join(funnel)
    send(funnel)
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = 'deferred', doubts = 1, retry_at = ?", (int(clock.now.timestamp()),))
    press(funnel, "stop")
    press(funnel, "undo")
    assert send(funnel) == []


def test_mail_goes_on_after_an_undo(funnel: Funnel, clock: Clock) -> None:
    join(funnel)
    send(funnel)
    press(funnel, "stop")
    clock.tick(minutes=10)
    press(funnel, "undo")
    assert len(live(funnel, clock, 7)) >= 2


def test_what_stood_before_is_kept_for_half_an_hour_and_not_for_the_forgotten(funnel: Funnel, clock: Clock) -> None:
    """LAW-5, LAW-8."""
    join(funnel)
    join(funnel, "ben@mail.example")
    press(funnel, "stop")
    press(funnel, "stop", "ben@mail.example")
    funnel.erase("ben@mail.example", "desk")
    with funnel.session() as db:
        assert choices.undo_of(db, 1) is not None
        assert choices.undo_of(db, 2) is None
        signup.purge(db, funnel.context, clock.tick(minutes=31))
        assert choices.undo_of(db, 1) is None


def test_coming_back_by_confirming_ends_the_way_back(funnel: Funnel, clock: Clock) -> None:
    """The old state must not return after a new beginning."""
    join(funnel)
    press(funnel, "stop")
    clock.tick(minutes=1)
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE enrollment SET anchor_at = anchor_at - 90000 WHERE sequence = 'confirm'")
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    before = rows(funnel)
    assert not press(funnel, "undo")
    assert rows(funnel) == before
