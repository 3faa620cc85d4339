"""Taking due steps upon oneself: a batch of decisions, each with what follows from it, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from funnel import enroll, feedback, policy
from funnel.keeping import Guard
from funnel.model import Crowd, Kind, MailingStatus, Outcome
from funnel.sender.decide import Decider, alike
from funnel.store import enrollments, mailings, queue
from funnel.store.database import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.compose.letters import Merge
    from funnel.context import Context
    from funnel.model import Due, Step
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing
    from funnel.store.queue import Waiting


#: What of a way a crowd is made of.
OF_CROWD = itemgetter(
    *map(queue.Waiting._fields.index, ("person", "id", "anchor", "name", "source", "zone", "confirmed"))
)


@dataclass(slots=True)
class Claim:
    """One mail this run has taken upon itself."""

    mailing_id: int
    way: Waiting
    mails: Mails  #: those it is written with
    place: int  #: among them
    again: Due | None = None  #: set when a deferred mail goes again
    ended: datetime = field(init=False)  #: when it was answered, what that means, and in which words
    settled: policy.Settled = field(init=False)
    reply: str = ""

    @property
    def due(self) -> Due:
        """The due step, with all a decision needs; who is claimed for the first time is not suppressed."""
        return self.again or self.way.due(self.mails.step, suppressed=False)

    @property
    def attempts(self) -> int:
        """How often it was tried before."""
        return self.again.attempts if self.again else 0

    @property
    def plainly_sent(self) -> bool:
        """True when this was a first try that was taken, from which nothing else follows."""
        return self.settled is policy.TAKEN and self.again is None and self.mails.step.kind is not Kind.GUIDE

    @property
    def outcome(self) -> Outcome:
        """What became of it, to be told."""
        way, settled = self.way, self.settled
        words = settled.reason or self.reply
        return Outcome(way.person, way.sequence, self.mails.step.name, settled.status, words, self.mailing_id)


@dataclass(slots=True)
class Mails:
    """Claims of one mail that were tried first at one moment, which is its date: they are written together."""

    sequence: str
    step: Step
    first: datetime
    claims: list[Claim] = field(default_factory=list)
    merge: Merge | None = None

    @property
    def version(self) -> str:
        """The fingerprint of the mail's source, when they were written by it."""
        return self.merge.version if self.merge else ""

    def add(self, mailing_id: int, way: Waiting, again: Due | None = None) -> Claim:
        """Return one more claim of this mail."""
        claim = Claim(mailing_id, way, self, len(self.claims), again)
        self.claims.append(claim)
        return claim

    def crowd(self) -> Crowd:
        """Return who gets them."""
        return Crowd(*zip(*[OF_CROWD(claim.way) for claim in self.claims], strict=True))


@dataclass(frozen=True, slots=True)
class Cohort:
    """What holds for all who wait in the same place: they all go now, or each has to be looked at."""

    mails: Mails
    goes: bool
    course: enroll.Course
    weekly: bool


