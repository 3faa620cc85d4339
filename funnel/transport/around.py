"""Around the connection to a server: a rate that holds from run to run, and a name by which doubles are known."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from funnel.errors import FunnelError
from funnel.transport.bucket import IN_USE, resumed, written

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from funnel.model import Outgoing, Reply
    from funnel.transport import Transport
    from funnel.transport.smtp import SmtpTransport


class Keeper(Protocol):
    """Keeps a few words from one run to the next."""

    def now(self) -> float:
        """Return this moment in seconds, by a clock that goes on between runs."""

    def kept(self) -> str | None:
        """Return what was kept last, or None before the first run; raises StoreError."""

    def keep(self, words: str) -> None:
        """Keep these words instead; raises StoreError."""


class Paced:
    """A transport whose rate counts over all runs: what one run took, the next has not.

    While it is in use that is on record, so a run after one that died begins with nothing in hand. Only one
    of them may be at work at a time, as with the sender's runs.
    """

    def __init__(self, inner: SmtpTransport, keeper: Keeper) -> None:
        self.inner = inner
        self.keeper = keeper
        self._in_use = False

    def _begin(self) -> None:
        if not self._in_use:
            kept, wall = self.keeper.kept(), self.keeper.now()
            self.keeper.keep(IN_USE)
            self.inner.bucket = resumed(kept, self.inner.settings.rate_per_second, self.inner.clock(), wall)
            self._in_use = True

    def open(self) -> None:
        """Get ready; raises TransportError, or StoreError when what was sent could not be counted."""
        self._begin()
        self.inner.open()

    def deliver(self, mail: Outgoing) -> Reply:
        """Hand over one message; see ``Transport``."""
        self._begin()
        return self.inner.deliver(mail)

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Hand over many messages; see ``Transport``."""
        self._begin()
        return self.inner.deliver_all(mails, starting)

    def close(self) -> None:
        """Hang up, and keep what is left for the next run; when it cannot be kept, that one begins with nothing."""
        self.inner.close()
        if self._in_use:
            rate, now = self.inner.settings.rate_per_second, self.inner.clock()
            with suppress(FunnelError):
                self.keeper.keep(written(self.inner.bucket, rate, now, self.keeper.now()))
            self._in_use = False


#: What in a message tells it from all others, the same at each try: our own mark, and the moment of the first try.
OWN = re.compile(rb"^(?:X-Funnel-Id|Date): ([!-~][ -~]*)\r$", re.MULTILINE)


def key_of(message: bytes) -> str:
    """Return the name of a message for its provider: the same at every try, and nothing about the person in it.

    The date belongs to it because a database restored from a backup gives numbers out again.
    """
    head = message[: message.find(b"\r\n\r\n") + 2]
    return hashlib.sha256(b"\0".join(OWN.findall(head))).hexdigest()[:40]


class Keyed:
    """A transport to a provider that drops a second mail of the same key, named in a header of its own."""

    def __init__(self, inner: Transport, header: str) -> None:
        self.inner = inner
        self.header = header.encode("ascii")

    def keyed(self, mail: Outgoing) -> Outgoing:
        """Return a mail with the header on top."""
        line = b"%s: %s\r\n" % (self.header, key_of(mail.message).encode("ascii"))
        return mail._replace(message=line + mail.message)

    def open(self) -> None:
        """Get ready; see ``Transport``."""
        self.inner.open()

    def deliver(self, mail: Outgoing) -> Reply:
        """Hand over one message; see ``Transport``."""
        return self.inner.deliver(self.keyed(mail))

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Hand over many messages; see ``Transport``."""
        return self.inner.deliver_all(map(self.keyed, mails), starting)

    def close(self) -> None:
        """Hang up; see ``Transport``."""
        self.inner.close()
