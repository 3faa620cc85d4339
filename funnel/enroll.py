"""Who is entered where, and what comes next for them. Writes rows; decides by ``schedule``."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from funnel.address import parse_address
from funnel.model import Due, Kind, Step
from funnel.schedule import due_at, local_instant, moved_anchor, open_seconds, wanted_seconds, zone
from funnel.store import choices, enrollments, mailings, runs, subscribers
from funnel.store.database import maybe_moment, maybe_seconds, moment, seconds

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment, Sequence, Subscriber
    from funnel.schedule import Calendar, Quarters
    from funnel.store.database import Database


#: In seconds.
DAY = 86_400
#: Under which key the database remembers who the staff's mail goes to.
STAFF = "staff"


def enter(db: Database, ctx: Context, person: Subscriber, name: str, now: datetime) -> Enrollment:
    """Enter a person into a sequence, or let them go on where they stopped; in the caller's transaction.

    A sequence that is not repeatable is lived through once: nobody gets a mail of it twice, and nobody
    ever has two of it side by side.
    """
    sequence = ctx.sequences[name]
    known = enrollments.latest(db, person.id, name)
    if known is None or sequence.repeatable:
        first = sequence.steps[0]
        at = due_at(first, now, zone(person.zone), ctx.calendar)
        return enrollments.add(db, person.id, name, anchor=now, next_step=first.name, next_at=at)
    if known.next_at is None:
        go_on(db, ctx, person, known, now)
    return enrollments.by_id(db, known.id) or known


def go_on(db: Database, ctx: Context, person: Subscriber, enrollment: Enrollment, now: datetime) -> None:
    """Plan the first step a person has not had; when that is overdue, as if it were due today."""
    sequence = ctx.sequences[enrollment.sequence]
    step = first_open_step(db, sequence, enrollment)
    if step is None:
        return
    where = zone(person.zone)
    wanted = due_at(step, enrollment.anchor_at, where, ctx.calendar)
    anchor = moved_anchor(enrollment.anchor_at, wanted, now)
    at = due_at(step, anchor, where, _calendar(db, ctx, person), enrollments.last_mail_at(db, person.id))
    enrollments.plan(db, enrollment.id, step=step.name, at=at, anchor=anchor)


def _calendar(db: Database, ctx: Context, person: Subscriber) -> Calendar:
    return _at_least(ctx.calendar, choices.gap_days(db, person.id))


@lru_cache(maxsize=64)
def _at_least(calendar: Calendar, days: int) -> Calendar:
    """Return the clinic's calendar, with the gap between mails that a person chose when that is longer."""
    chosen = timedelta(days=days)
    return replace(calendar, gap=chosen) if chosen > calendar.gap else calendar


def first_open_step(db: Database, sequence: Sequence, enrollment: Enrollment) -> Step | None:
    """Return the first step after the last one a person had, or None when there is none."""
    return open_step(sequence, {mailing.step for mailing in mailings.of_enrollment(db, enrollment.id)})


def open_step(sequence: Sequence, had: Collection[str]) -> Step | None:
    """Return the first step after the last one of those a person had, or None when there is none.

    Steps are known by name: reordering or inserting mails never sends one twice, and a step put in
    before the place a person has reached is for those who come later.
    """
    steps = sequence.steps
    for place in range(len(steps) - 1, -1, -1):
        if steps[place].name in had:
            return steps[place + 1] if place + 1 < len(steps) else None
    return steps[0] if steps else None


#: What comes next on a way: a step and when that comes, its anchor, and why it ended; moments are UTC seconds.
Plan = tuple[str | None, int | None, int, str]


