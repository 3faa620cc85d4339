"""Submission to one mail server by SMTP (RFC 5321, RFC 6409), one recipient per transaction.

smtplib connects, says hello, starts TLS with verified certificates and logs in. The transaction is
ours, because what an answer means depends on the stage it comes at: before the final dot nothing was
accepted; after it, silence or garbage means that nobody can know (RFC 1047).
"""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.model import Delivery, Reply

if TYPE_CHECKING:
    import socket

    from funnel.config import Smtp
    from funnel.model import Outgoing

BROKEN = (smtplib.SMTPException, OSError, ValueError)
#: No reply anybody means is longer; more is a server that wants to fill our memory or our day (F-20).
REPLY_LINES = 200
#: What may stand between < and >: nothing that could end the command or add to it (SEC-9).
PATH = re.compile(r"[!-;=?-~]+")
#: A line that ends in anything but CRLF; some servers would take what follows for a new command (SEC-9).
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class _Replies:
    """Reads the lines of one reply: they have a deadline together, however slowly they drip."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._buffer = b""
        self.begin()

    def begin(self) -> None:
        """Wait for a new reply."""
        self._deadline = time.monotonic() + self._seconds
        self._lines = 0

    def readline(self, limit: int) -> bytes:
        """Return the next line, or its first ``limit`` bytes, or what came before the end."""
        while b"\n" not in self._buffer[:limit] and len(self._buffer) < limit:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the reply took too long")
            self._sock.settimeout(left)
            if not (more := self._sock.recv(4096)):
                break
            self._buffer += more
        self._sock.settimeout(self._seconds)
        self._lines += 1
        if self._lines > REPLY_LINES:
            raise OSError("the reply has no end")
        end = self._buffer.find(b"\n", 0, limit) + 1 or limit
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def close(self) -> None:
        """Do nothing: the socket is closed by whom it belongs to."""


class _Patient:
    """Gives smtplib's reader of replies an end."""

    sock: socket.socket | None
    file: _Replies | None
    timeout: float

    def getreply(self) -> tuple[int, bytes]:
        """Return code and words of one reply."""
        if self.file is None and self.sock is not None:
            self.file = _Replies(self.sock, self.timeout)
        elif self.file is not None:
            self.file.begin()
        reply: tuple[int, bytes] = super().getreply()  # type: ignore[misc]
        return reply


class _Plain(_Patient, smtplib.SMTP):
    """A conversation that starts in the clear."""


class _Tls(_Patient, smtplib.SMTP_SSL):
    """A conversation that is encrypted from the start."""


