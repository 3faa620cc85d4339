"""A transport that never fails unless told to, and remembers everything. For tests and simulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel.model import Delivery, Reply
from funnel.transport import one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from funnel.model import Outgoing


@dataclass(slots=True)
class MemoryTransport:
    """Keeps every accepted message; ``answers`` scripts what it says to an address."""

    accepted: list[Outgoing] = field(default_factory=list)
    answers: dict[str, list[Reply]] = field(default_factory=dict)

    def open(self) -> None:
        """Do nothing: memory is there."""

    def answer(self, recipient: str, *replies: Reply) -> None:
        """Answer the next messages to ``recipient`` with these, one each."""
        self.answers.setdefault(recipient, []).extend(replies)

    def deliver(self, mail: Outgoing) -> Reply:
        """Return the scripted answer, or accept."""
        scripted = self.answers.get(mail.recipient)
        reply = scripted.pop(0) if scripted else Reply(Delivery.ACCEPTED, 250, "kept in memory", "data")
        if reply.delivery is Delivery.ACCEPTED:
            self.accepted.append(mail)
        return reply

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Yield each mail with its answer, one after another."""
        return one_by_one(self.deliver, mails, starting)

    def close(self) -> None:
        """Do nothing."""
