"""What is wrong with the settings and with the look."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.checks.findings import error, warning
from funnel.checks.wording import pictured
from funnel.errors import FunnelError
from funnel.guide.palette import LEAST, contrast
from funnel.schedule import next_open, zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.config import Clinic
    from funnel.model import Finding

PLACEHOLDER = re.compile(r"sample|your (street|address|clinic)|lorem|xxx|todo", re.IGNORECASE)


def check_settings(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with funnel.toml."""
    config = funnel.config
    try:
        next_open(now, zone(config.clinic.time_zone), config.calendar)
    except FunnelError as fault:
        yield error("funnel.toml: sending", str(fault), "open a day or widen the window")
    real = config.transport.kind == "smtp" and not config.sample
    if PLACEHOLDER.search(config.clinic.postal_address):
        level = error if real else warning
        yield level("funnel.toml: clinic.postal_address", "looks like a placeholder", "write your real postal address")
    if config.site.base_url.startswith("http://") and real:
        yield error("funnel.toml: site.base_url", "is not https", "links in mails must be https")
    yield from _sender(config.clinic)
    if config.transport.kind == "outbox":
        yield warning("funnel.toml: transport.kind", "mail is kept in a folder, not sent", 'set it to "smtp" to send')


def _sender(clinic: Clinic) -> Iterator[Finding]:
    """Yield what is wrong with whom mails come from (MSG-10)."""
    if clinic.from_address.startswith(("no-reply", "noreply")) and not clinic.reply_to:
        yield warning("funnel.toml: clinic.from_address", "cannot be answered", "set clinic.reply_to")
    sign = pictured(clinic.from_name)
    if sign:
        says = f"holds “{sign}”; mailbox providers take a picture in a sender's name for a forged mark of trust"
        yield error("funnel.toml: clinic.from_name", says, "use letters only")


def check_theme(funnel: Funnel) -> Iterator[Finding]:
    """Yield each pair of colours in which words cannot be read well (WCAG 2.2 AA)."""
    for words, ground, one, other in funnel.library.theme.pairs():
        found = contrast(one, other)
        if found < LEAST:
            yield error(
                f"emails/theme.toml: {words}",
                f"{one} on {ground} {other} has a contrast of {found:.1f} to 1",
                f"make one darker or lighter, to at least {LEAST} to 1",
            )
