"""Let sending go on after a database was put back or moved, with everything settled that can be known."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from funnel import enroll, gifts
from funnel.keeping.guard import trouble
from funnel.keeping.history import NOT, SENT, history
from funnel.keeping.stops import Stops, take_off_again
from funnel.model import Kind, MailingStatus, Step
from funnel.store import enrollments, ledger, mailings, seal, settling, subscribers
from funnel.store import gifts as gift_rows
from funnel.store.database import moment, seconds
from funnel.store.lock import alone, sending
from funnel.store.seal import Seal

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.model import Enrollment, Subscriber
    from funnel.store.database import Database

WENT = "went out after this copy of the database was made, as the send journal says"
PERHAPS = "may have gone out after this copy of the database was made; the send journal does not say"
UNSETTLED = "was due while nobody knows what was sent; it may have gone out"
#: More steps of one way than this are never held at once.
AT_MOST = 100


@dataclass(slots=True)
class Resumed:
    """What was found and done; nothing was wrong when ``why`` is empty."""

    why: str = ""
    known: datetime | None = None  #: as of when the database is
    first: datetime | None = None  #: of the batches it does not know
    last: datetime | None = None
    batches: int = 0
    whole: bool = True  #: the journal knows all that went out since
    sent: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0  #: mails to people, or of ways, this database does not know
    codes: int = 0  #: of the pool, that were given since
    stops: Stops = field(default_factory=Stops)


class _DryRunError(Exception):
    """Undoes a transaction that was for looking only."""


def resume(db: Database, ctx: Context, *, now: datetime, really: bool, nothing_since: bool = False) -> Resumed:
    """Settle what went out since the database was copied, and lift the guard; without ``really`` only say what that is.

    A mail that the journal knows to be taken is ``sent``; one of which it does not know is ``held``, and so is all
    that was due when the journal does not know the time, unless ``nothing_since`` says that nothing was sent in it.
    Raises StoreBusyError while a run is at work.
    """
    with alone(db.path, sending()):
        why = trouble(db)
        if not why:
            return Resumed()
        try:
            with db.transaction():
                found = _Settling(db, ctx, now).all(why, nothing_since=nothing_since)
                _seal_anew(db, whole=found.whole, now=now, really=really)
        except _DryRunError:
            return found
        if found.stops.erased:
            db.rewrite()
    return found


class _Settling:
    """Settles one database, in the caller's transaction."""

    def __init__(self, db: Database, ctx: Context, now: datetime) -> None:
        self.db = db
        self.ctx = ctx
        self.now = now
        self.past = history(ledger.path_of(db.path), seal.read(db))
        self.found = Resumed()

    def all(self, why: str, *, nothing_since: bool) -> Resumed:
        """Settle everything, and return what that was."""
        batches = self.past.batches
        self.found.why, self.found.known = why, seal.last_known(self.db)
        self.found.whole, self.found.batches = self.past.whole or nothing_since, len(batches)
        if batches:
            self.found.first, self.found.last = moment(batches[0].at), moment(batches[-1].at)
        self.found.codes = gifts.give_again(self.db, self.ctx, self.past.given)
        self._open_ones()
        self._gone_out()
        self.found.stops = take_off_again(self.db, self.ctx, self.past.acts)
        if not self.found.whole:
            self._hold_due()
        return self.found

    # --- what the journal knows ----------------------------------------------------------------

    def _open_ones(self) -> None:
        """Settle the mails that were in the hands of a run when the copy was made."""
        for mailing in mailings.in_status(self.db, MailingStatus.SENDING):
            way = enrollments.by_id(self.db, mailing.enrollment_id)
            fate = self.past.fate(mailing.enrollment_id, f"{way.sequence}/{mailing.step}") if way else None
            if way is None or (fate is None and not self.found.whole):
                continue  # held below, with all that is due
            if fate is None or fate[0] == NOT:
                mailings.give_back(self.db, mailing.id, now=self.now, attempted=fate is not None)
            else:
                self._record(way, mailing.step, moment(fate[1]), sent=fate[0] == SENT)

    def _gone_out(self) -> None:
        """Record every mail of the batches the database does not know, in the order they went."""
        names = ((name, ways) for batch in self.past.batches for name, (_, ways) in batch.mails.items())
        mails = dict.fromkeys((enrollment, name) for name, ways in names for enrollment in ways)
        for enrollment, name in mails:
            fate = self.past.fate(enrollment, name)
            if fate is not None and fate[0] != NOT:
                self._one_gone_out(enrollment, name, moment(fate[1]), sent=fate[0] == SENT)

    def _one_gone_out(self, enrollment: int, name: str, at: datetime, *, sent: bool) -> None:
        sequence, _, step = name.partition("/")
        way = enrollments.by_id(self.db, enrollment)
        # After a copy was put back, its numbers may go to new people; their ways began later than the mail went.
        if way is None or way.sequence != sequence or way.anchor_at > at:
            self.found.elsewhere += 1
        else:
            self._record(way, step, at, sent=sent)

    def _record(self, way: Enrollment, step: str, at: datetime, *, sent: bool) -> None:
        """Record that a mail went out, or that nobody knows, and plan what follows as its run had done."""
        status, reason = (MailingStatus.SENT, WENT) if sent else (MailingStatus.HELD, PERHAPS)
        mailing = mailings.of_step(self.db, way.id, step)
        if mailing is None:
            self._add(way, step, status, at, reason)
        elif not settling.settle(self.db, mailing, status, at=at, reason=reason):
            return
        _count(self.found.sent if sent else self.found.held, way, step)

    def _add(self, way: Enrollment, name: str, status: MailingStatus, at: datetime, reason: str) -> None:
        step = self._step(way, name)
        settling.add(self.db, way, name, step.kind, status, at=at, reason=reason)
        enrollments.mailed(self.db, way.id, at)
        person = subscribers.by_id(self.db, way.subscriber_id)
        if person is not None and step.kind is Kind.GUIDE and status is MailingStatus.SENT:
            self._gift_sent(person)
        if person is not None and way.next_at is not None and way.sequence in self.ctx.sequences:
            enroll.advance(self.db, self.ctx, person, way, planned=way.next_at, now=max(at, way.next_at))

    def _step(self, way: Enrollment, name: str) -> Step:
        sequence = self.ctx.sequences.get(way.sequence)
        return (sequence.step(name) if sequence else None) or Step(name, Kind.DRIP)

    def _gift_sent(self, person: Subscriber) -> None:
        gift = gifts.of_person(self.db, self.ctx, person.id)
        if gift is not None:
            gift_rows.sent(self.db, gift.id)

    # --- what nobody knows ---------------------------------------------------------------------

    def _hold_due(self) -> None:
        """Hold all that was due while nobody knows what was sent; a person decides (``funnel outbox``)."""
        for mailing in settling.retries(self.db, self.now):
            way = enrollments.by_id(self.db, mailing.enrollment_id)
            if way and settling.settle(self.db, mailing, MailingStatus.HELD, at=self.now, reason=UNSETTLED):
                _count(self.found.held, way, mailing.step)
        for way in settling.waiting(self.db, self.now):
            person = subscribers.by_id(self.db, way.subscriber_id)
            if person is not None and not person.status.stopped and way.sequence in self.ctx.sequences:
                self._hold_way(way)

    def _hold_way(self, first: Enrollment) -> None:
        """Hold every step of a way whose time has come, each at the time it would have gone."""
        way: Enrollment | None = first
        for _ in range(AT_MOST):
            if way is None or way.next_at is None or way.next_at > self.now or not way.next_step:
                return
            if self._step(way, way.next_step).kind is Kind.SUNSET or self._had(way):
                return  # no mail of it can have gone out
            self._add(way, way.next_step, MailingStatus.HELD, way.next_at, UNSETTLED)
            _count(self.found.held, way, way.next_step)
            way = enrollments.by_id(self.db, way.id)

    def _had(self, way: Enrollment) -> bool:
        return mailings.of_step(self.db, way.id, way.next_step or "") is not None


