"""Whether there are gift codes for those who will confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel import gifts
from funnel.checks.findings import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.model import Finding


def check_gifts(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield that the pool is empty, or runs low; nothing when codes are made."""
    if funnel.config.gift.source != "pool":
        return
    with funnel.session(readonly=True) as db:
        stock = gifts.stock(db, now, in_use=True)
    if stock is not None and stock.low:
        level = warning if stock.free else error
        says = f"{stock.free:,} left, {stock.last_week:,} given in the last seven days, {stock.waiting:,} waiting"
        yield level("gift codes", says, "import codes with “funnel gift import FILE”")
