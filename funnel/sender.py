"""The one way mail leaves: claim a due step, compose it, hand it over, record what was answered.

A claim is committed before the first byte goes out, and the answer right after it came. Whatever a
crash leaves behind is found by the next run: what certainly never left goes again, what may have
arrived is marked ``uncertain`` and treated by policy, never guessed at (P3, P4).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from funnel import enroll, feedback, gifts, policy, signup
from funnel.errors import ContentError, RunActiveError, TransportError
from funnel.model import (
    Due,
    Event,
    EventKind,
    Facts,
    Kind,
    MailingStatus,
    Outcome,
    Outgoing,
    Reply,
    Status,
    Step,
    Tally,
)
from funnel.schedule import earliest_go, is_stale, zone
from funnel.store import enrollments, events, mailings, runs, subscribers
from funnel.store import gifts as gift_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from funnel.compose.letters import Composer
    from funnel.context import Context
    from funnel.model import Enrollment, Rendered
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing
    from funnel.transport import Transport

BATCH = 200
ENGAGED = timedelta(days=30)
ENGAGING = (EventKind.DOWNLOADED, EventKind.REDEEMED, EventKind.PAUSED, EventKind.RESUMED, EventKind.RESUBSCRIBED)
#: How long nothing is sent after a server refused us as a sender (BNC-3).
BREAKER = timedelta(hours=1)


class FieldsOf(Protocol):
    """Gives the fields that fill a mail for one person."""

    def __call__(self, due: Due, now: datetime) -> Mapping[str, object]:
        """Return every field a mail may name."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run would do with one due step."""

    subscriber_id: int
    sequence: str
    step: str
    would: str  #: "send", "leave out", "put off" or "end the series"
    why: str


