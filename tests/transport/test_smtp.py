"""Each stage of an SMTP conversation at which a server can say no, talk nonsense or go away."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.config import Smtp
from funnel.demo.mailserver import HANG_UP, TAKE_AND_HANG_UP, MailServer
from funnel.errors import TransportError
from funnel.model import Delivery, Outgoing, Reply
from funnel.transport.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

SENDER, ANN, BEN = "hello@clinic.example", "ann@mail.example", "ben@mail.example"
MESSAGE = b"Subject: Hello\r\n\r\nOne line.\r\n"
CERTIFICATE = Path(__file__).with_name("certificate.pem")
PASSWORD = "a pass word"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


def talking(server: MailServer) -> closing[SmtpTransport]:
    """Give a transport to a server, and hang up after."""
    settings = Smtp(host="127.0.0.1", port=server.port, security="none", timeout=20)
    return closing(SmtpTransport(settings, "", hostname="clinic.example"))


def logging_in(server: MailServer, security: str, password: str = PASSWORD) -> closing[SmtpTransport]:
    """Give a transport that has to log in, and hang up after."""
    settings = Smtp(host="127.0.0.1", port=server.port, security=security, user="clinic", timeout=20)
    return closing(SmtpTransport(settings, password, hostname="clinic.example"))


def deliver(server: MailServer, recipient: str = ANN, message: bytes = MESSAGE) -> Reply:
    with talking(server) as transport:
        return transport.deliver(Outgoing(1, SENDER, recipient, message))


# --- what each stage means ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "reply", "expected"),
    [
        ("mail", "550 5.7.1 not you", (Delivery.PERMANENT, 550, "mail")),
        ("mail", "451 later", (Delivery.TRANSIENT, 451, "mail")),
        ("rcpt", "550 5.1.1 no such user", (Delivery.PERMANENT, 550, "rcpt")),
        ("rcpt", "450 greylisted", (Delivery.TRANSIENT, 450, "rcpt")),
        ("rcpt", "421 going down", (Delivery.TRANSIENT, 421, "rcpt")),
        ("rcpt", "hello?", (Delivery.TRANSIENT, -1, "rcpt")),
        ("rcpt", HANG_UP, (Delivery.TRANSIENT, 0, "rcpt")),
        ("data", "554 no", (Delivery.PERMANENT, 554, "data")),
        ("data", "451 busy", (Delivery.TRANSIENT, 451, "data")),
        ("data", "250 what?", (Delivery.TRANSIENT, 250, "data")),
        ("data", HANG_UP, (Delivery.TRANSIENT, 0, "data")),
        ("dot", "251 will forward", (Delivery.ACCEPTED, 251, "dot")),
        ("dot", "552 5.3.4 too big", (Delivery.PERMANENT, 552, "data")),
        ("dot", "452 full", (Delivery.TRANSIENT, 452, "data")),
        ("dot", "421 4.3.2 going down", (Delivery.TRANSIENT, 421, "data")),
        ("dot", HANG_UP, (Delivery.UNKNOWN, 0, "dot")),
        ("dot", TAKE_AND_HANG_UP, (Delivery.UNKNOWN, 0, "dot")),
        ("dot", "hello?", (Delivery.UNKNOWN, -1, "dot")),
        ("dot", "354 go on", (Delivery.UNKNOWN, 354, "dot")),
        ("dot", "250 " + "x" * 9_000, (Delivery.UNKNOWN, 0, "dot")),
    ],
)
def test_an_answer_means_what_its_stage_says(
    server: MailServer, stage: str, reply: str, expected: tuple[Delivery, int, str]
) -> None:
    """F-24 to F-31: before the dot nothing was accepted; after it only 2yz, 4yz and 5yz say something."""
    server.answer(stage, reply)
    found = deliver(server)

    assert (found.delivery, found.code, found.stage) == expected
    assert bool(server.ledger) is (stage == "dot" and (reply == TAKE_AND_HANG_UP or reply.startswith("2")))


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("reply", ["550 no", "451 later", "421 bye", "hello?", HANG_UP])
def test_the_next_mail_goes_whatever_became_of_the_last(server: MailServer, stage: str, reply: str) -> None:
    """F-35 and 3.5: RSET after a refusal, and a new connection after anything nobody can read."""
    with talking(server) as transport:
        transport.deliver(Outgoing(1, SENDER, BEN, MESSAGE))
        server.answer(stage, reply)
        transport.deliver(Outgoing(2, SENDER, ANN, MESSAGE))
        again = transport.deliver(Outgoing(3, SENDER, BEN, MESSAGE))

    assert again.delivery is Delivery.ACCEPTED
    assert server.ledger[-1].recipient == BEN
    kept = reply[:3] in {"550", "451"}
    assert ("RSET" in server.log) is kept
    assert len([line for line in server.log if line.startswith("ehlo")]) == (1 if kept else 2)


def test_a_server_that_forgets_the_reset_is_called_anew(server: MailServer) -> None:
    with talking(server) as transport:
        server.answer("rcpt", "550 5.1.1 no")
        server.answer("rset", "500 what is that?")
        transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))
        assert transport.deliver(Outgoing(2, SENDER, BEN, MESSAGE)).delivery is Delivery.ACCEPTED


def test_a_server_that_always_hangs_up_touched_nothing(server: MailServer) -> None:
    """F-19: no mail could go, so it is no answer about one."""
    server.always["mail"] = HANG_UP
    with pytest.raises(TransportError, match=r"hangs up .*; nothing was sent") as raised:
        deliver(server)
    assert raised.value.exit_code == 75


@pytest.mark.parametrize("answer", ["221 bye", "500 no", "421 no", HANG_UP, "nonsense"])
def test_what_quit_is_answered_changes_nothing(server: MailServer, answer: str) -> None:
    """F-34."""
    server.answer("quit", answer)

    assert deliver(server).delivery is Delivery.ACCEPTED
    assert len(server.ledger) == 1
    assert server.log[-1] == "QUIT"


# --- what must never be on the wire ------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [b"Subject: x\r\n\r\nbare\nfeed\r\n", b"Subject: x\r\n\r\nbare\rreturn\r\n",
     b"a\n.\nMAIL FROM:<evil@x.example>\r\n",
     b"a\r\r\n.\r\n", b"end\n"],
)  # fmt: skip
def test_a_line_that_does_not_end_in_crlf_is_never_sent(server: MailServer, message: bytes) -> None:
    """SEC-9: some servers take "\\n.\\n" for the end, and what follows for a new mail."""
    reply = deliver(server, message=message)

    assert (reply.delivery, reply.stage) == (Delivery.PERMANENT, "data")
    assert server.log == []


@pytest.mark.parametrize(
    "recipient",
    ["ann@mail.example>\r\nDATA", "ann@mail.example\nx", "ann@mail.example> SIZE=1", "josé@mail.example",
     "a b@x.example", "<ann@mail.example", "ann\0@mail.example", ""],
)  # fmt: skip
def test_an_address_that_could_say_more_than_an_address_is_never_sent(server: MailServer, recipient: str) -> None:
    reply = deliver(server, recipient)

    assert (reply.delivery, reply.stage) == (Delivery.PERMANENT, "rcpt")
    assert server.log == []


def test_a_message_without_a_last_line_end_gets_one(server: MailServer) -> None:
    deliver(server, message=b"Subject: x\r\n\r\nno end")
    assert server.ledger[0].content == b"Subject: x\r\n\r\nno end\r\n"


# --- what a server says ------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_words_of_a_server_are_kept_printable_and_short(server: MailServer, stage: str) -> None:
    """SEC-39: no escape sequence reaches a terminal, nothing is stored without end."""
    server.answer(stage, "550 \x1b[31mred\x07 \x00 <b>bold</b> \u202eright to left " + "long " * 1_000)
    reply = deliver(server)

    assert reply.text.isprintable()
    assert len(reply.text) == 500
    assert reply.text.startswith("[31mred <b>bold</b> right to left long")


def test_ten_megabytes_of_answer_are_not_read_to_their_end(server: MailServer) -> None:
    """SEC-39, F-20: many short lines; one long line is refused as well."""
    server.answer("rcpt", "550-spam\r\n" * 1_000_000 + "550 end")
    began = time.monotonic()
    reply = deliver(server)

    assert (reply.delivery, reply.stage) == (Delivery.TRANSIENT, "rcpt")
    assert len(reply.text) <= 500
    assert time.monotonic() - began < 60


@contextmanager
def dripping(line: bytes) -> Iterator[int]:
    """Give the port of a server that says one byte every tenth of a second, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            try:
                with connection:
                    for _ in range(100):
                        connection.sendall(line)
                        time.sleep(0.1)
            except OSError:
                return

        thread = threading.Thread(target=drip)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("piece", [b"2", b"220-wait\r\n"])
