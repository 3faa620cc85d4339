"""When a mail may go, checked against a plain scan of the wall clock, minute by minute, in every time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from funnel.errors import ScheduleError
from funnel.model import Kind, Step
from funnel.schedule import (
    MOST_QUARTERS,
    Calendar,
    due_at,
    earliest_go,
    is_open,
    is_stale,
    local_instant,
    moved_anchor,
    next_open,
    open_seconds,
    wanted_at,
    wanted_seconds,
    zone,
)

ZONES = sorted(available_timezones())
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
#: Places and moments where the wall clock jumps, stands still, or loses a whole day.
JUMPS = [
    ("America/New_York", datetime(2026, 3, 8, 6, 30, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
    ("Europe/London", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)),
    ("Europe/London", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 45, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 9, 0, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, 4, 30, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 1, 30, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 6, 1, 3, 14, tzinfo=UTC)),
]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def drip(days: int = 0, at: time | None = None, delay: timedelta = timedelta(0)) -> Step:
    return Step("tip", Kind.DRIP, days=days, at=at, delay=delay)


zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2007, 1, 1), datetime(2037, 6, 1)).map(  # noqa: DTZ001
    lambda t: t.replace(second=0, microsecond=0, tzinfo=UTC)
)
near_jumps = st.tuples(st.sampled_from(JUMPS), st.integers(-4000, 4000)).map(
    lambda pair: (pair[0][0], pair[0][1] + pair[1] * MINUTE)
)
places_and_moments = st.one_of(near_jumps, st.tuples(zones, moments))
clock_times = st.times().map(lambda t: t.replace(second=0, microsecond=0))


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    opens, closes = sorted(draw(st.lists(clock_times, min_size=2, max_size=2, unique=True)))
    return Calendar(
        opens=opens,
        closes=closes,
        days=draw(st.frozensets(st.integers(0, 6), min_size=1)),
        gap=draw(st.integers(0, 60)) * timedelta(hours=1),
    )


def open_by_the_clock(t: datetime, name: str, calendar: Calendar) -> bool:
    """The definition, in so many words: an open day and an hour of the window on the wall clock there."""
    wall = t.astimezone(zone(name))
    return calendar.open_on(wall.date()) and calendar.opens <= wall.time() < calendar.closes


def edge_is_ambiguous(t: datetime, name: str, calendar: Calendar) -> bool:
    """True when a window near ``t`` begins or ends in an hour that the clock shows twice."""
    there = zone(name)
    days = [t.astimezone(there).date() + timedelta(days=n) for n in range(-2, 3)]
    edges = [
        datetime.combine(day, at.replace(fold=0), tzinfo=there)
        for day in days
        for at in (calendar.opens, calendar.closes)
    ]
    return any(
        edge.utcoffset() != edge.replace(fold=1).utcoffset()
        and edge.astimezone(UTC) < edge.replace(fold=1).astimezone(UTC)
        for edge in edges
    )


# --- the window --------------------------------------------------------------------------------


@settings(max_examples=300)
@given(places_and_moments, calendars())
@example(("Pacific/Apia", utc(2011, 12, 30, 3)), Calendar(days=frozenset(range(5))))
def test_next_open_is_the_first_open_minute_of_the_wall_clock(
    where_when: tuple[str, datetime], calendar: Calendar
) -> None:
    name, t = where_when
    assume(not edge_is_ambiguous(t, name, calendar))
    found = next_open(t, zone(name), calendar)

    assert found >= t
    assert open_by_the_clock(found, name, calendar)
    minute = t
    while minute < min(found, t + 2 * DAY):
        assert not open_by_the_clock(minute, name, calendar), f"{minute} was open, {found} was chosen"
        minute += MINUTE
    while minute < found:  # beyond two days, hour by hour will do
        assert not open_by_the_clock(minute, name, calendar)
        minute += 37 * MINUTE


@settings(max_examples=300)
@given(places_and_moments, calendars())
def test_an_open_moment_is_its_own_next_open(where_when: tuple[str, datetime], calendar: Calendar) -> None:
    name, t = where_when
    found = next_open(t, zone(name), calendar)

    assert next_open(found, zone(name), calendar) == found
    assert is_open(found, zone(name), calendar)
    assert is_open(t, zone(name), calendar) == (found == t)


@given(zones, moments, moments)
def test_a_later_question_never_gets_an_earlier_answer(name: str, one: datetime, other: datetime) -> None:
    early, late = sorted((one, other))

    assert next_open(early, zone(name), Calendar()) <= next_open(late, zone(name), Calendar())


def test_a_window_that_begins_in_a_repeated_hour_begins_once() -> None:
    """New York, 1 November 2026: 01:30 comes twice; the window opens at the first."""
    calendar = Calendar(opens=time(1, 30), closes=time(3))

    assert next_open(utc(2026, 11, 1, 4), zone("America/New_York"), calendar) == utc(2026, 11, 1, 5, 30)


def test_a_window_that_ends_in_a_repeated_hour_ends_once() -> None:
    calendar = Calendar(opens=time(0, 30), closes=time(1, 30))
    new_york = zone("America/New_York")

    assert not is_open(utc(2026, 11, 1, 6, 10), new_york, calendar)  # 01:10 for the second time
    assert next_open(utc(2026, 11, 1, 5, 30), new_york, calendar) == utc(2026, 11, 2, 5, 30)


def test_a_window_inside_a_skipped_hour_does_not_open_that_day() -> None:
    calendar = Calendar(opens=time(2, 10), closes=time(2, 50))
    found = next_open(utc(2026, 3, 8, 6), zone("America/New_York"), calendar)

    assert found.astimezone(zone("America/New_York")).replace(tzinfo=None) == datetime(2026, 3, 9, 2, 10)  # noqa: DTZ001


def test_the_day_apia_skipped_is_never_open() -> None:
    """Friday 30 December 2011 did not take place in Samoa; its window must not open on the Saturday."""
    weekdays = Calendar(days=frozenset(range(5)))
    found = next_open(utc(2011, 12, 30, 6), zone("Pacific/Apia"), weekdays)

    assert found.astimezone(zone("Pacific/Apia")).isoformat() == "2012-01-02T09:00:00+14:00"


def test_kathmandu_opens_at_a_quarter_past_the_hour() -> None:
    assert next_open(utc(2026, 6, 1, 1), zone("Asia/Kathmandu"), Calendar()) == utc(2026, 6, 1, 3, 15)


def test_closing_time_is_closed() -> None:
    london = zone("Europe/London")

    assert is_open(utc(2026, 1, 5, 16, 59), london, Calendar())
    assert next_open(utc(2026, 1, 5, 17), london, Calendar()) == utc(2026, 1, 6, 9)


def test_closed_days_are_days_of_the_reader() -> None:
    """Christmas begins in Auckland while it is still the 24th in London."""
    calendar = Calendar(closed=frozenset({date(2026, 12, 25)}))

    assert next_open(utc(2026, 12, 24, 21), zone("Pacific/Auckland"), calendar) == utc(2026, 12, 25, 20)
    assert next_open(utc(2026, 12, 24, 21), zone("Europe/London"), calendar) == utc(2026, 12, 26, 9)


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar(days=frozenset()),
        Calendar(opens=time(9), closes=time(9)),
        Calendar(opens=time(17), closes=time(9)),
        Calendar(closed=frozenset(date(2026, 1, 1) + timedelta(days=n) for n in range(500))),
    ],
    ids=["no day", "no hour", "backwards", "closed for 500 days"],
)
def test_a_calendar_that_never_opens_is_an_error(calendar: Calendar) -> None:
    with pytest.raises(ScheduleError, match="open a day or widen the window"):
        next_open(utc(2026, 1, 2), zone("Asia/Tokyo"), calendar)


def test_a_year_of_closed_days_is_waited_out() -> None:
    closed = frozenset(date(2026, 1, 1) + timedelta(days=n) for n in range(365))

    assert next_open(utc(2026, 1, 1), zone("UTC"), Calendar(closed=closed)) == utc(2027, 1, 1, 9)


# --- local times that do not exist, or exist twice ---------------------------------------------


@pytest.mark.parametrize(
    ("name", "day", "at", "expected"),
    [
        ("America/New_York", date(2026, 3, 8), time(2, 30), utc(2026, 3, 8, 7)),
        ("America/New_York", date(2026, 3, 8), time(2), utc(2026, 3, 8, 7)),
        ("America/New_York", date(2026, 3, 8), time(1, 59), utc(2026, 3, 8, 6, 59)),
        ("America/New_York", date(2026, 3, 8), time(3), utc(2026, 3, 8, 7)),
        ("America/New_York", date(2026, 11, 1), time(1, 30), utc(2026, 11, 1, 5, 30)),
        ("Europe/London", date(2026, 3, 29), time(1, 30), utc(2026, 3, 29, 1)),
        ("Europe/London", date(2026, 10, 25), time(1, 30), utc(2026, 10, 25, 0, 30)),
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), utc(2026, 10, 3, 15, 30)),
        ("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45), utc(2026, 4, 4, 14, 45)),
        ("Pacific/Apia", date(2011, 12, 30), time(9), utc(2011, 12, 30, 10)),
        ("Pacific/Apia", date(2011, 12, 30), time(0), utc(2011, 12, 30, 10)),
        ("Pacific/Apia", date(2011, 12, 30), time(23, 59), utc(2011, 12, 30, 10)),
        ("America/Havana", date(2026, 3, 8), time(0, 30), utc(2026, 3, 8, 5)),
        ("Asia/Kathmandu", date(2026, 6, 1), time(9), utc(2026, 6, 1, 3, 15)),
    ],
)
def test_a_local_time_has_one_instant(name: str, day: date, at: time, expected: datetime) -> None:
    assert local_instant(day, at, zone(name)) == expected


@settings(max_examples=400)
@given(places_and_moments, clock_times)
@example(("Africa/Casablanca", utc(2026, 2, 15, 1, 30)), time(2, fold=1))
def test_a_local_time_is_met_or_just_jumped_over(where_when: tuple[str, datetime], at: time) -> None:
    name, t = where_when
    there = zone(name)
    day = t.astimezone(there).date()
    found = local_instant(day, at, there)
    shown = found.astimezone(there).replace(tzinfo=None)
    before = (found - timedelta(seconds=1)).astimezone(there).replace(tzinfo=None)
    wanted = datetime.combine(day, at)

    assert shown == wanted or before < wanted < shown
    assert all((found - n * MINUTE).astimezone(there).replace(tzinfo=None) != wanted for n in range(1, 200))


@pytest.mark.parametrize("name", ["", "Nowhere/Atall", "../../etc/passwd", "America", "\0", "ü", "x" * 5000])
def test_an_unknown_zone_is_utc(name: str) -> None:
    assert zone(name).utcoffset(utc(2026, 7, 1)) == timedelta(0)


# --- steps -------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(places_and_moments, st.integers(0, 60), st.none() | clock_times, st.integers(0, 40), calendars(), st.data())
def test_a_step_is_never_early_always_in_the_window_and_a_gap_after_the_last_mail(  # noqa: PLR0917
    where_when: tuple[str, datetime], days: int, at: time | None, hours: int, calendar: Calendar, data: st.DataObject
) -> None:
    name, anchor = where_when
    step = drip(days, at, timedelta(hours=hours))
    last = data.draw(st.none() | st.integers(-90, 90).map(lambda n: anchor + n * DAY))
    wanted = wanted_at(step, anchor, zone(name))
    due = due_at(step, anchor, zone(name), calendar, last)
    floor = wanted if last is None else max(wanted, last + calendar.gap)

    assert wanted >= anchor + step.delay
    assert due >= floor
    assert due == next_open(floor, zone(name), calendar)
    assert edge_is_ambiguous(due, name, calendar) or open_by_the_clock(due, name, calendar)
    assert earliest_go(step, due, zone(name), calendar, last) == (due, ""), "planning again moves nothing"


@given(places_and_moments, st.integers(1, 60))
def test_days_are_days_of_the_wall_clock(where_when: tuple[str, datetime], days: int) -> None:
    name, anchor = where_when
    there = zone(name)
    local = anchor.astimezone(there)
    found = wanted_at(drip(days), anchor, there).astimezone(there)
    expected = datetime.combine(local.date() + timedelta(days=days), local.time())

    assert found.replace(tzinfo=None) == expected or found.replace(tzinfo=None) - expected < timedelta(hours=25)
    assert found.replace(tzinfo=None) >= expected


def test_three_days_across_the_clock_change_are_three_mornings() -> None:
    found = wanted_at(drip(3, time(9, 30)), utc(2026, 3, 6, 15), zone("America/New_York"))

    assert found == utc(2026, 3, 9, 13, 30)  # 09:30 in daylight saving time


@given(places_and_moments, st.sampled_from([Kind.CONFIRM, Kind.GUIDE]), calendars())
def test_what_a_person_waits_for_ignores_window_and_gap(
    where_when: tuple[str, datetime], kind: Kind, calendar: Calendar
) -> None:
    name, anchor = where_when
    step = Step("now", kind)

    assert due_at(step, anchor, zone(name), calendar, last=anchor) == anchor
    assert earliest_go(step, anchor, zone(name), calendar, anchor) == (anchor, "")


@pytest.mark.parametrize(
    ("now", "last", "expected", "reason"),
    [
        (utc(2026, 1, 5, 10), None, utc(2026, 1, 5, 10), ""),
        (utc(2026, 1, 5, 3), None, utc(2026, 1, 5, 9), "outside the send window"),
        (utc(2026, 1, 5, 10), utc(2026, 1, 4, 16), utc(2026, 1, 5, 12), "too soon after the last mail"),
        (utc(2026, 1, 5, 10), utc(2026, 1, 5, 9), utc(2026, 1, 6, 9), "outside the send window"),
        (utc(2026, 1, 5, 10), utc(2026, 1, 4, 14), utc(2026, 1, 5, 10), ""),
    ],
)
def test_what_holds_a_due_mail_up_is_named(
    now: datetime, last: datetime | None, expected: datetime, reason: str
) -> None:
    assert earliest_go(drip(), now, zone("Europe/London"), Calendar(), last) == (expected, reason)


# --- after downtime ----------------------------------------------------------------------------


@settings(max_examples=300)
@given(
    places_and_moments, st.integers(0, 60), st.none() | clock_times, st.lists(st.integers(-2_000, 2_000), max_size=6)
)
def test_what_is_known_of_a_quarter_of_an_hour_is_what_is_asked_for_each_moment(
    where_when: tuple[str, datetime], days: int, at: time | None, near: list[int]
) -> None:
    """Of a step's moment, whatever the zone, also where the clock jumps."""
    (name, anchor), step = where_when, drip(days, at)
    known = wanted_seconds(step, name)
    for stamp in [int(anchor.timestamp()) + seconds for seconds in (0, *near)]:
        exact = wanted_at(step, datetime.fromtimestamp(stamp, UTC), zone(name))
        assert known.of(stamp) == int(exact.timestamp()), (name, stamp)


