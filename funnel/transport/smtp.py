"""Submission to one mail server by SMTP (RFC 5321, RFC 6409), one recipient per transaction.

smtplib connects, says hello, starts TLS with verified certificates and logs in. The transaction is
ours, because what an answer means depends on the stage it comes at: before the final dot nothing was
accepted; after it, silence or garbage means that nobody can know (RFC 1047).
"""

from __future__ import annotations

import smtplib
import ssl
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.model import Delivery, Reply

if TYPE_CHECKING:
    from funnel.config import Smtp
    from funnel.model import Outgoing

BROKEN = (smtplib.SMTPException, OSError, ValueError)


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
            server = self._greeted()
            if s.user:
                server.login(s.user, self._password)
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
        return server

    def _greeted(self) -> smtplib.SMTP:
        s = self.settings
        context = ssl.create_default_context()
        if s.security == "tls":
            return smtplib.SMTP_SSL(s.host, s.port, self.hostname, timeout=s.timeout, context=context)
        server = smtplib.SMTP(s.host, s.port, self.hostname, timeout=s.timeout)
        if s.security == "starttls":
            server.starttls(context=context)
        return server

    def deliver(self, mail: Outgoing) -> Reply:
        """Return what the server said about one message.

        Raises TransportError when the connection could not be had; a server that hung up between two
        messages is simply called again.
        """
        if "\n" in mail.recipient or "\n" in mail.sender or not mail.recipient.isascii():
            return Reply(Delivery.PERMANENT, 0, "the address cannot be written in SMTP", "rcpt")
        for attempt in (1, 2):
            self.open()
            reply = self._transaction(mail)
            if reply.stage != "mail" or reply.code or attempt == 2:
                return reply
            self._drop()
        raise AssertionError("unreachable")

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
