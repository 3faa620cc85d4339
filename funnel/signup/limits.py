"""How often one connection, and everybody together, may ask. Kept in the store, so that a restart forgets nothing.

No address is kept: only a hash of purpose, window and network under the funnel's own key, until the window is over.
Stopping the mails is not counted and never refused (SEC-28).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from funnel.address import base_key, keyed_hash
from funnel.errors import FunnelError
from funnel.store import quotas

if TYPE_CHECKING:
    from funnel.context import Context
    from funnel.store.database import Database


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many in each window of so many seconds."""

    most: int
    seconds: int


#: For one connection: an IPv4 address, or the /64 that an IPv6 visitor may choose from (SEC-2).
EACH = {
    "signup": (Limit(5, 60), Limit(20, 3600)),
    "again": (Limit(5, 60), Limit(20, 3600)),
    "gift": (Limit(10, 60), Limit(30, 3600)),
}
#: For everybody together.
ALL = {"signup": Limit(1000, 3600), "again": Limit(500, 3600), "gift": Limit(2000, 3600)}

#: For all spellings of one mailbox with a ``+tag`` together: nobody is bombed by writing tag after tag (SEC-2).
TAGGED = Limit(3, 24 * 3600)


class TooManyError(FunnelError):
    """A lot was asked for in a short time; wait a few minutes and try again."""

    exit_code = 75

    def __init__(self, wait: int = 60) -> None:
        super().__init__()
        self.wait = wait  #: seconds until it is worth another try


def network_of(ip: str) -> str:
    """Return what counts as one visitor; empty for none, and for this machine, which is no visitor."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    if address.is_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def take(db: Database, ctx: Context, purpose: str, ip: str, now: datetime) -> None:
    """Count one request in the caller's transaction; raises TooManyError, which must undo that transaction."""
    network = network_of(ip)
    if not network:
        return
    windows = [(network, limit) for limit in EACH[purpose]] + [("", ALL[purpose])]
    keys = [_window(ctx, purpose, who, limit, now) for who, limit in windows]
    counts = quotas.count(db, keys)
    waits = [
        int((ends - now).total_seconds()) + 1
        for (_, limit), (key, ends) in zip(windows, keys, strict=True)
        if counts[key] > limit.most
    ]
    if waits:
        raise TooManyError(max(waits))
    if 1 in counts.values():  # a window has begun, so others may be over
        quotas.purge(db, now)


def may_ask_tagged(db: Database, ctx: Context, key: str, now: datetime) -> bool:
    """Count one confirmation to an address with a ``+tag``; False when its mailbox has had enough for today."""
    base = base_key(key)
    if base == key:
        return True
    window, ends = _window(ctx, "tagged", base, TAGGED, now)
    if quotas.used(db, window) >= TAGGED.most:
        return False
    quotas.count(db, [(window, ends)])
    return True


def _window(ctx: Context, purpose: str, who: str, limit: Limit, now: datetime) -> tuple[str, datetime]:
    """Return the key of the window we are in, which says nothing about the next one, and when it ends."""
    number = int(now.timestamp()) // limit.seconds
    ends = datetime.fromtimestamp(0, UTC) + timedelta(seconds=(number + 1) * limit.seconds)
    return keyed_hash(ctx.keys.pepper, f"quota {purpose} {limit.seconds} {number} {who}"), ends