@dataclass(slots=True)
class Sender:
    """Sends what is due. One run at a time per database, which a lock file sees to."""

    db: Database
    ctx: Context
    composer: Composer
    transport: Transport
    fields_of: FieldsOf
    clock: Callable[[], datetime]
    tally: Tally = field(default_factory=Tally)
    halted: str = ""  #: why the run stopped early, if it did
    stop: threading.Event = field(default_factory=threading.Event)  #: set from outside: end after the mail on the wire
    _run_id: int = 0
    _suspects: int = 0

    def send_due(self, limit: int = 0) -> Iterator[Outcome]:
        """Yield what became of each due step, one by one, as it happens; ``limit`` 0 means all.

        Raises RunActiveError when another run is at work, TransportError when no mail can go at all;
        then nobody's attempt is used up.
        """
        with self._only_run():
            self._begin()
            try:
                yield from self._outcomes(limit)
            except TransportError as error:
                self.halted = str(error)
                raise
            finally:
                self.transport.close()
                self._finish()

    # --- one run -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _only_run(self) -> Iterator[None]:
        """Hold the lock of this database; the kernel gives it back however a run ends (F-9, F-10)."""
        lock = self.db.path.with_name(self.db.path.name + ".lock")
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunActiveError from None
            yield
        finally:
            os.close(handle)

    def _begin(self) -> None:
        now = self.clock()
        with self.db.transaction():
            self._run_id = runs.start(self.db, host=socket.gethostname(), pid=os.getpid(), now=now)
            runs.tick(self.db, now)
            self._recover(now)
            subscribers.end_pauses(self.db, now)
            gift_rows.expire(self.db, now)
            enroll.enter_staff(self.db, self.ctx, now)
        signup.purge(self.db, self.ctx, now)

    def _finish(self) -> None:
        counts = {str(status): n for status, n in self.tally.counts.items()}
        with self.db.transaction():
            runs.finish(self.db, self._run_id, now=self.clock(), counts=counts, note=self.halted)
            runs.drop_empty(self.db)

    def _recover(self, now: datetime) -> None:
        """Settle what dead runs left in ``sending``; the lock is ours, so those runs are over (F-32)."""
        for mailing in mailings.sending_of_dead_runs(self.db, self._run_id):
            reason = "the run that sent it ended before the answer came; it may have arrived"
            mailings.finish(self.db, mailing.id, MailingStatus.UNCERTAIN, now=now, reason=reason)
            self._after_doubt(mailing.id, Kind(mailing.kind), mailing.doubts, now)
            self.tally.add(MailingStatus.UNCERTAIN)

    def _after_doubt(self, mailing_id: int, kind: Kind, doubts: int, now: datetime) -> None:
        """Let a doubtful mail go once more, or leave it for a person to decide."""
        treatment = policy.after_uncertainty(kind, self.ctx.config.sending.on_uncertain)
        if treatment == "retry" and doubts == 0:
            mailings.defer_doubtful(self.db, mailing_id, now=now)

    def _outcomes(self, limit: int) -> Iterator[Outcome]:
        reason = self._breaker()
        if reason:
            self.halted = reason
            return
        for due in self._due_items(limit):
            outcome = self._deal_with(due)
            if outcome is None:
                continue
            self.tally.add(outcome.status)
            yield outcome
            if self.halted or self.stop.is_set():
                return

    def _breaker(self) -> str:
        """Return why nothing may be sent for now, or nothing."""
        until, _, reason = (runs.get(self.db, "breaker") or "").partition(" ")
        if until and self.clock().timestamp() < int(until):
            return f"Sending is halted for up to an hour because the mail server refuses us: {reason}"
        return ""

    # --- what is due ---------------------------------------------------------------------------

    def _due_items(self, limit: int) -> Iterator[Due]:
        """Yield due steps, retries first, until none is left or the limit is reached."""
        left = limit or -1
        for mailing in mailings.retries_due(self.db, self.clock(), -1):
            found = self._retry(mailing)
            if found and left:
                yield found
                left -= 1
        while left:
            batch = enrollments.due(self.db, self.clock(), BATCH if left < 0 else min(BATCH, left))
            if not batch:
                return
            for enrollment in batch:
                yield self.due_of(enrollment)
                left -= 1

    def _retry(self, mailing: Mailing) -> Due | None:
        enrollment = enrollments.by_id(self.db, mailing.enrollment_id)
        if enrollment is None:
            return None
        step = self._step(enrollment, mailing.step) or Step(mailing.step, Kind(mailing.kind))
        return self._due(enrollment, step, mailing)

    def due_of(self, enrollment: Enrollment) -> Due:
        """Return a due enrollment with all a decision needs; a step that is gone becomes the next open one."""
        step = self._step(enrollment, enrollment.next_step or "")
        if step is None and enrollment.sequence in self.ctx.sequences:
            step = enroll.first_open_step(self.db, self.ctx.sequences[enrollment.sequence], enrollment)
        return self._due(enrollment, step or Step("", Kind.DRIP))

    def _step(self, enrollment: Enrollment, name: str) -> Step | None:
        sequence = self.ctx.sequences.get(enrollment.sequence)
        return sequence.step(name) if sequence else None

    def _due(self, enrollment: Enrollment, step: Step, mailing: Mailing | None = None) -> Due:
        person = subscribers.by_id(self.db, enrollment.subscriber_id)
        if person is None:
            raise AssertionError(f"enrollment {enrollment.id} has no subscriber")
        key = subscribers.key_of(self.db, person.id)
        found = events.suppressed(self.db, *self.ctx.suppression_hashes(key)) if key else None
        return Due(
            enrollment,
            person,
            step,
            suppressed=found is not None,
            mailing_id=mailing.id if mailing else None,
            attempts=mailing.attempts if mailing else 0,
            first_at=mailing.first_at if mailing else None,
        )

    # --- deciding ------------------------------------------------------------------------------

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
        last = enrollments.last_mail_at(self.db, person.id) if first_try else None
        at, reason = earliest_go(step, now, zone(person.zone), self.ctx.calendar, last)
        return policy.Wait(at, reason) if at > now else verdict

    def _request_over(self, due: Due, now: datetime) -> bool:
        return now - due.enrollment.anchor_at >= timedelta(days=self.ctx.config.signup.confirm_days)

    def _facts(self, due: Due, now: datetime) -> Facts:
        """Return what a step's condition asks; nothing is looked up for steps without one."""
        person, step = due.subscriber, due.step
        if step.kind is Kind.SUNSET:
            return Facts(unanswered=self._unanswered(due))
        if step.when == "always":
            return Facts()
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
        retries = (self._retry(mailing) for mailing in mailings.retries_due(self.db, now, limit or -1))
        waiting = (self.due_of(enrollment) for enrollment in enrollments.due(self.db, now, limit or -1))
        found = [due for due in retries if due] + list(waiting)
        return [self._planned(due, now) for due in found[: limit or None]]

    def _planned(self, due: Due, now: datetime) -> Planned:
        verdict = self.decide(due, now)
        would, why = "send", "due" if due.mailing_id is None else f"try {due.attempts + 1}"
        if isinstance(verdict, policy.Skip):
            would, why = "leave out", verdict.reason
        elif isinstance(verdict, policy.Stop):
            would, why = "end the series", verdict.reason
        elif isinstance(verdict, policy.Leave):
            would, why = "take off the list", verdict.reason
        elif isinstance(verdict, policy.Wait):
            at = self._reopened(due, verdict).astimezone(zone(due.subscriber.zone))
            would, why = "put off", f"{verdict.reason}; until {at:%d %b %H:%M} there"
        return Planned(due.subscriber.id, due.enrollment.sequence, due.step.name, would, why)

    # --- doing ---------------------------------------------------------------------------------

    def _deal_with(self, due: Due) -> Outcome | None:
        """Decide about a due step and carry it out; None when nothing is on record for it this time."""
        now = self.clock()
        with self.db.transaction():
            verdict = self.decide(due, now)
            if isinstance(verdict, policy.Go):
                mailing_id = self._claim(due, now)
            else:
                return self._not_now(due, verdict, now)
        if mailing_id is None:
            return None
        return self._send(due, mailing_id, now)

    def _claim(self, due: Due, now: datetime) -> int | None:
        """Record that this run sends it, and plan what follows; None when that was done before."""
        if due.mailing_id is not None:
            taken = mailings.reclaim(self.db, due.mailing_id, now=now, run_id=self._run_id)
            return due.mailing_id if taken else None
        planned = due.enrollment.next_at or now
        mailing_id = mailings.add(
            self.db, due.enrollment.id, due.step.name, due.step.kind, MailingStatus.SENDING,
            due=planned, now=now, run_id=self._run_id,
        )  # fmt: skip
        enrollments.mailed(self.db, due.enrollment.id, now)
        enroll.advance(self.db, self.ctx, due.subscriber, due.enrollment, planned=planned, now=now)
        return mailing_id

    def _not_now(
        self, due: Due, verdict: policy.Skip | policy.Wait | policy.Stop | policy.Leave, now: datetime
    ) -> Outcome | None:
        """Record a step that is left out, put off, or the end of the way."""
        if due.mailing_id is not None:
            if isinstance(verdict, policy.Wait):
                mailings.put_off(self.db, due.mailing_id, self._reopened(due, verdict))
            else:
                mailings.skip(self.db, due.mailing_id, verdict.reason, now)
            return None
        if isinstance(verdict, policy.Wait):
            enroll.postpone(self.db, due.enrollment, self._reopened(due, verdict))
            return None
        if isinstance(verdict, policy.Stop):
            enrollments.plan(
                self.db, due.enrollment.id, step=None, at=None, anchor=due.enrollment.anchor_at, ended=verdict.reason
            )
            return None
        leave = isinstance(verdict, policy.Leave)
        reason = f"{verdict.reason}; taken off the list" if leave else verdict.reason
        planned = due.enrollment.next_at or now
        mailing_id = mailings.add(
            self.db, due.enrollment.id, due.step.name, due.step.kind, MailingStatus.SKIPPED,
            due=planned, now=now, reason=reason,
        )  # fmt: skip
        enroll.advance(self.db, self.ctx, due.subscriber, due.enrollment, planned=planned, now=now)
        if leave:
            feedback.sunset(self.db, self.ctx, due.subscriber, now)
        return self._outcome(due, MailingStatus.SKIPPED, reason, mailing_id)

    def _reopened(self, due: Due, verdict: policy.Wait) -> datetime:
        """Return the first open moment after a wait."""
        where = zone(due.subscriber.zone)
        last = enrollments.last_mail_at(self.db, due.subscriber.id) if due.mailing_id is None else None
        return earliest_go(due.step, verdict.until, where, self.ctx.calendar, last)[0]

    def _send(self, due: Due, mailing_id: int, now: datetime) -> Outcome:
        """Compose and hand over one claimed mail, and record the answer."""
        try:
            rendered = self._rendered(due, mailing_id, now)
        except ContentError as error:
            self._record(due, mailing_id, policy.Settled(MailingStatus.FAILED, f"not written: {error}"), None, None)
            return self._outcome(due, MailingStatus.FAILED, str(error), mailing_id)
        stopped = self._stopped_meanwhile(due)
        if stopped:
            settled = policy.Settled(MailingStatus.SKIPPED, stopped)
            self._record(due, mailing_id, settled, None, None)
            return self._outcome(due, MailingStatus.SKIPPED, stopped, mailing_id)
        reply = self._hand_over(due, mailing_id, rendered)
        settled = policy.settle(
            reply.delivery, reply.code, reply.text, reply.stage,
            attempts=due.attempts + 1, first=due.first_at or now, now=self.clock(),
        )  # fmt: skip
        self._record(due, mailing_id, settled, reply, rendered)
        return self._outcome(due, settled.status, settled.reason or str(reply), mailing_id)

    def _rendered(self, due: Due, mailing_id: int, now: datetime) -> Rendered:
        """Return the message; a second try sends the very bytes of the first (MSG-6, F-48)."""
        kept = mailings.kept_bytes(self.db, mailing_id)
        if kept:
            from funnel.model import Rendered

            return Rendered(kept[0], "", kept[1])
        first = due.first_at or now
        return self.composer.render(
            due.enrollment.sequence, due.step.name, self.fields_of(due, first),
            to=self._envelope_address(due), mailing_id=mailing_id, date=first,
        )  # fmt: skip

    def _envelope_address(self, due: Due) -> str:
        local = due.subscriber.email.rpartition("@")[0]
        return local + "@" + subscribers.key_of(self.db, due.subscriber.id).rpartition("@")[2]

    def _stopped_meanwhile(self, due: Due) -> str:
        """Return the word that stopped this person since the claim, or nothing: the last look before the wire (P5)."""
        person = subscribers.by_id(self.db, due.subscriber.id)
        gone = {Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED, Status.ERASED}
        if person is None or (person.status in gone and person.status is not due.subscriber.status):
            return str(person.status) if person else "erased"
        return ""

    def _hand_over(self, due: Due, mailing_id: int, rendered: Rendered) -> Reply:
        """Return the server's answer; a fault before the transaction gives the claim back and ends the run."""
        mail = Outgoing(mailing_id, self.composer.sender.from_address, self._envelope_address(due), rendered.message)
        try:
            self.transport.open()
            return self.transport.deliver(mail)
        except TransportError:
            with self.db.transaction():
                mailings.release(self.db, mailing_id)
                if due.mailing_id is None:
                    self._put_back(due)
            raise

    def _put_back(self, due: Due) -> None:
        """Undo the plan made with a claim that led to nothing."""
        e = due.enrollment
        enrollments.plan(self.db, e.id, step=due.step.name, at=e.next_at, anchor=e.anchor_at)
        enrollments.mailed(self.db, e.id, e.last_at)

    def _record(
        self, due: Due, mailing_id: int, settled: policy.Settled, reply: Reply | None, rendered: Rendered | None
    ) -> None:
        """Write down how a mail ended, with all that follows from it, in one transaction."""
        now = self.clock()
        with self.db.transaction():
            mailings.finish(
                self.db, mailing_id, settled.status, now=now, reason=settled.reason, retry_at=settled.retry_at,
                reply=str(reply or ""), message_id=rendered.message_id if rendered else "",
                version=rendered.version if rendered else "",
            )  # fmt: skip
            self._keep_or_drop(mailing_id, settled, rendered)
            if settled.status is MailingStatus.SENT:
                self._sent(due)
            elif settled.status is MailingStatus.UNCERTAIN:
                mailing = mailings.by_id(self.db, mailing_id)
                self._after_doubt(mailing_id, due.step.kind, (mailing.doubts if mailing else 1) - 1, now)
            if settled.suppress:
                event = Event("smtp", f"bounced:{mailing_id}", EventKind.BOUNCED, now, due.subscriber.id, mailing_id)
                feedback.apply(self.db, self.ctx, event, now)
            self._suspects += settled.suspect
            if settled.halt or (settled.suspect and self._suspects >= policy.SUSPECTS):
                self._halt(str(reply or settled.reason), now)

    def _keep_or_drop(self, mailing_id: int, settled: policy.Settled, rendered: Rendered | None) -> None:
        open_states = {MailingStatus.DEFERRED, MailingStatus.UNCERTAIN}
        if settled.status in open_states and rendered:
            mailings.keep_bytes(self.db, mailing_id, rendered.message_id, rendered.message)
        else:
            mailings.drop_bytes(self.db, mailing_id)

    def _sent(self, due: Due) -> None:
        if due.step.kind is Kind.GUIDE:
            gift = gifts.of_person(self.db, self.ctx, due.subscriber.id)
            if gift:
                gift_rows.sent(self.db, gift.id)

    def _halt(self, reason: str, now: datetime) -> None:
        """Stop sending for everybody: the server refuses us, not them (BNC-3)."""
        until = int((now + BREAKER).timestamp())
        runs.put(self.db, "breaker", f"{until} {reason}")
        self.halted = f"The mail server refuses us as a sender: {reason}. Nobody was suppressed; see docs/operator.md."

    def _outcome(self, due: Due, status: MailingStatus, reason: str, mailing_id: int | None) -> Outcome:
        return Outcome(due.subscriber.id, due.enrollment.sequence, due.step.name, status, reason, mailing_id)