class Course(NamedTuple):
    """What follows a step for all whose ways are alike: the step, when it may come, and the least gap before it."""

    step: Step | None
    wanted: Quarters | None
    opens: Quarters | None
    gap: int

    @classmethod
    def after(cls, ctx: Context, due: Due) -> Course:
        """Return what follows a due step, for this person and all of the same zone, choices, and steps behind them."""
        step = open_step(ctx.sequences[due.enrollment.sequence], {*due.had, due.step.name})
        if step is None:
            return THE_END
        calendar, where = _at_least(ctx.calendar, due.gap_days), due.subscriber.zone
        gap = int(calendar.gap.total_seconds())
        return cls(step, wanted_seconds(step, where), None if step.urgent else open_seconds(where, calendar), gap)

    def plan(self, *, anchor: int, planned: int, now: int, mailed_at: int | None) -> Plan:
        """Return what follows a step dealt with at ``now``; the rest moves back when that one came late.

        ``mailed_at`` is when the person was last mailed, this step included.
        """
        late = now - planned
        if late >= DAY:
            anchor += late // DAY * DAY  # as ``moved_anchor`` does
        if self.step is None or self.wanted is None:
            return None, None, anchor, "done"
        at = self.wanted.of(anchor)
        if self.opens is not None:
            at = self.opens.of(at if mailed_at is None else max(at, mailed_at + self.gap))
        return self.step.name, at, anchor, ""


#: Nothing follows.
THE_END = Course(None, None, None, 0)


def advance(
    db: Database, ctx: Context, person: Subscriber, enrollment: Enrollment, *, planned: datetime, now: datetime
) -> None:
    """Plan what follows the step just dealt with; staff begin anew each week."""
    had = frozenset(mailing.step for mailing in mailings.of_enrollment(db, enrollment.id))
    due = Due(
        enrollment, person, Step("", Kind.DRIP), suppressed=False, gap_days=choices.gap_days(db, person.id), had=had
    )
    step, at, anchor, ended = Course.after(ctx, due).plan(
        anchor=seconds(enrollment.anchor_at), planned=seconds(planned), now=seconds(now),
        mailed_at=maybe_seconds(enrollments.last_mail_at(db, person.id)),
    )  # fmt: skip
    enrollments.plan(db, enrollment.id, step=step, at=maybe_moment(at), anchor=moment(anchor), ended=ended)
    weekly_again(db, ctx, due, now)


def weekly_again(db: Database, ctx: Context, due: Due, now: datetime) -> None:
    """Enter staff anew for next Monday when the way just dealt with is their newest and has ended."""
    sequence = ctx.sequences[due.enrollment.sequence]
    if sequence.weekly:
        newest = enrollments.latest(db, due.subscriber.id, due.enrollment.sequence)
        if newest and newest.id == due.enrollment.id and newest.next_at is None:
            _next_week(db, ctx, due.subscriber, sequence, now)


def enter_staff(db: Database, ctx: Context, now: datetime) -> None:
    """Plan the weekly mail to the address in [alerts], or end it when that is empty; in the caller's transaction."""
    clinic, to = ctx.config.clinic, ctx.config.alerts.to
    known = runs.get(db, STAFF)
    sequence = next((s for s in ctx.sequences.values() if s.weekly), None)
    person = None
    if to and sequence:
        address = parse_address(to, samples=ctx.config.sample)
        person = subscribers.staff(db, address.typed, address.key, zone=clinic.time_zone, locale=clinic.locale, now=now)
        latest = enrollments.latest(db, person.id, sequence.name)
        if latest is None or latest.next_at is None:
            _next_week(db, ctx, person, sequence, now)
        runs.put(db, STAFF, str(person.id))
    if known and (person is None or known != str(person.id)):
        enrollments.end_all(db, int(known), "[alerts] names another address, or none")


def _next_week(db: Database, ctx: Context, person: Subscriber, sequence: Sequence, now: datetime) -> None:
    """Enter staff anew for the Monday after ``now``, however long nobody was here."""
    where = zone(person.zone)
    today = now.astimezone(where).date()
    monday = today + timedelta(days=7 - today.weekday())
    anchor = local_instant(monday, time(0), where)
    first = sequence.steps[0]
    at = due_at(first, anchor, where, ctx.calendar)
    enrollments.add(db, person.id, sequence.name, anchor=anchor, next_step=first.name, next_at=at)


def postpone(db: Database, enrollment: Enrollment, until: datetime) -> None:
    """Look at the due step again at ``until``; later steps keep their distance."""
    planned = enrollment.next_at or until
    anchor = moved_anchor(enrollment.anchor_at, planned, until)
    enrollments.plan(db, enrollment.id, step=enrollment.next_step, at=until, anchor=anchor)
