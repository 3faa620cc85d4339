"""Taking due steps upon oneself: a batch of decisions, each with what follows from it, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel import enroll, feedback, policy
from funnel.keeping import Guard
from funnel.model import Kind, MailingStatus, Outcome, Tally
from funnel.sender.decide import Decider
from funnel.store import enrollments, mailings, queue

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Due
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing


@dataclass(slots=True)
class Claim:
    """One mail this run has taken upon itself."""

    due: Due
    mailing_id: int
    at: datetime
    message: bytes = b""  #: while it is on its way, or may have to go again
    version: str = ""  #: of the mail's source
    ended: datetime = field(init=False)  #: when it was answered, what that means, and in which words
    settled: policy.Settled = field(init=False)
    reply: str = ""

    @property
    def plainly_sent(self) -> bool:
        """True for a first try that was taken, from which nothing else follows."""
        due = self.due
        return self.settled.status is MailingStatus.SENT and due.mailing_id is None and due.step.kind is not Kind.GUIDE


class Claimer(Decider):
    """Decides about due steps, claims those that go, and records why the others do not."""

    def __init__(self, db: Database, ctx: Context) -> None:
        super().__init__(db, ctx)
        self.tally = Tally()
        self.claims: dict[int, Claim] = {}  #: those without an answer
        self.outcomes: list[Outcome] = []  #: those not yet told
        self.run_id = 0
        self.seen = 0  #: what others had written when the claims at hand were decided about
        self.guard = Guard(db)

    def claim_batch(self, most: int, now: datetime) -> int:
        """Decide about the next due steps, retries first, and claim those that go; returns how many were looked at.

        All of it is one transaction, which is on the disk before the first byte of any of these mails can leave.
        """
        with self.db.transaction():
            self.seen = self.db.version
            retries = mailings.retries_due(self.db, now, most, not_of_run=self.run_id)
            for mailing in retries:
                due = self.again(mailing)
                if due and self._may_go_again(mailing, now):
                    self._retry(due, now)
            first = self.waiting(now, most - len(retries)) if len(retries) < most else []
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

    def _retry(self, due: Due, now: datetime) -> None:
        verdict = self.decide(due, now)
        if not isinstance(verdict, policy.Go):
            self._not_now(due, verdict, now)
        elif due.mailing_id and mailings.reclaim(self.db, due.mailing_id, now=now, run_id=self.run_id):
            self.claims[due.mailing_id] = Claim(due, due.mailing_id, now)

    def _claim_all(self, found: list[Due], now: datetime) -> None:
        """Claim the first mails of a batch that go now; who is in it twice, a second try included, is mailed once."""
        mailed = {claim.due.subscriber.id for claim in self.claims.values()}
        go: list[Due] = []
        for due in found:
            if due.subscriber.id in mailed:
                continue  # looked at again with the next batch, when this mail is on record
            verdict = self.decide(due, now)
            if isinstance(verdict, policy.Go):
                mailed.add(due.subscriber.id)
                go.append(due)
                continue
            if isinstance(verdict, policy.Leave):
                mailed.add(due.subscriber.id)  # nothing else of theirs may go
            self._not_now(due, verdict, now)
        first = queue.next_id(self.db) if go else 0
        claims = [Claim(due, mailing_id, now) for mailing_id, due in enumerate(go, first)]
        queue.claim(self.db, [self._claimed(claim) for claim in claims], now=now, run_id=self.run_id)
        for due in go:
            if self.ctx.sequences[due.enrollment.sequence].weekly:
                enroll.weekly_again(self.db, self.ctx, due, now)
        self.claims.update((claim.mailing_id, claim) for claim in claims)

    def _claimed(self, claim: Claim) -> queue.Claimed:
        """Return a claim as it is written down, with what follows it."""
        enrollment, step = claim.due.enrollment, claim.due.step
        plan = enroll.following(self.ctx, claim.due, now=claim.at, mailed_at=claim.at)
        return queue.Claimed(
            claim.mailing_id, enrollment.id, step.name, step.kind.value, enrollment.next_at or claim.at,
            plan.step, plan.at, plan.anchor, plan.ended,
        )  # fmt: skip

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
        self.tell(due, status, reason, mailing_id)

    def tell(self, due: Due, status: MailingStatus, reason: str, mailing_id: int | None) -> None:
        """Keep in mind what became of a due step, to be told when it is written down."""
        self.tally.add(status)
        self.outcomes.append(
            Outcome(due.subscriber.id, due.enrollment.sequence, due.step.name, status, reason, mailing_id)
        )
