"""What happened in the demo: each visitor's days, the mails as they arrived, and figures that must add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel.model import MailingStatus

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.demo.cast import Visitor
    from funnel.report import Answer, Report


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it arrived at the server."""

    at: datetime
    to: str
    name: str  #: sequence/step
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something a visitor did, or that happened to them."""

    at: datetime
    what: str
    kind: str = "act"  #: act, machine, mail, trouble


@dataclass(slots=True)
class Life:
    """One visitor's part of the story."""

    visitor: Visitor
    moments: list[Moment] = field(default_factory=list)
    answer: Answer | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def status(self) -> str:
        """Return where the visitor stands at the end."""
        return str(self.answer.person.status) if self.answer else "forgotten, unconfirmed"


@dataclass(slots=True)
class Story:
    """All of it."""

    lives: list[Life]
    mails: list[Mail]
    report: Report
    clinic: str
    days: int
    seconds: float
    requests: int
    guide: bytes  #: the PDF
    guide_pages: int

    @property
    def sent(self) -> int:
        """Return how many mails our books say were accepted."""
        return sum(step.by_status.get("sent", 0) for step in self.report.steps)

    @property
    def uncertain(self) -> int:
        """Return how many mails our books are honestly unsure about."""
        return self.report.uncertain

    @property
    def adds_up(self) -> bool:
        """True when the books balance, and agree with what the mail server says it took."""
        doubts = len(self.mails) - self.sent
        return self.report.adds_up and 0 <= doubts <= self.uncertain

    def summary(self) -> dict[str, object]:
        """Return the sums for a script."""
        return {
            "visitors": len(self.lives),
            "days": self.days,
            "requests": self.requests,
            "accepted_by_server": len(self.mails),
            "sent": self.sent,
            "uncertain": self.uncertain,
            "people": self.report.people,
            "gifts": self.report.gifts,
            "adds_up": self.adds_up,
            "seconds": round(self.seconds, 1),
        }

    def table(self) -> str:
        """Return who got what, as a table for a terminal."""
        words = [str(status) for status in MailingStatus if any(life.counts[str(status)] for life in self.lives)]
        head = ["visitor", "who", "ended as", *words, "gift"]
        rows = [
            [
                life.visitor.name, life.visitor.about, life.status,
                *(str(life.counts[word] or "") for word in words), _gift(life),
            ]
            for life in self.lives
        ]  # fmt: skip
        totals = [
            "",
            f"{len(self.lives)} visitors",
            "",
            *(str(sum(life.counts[w] for life in self.lives)) for w in words),
            "",
        ]
        return _aligned([head, *rows, totals]) + "\n" + self.verdict()

    def verdict(self) -> str:
        """Return whether the sums match, in words."""
        desk = sum(mail.name == "staff/digest" for mail in self.mails)
        server = (
            f"The mail server took {len(self.mails)} mails, {desk} of them to the desk; our books say {self.sent} sent"
        )
        doubt = f" and {self.uncertain} of unknown fate" if self.uncertain else ""
        books = "every step of every person is accounted for" if self.report.adds_up else "THE SUMS DO NOT MATCH"
        return (
            f"\n{server}{doubt}; {books}.\n{self.days} days, {self.requests} page requests, "
            f"in {self.seconds:.0f} seconds."
        )


def _gift(life: Life) -> str:
    return life.answer.gift.rpartition("(")[2].rstrip(")") if life.answer and life.answer.gift else ""


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
