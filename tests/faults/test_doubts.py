"""How much may be under way at one moment: what a killed run leaves in doubt, and what no stop reaches any more."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from funnel.config import Smtp
from funnel.model import Outgoing
from funnel.transport.smtp import SmtpTransport
from tests.faults.books import faults_of
from tests.faults.world import CONNECTIONS, PEOPLE, a_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.demo.mailserver import Accepted
    from tests.faults.world import Stage

MAILS = 3
ENVELOPE = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go ahead\r\n"


def talk(listening: socket.socket) -> None:
    """Take mails on one connection, with all answers to what came together in one piece, as a quick server does."""
    connection, _ = listening.accept()
    with connection:
        connection.sendall(b"220 mail.example\r\n")
        _until(connection, b"\r\n")
        connection.sendall(b"250-mail.example\r\n250 PIPELINING\r\n")
        _until(connection, b"DATA\r\n")
        connection.sendall(ENVELOPE)
        for n in range(MAILS):
            last = n == MAILS - 1
            _until(connection, b"\r\n.\r\n" if last else b"DATA\r\n")
            connection.sendall(b"250 2.0.0 taken\r\n" + (b"" if last else ENVELOPE))
        connection.recv(1000)


def _until(connection: socket.socket, end: bytes) -> None:
    got = b""
    while not got.endswith(end):
        piece = connection.recv(65536)
        assert piece, "hung up"
        got += piece


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        server = threading.Thread(target=talk, args=(listening,))
        server.start()
        yield listening.getsockname()[1]
        server.join(30)


def test_an_answer_is_handed_over_before_the_next_mail_of_its_connection_starts(port: int) -> None:
    """Else a run that is killed there leaves two in doubt, though the answer to one of them was there."""
    smtp = Smtp(host="127.0.0.1", port=port, security="none", connections=1, timeout=10)
    transport = SmtpTransport(smtp, "", hostname="clinic.example")
    mails = [Outgoing(n, "hello@clinic.example", "ann@mail.example", b"Subject: x\r\n\r\nx\r\n") for n in range(MAILS)]
    happened: list[tuple[str, int]] = []
    transport.open()
    for mail, reply in transport.deliver_all(iter(mails), lambda n: happened.append(("starts", n))):
        assert reply.delivery == "accepted", reply
        happened.append(("answered", mail.mailing_id))
    transport.close()

    assert happened == [(what, n) for n in range(MAILS) for what in ("starts", "answered")]


def test_after_everybody_stopped_only_what_was_on_the_wire_goes(stage: Stage) -> None:
    """P5, F-38: all leave while the first message is being answered; the envelopes of the next are out by then."""
    with a_scene(stage) as scene:
        stopped: dict[str, float] = {}

        def all_leave(message: Accepted) -> None:
            scene.world.take(message)
            if len(scene.world.taken) == 1:
                stopped.update({email: scene.stop(email) for email in PEOPLE if email != message.recipient})

        scene.world.server.on_accept = all_leave
        scene.send()
        late = faults_of(scene, stopped)

        assert all(fault.startswith("mailed after the stop") for fault in late)
        assert len(late) <= CONNECTIONS
        scene.send()
        assert faults_of(scene, stopped) == late
