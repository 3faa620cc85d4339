"""One run: claim a batch, hand it over on several lines at once, record what was answered.

A batch of claims is committed before the first byte goes out. A journal beside the database notes when each
message starts and what was answered, so that whatever ends a run, the next one knows: what certainly never left
goes again, what was taken is sent, and what may have arrived is marked ``uncertain`` and treated by policy, never
guessed at (P3, P4).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from funnel import enroll, feedback, gifts, policy, signup
from funnel.errors import ContentError, TransportError
from funnel.model import (
    Delivery,
    Event,
    EventKind,
    Kind,
    MailingStatus,
    Outcome,
    Outgoing,
    Reply,
)
from funnel.sender.claim import Claim, Claimer, Mails
from funnel.sender.journal import Journal, Stage
from funnel.store import enrollments, mailings, queue, runs, subscribers
from funnel.store import gifts as gift_rows
from funnel.store.database import seconds
from funnel.store.lock import alone
from funnel.transport import UnsentError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from funnel.compose.letters import Composer, Merge
    from funnel.context import Context
    from funnel.model import Column, Crowd, Due, Step
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing
    from funnel.store.queue import Waiting
    from funnel.transport import Transport

#: So many claims are committed together, more of them where the server is quick; a power cut leaves them in doubt.
SMALLEST, LARGEST = 100, 4_000
#: So many mails are written before the first of them goes, so that they can go in one rush: a server that has gone to
#: sleep takes long to wake up.
AHEAD = 8
#: Answers are written down together, as many as came within a second.
SOON = timedelta(seconds=1)
#: How long nothing is sent after a server refused us as a sender (BNC-3).
BREAKER = timedelta(hours=1)


class Stopping(Protocol):
    """Says when it is enough."""

    def is_set(self) -> bool:
        """Return whether it is."""


class FieldsOf(Protocol):
    """Gives the fields that fill a mail for those who get it."""

    def __call__(
        self, crowd: Crowd, sequence: str, step: Step, *, now: datetime, wanted: frozenset[str]
    ) -> tuple[Mapping[str, object], Mapping[str, Column]]:
        """Return every field a mail may name, and apart from them everybody's own, those wanted at least."""


