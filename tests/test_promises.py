"""P1 to P7 in any order of events: people come, confirm, leave, come back, are forgotten, while mail goes out."""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from funnel import feedback
from funnel.errors import FunnelError
from funnel.model import Delivery, Event, EventKind, Outgoing, Receipt, Reply, Status
from funnel.preview import parts_of
from funnel.report import make_report
from funnel.store import enrollments, mailings, subscribers
from funnel.transport import one_by_one
from tests.kit import Clock, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from funnel.app import Funnel
    from funnel.model import Subscriber

PEOPLE = ("ann@mail.example", "ben@mail.example", "cy+tag@mail.example")
STOPPED = {Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED, Status.ERASED}
ANSWERS = (
    Reply(Delivery.TRANSIENT, 451, "4.7.1 greylisted", "rcpt"),
    Reply(Delivery.PERMANENT, 550, "5.1.1 user unknown", "rcpt"),
    Reply(Delivery.PERMANENT, 552, "5.2.2 mailbox full", "dot"),
    Reply(Delivery.UNKNOWN, 0, "connection lost", "dot"),
)


class World:
    """A mail server that keeps a ledger, and may answer badly once."""

    def __init__(self) -> None:
        self.taken: list[tuple[datetime, Outgoing]] = []
        self.next_answers: list[tuple[Reply, bool]] = []
        self.clock: Clock | None = None

    def open(self) -> None: ...

    def close(self) -> None: ...

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        return one_by_one(self.deliver, mails, starting)

    def deliver(self, mail: Outgoing) -> Reply:
        reply, taken = (
            self.next_answers.pop(0) if self.next_answers else (Reply(Delivery.ACCEPTED, 250, "ok", "dot"), True)
        )
        if taken:
            assert self.clock is not None
            self.taken.append((self.clock.now, mail))
        return reply


