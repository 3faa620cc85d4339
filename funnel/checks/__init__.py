"""What would go wrong, found before anything goes out: settings, mails for all who could get them, gifts, guide."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.checks.findings import error
from funnel.checks.gifts import check_gifts
from funnel.checks.guide import Pointers, check_guide
from funnel.checks.mails import check_filled, check_written
from funnel.checks.people import check_people, same
from funnel.checks.settings import check_settings, check_theme
from funnel.errors import StoreError
from funnel.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.model import Finding

__all__ = ["check"]


def check(funnel: Funnel, now: datetime, *, guide: bool = True) -> list[Finding]:
    """Return what is wrong with a funnel, the gravest first. Writes nothing and sends nothing."""
    findings = [*check_settings(funnel, now), *check_theme(funnel), *_mail(funnel, now, guide=guide)]
    if guide:
        findings += check_guide(funnel)
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.level is not Level.ERROR)


def _mail(funnel: Funnel, now: datetime, *, guide: bool) -> Iterator[Finding]:
    """Yield what is wrong with mails; what is wrong for all is not repeated for each."""
    yield from check_written(funnel, Pointers(funnel, source=guide))
    try:
        filled = list(check_filled(funnel, now))
        yield from filled
        known = {_fault(finding) for finding in filled}
        yield from (finding for finding in check_people(funnel, now) if _fault(finding) not in known)
        yield from check_gifts(funnel, now)
    except StoreError as fault:
        yield error("database", str(fault), "see docs/operator.md")


def _fault(finding: Finding) -> tuple[str, str]:
    """Return the file of a finding and what is wrong there, whomever it is for and whatever the figures."""
    return re.split(r" (?:line \d|for )", finding.where)[0], same(finding.says)
