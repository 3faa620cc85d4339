"""Submission to one mail server by SMTP (RFC 5321, RFC 6409), over several connections at once.

One thread serves them all. A connection is opened when the others have enough to do, is kept over many
messages, and is dropped after anything unreadable.
"""

from __future__ import annotations

import selectors
import time
from collections import Counter, deque
from math import ceil, inf
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.model import Delivery, Reply
from funnel.transport import UnsentError
from funnel.transport.bucket import Bucket
from funnel.transport.connect import connect, trusted
from funnel.transport.conversation import BrokenError, impossible, refusal
from funnel.transport.line import Line

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator, Iterator

    from funnel.config import Smtp
    from funnel.model import Outgoing

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
#: How often a mail is given to another connection before it is put off: a server that hangs up is no answer.
RETURNS = 5
#: A server that is slower than we are answers one connection after the other. To be woken for each answer takes as long
#: as half a mail, from both of us where we share a machine, so with several connections the next few answers get a
#: moment, in seconds, to come in too.
SEVERAL, MOMENT = 4, 0.0004


class SmtpTransport:
    """A few connections to one server, kept open over many messages.

    ``bucket`` is how much may go at once under ``rate_per_second``; a caller who keeps it from run to run
    gives a ``clock`` that goes on between them.
    """

    def __init__(
        self,
        settings: Smtp,
        password: str,
        *,
        hostname: str,
        bucket: Bucket | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.hostname = hostname
        self.clock = clock
        self.bucket = bucket or Bucket(1.0, clock())
        self.lines: list[Line] = []
        self._password = password
        self._context: ssl.SSLContext | None = None

    def open(self) -> None:
        """Connect and log in; raises TransportError, with what to look at, when that fails."""
        if not self.lines:
            self.lines.append(self.connected())

    def connected(self) -> Line:
        """Return one more connection; raises TransportError."""
        s = self.settings
        self._context = self._context or trusted(s)
        sock, features = connect(s, self._password, self.hostname, self._context)
        return Line(sock, features, timeout=s.timeout, after_dot=s.after_dot_seconds)

    def wait(self) -> float:
        """Return in how many seconds the next message may go."""
        rate = self.settings.rate_per_second
        return self.bucket.wait(rate, self.clock()) if rate else 0.0

    def take(self) -> None:
        """Count one message."""
        if self.settings.rate_per_second:
            self.bucket = self.bucket.taken(self.settings.rate_per_second, self.clock())

    def deliver(self, mail: Outgoing) -> Reply:
        """Return what the server said about one message.

        Raises TransportError when the connection could not be had; a server that hung up between two
        messages is simply called again.
        """
        if (reply := impossible(mail)) is not None:
            return reply
        [(_, reply)] = _Run(self, iter((mail,)), lambda _: None, count=1).answers()
        return reply

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Yield each mail with what the server said about it; see ``Transport``.

        Where the server takes several commands at once, the next mail's envelope goes behind the message
        before it; ``starting`` is called when the server has answered it with 354.
        """
        return _Run(self, mails, starting).answers()

    def close(self) -> None:
        """Say QUIT and hang up; an answer to QUIT changes nothing."""
        while self.lines:
            self.lines.pop().part_in_peace()


class _Run:
    """One call of ``deliver_all``: which mail is where, and what became of those that are done."""

    def __init__(
        self,
        transport: SmtpTransport,
        mails: Iterator[Outgoing],
        starting: Callable[[int], None],
        count: float = inf,
    ) -> None:
        self.count = count
        self.transport = transport
        self.lines = transport.lines
        self.mails = mails
        self.starting = starting
        self.settled: list[tuple[Outgoing, Reply]] = []
        self.waiting: deque[Outgoing] = deque()
        self.returned: Counter[int] = Counter()
        self.pulled = 0
        self.ended = False
        self.leaving = False
        self.most = transport.settings.connections
        self.shortest = min(transport.settings.timeout, transport.settings.after_dot_seconds)
        self.paced = bool(transport.settings.rate_per_second)
        self.hung_up = 0
        self.clear: list[Line] = []  #: those whose next message may go
        self.full = False  #: no connection waits for a mail, and there is no room for one more
        self.look_again = 0.0  #: when somebody's time may be over
        self.fault: TransportError | None = None
        self.selector: selectors.BaseSelector

    def answers(self) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Yield each mail with its answer; raises UnsentError when nothing can go any more."""
        with selectors.DefaultSelector() as self.selector:
            for line in self.lines:
                self.selector.register(line.sock, READ, line)
            try:
                self._look(0)  # who hung up while nobody listened?
                while self._more():
                    settled, self.settled = self.settled, []
                    yield from settled
            finally:
                self._leave()

    def _more(self) -> bool:
        """Do what can be done now, waiting for the servers when that is nothing; return whether there may be more."""
        clear, self.clear = self.clear, []
        for line in clear:
            self._deliver(line)
        if not self.full:
            self._feed()
        if self.settled:
            return True
        if not (self.full or self._busy()):
            if self.fault:
                raise UnsentError(str(self.fault), self.waiting) from None
            if self.ended and not self.waiting:
                return False
        self._look(self._patience())
        return True

    def _busy(self) -> bool:
        return any(not line.idle for line in self.lines)

    # --- who gets the next mail ------------------------------------------------------------------

    def _feed(self) -> None:
        """Give mails to connections that have none; open at most one more, so that the others are not kept waiting."""
        opened = False
        while not self.settled and self._due():
            line = self._free()
            if line is None:
                self.full = len(self.lines) >= self.most
                if opened or not self._room() or (line := self._opened()) is None:
                    return
                opened = True
            if (mail := self._next(line)) is not None:
                self._offer(line, mail)

    def _due(self) -> bool:
        """Return whether there may be a mail that can go at once."""
        if self.fault or self.leaving:
            return False
        return bool(self.waiting) or (not self.ended and not (self.paced and self.transport.wait()))

    def _free(self) -> Line | None:
        """Return a connection with nothing to do; what was handed back gets a new one while there is room."""
        free = [line for line in self.lines if line.idle]
        if self.waiting and self._room():
            free = [line for line in free if not line.talk.messages]
        return free[0] if free else None

    def _room(self) -> bool:
        """Return whether one more connection has something to do: never more of them than mails."""
        wanted = not self.lines or bool(self.waiting) or self.pulled > len(self.lines)
        return wanted and len(self.lines) < self.most

    def _opened(self) -> Line | None:
        """Return a new connection; when there is none to be had, go on with those there are."""
        try:
            line = self.transport.connected()
        except TransportError as error:
            self._refused(error)
            return None
        self.lines.append(line)
        self.selector.register(line.sock, READ, line)
        return line

    def _refused(self, error: TransportError) -> None:
        if self.lines:
            self.most = len(self.lines)
        else:
            self.fault = error

    def _next(self, line: Line) -> Outgoing | None:
        """Return a mail that can go on this connection, or None; one that cannot go at all is settled."""
        if self.waiting:
            mail = self.waiting.popleft()
        else:
            try:
                mail = next(self.mails)
            except StopIteration:
                self.ended = True
                return None
            self.pulled += 1
            self.ended = self.pulled >= self.count
        if (reply := refusal(mail, line.talk.offers)) is not None:
            self.settled.append((mail, reply))
            return None
        if self.paced and mail.mailing_id not in self.returned:
            self.transport.take()
        return mail

    def _follows(self, line: Line) -> Outgoing | None:
        """Return the mail whose envelope goes behind the message now clear to go, or None."""
        per = self.transport.settings.per_connection
        full = per and line.talk.messages + 1 >= per
        if full or self.waiting or not line.talk.offers.pipelining or not self._due():
            return None
        return self._next(line)

    # --- what the connections do ------------------------------------------------------------------

    def _look(self, seconds: float | None) -> None:
        """Wait that long for something to happen on the connections, and see to it."""
        found = self.selector.select(seconds)
        if len(found) == 1 and seconds != 0 and len(self.lines) >= SEVERAL:
            time.sleep(MOMENT)
            found = self.selector.select(0)
        for key, events in found:
            self._serve(key.data, events)
        now = time.monotonic()
        if now >= self.look_again:
            for line in [line for line in self.lines if line.deadline <= now]:
                self._lost(line, "the reply took too long")
            self.look_again = min((line.deadline for line in self.lines), default=inf)
            self.look_again = min(self.look_again, now + self.shortest)

    def _patience(self) -> float | None:
        """Return how long nothing needs to be done unless a server speaks."""
        if not self.full and self._due() and (self._free() or self._room()):
            return 0
        until = self.look_again - time.monotonic()
        if not (self.ended or self.leaving):
            until = min(until, self.transport.wait() or inf)
        return None if until == inf else max(0.0, ceil(until * 1000) / 1000)

    def _serve(self, line: Line, events: int) -> None:
        try:
            if events & WRITE:
                line.send()
            if events & READ:
                line.receive()
        except BrokenError as error:
            self._lost(line, str(error))
            return
        self._collect(line)
        if line.talk.clear:
            if line not in self.clear:
                self.clear.append(line)  # it starts when the answer to the one before has been taken note of
            return
        if line.idle:
            self.full = False
            if self._spent(line):
                self._drop(line, part=True)
                return
        self._listen(line)

    def _offer(self, line: Line, mail: Outgoing) -> None:
        try:
            line.offer(mail)
        except BrokenError as error:
            self._lost(line, str(error))
        else:
            self._listen(line)

    def _deliver(self, line: Line) -> None:
        """Send a message, now that its 354 has come: from here on silence is doubt."""
        mail = line.talk.coming
        if self.leaving or mail is None:
            self._drop(line)
            return
        following = self._follows(line)
        self.starting(mail.mailing_id)
        try:
            line.deliver(following)
        except BrokenError as error:
            self._lost(line, str(error))
        else:
            self._listen(line)

    def _listen(self, line: Line) -> None:
        """Ask to be told when the server takes more, while there is more for it."""
        events = READ | WRITE if line.clogged else READ
        if line.events != events:
            line.events = events
            self.selector.modify(line.sock, events, line)

    def _spent(self, line: Line) -> bool:
        per = self.transport.settings.per_connection
        return bool(per) and line.talk.messages >= per

    def _collect(self, line: Line) -> None:
        if line.talk.settled:
            self.settled += line.talk.settled
            line.talk.settled.clear()
            self.hung_up = 0

    # --- when a connection ends ---------------------------------------------------------------------

    def _lost(self, line: Line, why: str) -> None:
        """Drop a connection, settle what that settles, and keep for another one what never got through."""
        mail = line.talk.lost(why)
        self._collect(line)
        self._drop(line)
        if mail is None:
            return
        self.returned[mail.mailing_id] += 1
        if self.returned[mail.mailing_id] > RETURNS:
            self.settled.append((mail, Reply(Delivery.TRANSIENT, 0, why, "mail")))
            return
        self.waiting.append(mail)
        if not line.talk.messages:
            self._unwelcome(why)

    def _unwelcome(self, why: str) -> None:
        """Give up connections that end before the first mail; with no other left, after the second of them."""
        self.hung_up += 1
        s = self.transport.settings
        if self.lines or self.hung_up > 1:
            self._refused(TransportError(f"The mail server {s.host}:{s.port} hangs up ({why}); nothing was sent."))

    def _drop(self, line: Line, *, part: bool = False) -> None:
        self.full = False
        if line in self.clear:
            self.clear.remove(line)
        self.lines.remove(line)
        self.selector.unregister(line.sock)
        if part:
            line.part()
        else:
            line.hang_up()

    def _leave(self) -> None:
        """Finish what is on the wire, and keep only connections that are fit for the next mail."""
        self.leaving = True
        try:
            while True:
                for line in [line for line in self.lines if not (line.idle or line.talk.sent)]:
                    self._drop(line)
                if not self._busy():
                    return
                self._look(self._patience())
        finally:
            for line in [line for line in self.lines if not line.idle]:
                self._drop(line)
