"""What to do with a due step: looks things up, asks the policy, writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel import enroll, gifts, policy
from funnel.model import Condition, Due, EventKind, Facts, Kind, MailingStatus, Step
from funnel.schedule import earliest_go, is_stale, zone
from funnel.store import events, mailings, queue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing

NO_STEP = Step("", Kind.DRIP)
NO_FACTS = Facts()
#: Mail that many people get for the same reasons.
SERIES = (Kind.DRIP, Kind.BROADCAST, Kind.REMINDER)
ENGAGED = timedelta(days=30)
ENGAGING = (EventKind.DOWNLOADED, EventKind.REDEEMED, EventKind.PAUSED, EventKind.RESUMED, EventKind.RESUBSCRIBED)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run would do with one due step."""

    subscriber_id: int
    sequence: str
    step: str
    would: str  #: "send", "leave out", "put off", "hold" or "end the series"
    why: str


class Decider:
    """Looks at due steps over an open database."""

    def __init__(self, db: Database, ctx: Context) -> None:
        self.db = db
        self.ctx = ctx
        self._steps = {(name, step.name): step for name, way in ctx.sequences.items() for step in way.steps}

    def again(self, mailing: Mailing) -> Due | None:
        """Return a deferred mail with all a decision needs, or None when its way is gone."""
        way = queue.one(self.db, mailing.enrollment_id)
        return self.due_again(way, mailing) if way else None

    def due_again(self, way: queue.Waiting, mailing: Mailing) -> Due:
        """Return a deferred mail on its way with all a decision needs."""
        step = self._steps.get((way.sequence, mailing.step)) or Step(mailing.step, Kind(mailing.kind))
        due = way.due(step, suppressed=self.suppressed(way.key))
        return due._replace(mailing_id=mailing.id, attempts=mailing.attempts, first_at=mailing.first_at)

    def suppressed(self, key: str) -> bool:
        """True when this address must get no mail."""
        return bool(key) and events.suppressed(self.db, *self.ctx.suppression_hashes(key)) is not None

    def waiting(self, now: datetime, limit: int) -> list[Due]:
        """Return at most ``limit`` due steps with all a decision needs, the longest waiting first."""
        found = queue.due(self.db, now, limit)
        suppressed = self.suppressed_among(found)
        return [way.due(self.next_step(way), suppressed=way.email_key in suppressed) for way in found]

    def suppressed_among(self, ways: Sequence[queue.Waiting]) -> frozenset[str | None]:
        """Return those canonical addresses of these people that must get no mail."""
        keys = {way.email_key for way in ways if way.email_key}
        found = events.suppressed_among(self.db, self.ctx.suppression_hashes_of(keys)) if keys else frozenset()
        if not found:
            return frozenset()
        return frozenset(key for key in keys if not found.isdisjoint(self.ctx.suppression_hashes(key)))

    def due_of(self, enrollment: Enrollment) -> Due:
        """Return the next step of a way, due or not, with all a decision needs; the way must be there."""
        way = queue.one(self.db, enrollment.id)
        if way is None:
            raise AssertionError(f"there is no enrollment {enrollment.id}")
        return way.due(self.next_step(way), suppressed=self.suppressed(way.key))

    def next_step(self, way: queue.Waiting) -> Step:
        """Return the step that is due on a way; one that is gone becomes the next open one."""
        step = self._steps.get((way.sequence, way.next_step or ""))
        if step is None and way.sequence in self.ctx.sequences:
            step = enroll.open_step(self.ctx.sequences[way.sequence], way.had)
        return step or NO_STEP

    def decide(self, due: Due, now: datetime) -> policy.Verdict:
        """Return what to do with a due step at ``now``; writes nothing."""
        person, step = due.subscriber, due.step
        if not step.name:
            return policy.Stop("done")
        verdict = policy.may_send(
            step,
            person.status,
            suppressed=due.suppressed,
            paused_until=person.paused_until,
            facts=self._facts(due, now),
            now=now,
        )
        if not isinstance(verdict, policy.Go):
            return verdict
        first_try = due.mailing_id is None
        if first_try and step.kind is Kind.CONFIRM and self._request_over(due, now):
            return policy.Skip("the request is older than its link would be good for")
        if first_try and is_stale(step, due.enrollment.next_at or now, now, self.ctx.calendar):
            return policy.Skip("too late to make sense")
        if first_try and gifts.holds(self.db, self.ctx, step.kind, person.id):
            return policy.Hold(policy.NO_CODE)
        last = due.mailed_at if first_try else None
        at, reason = earliest_go(step, now, zone(person.zone), self.ctx.calendar, last)
        return policy.Wait(at, reason) if at > now else verdict

    def _request_over(self, due: Due, now: datetime) -> bool:
        return now - due.enrollment.anchor_at >= timedelta(days=self.ctx.config.signup.confirm_days)

    def _facts(self, due: Due, now: datetime) -> Facts:
        """Return what a step's condition asks; nothing is looked up for steps without one."""
        person, step = due.subscriber, due.step
        if step.kind is Kind.SUNSET:
            return Facts(unanswered=self._unanswered(due))
        if step.when is Condition.ALWAYS:
            return NO_FACTS
        engaged = events.last(self.db, person.id, ENGAGING)
        confirmed = person.confirmed_at
        newest = max((at for at in (engaged, confirmed) if at), default=None)
        return Facts(
            gift_usable=gifts.usable(gifts.of_person(self.db, self.ctx, person.id), now),
            downloaded=events.last(self.db, person.id, (EventKind.DOWNLOADED,)) is not None,
            engaged=newest is not None and now - newest < ENGAGED,
        )

    def _unanswered(self, due: Due) -> bool:
        """True when the person was asked whether to stay, and was not on our pages since."""
        asked = mailings.of_step(self.db, due.enrollment.id, due.step.unanswered)
        if asked is None or asked.status not in {MailingStatus.SENT, MailingStatus.UNCERTAIN}:
            return False
        answer = events.last(self.db, due.subscriber.id, ENGAGING)
        return answer is None or answer < asked.claimed_at

    def would_send(self, now: datetime, limit: int = 0) -> list[Planned]:
        """Return what a run at ``now`` would do first with each due step; writes nothing."""
        retries = (self.again(mailing) for mailing in mailings.retries_due(self.db, now, limit or -1))
        found = [due for due in retries if due] + self.waiting(now, limit or -1)
        return [self._planned(due, now) for due in found[: limit or None]]

    def _planned(self, due: Due, now: datetime) -> Planned:
        verdict = self.decide(due, now)
        would, why = "send", "due" if due.mailing_id is None else f"try {due.attempts + 1}"
        if isinstance(verdict, policy.Skip):
            would, why = "leave out", verdict.reason
        elif isinstance(verdict, policy.Stop):
            would, why = "end the series", verdict.reason
        elif isinstance(verdict, policy.Hold):
            would, why = "hold", verdict.reason
        elif isinstance(verdict, policy.Leave):
            would, why = "take off the list", verdict.reason
        elif isinstance(verdict, policy.Wait):
            at = self.reopened(due, verdict).astimezone(zone(due.subscriber.zone))
            would, why = "put off", f"{verdict.reason}; until {at:%d %b %H:%M} there"
        return Planned(due.subscriber.id, due.enrollment.sequence, due.step.name, would, why)

    def reopened(self, due: Due, verdict: policy.Wait) -> datetime:
        """Return the first open moment after a wait."""
        where = zone(due.subscriber.zone)
        last = due.mailed_at if due.mailing_id is None else None
        return earliest_go(due.step, verdict.until, where, self.ctx.calendar, last)[0]


def alike(step: Step) -> bool:
    """True when what is done with a step hangs on nothing of a person but what ``queue.ALIKE`` counts.

    And on when they were last mailed, and whether they are suppressed.
    """
    return bool(step.name) and step.kind in SERIES and step.when is Condition.ALWAYS and not step.skip_if_stale
