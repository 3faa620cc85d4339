"""Hand one message to the world and say truthfully what became of it. No policy, no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from funnel.errors import ConfigError

if TYPE_CHECKING:
    from funnel.config import Config
    from funnel.model import Outgoing, Reply


class Transport(Protocol):
    """What every way out can do."""

    def open(self) -> None:
        """Get ready; raises TransportError when no mail could go at all. Opening twice is fine."""

    def deliver(self, mail: Outgoing) -> Reply:
        """Hand over one message and return what was answered; raises TransportError before any of it was sent."""

    def close(self) -> None:
        """Hang up. Never raises: whatever was accepted stays accepted."""


def make_transport(config: Config, password: str | None = None) -> Transport:
    """Return the transport the settings ask for."""
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
    return SmtpTransport(smtp, password or "", hostname=config.domain)