class Promises(RuleBasedStateMachine):
    """Does anything in any order; the promises are checked after every step."""

    @initialize()
    def open_the_clinic(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="promises-"))
        self.clock = Clock(datetime(2026, 6, 1, 17, 0, tzinfo=UTC))
        self.world = World()
        self.world.clock = self.clock
        self.funnel: Funnel = make_funnel(self.folder, now=self.clock)
        self.funnel._transport = self.world
        self.links: dict[str, list[str]] = defaultdict(list)
        self.stopped_since: dict[str, int] = {}  #: mails taken when the stop was acknowledged
        self.seen = 0

    def teardown(self) -> None:
        if hasattr(self, "funnel"):
            with self.funnel.session() as db:
                assert db.value("PRAGMA integrity_check") == "ok"
                assert db.all("PRAGMA foreign_key_check") == []
            shutil.rmtree(self.folder)

    # --- what may happen -----------------------------------------------------------------------

    @rule(email=st.sampled_from(PEOPLE))
    def ask(self, email: str) -> None:
        sign_up(self.funnel, email)

    @rule(email=st.sampled_from(PEOPLE), which=st.integers(0, 3))
    def press_a_confirmation_link(self, email: str, which: int) -> None:
        links = self.links[email]
        if not links:
            return
        token = links[-1 - which % len(links)]
        try:
            confirmed = self.funnel.confirm(token, Receipt(act="confirmed", at=self.clock.now))
        except FunnelError:
            return
        if not confirmed.again:
            self.stopped_since.pop(email, None)

    @rule(email=st.sampled_from(PEOPLE))
    def unsubscribe(self, email: str) -> None:
        person = self._person(email)
        if person:
            self.funnel.unsubscribe(person.id, Receipt(act="withdrawn", at=self.clock.now))
            self.stopped_since.setdefault(email, len(self.world.taken))

    @rule(
        email=st.sampled_from(PEOPLE),
        kind=st.sampled_from([EventKind.COMPLAINED, EventKind.BOUNCED]),
        n=st.integers(0, 5),
    )
    def hear_from_a_provider(self, email: str, kind: EventKind, n: int) -> None:
        person = self._person(email)
        if person:
            event = Event("provider", f"{kind}{n}", kind, self.clock.now, person.id)
            with self.funnel.session() as db:
                if feedback.apply(db, self.funnel.context, event, self.clock.now):
                    self.stopped_since.setdefault(email, len(self.world.taken))
                assert not feedback.apply(db, self.funnel.context, event, self.clock.now)

    @rule(email=st.sampled_from(PEOPLE))
    def erase(self, email: str) -> None:
        if self._person(email):
            self.funnel.erase(email, "staff")
            self.stopped_since[email] = len(self.world.taken)

    @rule(email=st.sampled_from(PEOPLE), days=st.sampled_from([0, 14]))
    def pause(self, email: str, days: int) -> None:
        person = self._person(email)
        if person:
            self.funnel.pause(person, days, Receipt(act="paused", at=self.clock.now))

    @rule(answer=st.sampled_from(ANSWERS), taken=st.booleans())
    def the_next_answer_is_bad(self, answer: Reply, taken: bool) -> None:
        self.world.next_answers.append((answer, taken and answer.delivery is Delivery.UNKNOWN))

    @rule(hours=st.sampled_from([1, 5, 24, 24 * 8, 24 * 40]))
    def time_passes(self, hours: int) -> None:
        self.clock.tick(hours=hours)

    @rule()
    def cron(self) -> None:
        with self.funnel.session() as db:
            list(self.funnel.sender(db).send_due())
        for _, mail in self.world.taken[self.seen :]:
            found = re.search(r"/c/([\w-]+)", parts_of(mail.message)[1])
            if found:
                self.links[mail.recipient].append(found[1])
        self.seen = len(self.world.taken)

    @precondition(lambda self: hasattr(self, "funnel"))
    @rule(email=st.sampled_from(PEOPLE))
    def open_the_guide(self, email: str) -> None:
        person = self._person(email)
        if person:
            self.funnel.downloaded(person)

    def _person(self, email: str) -> Subscriber | None:
        with self.funnel.session() as db:
            return subscribers.by_key(db, email)

    # --- what must hold ------------------------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        """P2, P4: everybody is in exactly one state, and the ledger of the world agrees with ours."""
        if not hasattr(self, "funnel"):
            return
        copies = Counter(mail.mailing_id for _, mail in self.world.taken)
        with self.funnel.session() as db:
            assert make_report(db, self.funnel.context, self.clock.now).adds_up
            for row in db.all("SELECT id, status, doubts FROM mailing"):
                taken, doubts = copies.pop(row["id"], 0), row["doubts"]
                assert taken <= 1 + min(doubts, 1), "P3: more copies than recorded doubts allow"
                if row["status"] == "sent":
                    assert taken >= 1, "P4: called sent, but nobody took it"
                if taken:
                    assert row["status"] == "sent" or doubts, "the world took a mail our books do not know"
        assert not copies, "mail without a row in the ledger"

    @invariant()
    def stop_means_stop(self) -> None:
        """P5: after an acknowledged stop nothing goes to that person but a confirmation they asked for."""
        for email, since in getattr(self, "stopped_since", {}).items():
            for _, mail in self.world.taken[since:]:
                if mail.recipient == email:
                    assert "/c/" in parts_of(mail.message)[1]

    @invariant()
    def codes_are_money(self) -> None:
        """One code per person for ever."""
        if hasattr(self, "funnel"):
            with self.funnel.session() as db:
                assert db.value("SELECT count(*) - count(DISTINCT code) FROM gift") == 0
                assert db.value("SELECT count(*) FROM gift") <= len(PEOPLE)
                held = [
                    row["subscriber_id"] for row in db.all("SELECT subscriber_id FROM gift") if row["subscriber_id"]
                ]
                assert len(held) == len(set(held))

    @invariant()
    def the_series_keeps_its_distance(self) -> None:
        """No two mails of the series within the minimum gap, however time jumps."""
        if not hasattr(self, "funnel"):
            return
        with self.funnel.session() as db:
            for row in db.all("SELECT id FROM subscriber"):
                series = [e for e in enrollments.of(db, row["id"]) if e.sequence == "series"]
                mails = [m for e in series for m in mailings.of_enrollment(db, e.id)]
                claimed = sorted(m.claimed_at for m in mails if (m.kind, m.status, m.attempts) == ("drip", "sent", 1))
                assert all(b - a >= timedelta(hours=20) for a, b in itertools.pairwise(claimed))


Promises.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPromises = Promises.TestCase
