"""Who is entered where, and what comes next for them. Writes rows; decides by ``schedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.schedule import due_at, moved_anchor, zone
from funnel.store import enrollments, mailings

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment, Sequence, Step, Subscriber
    from funnel.store.database import Database


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
        _go_on(db, ctx, person, known, now)
    return enrollments.by_id(db, known.id) or known


def _go_on(db: Database, ctx: Context, person: Subscriber, enrollment: Enrollment, now: datetime) -> None:
    """Plan the first step a returning person has not had, as if it were due today."""
    sequence = ctx.sequences[enrollment.sequence]
    step = first_open_step(db, sequence, enrollment)
    if step is None:
        return
    where = zone(person.zone)
    wanted = due_at(step, enrollment.anchor_at, where, ctx.calendar)
    anchor = moved_anchor(enrollment.anchor_at, wanted, now)
    at = due_at(step, anchor, where, ctx.calendar, enrollments.last_mail_at(db, person.id))
    enrollments.plan(db, enrollment.id, step=step.name, at=at, anchor=anchor)


def first_open_step(db: Database, sequence: Sequence, enrollment: Enrollment) -> Step | None:
    """Return the first step after the last one a person had, or None when there is none.

    Steps are known by name: reordering or inserting mails never sends one twice, and a step put in
    before the place a person has reached is for those who come later.
    """
    had = {mailing.step for mailing in mailings.of_enrollment(db, enrollment.id)}
    places = [i for i, step in enumerate(sequence.steps) if step.name in had]
    rest = sequence.steps[max(places) + 1 :] if places else sequence.steps
    return rest[0] if rest else None


def advance(
    db: Database, ctx: Context, person: Subscriber, enrollment: Enrollment, *, planned: datetime, now: datetime
) -> None:
    """Plan what follows the step just dealt with; the rest moves back when that one came late."""
    step = first_open_step(db, ctx.sequences[enrollment.sequence], enrollment)
    anchor = moved_anchor(enrollment.anchor_at, planned, now)
    if step is None:
        enrollments.plan(db, enrollment.id, step=None, at=None, anchor=anchor, ended="done")
        return
    at = due_at(step, anchor, zone(person.zone), ctx.calendar, enrollments.last_mail_at(db, person.id))
    enrollments.plan(db, enrollment.id, step=step.name, at=at, anchor=anchor)


def postpone(db: Database, enrollment: Enrollment, until: datetime) -> None:
    """Look at the due step again at ``until``; later steps keep their distance."""
    planned = enrollment.next_at or until
    anchor = moved_anchor(enrollment.anchor_at, planned, until)
    enrollments.plan(db, enrollment.id, step=enrollment.next_step, at=until, anchor=anchor)
