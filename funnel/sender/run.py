"""One run: claim a batch, hand it over on several lines at once, record what was answered.

A batch of claims is committed before the first byte goes out. A journal beside the database notes when each
message starts and what was answered, so that whatever ends a run, the next one knows: what certainly never left
goes again, what was taken is sent, and what may have arrived is marked ``uncertain`` and treated by policy, never
guessed at (P3, P4).
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
    Delivery,
    Due,
    Event,
    EventKind,
    Kind,
    MailingStatus,
    Outcome,
    Outgoing,
    Rendered,
    Reply,
    Status,
    Tally,
)
from funnel.sender.decide import Decider
from funnel.sender.journal import Journal, Stage
from funnel.store import enrollments, mailings, runs, subscribers
from funnel.store import gifts as gift_rows
from funnel.transport import UnsentError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from funnel.compose.letters import Composer
    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing
    from funnel.transport import Transport

#: So many claims are committed together; a power cut leaves at most these in doubt.
BATCH = 100
#: So many answers are written down together, or as many as came within a second.
TOGETHER = 32
SOON = timedelta(seconds=1)
#: How long nothing is sent after a server refused us as a sender (BNC-3).
BREAKER = timedelta(hours=1)
GONE = frozenset({Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED, Status.ERASED})


class FieldsOf(Protocol):
    """Gives the fields that fill a mail for one person."""

    def __call__(self, due: Due, now: datetime) -> Mapping[str, object]:
        """Return every field a mail may name."""


@dataclass(slots=True)
class Claim:
    """One mail this run has taken upon itself."""

    due: Due
    mailing_id: int
    at: datetime
    rendered: Rendered | None = None  #: once it is on its way


@dataclass(frozen=True, slots=True)
class Answer:
    """How a claim ended, to be written down."""

    claim: Claim
    settled: policy.Settled
    reply: Reply | None
    at: datetime


@dataclass(slots=True)
class _Books:
    """What this run holds in its hands: claims without an answer, answers not yet written down, what was told."""

    claims: dict[int, Claim] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


class Sender(Decider):
    """Sends what is due. One run at a time per database, which a lock file sees to."""

    def __init__(
        self,
        db: Database,
        ctx: Context,
        composer: Composer,
        transport: Transport,
        *,
        fields_of: FieldsOf,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(db, ctx)
        self.composer = composer
        self.transport = transport
        self.fields_of = fields_of
        self.clock = clock
        self.tally = Tally()
        self.halted = ""  #: why the run stopped early, if it did
        self.stop = threading.Event()  #: set from outside: end after the mails on the wire
        self._run_id = 0
        self._suspects = 0
        self._books = _Books()

    def send_due(self, limit: int = 0) -> Iterator[Outcome]:
        """Yield what became of each due step, as it is written down; ``limit`` 0 means all.

        Raises RunActiveError when another run is at work, TransportError when no mail can go at all;
        then nobody's attempt is used up.
        """
        with self._only_run(), Journal(self._beside(".journal"), BATCH) as journal:
            self._begin(journal)
            try:
                if not self._rests():
                    yield from self._batches(journal, limit)
            except TransportError as error:
                self.halted = str(error)
                raise
            finally:
                self.transport.close()
                self._finish()

    # --- one run -------------------------------------------------------------------------------

    def _beside(self, suffix: str) -> Path:
        return self.db.path.with_name(self.db.path.name + suffix)

    @contextlib.contextmanager
    def _only_run(self) -> Iterator[None]:
        """Hold the lock of this database; the kernel gives it back however a run ends (F-9, F-10)."""
        handle = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunActiveError from None
            yield
        finally:
            os.close(handle)

    def _begin(self, journal: Journal) -> None:
        now = self.clock()
        with self.db.transaction():
            self._run_id = runs.start(self.db, host=socket.gethostname(), pid=os.getpid(), now=now)
            runs.tick(self.db, now)
            self._recover(journal, now)
            subscribers.end_pauses(self.db, now)
            gift_rows.expire(self.db, now)
            enroll.enter_staff(self.db, self.ctx, now)
        signup.purge(self.db, self.ctx, now)

    def _finish(self) -> None:
        counts = {str(status): n for status, n in self.tally.counts.items()}
        with self.db.transaction():
            runs.finish(self.db, self._run_id, now=self.clock(), counts=counts, note=self.halted)
            runs.drop_empty(self.db)

    def _rests(self) -> bool:
        """True while nothing may be sent because the server refuses us (BNC-3)."""
        until, _, reason = (runs.get(self.db, "breaker") or "").partition(" ")
        if until and self.clock().timestamp() < int(until):
            self.halted = f"Sending is halted for up to an hour because the mail server refuses us: {reason}"
        return bool(self.halted)

    def _batches(self, journal: Journal, limit: int) -> Iterator[Outcome]:
        left = limit
        while not (self.halted or self.stop.is_set()):
            dealt_with = self._claim_batch(min(BATCH, left) if limit else BATCH)
            yield from self._told()
            if self._books.claims:
                yield from self._send_batch(journal)
            left -= dealt_with
            if not dealt_with or (limit and left <= 0):
                return

    # --- what a dead run left ------------------------------------------------------------------

    def _recover(self, journal: Journal, now: datetime) -> None:
        """Settle what dead runs left in ``sending``; the lock is ours, so those runs are over (F-32)."""
        for mailing in mailings.sending_of_dead_runs(self.db, self._run_id):
            stages = journal.stages(mailing.run_id) if mailing.run_id else None
            stage = Stage.STARTED if stages is None else stages.get(mailing.id, Stage.WAITING)
            if stage is Stage.STARTED:
                self._lost(mailing, now)
            elif stage is Stage.ACCEPTED:
                self._taken(mailing, now)
            else:
                mailings.give_back(self.db, mailing.id, now=now, attempted=stage is Stage.REFUSED)

    def _lost(self, mailing: Mailing, now: datetime) -> None:
        reason = "the run that sent it ended before the answer came; it may have arrived"
        mailings.finish(self.db, mailing.id, MailingStatus.UNCERTAIN, now=now, reason=reason)
        self._after_doubt(mailing.id, Kind(mailing.kind), mailing.doubts, now)
        self.tally.add(MailingStatus.UNCERTAIN)

    def _taken(self, mailing: Mailing, now: datetime) -> None:
        reason = "the server took it; its words were lost with the run"
        mailings.finish(self.db, mailing.id, MailingStatus.SENT, now=now, reason=reason)
        due = self.again(mailing)
        if due:
            self._sent(due)
        self.tally.add(MailingStatus.SENT)

    def _after_doubt(self, mailing_id: int, kind: Kind, doubts: int, now: datetime) -> None:
        """Let a doubtful mail go once more, or leave it for a person to decide."""
        treatment = policy.after_uncertainty(kind, self.ctx.config.sending.on_uncertain)
        if treatment == "retry" and doubts == 0:
            mailings.defer_doubtful(self.db, mailing_id, now=now)

    # --- claiming ------------------------------------------------------------------------------

    def _claim_batch(self, most: int) -> int:
        """Decide about the next due steps, retries first, and claim those that go; returns how many were looked at."""
        now = self.clock()
        with self.db.transaction():
            retries = mailings.retries_due(self.db, now, most, not_of_run=self._run_id)
            first = enrollments.due(self.db, now, most - len(retries)) if len(retries) < most else ()
            for mailing in retries:
                due = self.again(mailing)
                if due:
                    self._deal_with(due, now)
            for enrollment in first:
                self._deal_with(self.due_of(enrollment), now)
        return len(retries) + len(first)

    def _deal_with(self, due: Due, now: datetime) -> None:
        """Decide about a due step, and claim it or record why not."""
        verdict = self.decide(due, now)
        if not isinstance(verdict, policy.Go):
            self._not_now(due, verdict, now)
            return
        mailing_id = self._claim(due, now)
        if mailing_id is not None:
            self._books.claims[mailing_id] = Claim(due, mailing_id, now)

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
    ) -> None:
        """Record a step that is left out, put off, or the end of the way."""
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

    def _left_out(self, due: Due, verdict: policy.Skip | policy.Leave, now: datetime) -> None:
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
        self._tell(due, MailingStatus.SKIPPED, reason, mailing_id)

    # --- handing over --------------------------------------------------------------------------

    def _send_batch(self, journal: Journal) -> Iterator[Outcome]:
        """Hand over the claimed batch and yield what became of it, in groups, each after it was written down."""
        claims = list(self._books.claims.values())
        journal.begin(self._run_id, [claim.mailing_id for claim in claims])
        try:
            self.transport.open()
            # However this ends, the transport has let go of every mail before one is given back.
            with contextlib.closing(self._answers(claims, journal)) as answers:
                for mail, reply in answers:
                    self._answered(self._books.claims[mail.mailing_id], reply, journal)
                    if self._enough():
                        self._record()
                        yield from self._told()
        except UnsentError as error:
            for mail in error.unsent:
                journal.note(mail.mailing_id, Stage.WAITING)
            raise
        finally:
            self._record()
            self._give_back(journal)
        yield from self._told()

    def _answers(self, claims: list[Claim], journal: Journal) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Hand claims to the transport, and yield what was said of each; what starts is noted in the journal."""
        return self.transport.deliver_all(
            self._ready(claims, journal), lambda mailing_id: journal.note(mailing_id, Stage.STARTED)
        )

    def _ready(self, claims: list[Claim], journal: Journal) -> Iterator[Outgoing]:
        """Yield each claimed mail right before it may go; what cannot or must not go any more is settled here."""
        for claim in claims:
            if self.halted or self.stop.is_set():
                return
            try:
                claim.rendered = self._rendered(claim)
            except ContentError as error:
                self._close(claim, policy.Settled(MailingStatus.FAILED, f"not written: {error}"), None, journal)
                continue
            stopped = self._stopped_meanwhile(claim.due)
            if stopped:
                claim.rendered = None
                self._close(claim, policy.Settled(MailingStatus.SKIPPED, stopped), None, journal)
                continue
            sender, recipient = self.composer.sender.from_address, self._envelope_address(claim.due)
            yield Outgoing(claim.mailing_id, sender, recipient, claim.rendered.message)

    def _rendered(self, claim: Claim) -> Rendered:
        """Return the message; a second try sends the very bytes of the first (MSG-6, F-48)."""
        kept = mailings.kept_bytes(self.db, claim.mailing_id)
        if kept:
            return Rendered(kept[0], "", kept[1])
        due, first = claim.due, claim.due.first_at or claim.at
        return self.composer.render(
            due.enrollment.sequence, due.step.name, self.fields_of(due, first),
            to=self._envelope_address(due), mailing_id=claim.mailing_id, date=first,
        )  # fmt: skip

    def _envelope_address(self, due: Due) -> str:
        local = due.subscriber.email.rpartition("@")[0]
        return local + "@" + subscribers.key_of(self.db, due.subscriber.id).rpartition("@")[2]

    def _stopped_meanwhile(self, due: Due) -> str:
        """Return the word that stopped this person since the claim, or nothing: the last look before the wire (P5)."""
        person = subscribers.by_id(self.db, due.subscriber.id)
        if person is None or (person.status in GONE and person.status is not due.subscriber.status):
            return str(person.status) if person else "erased"
        return ""

    def _answered(self, claim: Claim, reply: Reply, journal: Journal) -> None:
        """Take in what the server said of one mail."""
        settled = policy.settle(
            reply.delivery, reply.code, reply.text, reply.stage,
            attempts=claim.due.attempts + 1, first=claim.due.first_at or claim.at, now=self.clock(),
        )  # fmt: skip
        self._suspects += settled.suspect
        if settled.halt or (settled.suspect and self._suspects >= policy.SUSPECTS):
            why = str(reply) or settled.reason
            self.halted = f"The mail server refuses us as a sender: {why}. Nobody was suppressed; see docs/operator.md."
        self._close(claim, settled, reply, journal)

    def _close(self, claim: Claim, settled: policy.Settled, reply: Reply | None, journal: Journal) -> None:
        """Note how a claim ended, to be written down with the next group."""
        stage = Stage.ACCEPTED if settled.status is MailingStatus.SENT else Stage.REFUSED
        if not (reply and reply.delivery is Delivery.UNKNOWN):
            journal.note(claim.mailing_id, stage)
        del self._books.claims[claim.mailing_id]
        self._books.answers.append(Answer(claim, settled, reply, self.clock()))

    # --- writing down --------------------------------------------------------------------------

    def _enough(self) -> bool:
        """True when the answers at hand should be written down now."""
        answers = self._books.answers
        return len(answers) >= TOGETHER or bool(self.halted) or self.clock() - answers[0].at >= SOON

    def _record(self) -> None:
        """Write down how a group of mails ended, with all that follows from it, in one transaction."""
        if not self._books.answers:
            return
        with self.db.transaction():
            for answer in self._books.answers:
                self._write_down(answer)
            runs.beat(self.db, self._run_id, self.clock())
            if self.halted:
                self._break()
        for answer in self._books.answers:
            reason = answer.settled.reason or str(answer.reply or "")
            self._tell(answer.claim.due, answer.settled.status, reason, answer.claim.mailing_id)
        self._books.answers.clear()

    def _write_down(self, answer: Answer) -> None:
        claim, settled, rendered, now = answer.claim, answer.settled, answer.claim.rendered, answer.at
        mailings.finish(
            self.db, claim.mailing_id, settled.status, now=now, reason=settled.reason, retry_at=settled.retry_at,
            reply=str(answer.reply or ""), message_id=rendered.message_id if rendered else "",
            version=rendered.version if rendered else "",
        )  # fmt: skip
        self._keep_or_drop(claim.mailing_id, settled, rendered)
        if settled.status is MailingStatus.SENT:
            self._sent(claim.due)
        elif settled.status is MailingStatus.UNCERTAIN:
            mailing = mailings.by_id(self.db, claim.mailing_id)
            self._after_doubt(claim.mailing_id, claim.due.step.kind, (mailing.doubts if mailing else 1) - 1, now)
        if settled.suppress:
            person, mail = claim.due.subscriber.id, claim.mailing_id
            event = Event("smtp", f"bounced:{mail}", EventKind.BOUNCED, now, person, mail)
            feedback.apply(self.db, self.ctx, event, now)

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

    def _break(self) -> None:
        """Rest for a while, for everybody: the server refuses us, not them (BNC-3)."""
        until = int((self.clock() + BREAKER).timestamp())
        reason = self.halted.removeprefix("The mail server refuses us as a sender: ").partition(". Nobody was")[0]
        runs.put(self.db, "breaker", f"{until} {reason}")

    def _give_back(self, journal: Journal) -> None:
        """Undo every claim of the batch that led to nothing; one that was started and not answered is uncertain."""
        rest = self._books.claims
        stages = journal.stages(self._run_id) if rest else None
        with self.db.transaction() if rest else contextlib.nullcontext():
            for claim in rest.values():
                if stages is None or stages.get(claim.mailing_id) is Stage.STARTED:
                    mailing = mailings.by_id(self.db, claim.mailing_id)
                    if mailing:
                        self._lost(mailing, self.clock())
                    continue
                mailings.release(self.db, claim.mailing_id)
                if claim.due.mailing_id is None:
                    enrollments.put_back(self.db, claim.due.enrollment)
        rest.clear()

    # --- telling -------------------------------------------------------------------------------

    def _tell(self, due: Due, status: MailingStatus, reason: str, mailing_id: int | None) -> None:
        self.tally.add(status)
        outcome = Outcome(due.subscriber.id, due.enrollment.sequence, due.step.name, status, reason, mailing_id)
        self._books.outcomes.append(outcome)

    def _told(self) -> Iterator[Outcome]:
        """Yield what has been written down since the last time."""
        outcomes, self._books.outcomes = self._books.outcomes, []
        yield from outcomes
