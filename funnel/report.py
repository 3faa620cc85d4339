"""What happened, truthfully: figures whose sums match, and why one person got or did not get a mail. Never writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel import gifts, policy
from funnel.model import EventKind, MailingStatus, Status
from funnel.policy import Go, Wait
from funnel.schedule import zone
from funnel.store import consents, enrollments, events, figures, mailings, pool, runs, subscribers

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from funnel.context import Context
    from funnel.gifts import Stock
    from funnel.model import Enrollment, Gift, Sequence, Step, Subscriber
    from funnel.sender import Sender
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What became of one mail, person by person: ``entered`` is the sum of all the others."""

    sequence: str
    step: str
    entered: int  #: people who were ever entered into the sequence
    by_status: dict[str, int]
    ahead: int  #: people it is still to come for
    left: int  #: people whose way ended before it

    @property
    def adds_up(self) -> bool:
        """True when everybody who was entered is in exactly one named state (P2)."""
        return self.entered == sum(self.by_status.values()) + self.ahead + self.left


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one funnel at one moment."""

    at: datetime
    people: dict[str, int]
    funnel: dict[str, int]  #: asked, confirmed, opened the guide, used the gift
    steps: tuple[StepFigures, ...]
    gifts: dict[str, int]
    suppressed: dict[str, int]
    due_now: int
    uncertain: int
    held: int  #: mails that wait for somebody to decide, or for a gift code
    without_code: int  #: of those, the ones that wait for a gift code
    stock: Stock | None  #: of the clinic's own codes
    last_run: runs.Run | None
    last_tick: datetime | None

    @property
    def adds_up(self) -> bool:
        """True when no person and no mail is lost from the books."""
        return all(step.adds_up for step in self.steps)


def make_report(db: Database, ctx: Context, now: datetime) -> Report:
    """Return the figures as they stand at ``now``."""
    counts = figures.mailings_by_step(db)
    stock = gifts.stock(db, now, in_use=ctx.config.gift.source == "pool")
    return Report(
        at=now,
        people=_all_words(Status, figures.people_by_status(db)),
        funnel=_funnel(db),
        steps=tuple(
            _step_figures(db, sequence, i, counts)
            for sequence in ctx.sequences.values()
            for i in range(len(sequence.steps))
        ),
        gifts=codes(db, stock),
        suppressed=events.suppressions(db),
        due_now=figures.due_count(db, now),
        uncertain=sum(by.get("uncertain", 0) for by in counts.values()),
        held=sum(by.get("held", 0) for by in counts.values()),
        without_code=pool.held(db, policy.NO_CODE),
        stock=stock,
        last_run=runs.latest(db),
        last_tick=runs.last_tick(db),
    )


def _all_words(words: type[Status], counts: dict[str, int]) -> dict[str, int]:
    """Return a count for every word, 0 where there is none."""
    return {str(word): counts.get(str(word), 0) for word in words}


def codes(db: Database, stock: Stock | None) -> dict[str, int]:
    """Return how many codes are in each status; with a pool also how many are free, and how many gifts are pending."""
    counts = {str(status): n for status, n in gifts.counts(db).items()}
    return counts if stock is None else counts | {"free": stock.free, "pending": stock.waiting}


def _funnel(db: Database) -> dict[str, int]:
    """Return how many people took each step of the way; a person counts once."""
    return {
        "asked": figures.people_with(db, EventKind.CAPTURED),
        "confirmed": figures.people_with(db, EventKind.CONFIRMED),
        "opened the guide": figures.people_with(db, EventKind.DOWNLOADED),
        "used the gift": figures.people_with(db, EventKind.REDEEMED),
    }


def _step_figures(
    db: Database, sequence: Sequence, place: int, counts: dict[tuple[str, str], dict[str, int]]
) -> StepFigures:
    step = sequence.steps[place].name
    entered = figures.entered(db, sequence.name)
    by_status = counts.get((sequence.name, step), {})
    until = tuple(s.name for s in sequence.steps[: place + 1])
    ahead = figures.ahead(db, sequence.name, until, step)
    return StepFigures(sequence.name, step, entered, by_status, ahead, figures.left(db, sequence.name, until, step))


# --- the week, for the mail to staff -----------------------------------------------------------


def week(db: Database, since: datetime, until: datetime) -> list[str]:
    """Return what happened from ``since`` until ``until``, a sentence each; no name and no address in any."""
    happened = figures.people_between(db, since, until)
    mails = figures.mailings_between(db, since, until)

    def people(kind: EventKind) -> int:
        return happened.get(str(kind), 0)

    lines = [
        f"New: {people(EventKind.CAPTURED)} asked, {people(EventKind.CONFIRMED)} confirmed, {_used(people)}.",
        f"Mail: {_mails_of(mails)}.",
        f"Gone: {people(EventKind.UNSUBSCRIBED)} unsubscribed or taken off the list, {_gone(people)}.",
    ]
    return [*lines, *_needs_you(db, since, until)]


def _used(people: Callable[[EventKind], int]) -> str:
    return f"{people(EventKind.DOWNLOADED)} opened the guide, {people(EventKind.REDEEMED)} used their gift"


def _gone(people: Callable[[EventKind], int]) -> str:
    return f"{people(EventKind.BOUNCED)} bounced, {people(EventKind.COMPLAINED)} complained"


def _many(n: int, one: str, more: str) -> str:
    return f"{n:,} {one if n == 1 else more}"


def _mails_of(counts: dict[str, int]) -> str:
    """Return counts of mails as staff read them; what is zero is not said, but for the first."""
    said = {"skipped": "left out by rule", "uncertain": "of unknown fate", "deferred": "to be tried again"}
    rest = [f"{n:,} {said.get(word, word)}" for word, n in sorted(counts.items()) if n and word != "sent"]
    return ", ".join([f"{counts.get('sent', 0):,} sent", *rest])


def _needs_you(db: Database, since: datetime, until: datetime) -> list[str]:
    """Return what a person should look at, worst first; one line of peace when there is nothing."""
    lines = []
    stock = gifts.stock(db, until)
    if stock and stock.low:
        lines.append(f"For you: {stock}")
    unsettled = figures.unsettled(db) - pool.held(db, policy.NO_CODE)
    if unsettled:
        lines.append(
            f"For you: {_many(unsettled, 'mail waits', 'mails wait')} for a decision. See “funnel outbox list”."
        )
    quick = figures.quick_stops(db, since, until)
    if quick:
        who = _many(quick, "person", "people")
        lines.append(f"For you: {who} unsubscribed within a minute of a mail. A mail filter may have done it.")
    run = runs.latest(db)
    if run and run.note:
        lines.append(f"For you: the last run said: {run.note}")
    return lines or ["For you: nothing. All is in order."]


def all_about(db: Database, ctx: Context, person: Subscriber) -> dict[str, object]:
    """Return all that is kept about one person, for an access request (LAW-7)."""
    ways = enrollments.of(db, person.id)
    return {
        "person": person,
        "tags": list(subscribers.tags_of(db, person.id)),
        "gift": gifts.of_person(db, ctx, person.id),
        "consent": list(consents.of(db, person.id)),
        "sequences": list(ways),
        "mails": [mailing for way in ways for mailing in mailings.of_enrollment(db, way.id)],
        "events": list(events.of(db, person.id)),
    }


# --- why ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One fact about a person: when, what, and the rule behind it."""

    at: datetime | None
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything about one person that answers "why did she not get it?"."""

    person: Subscriber
    tags: tuple[str, ...]
    gift: str
    suppressed: str
    past: tuple[Line, ...]
    ahead: tuple[Line, ...]


def why(db: Database, ctx: Context, sender: Sender, person: Subscriber, now: datetime) -> Answer:
    """Return what happened to a person, in order, and what is to come with the rule that holds it up."""
    key = subscribers.key_of(db, person.id)
    found = events.suppressed(db, *ctx.suppression_hashes(key)) if key else None
    gift = gifts.of_person(db, ctx, person.id) if key else None
    past = [*_receipts(db, person), *_mails(db, person), *_events(db, person)]
    return Answer(
        person=person,
        tags=subscribers.tags_of(db, person.id),
        gift=_told(gift, waits=gifts.waits(db, person.id)),
        suppressed=f"{found[0]} since {found[1]:%Y-%m-%d}" if found else "",
        past=tuple(sorted(past, key=lambda line: (line.at is None, line.at))),
        ahead=tuple(_ahead(db, ctx, sender, person, now)),
    )


def _told(gift: Gift | None, *, waits: bool) -> str:
    if gift is None:
        return "pending: no code is left" if waits else ""
    return f"{gift.code} ({gift.status})"


def _receipts(db: Database, person: Subscriber) -> list[Line]:
    return [
        Line(r.at, f"consent {r.act}", ", ".join(filter(None, (r.form, r.page, r.operator, r.detail))))
        for r in consents.of(db, person.id)
    ]


def _events(db: Database, person: Subscriber) -> list[Line]:
    shown = {EventKind.DOWNLOADED, EventKind.REDEEMED, EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.DELIVERED}
    return [Line(e.at, str(e.kind), f"told by {e.source}") for e in events.of(db, person.id) if e.kind in shown]


def _mails(db: Database, person: Subscriber) -> list[Line]:
    return [
        Line(m.finished_at or m.claimed_at, f"{e.sequence}/{m.step} {m.status}", _mail_reason(m, person))
        for e in enrollments.of(db, person.id)
        for m in mailings.of_enrollment(db, e.id)
    ]


def _mail_reason(mailing: Mailing, person: Subscriber) -> str:
    if mailing.status is MailingStatus.SENT:
        return f"the server said: {mailing.reply}" if mailing.reply else mailing.reason
    if mailing.status is MailingStatus.DEFERRED and mailing.retry_at:
        again = mailing.retry_at.astimezone(zone(person.zone))
        return f"{mailing.reason}; goes again {again:%d %b %H:%M} ({mailing.reply or 'no answer'})"
    return "; ".join(filter(None, (mailing.reason, mailing.reply)))


def _ahead(db: Database, ctx: Context, sender: Sender, person: Subscriber, now: datetime) -> list[Line]:
    """Return what comes next on each open way, and why the ended ones ended."""
    lines: list[Line] = []
    for enrollment in enrollments.of(db, person.id):
        sequence = ctx.sequences.get(enrollment.sequence)
        if enrollment.next_at is None or sequence is None:
            lines.append(Line(None, f"{enrollment.sequence}: nothing more to come", enrollment.ended or "ended"))
        else:
            lines.append(_next_line(sender, enrollment, now))
            lines += _later(sequence, enrollment)
    return lines


def _next_line(sender: Sender, enrollment: Enrollment, now: datetime) -> Line:
    """Return the next step with the rule that decides about it, judged for the moment it is due."""
    at = max(enrollment.next_at or now, now)
    verdict = sender.decide(sender.due_of(enrollment), at)
    what = f"{enrollment.sequence}/{enrollment.next_step}"
    if isinstance(verdict, Go):
        return Line(at, what, "due now: goes with the next run" if at == now else "planned for then")
    if isinstance(verdict, Wait):
        return Line(verdict.until, what, f"waits: {verdict.reason}")
    words: dict[type, str] = {policy.Skip: "will be left out", policy.Hold: "will be held"}
    word = words.get(type(verdict), "will end the series")
    return Line(at, what, f"as things stand it {word}: {verdict.reason}")


def _later(sequence: Sequence, enrollment: Enrollment) -> list[Line]:
    """Return the steps after the next one, without a time: each is planned when the one before has gone."""
    names = [step.name for step in sequence.steps]
    place = names.index(enrollment.next_step) if enrollment.next_step in names else len(names)
    return [Line(None, f"{sequence.name}/{step.name}", _after(step)) for step in sequence.steps[place + 1 :]]


def _after(step: Step) -> str:
    condition = "" if step.when == "always" else f", if {step.when}"
    return f"day {step.days}{condition}"
