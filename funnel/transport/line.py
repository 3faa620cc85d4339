"""One open connection: a socket that never blocks, what is said on it, and until when an answer must come."""

from __future__ import annotations

import selectors
import ssl
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from funnel.transport.connect import said
from funnel.transport.conversation import BrokenError, Conversation, Offers

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from funnel.model import Outgoing

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: An answer to QUIT changes nothing, so nobody waits long for it.
GOODBYE_SECONDS = 5.0


class Line:
    """Moves bytes between a socket and a conversation; raises BrokenError, and nothing else, when that ends."""

    def __init__(self, sock: socket.socket, features: Mapping[str, str], *, timeout: float, after_dot: float) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.talk = Conversation(Offers.of(features))
        self.deadline = inf
        self.events = selectors.EVENT_READ
        self._timeout = timeout
        self._after_dot = after_dot
        self._left = memoryview(b"")
        self._behind_dot = 0
        #: TLS encrypts one piece at a time.
        self._gathers = not isinstance(sock, ssl.SSLSocket) and hasattr(sock, "sendmsg")

    @property
    def idle(self) -> bool:
        """True when a mail may be offered at once."""
        return self.talk.idle and not self._left

    @property
    def clogged(self) -> bool:
        """True when the server has not yet taken all we have to say."""
        return bool(self._left)

    def offer(self, mail: Outgoing) -> None:
        """Say the envelope of a mail."""
        self.talk.offer(mail)
        self.send()

    def deliver(self, following: Outgoing | None) -> None:
        """Send the message that is clear to go, and behind it the envelope of the mail that follows."""
        self._behind_dot = self.talk.content(following)
        self.send()

    def send(self) -> None:
        """Send as much as goes of what there is to say."""
        fresh = bool(self.talk.out)
        try:
            if fresh:
                self._send_fresh()
            while self._left:
                self._left = self._left[self.sock.send(self._left) :]
        except WOULD_BLOCK:
            pass
        except OSError as error:
            raise BrokenError(said(error)) from None
        if fresh or not self._left:
            self._wait_anew()

    def _send_fresh(self) -> None:
        """Send what was not yet tried, in one go without a copy where that can be done; the rest is left."""
        out, sent = self.talk.out, 0
        self.talk.out = []
        if self._gathers and not self._left:
            try:
                sent = self.sock.sendmsg(out)
            except WOULD_BLOCK:
                sent = 0
            if sent == sum(map(len, out)):
                return
        self._left = memoryview(b"".join((self._left, *out)))[sent:]

    def receive(self) -> None:
        """Hear what the server says, and answer what can be answered at once."""
        heard = self.talk.heard
        if self._hear():
            self.deadline = inf
            return
        if self.talk.clear:
            self._hear()  # a server that says more than 354, or has hung up since, gets no message (F-36)
        if self.talk.out:
            self.send()
        elif self.talk.heard != heard:
            self._wait_anew()

    def _hear(self) -> bool:
        """Hear what there is; return whether it is that a message was taken and the next may come, and no more."""
        try:
            data = self.sock.recv(65_536)
        except WOULD_BLOCK:
            return False
        except OSError as error:
            raise BrokenError(said(error)) from None
        if not data:
            raise BrokenError("the server hung up")
        if self.talk.sent and len(self._left) > self._behind_dot:
            raise BrokenError("the server answers before the message is finished")
        return self.talk.hear(data)

    def _wait_anew(self) -> None:
        """Give the next reply its time: all of it together, however slowly it drips (F-20)."""
        awaits = self.talk.awaits
        self.deadline = time.monotonic() + (self._after_dot if awaits == "dot" else self._timeout) if awaits else inf

    def hang_up(self) -> None:
        """Close at once: what was not finished is not finished by this."""
        self.sock.close()

    def part(self) -> None:
        """Say goodbye and hang up, without waiting."""
        with suppress(OSError):
            self.sock.send(b"QUIT\r\n")
        self.hang_up()

    def part_in_peace(self) -> None:
        """Say goodbye, listen a little while, and hang up; what is answered changes nothing (F-34)."""
        with suppress(OSError):
            self.sock.settimeout(min(self._timeout, GOODBYE_SECONDS))
            self.sock.sendall(b"QUIT\r\n")
            self.sock.recv(4096)
        self.hang_up()
