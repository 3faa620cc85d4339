"""When a step is due for a person. Pure: values in, values out; no database, no clock.

A person's day is the day on their own wall clock. A step "3 days after the anchor" comes three
calendar days later there, whatever daylight saving does in between; a local time that a clock
change skips becomes the first instant after the gap, one that occurs twice means the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from funnel.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.model import Step

#: How far ahead an open day is looked for before the calendar counts as closed for ever.
HORIZON_DAYS = 400
#: Seconds; and of how many quarters what was found out is kept.
QUARTER = 900
MOST_QUARTERS = 4_096
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """When mail that nobody waits for may go out, on the reader's wall clock.

    Compared by identity, because what is known about one is looked up for every mail.
    """

    opens: time = time(9)
    closes: time = time(17)
    days: frozenset[int] = frozenset(range(7))  #: 0 is Monday
    closed: frozenset[date] = frozenset()
    gap: timedelta = timedelta(hours=20)
    stale: timedelta = timedelta(days=14)

    def open_on(self, day: date) -> bool:
        """True when mail may go out on that local day."""
        return day.weekday() in self.days and day not in self.closed


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name; UTC for a name nobody knows."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def local_instant(day: date, at: time, where: ZoneInfo) -> datetime:
    """Return the UTC instant at which the wall clock in ``where`` shows ``at`` on ``day``.

    A time that occurs twice means the first; one that is skipped, the instant the clock jumped.
    """
    wall = datetime.combine(day, at.replace(fold=0), tzinfo=where)
    instant = wall.astimezone(UTC)
    if instant.astimezone(where).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    return _after_the_jump(wall, where)


def _after_the_jump(wall: datetime, where: ZoneInfo) -> datetime:
    """Return the first instant after the gap that swallowed ``wall``."""
    low = wall.astimezone(UTC) - timedelta(days=1)
    high = wall.astimezone(UTC) + timedelta(days=1)
    before = low.astimezone(where).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(where).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


@lru_cache(maxsize=4096)
def next_open(t: datetime, where: ZoneInfo, calendar: Calendar) -> datetime:
    """Return the first instant at or after ``t`` that lies in the send window of an open day.

    Raises ScheduleError when the calendar never opens within ``HORIZON_DAYS``.
    """
    today = t.astimezone(where).date()
    for offset in range(-1, HORIZON_DAYS):
        day = today + timedelta(days=offset)
        if not calendar.open_on(day):
            continue
        opens, closes = _window(day, where, calendar)
        if t < closes and opens < closes:
            return max(t, opens)
    raise ScheduleError


def _window(day: date, where: ZoneInfo, calendar: Calendar) -> tuple[datetime, datetime]:
    """Return the instants at which the window of a local day opens and closes."""
    return _known_instant(day, calendar.opens, where), _known_instant(day, calendar.closes, where)


#: Of hours that many people share; each is asked for once per day and zone.
_known_instant = lru_cache(maxsize=4096)(local_instant)


def is_open(t: datetime, where: ZoneInfo, calendar: Calendar) -> bool:
    """True when mail that nobody waits for may go out at ``t``."""
    return next_open(t, where, calendar) == t


def wanted_at(step: Step, anchor: datetime, where: ZoneInfo) -> datetime:
    """Return when the step should come if every hour were open and nothing else was sent."""
    if not step.days and step.at is None:
        return anchor + step.delay
    local = anchor.astimezone(where)
    day = local.date() + timedelta(days=step.days)
    wall = _known_instant(day, step.at, where) if step.at else local_instant(day, local.time(), where)
    return max(anchor, wall) + step.delay


def due_at(step: Step, anchor: datetime, where: ZoneInfo, calendar: Calendar, last: datetime | None = None) -> datetime:
    """Return when the step may go: never before it is wanted, in the window, a gap after ``last``.

    ``last`` is when this person was last mailed. Urgent steps ignore window and gap.
    """
    wanted = wanted_at(step, anchor, where)
    if step.urgent:
        return wanted
    if last is not None:
        wanted = max(wanted, last + calendar.gap)
    return next_open(wanted, where, calendar)


class Quarters(dict[int, "tuple[int, int] | None"]):
    """A function from moment to moment, both in UTC seconds, worked out once for each quarter of an hour.

    For nearly all of them the moment it gives is the same throughout, or as far off: wall clocks differ from UTC by
    whole quarters, and windows open and close with them. Where it is neither, each moment is worked out by itself.
    The function must never go back by less than a quarter within one.
    """

    def __init__(self, exact: Callable[[int], int]) -> None:
        super().__init__()
        self._exact = exact

    def __missing__(self, quarter: int) -> tuple[int, int] | None:
        start = quarter * QUARTER
        first, last = self._exact(start), self._exact(start + QUARTER - 1)
        found = None
        if first == last:
            found = (0, first)
        elif last - first == QUARTER - 1:
            found = (1, first - start)
        if len(self) >= MOST_QUARTERS:
            self.clear()
        self[quarter] = found
        return found

    def of(self, moment: int) -> int:
        """Return what the function gives for a moment."""
        found = self[moment // QUARTER]
        return self._exact(moment) if found is None else found[0] * moment + found[1]


@lru_cache(maxsize=256)
def wanted_seconds(step: Step, zone_name: str) -> Quarters:
    """Return ``wanted_at`` for one step and zone, by the anchor."""
    where = zone(zone_name)
    return Quarters(lambda anchor: _stamp(wanted_at(step, _moment(anchor), where)))


@lru_cache(maxsize=256)
def open_seconds(zone_name: str, calendar: Calendar) -> Quarters:
    """Return ``next_open`` for one zone and calendar."""
    where = zone(zone_name)
    return Quarters(lambda moment: _stamp(next_open(_moment(moment), where, calendar)))


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def _stamp(moment: datetime) -> int:
    return int(moment.timestamp())


def moved_anchor(anchor: datetime, planned: datetime, actual: datetime) -> datetime:
    """Return the anchor that keeps the spacing of later steps when one went out late.

    After downtime the rest of a series moves back by the whole days lost: overdue mail is
    spread out again, not sent in a burst.
    """
    late = actual - planned
    return anchor + timedelta(days=late.days) if late >= timedelta(days=1) else anchor


def is_stale(step: Step, planned: datetime, now: datetime, calendar: Calendar) -> bool:
    """True when a step that is worthless after its date is this late."""
    return step.skip_if_stale and now - planned > calendar.stale


def earliest_go(
    step: Step, now: datetime, where: ZoneInfo, calendar: Calendar, last: datetime | None
) -> tuple[datetime, str]:
    """Return the first moment from ``now`` on at which a due step may go, and what holds it up until then."""
    if step.urgent:
        return now, ""
    spaced = max(now, last + calendar.gap) if last is not None else now
    at = next_open(spaced, where, calendar)
    if at > spaced:
        return at, "outside the send window"
    return at, "too soon after the last mail" if at > now else ""
