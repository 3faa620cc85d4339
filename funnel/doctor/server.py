"""The mail server: reachable, private, willing to take our password and our mails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.doctor.finding import Finding, error, ok, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.config import Smtp
    from funnel.transport.probe import Probe

#: Our largest message, with room for what a relay adds.
LARGEST = 160_000
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def check_server(smtp: Smtp, probe: Probe) -> Iterator[Finding]:
    """Yield how the mail server stands."""
    if probe.fault:
        fix = (
            "Look at [transport.smtp] and the password; a firewall or your host may block the port: ask for 587 or 465."
        )
        yield error("mail server", probe.fault, fix)
        return
    how = {"tls": "encrypted", "starttls": "encrypted"}.get(smtp.security, "NOT encrypted")
    user = f"takes the password of {smtp.user}" if smtp.user else "asks for no password"
    yield ok("mail server", f"{smtp.host}:{smtp.port} answers, is {how}, and {user}. No mail was sent.")
    if smtp.security == "none" and smtp.host not in LOOPBACK:
        fix = 'Set transport.smtp.security to "starttls" or "tls".'
        yield error("mail server", "Mails and password cross the network in the clear.", fix)
    offered = {name.lower(): value for name, value in probe.offers.items()}
    yield from _limits(offered)


def _limits(offered: dict[str, str]) -> Iterator[Finding]:
    size = offered.get("size", "").strip()
    if size.isdigit() and 0 < int(size) < LARGEST:
        yield error("mail server", f"It takes mails of {int(size):,} bytes at most.", "Ask your relay for more.")


def no_server(kind: str) -> Finding:
    """Return that there is no mail server to look at."""
    return unknown("mail server", f"transport.kind is “{kind}”, so no mail leaves this machine.",
                   'Set it to "smtp" when you are ready to send.')  # fmt: skip
