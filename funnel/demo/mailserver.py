"""A small SMTP server on loopback that says what it is told to say, and keeps a ledger of what it accepted.

It is the outside world of the demo and of the tests: RFC 5321 with 8BITMIME and SIZE, with PIPELINING
and DSN when ``extensions`` name them, and with STARTTLS and AUTH when it is given a certificate and
users; one thread a connection. Never listens anywhere but
on 127.0.0.1.
"""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

STAGES = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "rset", "quit")
#: Instead of a reply: hang up without a word; take the message, then hang up; say nothing ever again.
HANG_UP = "hang up"
TAKE_AND_HANG_UP = "take and hang up"
SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One message the server took responsibility for."""

    sender: str
    recipient: str
    content: bytes


@dataclass(slots=True)
class MailServer:
    """A server to talk to at ``port``; use it in a ``with`` block.

    ``script`` maps a stage, or (stage, recipient), to replies that are given once each before the
    server goes back to being friendly; a reply is a line like ``550 5.1.1 unknown`` (or several, with
    CRLF between them) or one of the ways to hang up. ``on_accept`` is called with each message taken.
    With ``users`` nobody else may send; ``log`` has each command as it came. It hangs up without a word
    after ``per_connection`` messages, and says 421 to more than ``connections`` at a time; 0 is no limit.
    ``lenient`` servers answer DATA with 354 even when no recipient was accepted (RFC 2920, 3.1).
    """

    on_accept: Callable[[Accepted], None] | None = None
    ledger: list[Accepted] = field(default_factory=list)
    script: dict[str | tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str | tuple[str, str], str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("8BITMIME", "SIZE 1000000")
    users: dict[str, str] = field(default_factory=dict)
    certificate: ssl.SSLContext | None = None
    log: list[str] = field(default_factory=list)
    per_connection: int = 0
    connections: int = 0
    lenient: bool = False
    opened: int = 0
    busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _server: _Server | None = None

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        if self._server is None:
            raise AssertionError("the server is not running")
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, stage: str, *replies: str, to: str = "") -> None:
        """Give these replies, one each, the next times a conversation comes to a stage."""
        self.script[(stage, to) if to else stage].extend(replies)

    def reply_for(self, stage: str, recipient: str, friendly: str) -> str:
        """Return the scripted reply for this moment, or the friendly one."""
        with self.lock:
            for key in ((stage, recipient), stage):
                if self.script.get(key):
                    return self.script[key].pop(0)
                if key in self.always:
                    return self.always[key]
        return friendly

    def enter(self) -> bool:
        """Count a connection, and return whether it is one too many."""
        with self.lock:
            self.opened += 1
            self.busy += 1
            return 0 < self.connections < self.busy

    def leave(self) -> None:
        """Count a connection that ended."""
        with self.lock:
            self.busy -= 1

    def accept(self, message: Accepted) -> None:
        """Enter a message in the ledger."""
        with self.lock:
            self.ledger.append(message)
        if self.on_accept:
            self.on_accept(message)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    owner: MailServer


class _HungUpError(Exception):
    """The script says to hang up, or the client did."""


class _Conversation(socketserver.StreamRequestHandler):
    """One connection, line by line."""

    timeout = 30

    def handle(self) -> None:
        """Talk until QUIT, silence or a scripted hang-up."""
        self.owner = cast("_Server", self.server).owner
        self.sender = self.recipient = self.user = ""
        self.has_sender = self.has_recipient = False
        self.taken = 0
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        full = self.owner.enter()
        try:
            self._say("connect", "421 too many connections" if full else "220 mail.example ready")
            while line := self.rfile.readline(2000):
                self.owner.log.append(line.decode("utf-8", "replace").strip())
                if not self._command(line.decode("utf-8", "replace").strip()):
                    return
        except (_HungUpError, OSError):
            return
        finally:
            self.owner.leave()

    def finish(self) -> None:
        """Close the private conversation, too, when there was one."""
        super().finish()
        self.connection.close()

    def _command(self, line: str) -> bool:
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb in {"EHLO", "HELO"}:
            self._hello(verb)
        elif verb == "STARTTLS" and self.owner.certificate:
            self._encrypt(self.owner.certificate)
        elif verb == "AUTH":
            self._log_in(*rest.split())
        elif self.owner.users and not self.user and verb in {"MAIL", "RCPT", "DATA"}:
            self._write("530 5.7.0 log in first")
        elif verb == "MAIL":
            self._mail(_path(rest))
        elif verb == "RCPT":
            self._rcpt(_path(rest))
        elif verb == "DATA":
            self._data()
        elif verb == "RSET":
            self.has_sender = self.has_recipient = False
            self._say("rset", "250 ok")
        elif verb == "QUIT":
            self._say("quit", "221 bye")
            return False
        else:
            self._write("502 5.5.1 not here")
        return True

    def _mail(self, sender: str) -> None:
        if self.has_sender:
            self._write("503 5.5.1 one sender at a time")
        else:
            self.sender = sender
            self.has_sender = self._say("mail", "250 2.1.0 ok").startswith("2")

    def _rcpt(self, recipient: str) -> None:
        if not self.has_sender:
            self._write("503 5.5.1 from whom?")
        else:
            self.recipient = recipient
            self.has_recipient = self._say("rcpt", "250 2.1.5 ok").startswith("2")

    def _hello(self, verb: str) -> None:
        if verb == "EHLO" and not self.owner.script.get("ehlo"):
            lines = ["mail.example", *self.owner.extensions]
            lines += ["STARTTLS"] if self.owner.certificate and not self.encrypted else []
            lines += ["AUTH PLAIN LOGIN"] if self.owner.users else []
            for i, line in enumerate(lines):
                self._write(f"250{' ' if i == len(lines) - 1 else '-'}{line}")
        else:
            self._say("ehlo", "250 mail.example")

    @property
    def encrypted(self) -> bool:
        """True once the conversation is private."""
        return hasattr(self.connection, "cipher")

    def _encrypt(self, certificate: ssl.SSLContext) -> None:
        if self._say("starttls", "220 go ahead").startswith("220"):
            self.connection = certificate.wrap_socket(self.request, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def _log_in(self, method: str = "", first: str = "") -> None:
        """Take user and password by PLAIN or LOGIN."""
        if method.upper() == "PLAIN":
            _, user, password = base64.b64decode(first or self._asked("")).decode().split("\0")
        else:
            user = base64.b64decode(first or self._asked("Username:")).decode()
            password = base64.b64decode(self._asked("Password:")).decode()
        good = bool(user) and self.owner.users.get(user) == password
        if self._say("auth", "235 2.7.0 welcome" if good else "535 5.7.8 wrong user or password").startswith("235"):
            self.user = user

    def _asked(self, question: str) -> bytes:
        self._write("334 " + base64.b64encode(question.encode()).decode())
        line = self.rfile.readline(2000).strip()
        self.owner.log.append(line.decode("ascii", "replace"))
        return line

    def _data(self) -> None:
        nobody = not self.has_recipient
        if nobody and not self.owner.lenient:
            self._write("503 5.5.1 to whom?")
            return
        if not self._say("data", "354 go ahead").startswith("354"):
            return
        content = self._content()
        self.has_sender = self.has_recipient = False
        if nobody:
            self._write("554 5.5.1 no valid recipients")
            return
        message = Accepted(self.sender, self.recipient, content)
        reply = self.owner.reply_for("dot", self.recipient, f"250 2.0.0 queued as {len(self.owner.ledger) + 1}")
        if reply.startswith("2") or reply == TAKE_AND_HANG_UP:
            self.owner.accept(message)
        self._speak(reply)
        self.taken += 1
        if self.taken == self.owner.per_connection:
            raise _HungUpError

    def _content(self) -> bytes:
        """Return the message that follows, without the dots that were doubled."""
        content = bytearray()
        while (line := self.rfile.readline(100_000)) != b".\r\n":
            if not line:
                raise _HungUpError
            content += line[1:] if line.startswith(b".") else line
        return bytes(content)

    def _say(self, stage: str, friendly: str) -> str:
        reply = self.owner.reply_for(stage, self.recipient, friendly)
        self._speak(reply)
        return reply

    def _speak(self, reply: str) -> None:
        if reply in {HANG_UP, TAKE_AND_HANG_UP}:
            raise _HungUpError
        if reply == SILENCE:
            while self.rfile.read(65_536):
                pass
            raise _HungUpError
        self._write(reply)
        if reply.startswith("421"):
            raise _HungUpError

    def _write(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


def _path(rest: str) -> str:
    """Return the address between angle brackets."""
    return rest.partition("<")[2].partition(">")[0]
