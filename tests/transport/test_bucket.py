"""Never more per second than was allowed, and nearly as much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.transport.bucket import Bucket, room

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
