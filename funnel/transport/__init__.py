"""Hand messages to the world and say truthfully what became of each. No policy, no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from funnel.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from funnel.config import Config, Smtp
    from funnel.model import Outgoing, Reply
    from funnel.transport.around import Keeper
    from funnel.transport.smtp import SmtpTransport


class UnsentError(TransportError):
    """Nothing can go any more; ``unsent`` has the mails that were taken over and of which nothing was sent."""

    def __init__(self, message: str = "", unsent: Sequence[Outgoing] = ()) -> None:
        super().__init__(message)
        self.unsent = list(unsent)


class Transport(Protocol):
    """What every way out can do."""

    def open(self) -> None:
        """Get ready; raises TransportError when no mail could go at all. Opening twice is fine."""

    def deliver(self, mail: Outgoing) -> Reply:
        """Hand over one message and return what was answered; raises TransportError before any of it was sent."""

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Hand over many messages and yield each with its answer, once, in the order of the answers.

        The next mail is asked for only when it can go at once: the caller's last look at the person
        belongs there. ``starting`` is called with the mailing's number right before the first byte of
        the message itself may leave: from then on silence means that nobody knows.

        To stop, let ``mails`` end: what is on its way is finished and yielded. When instead the caller
        stops listening, or ``mails`` or ``starting`` raises, what is on the wire is finished all the
        same, but nobody hears the answers: a mailing that was started and not yielded is uncertain, one
        that was not started has not gone.

        Raises UnsentError when nothing can go any more, after all that was on its way has been yielded;
        what its ``unsent`` lists has certainly not gone, and no attempt was made. Only one call at a time.
        """

    def close(self) -> None:
        """Hang up. Never raises: whatever was accepted stays accepted."""


def one_by_one(
    deliver: Callable[[Outgoing], Reply], mails: Iterator[Outgoing], starting: Callable[[int], None]
) -> Generator[tuple[Outgoing, Reply], None, None]:
    """Yield each mail with its answer, for a transport that has no wire to keep busy."""
    for mail in mails:
        starting(mail.mailing_id)
        try:
            reply = deliver(mail)
        except TransportError as error:
            raise UnsentError(str(error), [mail]) from None
        yield mail, reply


def make_transport(config: Config, password: str | None = None, keeper: Keeper | None = None) -> Transport:
    """Return the transport the settings ask for; with a ``keeper`` the rate holds from run to run."""
    if config.transport.kind == "outbox":
        from funnel.transport.outbox import OutboxTransport

        return OutboxTransport(config.path(config.transport.outbox.path))
    if config.transport.kind == "memory":
        from funnel.transport.memory import MemoryTransport

        return MemoryTransport()
    from funnel.transport.smtp import SmtpTransport

    smtp = config.transport.smtp
    if smtp.user and not password:
        raise ConfigError(
            "transport.smtp.user is set but there is no password; put it into FUNNEL_SMTP_PASSWORD "
            "or into a file named by FUNNEL_SMTP_PASSWORD_FILE."
        )
    return _around(SmtpTransport(smtp, password or "", hostname=config.domain), smtp, keeper)


def _around(made: SmtpTransport, smtp: Smtp, keeper: Keeper | None) -> Transport:
    """Return a connection with all around it that the settings ask for."""
    from funnel.transport.around import Keyed, Paced

    paced = Paced(made, keeper) if keeper and smtp.rate_per_second else made
    return Keyed(paced, smtp.idempotency_header) if smtp.idempotency_header else paced