class Sender(Claimer):
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
        self.halted = ""  #: why the run stopped early, if it did
        self.stop: Stopping = threading.Event()  #: set from outside: end after the mails on the wire
        self._suspects = 0
        self._unwritten = 0
        self._refusal = ""  #: what the server said when it refused us as a sender
        self._ended: list[Claim] = []  #: not yet written down
        self._batch = SMALLEST

    def send_due(self, limit: int = 0) -> Iterator[Outcome]:
        """Yield what became of each due step, as it is written down; ``limit`` 0 means all.

        Raises RunActiveError when another run is at work, SealError or ElsewhereError when this database is not the
        one that sends, TransportError when no mail can go at all; then nobody's attempt is used up.
        """
        with alone(self.db.path), self.guard, Journal(self._beside(".journal"), LARGEST) as journal:
            self.guard.check(self.clock())
            self.db.keep_little()
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

    def _begin(self, journal: Journal) -> None:
        now = self.clock()
        with self.db.transaction():
            self.run_id = runs.start(self.db, host=socket.gethostname(), pid=os.getpid(), now=now)
            runs.tick(self.db, now)
            self._recover(journal, now)
            subscribers.end_pauses(self.db, now)
            gift_rows.expire(self.db, now)
            gifts.serve(self.db, self.ctx, now)
            enroll.enter_staff(self.db, self.ctx, now)
        journal.begin(self.run_id, [])
        signup.purge(self.db, self.ctx, now)

    def _finish(self) -> None:
        counts = {str(status): n for status, n in self.tally.items()}
        with self.db.transaction():
            runs.finish(self.db, self.run_id, now=self.clock(), counts=counts, note=self.halted)
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
            began = self.clock()
            dealt_with = self.claim_batch(min(self._batch, left) if limit else self._batch, began)
            yield from self._told()
            if self.claims:
                yield from self._send_batch(journal)
            self._adapt(self.clock() - began)
            left -= dealt_with
            if not dealt_with or (limit and left <= 0):
                return

    def _adapt(self, took: timedelta) -> None:
        """Let the next batch take about a second or two, whatever the server's pace: it is what a power cut leaves."""
        if took < SOON:
            self._batch = min(self._batch * 2, LARGEST)
        elif took > 4 * SOON:
            self._batch = max(self._batch // 2, SMALLEST)

    # --- what a dead run left ------------------------------------------------------------------

    def _recover(self, journal: Journal, now: datetime) -> None:
        """Settle what dead runs left in ``sending``; the lock is ours, so those runs are over (F-32)."""
        for mailing in mailings.sending_of_dead_runs(self.db, self.run_id):
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
        self._after_doubt(mailing, mailing.doubts, now)
        self.tally[MailingStatus.UNCERTAIN] += 1

    def _taken(self, mailing: Mailing, now: datetime) -> None:
        reason = "the server took it; its words were lost with the run"
        mailings.finish(self.db, mailing.id, MailingStatus.SENT, now=now, reason=reason)
        due = self.again(mailing)
        if due:
            self._sent(due)
        self.tally[MailingStatus.SENT] += 1

    def _after_doubt(self, mailing: Mailing, doubts: int, now: datetime) -> None:
        """Let a mail go again that was in doubt ``doubts`` times before, or leave it for a person to decide."""
        config = self.ctx.config
        again = policy.again_after_doubt(
            Kind(mailing.kind), config.sending.on_uncertain, config.remembers,
            doubts=doubts, attempts=mailing.attempts, first=mailing.first_at, now=now,
        )  # fmt: skip
        if again is not None:
            mailings.defer_doubtful(self.db, mailing.id, now=again)

    # --- handing over --------------------------------------------------------------------------

    def _send_batch(self, journal: Journal) -> Iterator[Outcome]:
        """Hand over the claimed batch and yield what became of it, in groups, each after it was written down."""
        claims = list(self.claims.values())
        journal.begin(self.run_id, [claim.mailing_id for claim in claims])
        try:
            self.guard.note_batch(self.run_id, _named(self.mails.values()), self.clock())
            self.transport.open()
            # However this ends, the transport has let go of every mail before one is given back.
            with contextlib.closing(self._answers(claims, journal)) as answers:
                for mail, reply in answers:
                    self._answered(self.claims[mail.mailing_id], reply, journal)
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
        return self.transport.deliver_all(self._ready(claims, journal), journal.started)

    def _ready(self, claims: list[Claim], journal: Journal) -> Iterator[Outgoing]:
        """Yield each claimed mail right before it may go; what cannot or must not go any more is settled here."""
        sender = self.composer.sender.from_address
        for start in range(0, len(claims), AHEAD):
            for claim, mail in self._written(claims[start : start + AHEAD], sender, journal):
                if self.halted or self.stop.is_set():
                    return
                stopped = self._stopped_meanwhile(claim)
                if stopped:
                    self._close(claim, policy.Settled(MailingStatus.SKIPPED, stopped), None, self.clock(), journal)
                    continue
                yield mail

    def _written(self, claims: list[Claim], sender: str, journal: Journal) -> list[tuple[Claim, Outgoing]]:
        """Return claimed mails in their envelopes; one that cannot be written is settled."""
        written: list[tuple[Claim, Outgoing]] = []
        for claim in claims:
            if self.halted:
                break
            try:
                message, canonical = self._message(claim)
            except ContentError as error:
                self._not_written(claim, str(error), journal)
            else:
                merge = claim.mails.merge
                to = merge.to[claim.place] if merge else _envelope_address(claim.way)
                written.append((claim, Outgoing(claim.mailing_id, sender, to, message, canonical)))
        return written

    def _not_written(self, claim: Claim, why: str, journal: Journal) -> None:
        """Put off a mail that could not be written, and stop the run when that happens too often (F-47)."""
        now = self.clock()
        settled = policy.unwritten(why, attempts=claim.attempts + 1, first=claim.mails.first, now=now)
        self._close(claim, settled, None, now, journal)
        self._unwritten += 1
        if policy.too_many_unwritten(self._unwritten, self.tally.total() + len(self._ended)):
            self.halted = f"{self._unwritten} mails could not be written: {why} Mend it; “funnel check” shows where."

    def _message(self, claim: Claim) -> tuple[bytes, bool]:
        """Return a message, and whether it is canonical; a second try sends the bytes of the first (MSG-6, F-48)."""
        kept = mailings.kept_bytes(self.db, claim.mailing_id) if claim.again else None
        if kept:
            return kept, False
        return self.composer.one_of(claim.mails.merge or self._merged(claim.mails), claim.place), True

    def _merged(self, mails: Mails) -> Merge:
        """Return one mail with all that goes into it for those who get it; raises ContentError."""
        claims, sequence, step, date = mails.claims, mails.sequence, mails.step, mails.first
        wanted = self.composer.wanted(sequence, step.name)
        fields, own = self.fields_of(mails.crowd(), sequence, step, now=date, wanted=wanted)
        to, numbers = [_envelope_address(claim.way) for claim in claims], [claim.mailing_id for claim in claims]
        mails.merge = self.composer.merge(sequence, step.name, fields, own, to=to, mailing_ids=numbers, date=date)
        claims.clear()  # they name each other, which would keep a batch in memory until it is looked for
        return mails.merge

    def _stopped_meanwhile(self, claim: Claim) -> str:
        """Return the word that stopped this person since the claim, or nothing: the last look before the wire (P5).

        Nobody is looked up while nobody else has written to the database.
        """
        if self.db.still(self.seen):
            return ""
        person = subscribers.by_id(self.db, claim.way.person)
        if person is None or (person.status.stopped and person.status != claim.way.status):
            return str(person.status) if person else "erased"
        known = claim.again is not None and claim.again.suppressed
        return "suppressed" if not known and self.suppressed(claim.way.key) else ""

    def _answered(self, claim: Claim, reply: Reply, journal: Journal) -> None:
        """Take in what the server said of one mail."""
        now = self.clock()
        if reply.delivery is Delivery.ACCEPTED:
            self._close(claim, policy.TAKEN, reply, now, journal)
            return
        settled = policy.settle(
            reply.delivery, reply.code, reply.text, reply.stage,
            attempts=claim.attempts + 1, first=claim.mails.first, now=now,
        )  # fmt: skip
        self._suspects += settled.suspect
        if settled.halt or (settled.suspect and self._suspects >= policy.SUSPECTS):
            self._refusal = why = str(reply) or settled.reason
            self.halted = f"The mail server refuses us as a sender: {why}. Nobody was suppressed; see docs/operator.md."
        self._close(claim, settled, reply, now, journal)

    def _close(
        self, claim: Claim, settled: policy.Settled, reply: Reply | None, now: datetime, journal: Journal
    ) -> None:
        """Note how a claim ended, to be written down with the next group."""
        claim.ended, claim.settled, claim.reply = now, settled, str(reply or "")[: mailings.LONGEST_REPLY]
        stage = Stage.ACCEPTED if settled.status is MailingStatus.SENT else Stage.REFUSED
        if not (reply and reply.delivery is Delivery.UNKNOWN):
            journal.note(claim.mailing_id, stage)
        del self.claims[claim.mailing_id]
        self._ended.append(claim)

    # --- writing down --------------------------------------------------------------------------

    def _enough(self) -> bool:
        """True when the answers at hand should be written down now."""
        return bool(self.halted) or self._ended[-1].ended - self._ended[0].ended >= SOON

    def _record(self) -> None:
        """Write down how a group of mails ended, with all that follows from it, in one transaction."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        plain = [claim for claim in ended if claim.plainly_sent]
        odd = [claim for claim in ended if not claim.plainly_sent] if len(plain) < len(ended) else []
        with self.db.transaction():
            queue.sent(self.db, [(seconds(c.ended), c.reply, c.mails.version, c.mailing_id) for c in plain])
            for claim in odd:
                self._write_down(claim)
            runs.beat(self.db, self.run_id, self.clock())
            if self._refusal:
                self._break()
        self.guard.note_done([(claim.mailing_id, claim.settled.status) for claim in ended])
        self.tell([claim.outcome for claim in ended])

    def _write_down(self, claim: Claim) -> None:
        settled, now = claim.settled, claim.ended
        mailings.finish(
            self.db, claim.mailing_id, settled.status, now=now, reason=settled.reason, retry_at=settled.retry_at,
            reply=claim.reply, version=claim.mails.version,
        )  # fmt: skip
        if claim.reply and settled.status in {MailingStatus.DEFERRED, MailingStatus.UNCERTAIN}:
            self._keep(claim)
        else:
            mailings.drop_bytes(self.db, claim.mailing_id)
        if settled.status is MailingStatus.SENT:
            self._sent(claim.due)
        elif settled.status is MailingStatus.UNCERTAIN:
            mailing = mailings.by_id(self.db, claim.mailing_id)
            if mailing:
                self._after_doubt(mailing, mailing.doubts - 1, now)
        if settled.suppress:
            person, mail = claim.way.person, claim.mailing_id
            event = Event("smtp", f"bounced:{mail}", EventKind.BOUNCED, now, person, mail)
            feedback.apply(self.db, self.ctx, event, now)
            self.seen = -1  # our own writing is not seen in the version: from now on everybody is looked up

    def _keep(self, claim: Claim) -> None:
        """Keep the bytes of a mail that may have to go again, unless an earlier try's are kept.

        They are written once more, the same: to hold those of all that a server puts off would fill the memory.
        """
        merge = claim.mails.merge
        if merge and not (claim.again and mailings.kept_bytes(self.db, claim.mailing_id)):
            mailings.keep_bytes(self.db, claim.mailing_id, self.composer.one_of(merge, claim.place))

    def _sent(self, due: Due) -> None:
        if due.step.kind is Kind.GUIDE:
            gift = gifts.of_person(self.db, self.ctx, due.subscriber.id)
            if gift:
                gift_rows.sent(self.db, gift.id)

    def _break(self) -> None:
        """Rest for a while, for everybody: the server refuses us, not them (BNC-3)."""
        until = int((self.clock() + BREAKER).timestamp())
        runs.put(self.db, "breaker", f"{until} {self._refusal}")

    def _give_back(self, journal: Journal) -> None:
        """Undo every claim of the batch that led to nothing; one that was started and not answered is uncertain."""
        rest = self.claims
        stages = journal.stages(self.run_id) if rest else None
        with self.db.transaction() if rest else contextlib.nullcontext():
            for claim in rest.values():
                if stages is None or stages.get(claim.mailing_id) is Stage.STARTED:
                    mailing = mailings.by_id(self.db, claim.mailing_id)
                    if mailing:
                        self._lost(mailing, self.clock())
                    continue
                if claim.again is None:
                    mailings.release(self.db, claim.mailing_id)
                    enrollments.put_back(self.db, claim.due.enrollment)
                else:
                    mailings.give_back(self.db, claim.mailing_id, now=self.clock(), attempted=False)
        rest.clear()

    # --- telling -------------------------------------------------------------------------------

    def _told(self) -> Iterator[Outcome]:
        """Yield what has been written down since the last time."""
        outcomes, self.outcomes = self.outcomes, []
        yield from outcomes


def _named(batch: Iterable[Mails]) -> dict[str, tuple[list[int], list[int]]]:
    """Return the mailings and ways of a batch by the names of the mails, as the send journal has them."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for mails in batch:
        if mails.claims:
            mailings, ways = found.setdefault(f"{mails.sequence}/{mails.step.name}", ([], []))
            mailings += [claim.mailing_id for claim in mails.claims]
            ways += [claim.way.id for claim in mails.claims]
    return found


def _envelope_address(way: Waiting) -> str:
    """Return the address as it goes into the envelope: as typed, with the domain as it is on the wire."""
    typed, key = way.email or "", way.email_key or ""
    return typed if typed == key else typed.rpartition("@")[0] + "@" + key.rpartition("@")[2]