def test_a_server_that_drips_has_a_deadline(piece: bytes) -> None:
    """F-20: the time for a reply is for all of it, not for each byte."""
    began = time.monotonic()
    with dripping(piece) as port:
        settings = Smtp(host="127.0.0.1", port=port, security="none", timeout=0.5)
        with pytest.raises(TransportError, match="cannot be reached"):
            SmtpTransport(settings, "", hostname="clinic.example").open()
    assert time.monotonic() - began < 9


# --- no mail can go at all ---------------------------------------------------------------------


@pytest.mark.parametrize("banner", ["554 no service", "421 busy", "hello?", HANG_UP])
def test_a_server_that_will_not_talk_is_told(server: MailServer, banner: str) -> None:
    """F-19."""
    server.answer("connect", banner)
    with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{server.port} cannot be reached .*nothing was sent"):
        deliver(server)


def test_nobody_listening_is_told() -> None:
    with socket.socket() as taken:  # and it does not listen, so that nobody else can either
        taken.bind(("127.0.0.1", 0))
        settings = Smtp(host="127.0.0.1", port=taken.getsockname()[1], security="none", timeout=20)
        with pytest.raises(TransportError, match="cannot be reached"):
            SmtpTransport(settings, "", hostname="clinic.example").open()


def test_a_name_nobody_knows_is_told() -> None:
    """F-18."""
    settings = Smtp(host="mail.clinic.example", security="none", timeout=1)
    with pytest.raises(TransportError, match=r"mail\.clinic\.example:587 cannot be reached"):
        SmtpTransport(settings, "", hostname="clinic.example").open()