class Claimer(Decider):
    """Decides about due steps, claims those that go, and records why the others do not."""

    def __init__(self, db: Database, ctx: Context) -> None:
        super().__init__(db, ctx)
        self.tally: Counter[MailingStatus] = Counter()  #: what became of all that is dealt with
        self.claims: dict[int, Claim] = {}  #: those without an answer
        self.mails: dict[tuple[str, str, datetime], Mails] = {}  #: those of the batch at hand, by mail and date
        self.outcomes: list[Outcome] = []  #: those not yet told
        self.run_id = 0
        self.seen = 0  #: what others had written when the claims at hand were decided about
        self.guard = Guard(db)

    def claim_batch(self, most: int, now: datetime) -> int:
        """Decide about the next due steps, retries first, and claim those that go; returns how many were looked at.

        All of it is one transaction, which is on the disk before the first byte of any of these mails can leave.
        """
        self.mails = {}
        with self.db.transaction():
            self.seen = self.db.version
            retries = mailings.retries_due(self.db, now, most, not_of_run=self.run_id)
            for mailing in retries:
                way = queue.one(self.db, mailing.enrollment_id)
                if way and self._may_go_again(mailing, now):
                    self._retry(way, self.due_again(way, mailing), now)
            first = queue.due(self.db, now, most - len(retries)) if len(retries) < most else []
            self._claim_all(first, now)
            if self.claims:
                self.guard.count()
        return len(retries) + len(first)

    def _may_go_again(self, mailing: Mailing, now: datetime) -> bool:
        """True unless a doubtful mail goes again by itself, too late for its provider to know it: a person decides."""
        config = self.ctx.config
        if not mailing.doubts or not config.remembers or mailing.reason.endswith(policy.BY_HAND):
            return True
        age, kind = now - mailing.first_at, Kind(mailing.kind)
        if policy.may_go_again(kind, config.sending.on_uncertain, config.remembers, doubts=mailing.doubts, age=age):
            return True
        mailings.hold_doubtful(self.db, mailing.id)
        return False

    def _retry(self, way: Waiting, due: Due, now: datetime) -> None:
        verdict = self.decide(due, now)
        if not isinstance(verdict, policy.Go):
            self._not_now(due, verdict, now)
        elif due.mailing_id and mailings.reclaim(self.db, due.mailing_id, now=now, run_id=self.run_id):
            mails = self._mails(way.sequence, due.step, due.first_at or now)
            self.claims[due.mailing_id] = mails.add(due.mailing_id, way, due)

    def _mails(self, sequence: str, step: Step, first: datetime) -> Mails:
        name = (sequence, step.name, first)
        found = self.mails.get(name)
        if found is None:
            found = self.mails[name] = Mails(sequence, step, first)
        return found

    def _claim_all(self, found: list[Waiting], now: datetime) -> None:
        """Claim the first mails of a batch that go now; who is in it twice, a second try included, is mailed once."""
        suppressed = self.suppressed_among(found)
        mailed = {claim.way.person for claim in self.claims.values()}
        rested = seconds(now - self.ctx.calendar.gap)
        cohorts: dict[tuple[object, ...], Cohort] = {}
        go: list[tuple[Waiting, Cohort]] = []
        for way in found:
            if way.person in mailed:
                continue  # looked at again with the next batch, when this mail is on record
            cohort = cohorts.get(way[: queue.ALIKE])
            if cohort is None:
                cohort = cohorts[way[: queue.ALIKE]] = self._cohort(way, now)
            off = way.email_key in suppressed
            goes = cohort.goes and not off and (way.mailed_at is None or way.mailed_at <= rested)
            if goes or self._goes(way, cohort, now, suppressed=off, mailed=mailed):
                mailed.add(way.person)
                go.append((way, cohort))
        self._claim(go, now)

    def _claim(self, go: list[tuple[Waiting, Cohort]], now: datetime) -> None:
        """Claim mails that go for the first time, and plan what comes next for each.

        They are written, and go, in the order their ways are stored in.
        """
        if not go:
            return
        go.sort(key=lambda one: one[0].id)
        claims: list[queue.ClaimRow] = []
        ways: list[queue.WayRow] = []
        at, run_id = seconds(now), self.run_id
        for number, (way, cohort) in enumerate(go, queue.next_id(self.db)):
            mails, planned = cohort.mails, way.next_at or at
            plan = cohort.course.plan(anchor=way.anchor, planned=planned, now=at, mailed_at=at)
            claims.append((number, way.id, mails.step.name, str(mails.step.kind), planned, at, run_id))
            ways.append((at, *plan, way.id))
            self.claims[number] = mails.add(number, way)
        queue.claim(self.db, claims, ways)
        for way, cohort in go:
            if cohort.weekly:
                enroll.weekly_again(self.db, self.ctx, way.due(cohort.mails.step, suppressed=False), now)

    def _cohort(self, way: Waiting, now: datetime) -> Cohort:
        """Return what holds for all who wait where one of them does."""
        due = way.due(self.next_step(way), suppressed=False)
        goes = alike(due.step) and isinstance(self.decide(due._replace(mailed_at=None), now), policy.Go)
        sequence = self.ctx.sequences.get(way.sequence)
        course = enroll.Course.after(self.ctx, due) if sequence else enroll.THE_END
        mails = self._mails(way.sequence, due.step, now)
        return Cohort(mails, goes, course, weekly=sequence is not None and sequence.weekly)

    def _goes(self, way: Waiting, cohort: Cohort, now: datetime, *, suppressed: bool, mailed: set[int]) -> bool:
        """Decide about one person; record what is done when this mail does not go now."""
        due = way.due(cohort.mails.step, suppressed=suppressed)
        verdict = self.decide(due, now)
        if isinstance(verdict, policy.Go):
            return True
        if isinstance(verdict, policy.Leave):
            mailed.add(way.person)  # nothing else of theirs may go
        self._not_now(due, verdict, now)
        return False

    def _not_now(
        self, due: Due, verdict: policy.Skip | policy.Wait | policy.Stop | policy.Hold | policy.Leave, now: datetime
    ) -> None:
        """Record a step that is left out, put off, held, or the end of the way."""
        if due.mailing_id is not None:
            if isinstance(verdict, policy.Wait):
                mailings.put_off(self.db, due.mailing_id, self.reopened(due, verdict))
            else:
                mailings.skip(self.db, due.mailing_id, verdict.reason, now)
        elif isinstance(verdict, policy.Wait):
            enroll.postpone(self.db, due.enrollment, self.reopened(due, verdict))
        elif isinstance(verdict, policy.Stop):
            e = due.enrollment
            enrollments.plan(self.db, e.id, step=None, at=None, anchor=e.anchor_at, ended=verdict.reason)
        else:
            self._left_out(due, verdict, now)

    def _left_out(self, due: Due, verdict: policy.Skip | policy.Hold | policy.Leave, now: datetime) -> None:
        leave = isinstance(verdict, policy.Leave)
        status = MailingStatus.HELD if isinstance(verdict, policy.Hold) else MailingStatus.SKIPPED
        reason = f"{verdict.reason}; taken off the list" if leave else verdict.reason
        planned = due.enrollment.next_at or now
        mailing_id = mailings.add(
            self.db, due.enrollment.id, due.step.name, due.step.kind, status,
            due=planned, now=now, reason=reason,
        )  # fmt: skip
        enroll.advance(self.db, self.ctx, due.subscriber, due.enrollment, planned=planned, now=now)
        if leave:
            feedback.sunset(self.db, self.ctx, due.subscriber, now)
        self.tell([Outcome(due.subscriber.id, due.enrollment.sequence, due.step.name, status, reason, mailing_id)])

    def tell(self, outcomes: list[Outcome]) -> None:
        """Keep in mind what became of due steps, to be told when it is written down."""
        self.tally.update([outcome.status for outcome in outcomes])
        self.outcomes += outcomes