def _count(counts: dict[str, int], way: Enrollment, step: str) -> None:
    name = f"{way.sequence}/{step}"
    counts[name] = counts.get(name, 0) + 1


# --- the seal ----------------------------------------------------------------------------------


def _seal_anew(db: Database, *, whole: bool, now: datetime, really: bool) -> None:
    """Make this the original from now on; the journal is told first, so that a crash leaves the guard up.

    Raises _DryRunError instead when it is for looking only.
    """
    if not really:
        raise _DryRunError
    journal = ledger.path_of(db.path)
    stand = ledger.stand(journal)
    sealed = seal.read(db) or Seal(secrets.token_hex(8), "", (), 0)
    base = sealed.batch
    ours = stand is not None and stand.id == sealed.id
    if stand is not None and ours:
        latest = max(sealed.epoch, stand.epoch), max(base, stand.batch), max(sealed.acts, stand.acts)
        sealed = replace(sealed, epoch=latest[0], batch=latest[1], acts=latest[2])
    sealed = replace(sealed, epoch=sealed.epoch + 1)
    mark = ledger.Mark(sealed.id, sealed.epoch, sealed.batch, sealed.acts, base, whole and ours)
    if ours:
        ledger.write(journal, [mark.line()])
    else:
        _aside(db, now)
        seal.begin_journal(db, mark)
    db.path.with_name(db.path.name + ".journal").unlink(missing_ok=True)
    seal.forget_copy(db)
    seal.place(db, sealed)


def _aside(db: Database, now: datetime) -> None:
    """Keep a journal that belongs to another database, or is damaged, under another name."""
    for part in (ledger.path_of(db.path), ledger.older(ledger.path_of(db.path))):
        if part.exists():
            part.replace(part.with_name(f"{part.name}.other-{seconds(now)}"))