@settings(max_examples=300)
@given(places_and_moments, calendars(), st.lists(st.integers(-2_000, 2_000), max_size=6))
def test_what_is_known_of_a_quarter_of_an_hour_opens_when_each_moment_does(
    where_when: tuple[str, datetime], calendar: Calendar, near: list[int]
) -> None:
    """Windows may open and close at any minute; then each moment is asked for."""
    name, moment = where_when
    known = open_seconds(name, calendar)
    for stamp in [int(moment.timestamp()) + seconds for seconds in (0, *near)]:
        try:
            exact = next_open(datetime.fromtimestamp(stamp, UTC), zone(name), calendar)
        except ScheduleError:
            with pytest.raises(ScheduleError):
                known.of(stamp)
        else:
            assert known.of(stamp) == int(exact.timestamp()), (name, stamp)


def test_only_so_many_quarters_are_kept() -> None:
    known = wanted_seconds(drip(3), "Europe/Lisbon")
    for quarter in range(2_000_000, 2_000_000 + MOST_QUARTERS + 5):
        known.of(quarter * 900)
    assert len(known) <= MOST_QUARTERS


@given(moments, st.integers(0, 90 * 24 * 60), st.integers(-600, 90 * 24 * 60))
def test_a_late_mail_moves_the_rest_back_by_whole_days(anchor: datetime, planned: int, late: int) -> None:
    moved = moved_anchor(anchor, anchor + planned * MINUTE, anchor + (planned + late) * MINUTE)

    assert moved - anchor == max(0, late // (24 * 60)) * DAY


@given(zones, moments, st.integers(2, 10), st.integers(0, 60 * 24))
def test_after_downtime_the_next_step_keeps_its_distance(name: str, anchor: datetime, days: int, late: int) -> None:
    there = zone(name)
    planned = wanted_at(drip(3, time(9, 30)), anchor, there)
    actual = planned + late * timedelta(hours=1)
    following = wanted_at(drip(3 + days, time(9, 30)), moved_anchor(anchor, planned, actual), there)

    assert days * DAY - timedelta(hours=27) < following - actual < days * DAY + timedelta(hours=27)


@pytest.mark.parametrize(
    ("skips", "late", "expected"),
    [(True, timedelta(days=14), False), (True, timedelta(days=14, seconds=1), True), (False, 99 * DAY, False)],
)
def test_only_dated_steps_go_stale(*, skips: bool, late: timedelta, expected: bool) -> None:
    step = Step("offer", Kind.DRIP, skip_if_stale=skips)

    assert is_stale(step, utc(2026, 1, 5), utc(2026, 1, 5) + late, Calendar()) is expected


def simulated_series(
    name: str, anchor: datetime, spacings: list[int], calendar: Calendar, runs: list[int]
) -> list[datetime]:
    """Return when each mail goes when cron runs only at the moments that ``runs`` (hours apart) leave it."""
    there = zone(name)
    days = [sum(spacings[: i + 1]) for i in range(len(spacings))]
    steps = [drip(n, time(9, 30)) for n in days]
    sent: list[datetime] = []
    planned = due_at(steps[0], anchor, there, calendar)
    now, waits = anchor, iter(runs)
    while len(sent) < len(steps):
        now += next(waits, 1) * timedelta(hours=1)
        if planned > now:
            continue
        step = steps[len(sent)]
        at, _ = earliest_go(step, now, there, calendar, sent[-1] if sent else None)
        if at > now:
            planned = at
            continue
        sent.append(now)
        anchor = moved_anchor(anchor, planned, now)
        if len(sent) < len(steps):
            planned = due_at(steps[len(sent)], anchor, there, calendar, now)
    return sent


@settings(max_examples=150)
@given(
    places_and_moments,
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
    st.lists(st.sampled_from([1, 1, 2, 5, 23, 24, 49, 24 * 21]), max_size=60),
)
def test_no_downtime_makes_a_burst(where_when: tuple[str, datetime], spacings: list[int], runs: list[int]) -> None:
    """F-44: whatever hours cron was away, two mails are never nearer than the gap, and none is out of hours."""
    name, anchor = where_when
    calendar = Calendar(days=frozenset(range(6)))
    sent = simulated_series(name, anchor, spacings, calendar, runs)

    assert all(later - earlier >= calendar.gap for earlier, later in pairwise(sent))
    assert all(open_by_the_clock(t, name, calendar) for t in sent)


def test_three_weeks_of_silence_do_not_shorten_the_series() -> None:
    """F-44: five mails three days apart still are three days apart after the long gap."""
    sent = simulated_series("America/Chicago", utc(2026, 1, 5, 16), [3] * 5, Calendar(), [24 * 21])

    assert sent[0] == utc(2026, 1, 26, 16)
    assert all(timedelta(days=2) < later - earlier < timedelta(days=4) for earlier, later in pairwise(sent))


def test_a_clock_that_jumps_back_sends_nothing_early() -> None:
    """F-43: planned moments are instants; an earlier "now" only waits longer."""
    due = due_at(drip(3, time(9, 30)), utc(2026, 3, 6, 15), zone("America/New_York"), Calendar())
    at, _ = earliest_go(drip(3), due - DAY, zone("America/New_York"), Calendar(), due - timedelta(hours=1))

    assert at >= due - timedelta(hours=1) + Calendar().gap