# --- privacy and credentials -------------------------------------------------------------------


@pytest.fixture
def certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def secrets_in(log: list[str]) -> list[str]:
    """Return what in a conversation tells user or password."""
    tokens = [PASSWORD, *(base64.b64encode(text.encode()).decode().rstrip("=") for text in (PASSWORD, "clinic"))]
    plain = base64.b64encode(f"\0clinic\0{PASSWORD}".encode()).decode()
    return [line for line in log if any(token in line for token in [*tokens, plain])]


def test_without_starttls_nothing_is_sent(server: MailServer) -> None:
    """F-21: a server, or somebody in between, that does not offer it gets no credentials."""
    server.users["clinic"] = PASSWORD
    with (
        logging_in(server, "starttls") as transport,
        pytest.raises(TransportError, match=r"STARTTLS.*nothing was sent"),
    ):
        transport.open()

    assert secrets_in(server.log) == []
    assert not [line for line in server.log if line.startswith(("AUTH", "MAIL"))]


@pytest.mark.parametrize("reply", ["454 not now", "500 what?", HANG_UP])
def test_when_starttls_fails_nothing_is_sent(server: MailServer, certificate: ssl.SSLContext, reply: str) -> None:
    server.certificate, server.users["clinic"] = certificate, PASSWORD
    server.answer("starttls", reply)
    with logging_in(server, "starttls") as transport, pytest.raises(TransportError, match="nothing was sent"):
        transport.open()

    assert secrets_in(server.log) == []


def test_a_certificate_nobody_vouches_for_gets_no_credentials(server: MailServer, certificate: ssl.SSLContext) -> None:
    """F-21."""
    server.certificate, server.users["clinic"] = certificate, PASSWORD
    with (
        logging_in(server, "starttls") as transport,
        pytest.raises(TransportError, match=r"cannot be trusted .*nothing was sent to it"),
    ):
        transport.open()

    assert server.log[-1] == "STARTTLS"
    assert server.ledger == []


def test_a_certificate_for_another_name_gets_no_credentials(
    server: MailServer, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server.certificate = certificate
    settings = Smtp(host="localhost", port=server.port, security="starttls", user="clinic", timeout=20)
    with pytest.raises(TransportError, match=r"cannot be trusted"):
        SmtpTransport(settings, PASSWORD, hostname="clinic.example").open()
    assert secrets_in(server.log) == []


def test_talking_tls_to_a_plain_server_is_told(server: MailServer) -> None:
    with logging_in(server, "tls") as transport, pytest.raises(TransportError, match="nothing was sent"):
        transport.open()

    assert secrets_in(server.log) == []


def test_with_a_certificate_we_trust_user_and_password_go_encrypted(
    server: MailServer, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server.certificate, server.users["clinic"] = certificate, PASSWORD
    with logging_in(server, "starttls") as transport:
        reply = transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))

    assert reply.delivery is Delivery.ACCEPTED
    assert server.log.index("STARTTLS") < min(i for i, line in enumerate(server.log) if line.startswith("AUTH"))
    assert secrets_in(server.log)


def test_what_somebody_slips_in_behind_starttls_counts_for_nothing(
    server: MailServer, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-22: said in the clear, it would be taken for the encrypted answers to what we say next."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server.certificate, server.users["clinic"] = certificate, PASSWORD
    server.answer("starttls", "220 go ahead\r\n250-mail.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n535 no")
    with logging_in(server, "starttls") as transport:
        reply = transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))
        offers = transport.lines[0].talk.offers

    assert reply.delivery is Delivery.ACCEPTED
    assert not offers.pipelining
    verbs = [line.split()[0].upper() for line in server.log]
    assert verbs[verbs.index("STARTTLS") :][:3] == ["STARTTLS", "EHLO", "AUTH"]


def test_a_wrong_password_is_told_without_telling_it(server: MailServer) -> None:
    """F-23."""
    server.users["clinic"] = PASSWORD
    with (
        logging_in(server, "none", "wrong word") as transport,
        pytest.raises(TransportError, match=r"does not accept user and password .*535") as raised,
    ):
        transport.open()

    assert "wrong word" not in str(raised.value)
    assert server.ledger == []


def test_a_server_that_wants_no_login_is_told(server: MailServer) -> None:
    with logging_in(server, "none") as transport, pytest.raises(TransportError, match="AUTH"):
        transport.open()
