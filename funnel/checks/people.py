"""Every mail that is still to come, written for everybody it could go to; what is alike is told once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.checks.findings import error, told
from funnel.checks.needs import Shown, holes, shown
from funnel.errors import FunnelError
from funnel.model import Condition, Due, Kind, Status
from funnel.store import recipients

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.compose.source import Mail
    from funnel.model import Enrollment, Finding, Gift, Step, Subscriber
    from funnel.store.database import Database

#: So many people are named as examples; of more, their number.
NAMED = 3
FIX = "mend the mail or the person"
#: Addresses were checked when they came in; nothing is sent here.
TO = "person@example.com"


@dataclass(slots=True)
class Trouble:
    """The same fault of one mail for a number of people."""

    where: str
    says: str
    people: int = 0
    examples: list[str] = field(default_factory=list)

    def finding(self) -> Finding:
        """Return it as one finding that names how many people, and some of them."""
        named = ", ".join(self.examples)
        who = named if self.people <= NAMED else f"{self.people:,} people, among them {named}"
        return error(f"{self.where} for {who}", self.says, FIX)


def check_people(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield what cannot be written for some people: one finding per mail and fault."""
    with funnel.session(readonly=True) as db:
        round_ = _Round(funnel, db, now)
        for recipient in recipients.each(db):
            round_.take(recipient)
    yield from (trouble.finding() for trouble in round_.troubles.values())


def same(says: str) -> str:
    """Return a fault without its figures, so that 91,234 bytes and 91,240 bytes are one."""
    return re.sub(r"\d[\d,]*", "#", says)


def missing(funnel: Funnel, wanted: frozenset[Shown], fields: Mapping[str, object]) -> list[str]:
    """Return the fields a mail would show empty; a page number is not missed before the guide is built."""
    return sorted(name for name in holes(wanted, fields) if name != "guide_page" or funnel.guide_pages)


def hole(name: str) -> str:
    """Return how an empty field is told."""
    return f"{{{{ {name} }}}} is empty, so the mail has a hole"


class _Round:
    """One pass over everybody."""

    def __init__(self, funnel: Funnel, db: Database, now: datetime) -> None:
        self.funnel, self.db, self.now = funnel, db, now
        self.troubles: dict[tuple[str, str, str], Trouble] = {}
        self._shown: dict[tuple[str, str], frozenset[Shown]] = {}

    def take(self, recipient: recipients.Recipient) -> None:
        """Write every mail that is still to come for one person."""
        person = recipient.person
        gift = gifts.of_person(self.db, self.funnel.context, person.id)
        for way in recipient.ways:
            for step in self._ahead(way, person, gift):
                self._write(Due(way, person, step, suppressed=False))

    def _ahead(self, way: Enrollment, person: Subscriber, gift: Gift | None) -> list[Step]:
        """Return the steps of a way that are mails and could still go to the person."""
        sequence = self.funnel.library.sequences.get(way.sequence)
        if sequence is None:
            return []
        names = [step.name for step in sequence.steps]
        start = names.index(way.next_step) if way.next_step in names else 0
        return [step for step in sequence.steps[start:] if self._could_go(step, person, gift)]

    def _could_go(self, step: Step, person: Subscriber, gift: Gift | None) -> bool:
        if step.kind is Kind.SUNSET or (step.kind is Kind.CONFIRM) != (person.status is Status.PENDING):
            return False
        return step.when is not Condition.GIFT_UNUSED or gifts.usable(gift, self.now)

    def _write(self, due: Due) -> None:
        """Write one mail, and note what is wrong with it."""
        composer = self.funnel.composer
        mail = self.funnel.library.mail(due.enrollment.sequence, due.step.name)
        try:
            wanted = composer.wanted(mail.sequence, mail.name)
            fields, own = self.funnel.fields.apart(self.db, due, self.now, wanted)
            composer.render(
                mail.sequence, mail.name, fields, own=own, to=TO, mailing_id=due.subscriber.id, date=self.now
            )
        except FunnelError as fault:
            found = told(mail.file, fault, "")
            self._add(due, found.where, found.says)
        else:
            for name in missing(self.funnel, self._shown_by(mail), {**fields, **own}):
                self._add(due, mail.file, hole(name))

    def _shown_by(self, mail: Mail) -> frozenset[Shown]:
        place = (mail.sequence, mail.name)
        if place not in self._shown:
            self._shown[place] = shown(self.funnel.composer.compiled(mail))
        return self._shown[place]

    def _add(self, due: Due, where: str, says: str) -> None:
        trouble = self.troubles.setdefault((due.step.name, where, same(says)), Trouble(where, says))
        trouble.people += 1
        if len(trouble.examples) < NAMED:
            trouble.examples.append(self.funnel.shown_address(self.db, due.subscriber.id))
