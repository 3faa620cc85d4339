"""Get a connection to a mail server: as private as the settings say, greeted, and logged in.

smtplib connects, says hello, starts TLS with verified certificates and logs in; here its replies get an
end, and its errors the words a person can act on.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.transport.conversation import REPLY_LINES, clean

if TYPE_CHECKING:
    import socket

    from funnel.config import Smtp

BROKEN = (smtplib.SMTPException, OSError, ValueError)


class _Replies:
    """Reads the lines of one reply: they have a deadline together, however slowly they drip."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self.buffer = b""
        self.begin()

    def begin(self) -> None:
        """Wait for a new reply."""
        self._deadline = time.monotonic() + self._seconds
        self._lines = 0

    def readline(self, limit: int) -> bytes:
        """Return the next line, or its first ``limit`` bytes, or what came before the end."""
        while b"\n" not in self.buffer[:limit] and len(self.buffer) < limit:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the reply took too long")
            self._sock.settimeout(left)
            if not (more := self._sock.recv(4096)):
                break
            self.buffer += more
        self._sock.settimeout(self._seconds)
        self._lines += 1
        if self._lines > REPLY_LINES:
            raise OSError("the reply has no end")
        end = self.buffer.find(b"\n", 0, limit) + 1 or limit
        line, self.buffer = self.buffer[:end], self.buffer[end:]
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

    def must_be_quiet(self) -> None:
        """Raise SMTPException when the server said more than it was asked (F-22)."""
        if self.file is not None and self.file.buffer:
            raise smtplib.SMTPException("it answers before it is asked")


class _Plain(_Patient, smtplib.SMTP):
    """A conversation that starts in the clear."""


class _Tls(_Patient, smtplib.SMTP_SSL):
    """A conversation that is encrypted from the start."""


def connect(
    settings: Smtp, password: str, hostname: str, context: ssl.SSLContext | None
) -> tuple[socket.socket, dict[str, str]]:
    """Return a socket at which a server waits for mail, and what it offered.

    ``context`` says whom to trust; it may be missing only where the settings want nothing encrypted.
    Raises TransportError, with what to look at, when there is none to be had.
    """
    where = f"{settings.host}:{settings.port}"
    if context is None and settings.security != "none":
        raise AssertionError("nothing is sent in the clear that should not be")
    try:
        server = _welcomed(settings, password, hostname, context)
    except smtplib.SMTPAuthenticationError as error:
        raise TransportError(f"{where} does not accept user and password ({said(error)}).") from None
    except ssl.SSLError as error:
        raise TransportError(f"{where} cannot be trusted ({error.reason or error}); nothing was sent to it.") from None
    except BROKEN as error:
        raise TransportError(f"The mail server {where} cannot be reached ({said(error)}); nothing was sent.") from None
    if server.sock is None:
        raise AssertionError("smtplib returned without a connection")
    return server.sock, server.esmtp_features


def trusted(settings: Smtp) -> ssl.SSLContext | None:
    """Return whom to trust, or None when nothing is to be encrypted; making this takes longer than a connection."""
    return None if settings.security == "none" else ssl.create_default_context()


def _welcomed(settings: Smtp, password: str, hostname: str, context: ssl.SSLContext | None) -> _Plain | _Tls:
    """Return a conversation that is as private as the settings say, and logged in."""
    s = settings
    server = (
        _Tls(s.host, s.port, hostname, timeout=s.timeout, context=context)
        if s.security == "tls"
        else _Plain(s.host, s.port, hostname, timeout=s.timeout)
    )
    try:
        if s.security == "starttls":
            server.starttls(context=context)
        server.ehlo_or_helo_if_needed()  # smtplib would say it in sendmail() only
        if s.user:
            server.login(s.user, password)
        server.must_be_quiet()
    except BaseException:
        server.close()
        raise
    return server


def said(error: BaseException) -> str:
    """Return what an exception says, as one short line."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {clean(error.smtp_error)}"
    return clean(str(error)) or type(error).__name__
