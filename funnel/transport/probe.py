"""Look whether the mail server lets us in, without handing it a mail."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.transport.connect import connect, trusted

if TYPE_CHECKING:
    from funnel.config import Smtp

#: How long a person waits for an answer of the doctor's.
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What a mail server said: its offers in the words of EHLO, or why there is no talking to it."""

    offers: dict[str, str]
    fault: str = ""


def probe(settings: Smtp, password: str, hostname: str) -> Probe:
    """Connect as a run would, log in, and hang up."""
    from dataclasses import replace

    quick = replace(settings, timeout=min(settings.timeout, PATIENCE))
    try:
        sock, offers = connect(quick, password, hostname, trusted(settings))
    except TransportError as error:
        return Probe({}, str(error))
    with sock, contextlib.suppress(OSError):
        sock.sendall(b"QUIT\r\n")
    return Probe(offers)