class SmtpTransport:
    """One connection, kept open over many messages and renewed after anything unreadable."""

    def __init__(self, settings: Smtp, password: str, *, hostname: str) -> None:
        self.settings = settings
        self.hostname = hostname
        self._password = password
        self._server: smtplib.SMTP | None = None

    def open(self) -> None:
        """Connect and log in; raises TransportError, with what to look at, when that fails."""
        if self._server is None:
            self._server = self._connected()

    def _connected(self) -> smtplib.SMTP:
        s = self.settings
        where = f"{s.host}:{s.port}"
        try:
            return self._welcomed()
        except smtplib.SMTPAuthenticationError as error:
            raise TransportError(f"{where} does not accept user and password ({_said(error)}).") from None
        except ssl.SSLError as error:
            raise TransportError(
                f"{where} cannot be trusted ({error.reason or error}); nothing was sent to it."
            ) from None
        except BROKEN as error:
            raise TransportError(
                f"The mail server {where} cannot be reached ({_said(error)}); nothing was sent."
            ) from None

    def _welcomed(self) -> smtplib.SMTP:
        """Return a conversation that is as private as the settings say, and logged in."""
        s = self.settings
        context = ssl.create_default_context()
        server = (
            _Tls(s.host, s.port, self.hostname, timeout=s.timeout, context=context)
            if s.security == "tls"
            else _Plain(s.host, s.port, self.hostname, timeout=s.timeout)
        )
        try:
            if s.security == "starttls":
                server.starttls(context=context)
            server.ehlo_or_helo_if_needed()  # smtplib would say it in sendmail() only
            if s.user:
                server.login(s.user, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def deliver(self, mail: Outgoing) -> Reply:
        """Return what the server said about one message.

        Raises TransportError when the connection could not be had; a server that hung up between two
        messages is simply called again.
        """
        if not (PATH.fullmatch(mail.recipient) and PATH.fullmatch(mail.sender)):
            return Reply(Delivery.PERMANENT, 0, "the address cannot be written in SMTP", "rcpt")
        if BARE.search(mail.message):
            return Reply(Delivery.PERMANENT, 0, "the message has a line that does not end in CRLF", "data")
        for _ in range(2):
            self.open()
            reply = self._transaction(mail)
            if reply.stage != "mail" or reply.code:
                return reply
        raise TransportError(
            f"The mail server {self.settings.host}:{self.settings.port} hangs up ({reply.text}); nothing was sent."
        )

    def _transaction(self, mail: Outgoing) -> Reply:
        """Walk one message through MAIL, RCPT, DATA and the dot; after a broken line the connection is dropped."""
        stage = "mail"
        try:
            for stage, command in (("mail", f"FROM:<{mail.sender}>"), ("rcpt", f"TO:<{mail.recipient}>")):
                code, text = self._ask(stage, command)
                if code // 100 != 2:
                    return self._refused(code, text, stage)
            stage = "data"
            code, text = self._ask("data", "")
            if code != 354:
                return self._refused(code, text, stage)
            stage = "dot"
            code, text = self._send_content(mail.message)
        except BROKEN as error:
            self._drop()
            lost = Delivery.UNKNOWN if stage == "dot" else Delivery.TRANSIENT
            return Reply(lost, 0, _said(error), stage)
        if code // 100 == 2:
            return Reply(Delivery.ACCEPTED, code, text, stage)
        return self._refused(code, text, stage)

    def _ask(self, verb: str, argument: str) -> tuple[int, str]:
        server = self._server
        if server is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        code, text = server.docmd(verb.upper(), argument)
        return code, _clean(text)

    def _send_content(self, message: bytes) -> tuple[int, str]:
        """Send the message with dots doubled and the final dot, and return the answer."""
        server = self._server
        if server is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        content = message.replace(b"\r\n.", b"\r\n..")
        content = b"." + content if content.startswith(b".") else content
        server.send(content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, text = server.getreply()
        return code, _clean(text)

    def _refused(self, code: int, text: str, stage: str) -> Reply:
        """Return a refusal as permanent, for now, or unknown; leave the connection usable or drop it."""
        if stage == "dot" and code // 100 not in {4, 5}:
            self._drop()
            return Reply(Delivery.UNKNOWN, code, text, stage)
        if code // 100 not in {4, 5} or code == 421:
            self._drop()
        else:
            self._reset()
        stage = "data" if stage == "dot" else stage
        return Reply(Delivery.PERMANENT if code // 100 == 5 else Delivery.TRANSIENT, code, text, stage)

    def _reset(self) -> None:
        try:
            code, _ = self._ask("rset", "")
            if code != 250:
                self._drop()
        except BROKEN:
            self._drop()

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Say QUIT and hang up; an answer to QUIT changes nothing."""
        if self._server is not None:
            try:
                self._server.docmd("QUIT")
            except BROKEN:
                pass
            finally:
                self._drop()


def _clean(text: bytes | str) -> str:
    """Return a server's words fit to store and show: printable, one line, at most 500 characters (SEC-39)."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:500]


def _said(error: BaseException) -> str:
    """Return what an exception says, as one short line."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_clean(error.smtp_error)}"
    return _clean(str(error)) or type(error).__name__
