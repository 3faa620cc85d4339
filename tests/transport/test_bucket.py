"""Never more per second than was allowed, and nearly as much."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.transport.bucket import IN_USE, Bucket, resumed, room, written

RATES = st.floats(0.01, 1_000)
PAUSES = st.lists(st.floats(0, 5), min_size=1, max_size=60)


def times(rate: float, pauses: list[float], start: Bucket) -> list[float]:
    """Return when messages go if somebody asks again after each of these pauses, waiting when told to."""
    bucket, now, gone = start, start.at, []
    for pause in pauses:
        now += pause
        now += bucket.wait(rate, now)
        bucket = bucket.taken(rate, now)
        gone.append(now)
    return gone


@given(rate=RATES, pauses=PAUSES, at=st.floats(-1e6, 2e9))
def test_no_span_of_time_has_more_than_its_share(rate: float, pauses: list[float], at: float) -> None:
    gone = times(rate, pauses, Bucket(1.0, at))
    for i, early in enumerate(gone):
        for j, late in enumerate(gone[i:]):
            assert j + 1 <= rate * (late - early) + room(rate) + 1e-3


@given(rate=RATES, count=st.integers(1, 60))
def test_who_is_always_ready_gets_all_of_it(rate: float, count: int) -> None:
    gone = times(rate, [0.0] * count, Bucket(1.0, 0.0))

    assert gone[-1] == pytest.approx((count - 1) / rate, abs=1e-3)


@given(rate=RATES, pauses=PAUSES, at=st.integers(1, 60))
def test_handed_out_and_in_again_it_is_the_same_bucket(rate: float, pauses: list[float], at: int) -> None:
    first = times(rate, pauses[:at], Bucket(1.0, 0.0))
    bucket = Bucket(1.0, 0.0)
    for moment in first:
        bucket = bucket.taken(rate, moment)
    again = Bucket(bucket.tokens, bucket.at)

    assert times(rate, pauses[at:], again) == pytest.approx(times(rate, pauses, Bucket(1.0, 0.0))[at:])


@given(rate=RATES, back=st.floats(0, 1e9))
def test_a_clock_that_goes_back_gives_and_costs_nothing(rate: float, back: float) -> None:
    empty = Bucket(1.0, 1e9).taken(rate, 1e9)

    assert empty.filled(rate, 1e9 - back).tokens == pytest.approx(0)
    assert empty.wait(rate, 1e9 - back) == pytest.approx(1 / rate)


def test_a_slow_rate_keeps_one_message_in_store_at_most() -> None:
    """One a minute stays one a minute after a day without mail."""
    bucket = Bucket(1.0, 0.0).filled(1 / 60, 86_400)

    assert bucket.wait(1 / 60, 86_400) == 0
    assert bucket.taken(1 / 60, 86_400).wait(1 / 60, 86_400) == pytest.approx(60)


# --- from one run to the next --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """One run: how long after the one before, what it waits for between mails, and whether it is killed."""

    after: float
    pauses: list[float]
    killed: bool
    started: float  #: what its own clock says at the start; it counts from nothing that others know


RUNS = st.lists(
    st.builds(Run, st.floats(0, 3), st.lists(st.floats(0, 1), max_size=12), st.booleans(), st.floats(0, 1e6)),
    min_size=1,
    max_size=5,
)


def lived(rate: float, runs: list[Run]) -> list[float]:
    """Return when mails go over several runs, by the one clock on the wall."""
    wall, kept, gone = 1_800_000_000.0, None, []
    for run in runs:
        wall += run.after
        begun = wall
        bucket, kept = resumed(kept, rate, run.started, wall), IN_USE
        for pause in run.pauses:
            wall += pause
            wall += bucket.wait(rate, run.started + (wall - begun))
            bucket = bucket.taken(rate, run.started + (wall - begun))
            gone.append(wall)
        if not run.killed:
            kept = written(bucket, rate, run.started + (wall - begun), wall)
    return gone


@given(rate=st.floats(0.2, 500), runs=RUNS)
def test_the_rate_holds_over_all_runs_whoever_is_killed(rate: float, runs: list[Run]) -> None:
    gone = lived(rate, runs)
    for i, early in enumerate(gone):
        for j, late in enumerate(gone[i:]):
            assert j + 1 <= rate * (late - early) + room(rate) + 1e-2


def test_three_runs_in_a_row_are_no_faster_than_one() -> None:
    one = lived(5, [Run(0, [0.0] * 30, killed=False, started=0)])
    three = lived(5, [Run(0, [0.0] * 10, killed=False, started=float(n)) for n in range(3)])

    assert three == pytest.approx(one, abs=1e-3)
    assert one[-1] - one[0] == pytest.approx(29 / 5, abs=1e-3)


def test_after_a_dead_run_the_next_begins_with_nothing() -> None:
    """However long ago that was: nobody knows when its last mail went."""
    for started in (IN_USE, "", "nonsense", "nan 1.0", "1.0 inf", "1 2 3"):
        assert resumed(started, 5, 10.0, 2e9) == Bucket(0.0, 10.0)
    assert resumed(None, 5, 10.0, 2e9) == Bucket(1.0, 10.0)


@given(rate=RATES, tokens=st.floats(0, 1), ahead=st.floats(0, 1e9))
def test_a_wall_clock_put_back_gives_nothing(rate: float, tokens: float, ahead: float) -> None:
    kept = written(Bucket(tokens, 5.0), rate, 5.0, 1e9 + ahead)

    assert resumed(kept, rate, 7.0, 1e9) == Bucket(tokens, 7.0)


def test_time_between_runs_fills_it_up_to_its_room_only() -> None:
    kept = written(Bucket(0.0, 5.0), 100, 5.0, 1e9)

    assert resumed(kept, 100, 0.0, 1e9 + 0.02).tokens == pytest.approx(2)
    assert resumed(kept, 100, 0.0, 1e9 + 86_400).tokens == room(100)
