"""A clock that goes ahead by days stops sending; whatever else a clock does, does not (F-43)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.errors import FunnelError
from funnel.keeping.clock import LEAP, Machine, check_clock, leapt, this_machine, trust_clock
from funnel.store import runs, seal
from funnel.store.database import open_database
from tests.kit import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.store.database import Database

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
UP = timedelta(hours=5)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Give a database whose machine was looked at five hours after its start."""
    with open_database(tmp_path / "funnel.db", create=True) as opened:
        check_clock(opened, NOW, Machine("one", UP))
        yield opened


def looked(db: Database, passed: timedelta, jumped: timedelta, boot: str = "one") -> bool:
    """Look once more, after so long, with a clock that jumped so far; True when it is believed."""
    try:
        check_clock(db, NOW + passed + jumped, Machine(boot, UP + passed))
    except FunnelError:
        return False
    return True


@given(passed=st.timedeltas(timedelta(0), 4000 * DAY), jumped=st.timedeltas(-4000 * DAY, 4000 * DAY))
def test_only_more_than_a_day_ahead_is_a_leap_however_long_nothing_ran(passed: timedelta, jumped: timedelta) -> None:
    began = int((NOW - UP).timestamp())
    seems = int((NOW + passed + jumped - (UP + passed)).timestamp())

    assert leapt(began, seems) is (seems - began > 86_400)
    assert leapt(began, began + int(LEAP.total_seconds())) is False


def test_a_leap_stays_refused_until_it_is_taken_back_or_said_to_be_right(db: Database) -> None:
    assert not looked(db, HOUR, 3650 * DAY)
    assert not looked(db, 2 * HOUR, DAY + 2 * timedelta(minutes=1))
    assert looked(db, 2 * HOUR, timedelta(0))
    trust_clock(db, NOW + 3 * HOUR + 9 * DAY, Machine("one", UP + 3 * HOUR))
    assert looked(db, 4 * HOUR, 9 * DAY)
    with pytest.raises(
        FunnelError, match=r"went ahead by 11 days while .* so nothing was sent.*funnel send --clock-ok"
    ):
        check_clock(db, NOW + 5 * HOUR + 20 * DAY, Machine("one", UP + 5 * HOUR))


def test_three_weeks_of_silence_are_no_leap(db: Database) -> None:
    """F-44: the machine ran on, or slept."""
    assert looked(db, 21 * DAY, timedelta(0))


def test_a_clock_that_runs_a_little_fast_is_followed(db: Database) -> None:
    assert all(looked(db, n * DAY, n * 20 * HOUR) for n in range(1, 9))


def test_a_clock_that_went_back_and_is_put_right_is_believed(db: Database) -> None:
    assert looked(db, HOUR, -9000 * DAY)
    assert looked(db, 2 * HOUR, timedelta(0))


def test_a_machine_that_started_in_1970_and_then_asked_for_the_time_is_believed(db: Database) -> None:
    runs.tick(db, NOW)
    assert looked(db, HOUR, -20_000 * DAY, "two")
    assert looked(db, 2 * HOUR, timedelta(0), "two")
    assert not looked(db, 3 * HOUR, 2 * DAY, "two")


def test_after_a_new_start_nothing_tells_a_leap_from_a_rest(db: Database) -> None:
    assert looked(db, HOUR, 30 * DAY, "two")


def test_where_the_machine_tells_nothing_nothing_is_judged(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "BOOT_ID", tmp_path / "none")
    assert this_machine() is None
    trust_clock(db, NOW, None)
    check_clock(db, NOW + 999 * DAY, None)
    assert looked(db, HOUR, timedelta(0))
