"""Many mails over several connections: every fault at every stage, and the server's ledger as the judge."""

from __future__ import annotations

import copy
import itertools
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel.config import Smtp
from funnel.demo.mailserver import HANG_UP, SILENCE, TAKE_AND_HANG_UP, Accepted, MailServer
from funnel.errors import TransportError
from funnel.model import Delivery, Outgoing, Reply
from funnel.transport import UnsentError, smtp
from funnel.transport.bucket import Bucket
from funnel.transport.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SENDER = "hello@clinic.example"
EXTENSIONS = {"pipelining": ("PIPELINING", "8BITMIME", "SIZE 20000000"), "lockstep": ("8BITMIME",)}
CERTIFICATE = Path(__file__).with_name("certificate.pem")


def person(number: int) -> str:
    return f"p{number}@mail.example"


def letters(count: int, size: int = 100) -> list[Outgoing]:
    message = b"Subject: Hello\r\n\r\n" + b"One line.\r\n" * (size // 11)
    return [Outgoing(i, SENDER, person(i), message) for i in range(1, count + 1)]


def until(done: Callable[[], bool]) -> None:
    """Wait until something is so; give up after a minute."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.001)


class Told:
    """What a caller learns: each mail's answer, which were started, which came back unsent."""

    def __init__(self, transport: SmtpTransport, mails: list[Outgoing]) -> None:
        self.replies: dict[int, Reply] = {}
        self.started: list[int] = []
        self.unsent: list[int] = []
        self.error = ""
        self.source = iter(mails)
        try:
            for mail, reply in transport.deliver_all(self.source, self.started.append):
                assert mail.mailing_id not in self.replies
                self.replies[mail.mailing_id] = reply
        except UnsentError as error:
            self.error = str(error)
            self.unsent = [mail.mailing_id for mail in error.unsent]
        assert len(self.started) == len(set(self.started))

    def of(self, delivery: Delivery) -> list[int]:
        """Return who got this answer."""
        return sorted(number for number, reply in self.replies.items() if reply.delivery is delivery)


def talking(server: MailServer, connections: int = 4, **more: float) -> closing[SmtpTransport]:
    """Give a transport to a server, and hang up after."""
    values: dict[str, float] = {"timeout": 30, "after_dot_seconds": 30} | more
    found = Smtp(host="127.0.0.1", port=server.port, security="none", connections=connections, **values)  # type: ignore[arg-type]
    return closing(SmtpTransport(found, "", hostname="clinic.example"))


def told(server: MailServer, mails: list[Outgoing], connections: int = 4, **more: float) -> Told:
    """Return what became of these mails, when the server has hung up, too."""
    with talking(server, connections, **more) as transport:
        found = Told(transport, mails)
    until(lambda: not server.busy)
    return found


def arrived(server: MailServer) -> list[int]:
    """Return who is in the ledger, once for each message."""
    return sorted(int(taken.recipient[1:].partition("@")[0]) for taken in server.ledger)


@pytest.fixture(params=["pipelining", "lockstep"])
def server(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    with MailServer(extensions=EXTENSIONS[request.param]) as running:
        yield running


@pytest.fixture
def pipelining() -> Iterator[MailServer]:
    with MailServer(extensions=EXTENSIONS["pipelining"]) as running:
        yield running


# --- how many, and when -------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_never_more_connections_than_allowed_or_than_mails(server: MailServer, connections: int, count: int) -> None:
    found = told(server, letters(count), connections)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == list(range(1, count + 1))
    assert server.opened <= max(1, min(connections, count))
    assert count < 40 or server.opened == connections


@pytest.mark.parametrize("connections", [1, smtp.SEVERAL - 1, smtp.SEVERAL])
def test_answers_are_waited_for_together_only_where_others_are_awaited(server: MailServer, connections: int) -> None:
    """One that stands alone, or nearly so, is heard at once: nobody else would keep the server busy meanwhile."""
    with patch("funnel.transport.smtp.time", wraps=time) as clock:
        found = told(server, letters(40), connections)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == list(range(1, 41))
    assert connections >= smtp.SEVERAL or not clock.sleep.called


@pytest.mark.parametrize("connections", [1, 4])
def test_the_next_mail_is_asked_for_when_it_can_go(server: MailServer, connections: int) -> None:
    """P5: the caller's last look at the person is right before the envelope, and never far ahead."""
    done: list[int] = []
    ahead: list[int] = []

    def mails() -> Iterator[Outgoing]:
        for mail in letters(30):
            ahead.append(mail.mailing_id - len(done))
            yield mail

    with talking(server, connections) as transport:
        for mail, _ in transport.deliver_all(mails(), lambda _: None):
            done.append(mail.mailing_id)
    assert sorted(done) == list(range(1, 31))
    per_connection = 2 if "PIPELINING" in server.extensions else 1
    assert max(ahead) <= connections * (per_connection + 1)


def test_a_mail_is_announced_after_its_354_and_before_its_message(server: MailServer) -> None:
    started: set[int] = set()
    early: list[Accepted] = []
    server.on_accept = lambda taken: None if int(taken.recipient[1:].split("@")[0]) in started else early.append(taken)
    for number in (2, 5):
        server.answer("data", "451 not now", to=person(number))
    server.answer("rcpt", "550 5.1.1 no", to=person(7))
    with talking(server) as transport:
        list(transport.deliver_all(iter(letters(9)), started.add))

    assert early == []
    assert started == {1, 3, 4, 6, 8, 9}


def test_when_nobody_listens_any_more_answers_are_still_waited_for(server: MailServer) -> None:
    """A server that is cut off while it thinks may keep the message or not; so it is not cut off."""
    started: list[int] = []
    thought: list[str] = []

    def think(taken: Accepted) -> None:
        time.sleep(0.1)
        thought.append(taken.recipient)

    server.on_accept = think
    with talking(server, 3) as transport:
        answers = transport.deliver_all(iter(letters(20)), started.append)
        next(answers)
        answers.close()
        assert sorted(thought) == sorted(map(person, started))
    assert len(started) < 10


def test_with_pipelining_a_message_costs_one_round_trip(pipelining: MailServer) -> None:
    """RFC 2920: the next envelope is there before the answer to the dot."""
    with talking(pipelining, 1) as transport:
        pipelining.on_accept = lambda taken: until(
            lambda: taken.recipient == person(5) or transport.lines[0].talk.coming is not None
        )
        found = Told(transport, letters(5))

    assert found.of(Delivery.ACCEPTED) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("connections", [1, 3])
def test_large_messages_go_through_small_buffers(server: MailServer, connections: int) -> None:
    message = b"Subject: Long\r\n\r\n" + (b"." + b"x" * 900 + b"\r\n") * 18_000
    found = told(server, [Outgoing(i, SENDER, person(i), message) for i in (1, 2, 3)], connections)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == [1, 2, 3]
    assert {taken.content for taken in server.ledger} == {message}


def test_encrypted_it_is_the_same(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server.certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.certificate.load_cert_chain(CERTIFICATE)
    server.users["clinic"] = "secret"
    found = Smtp(host="127.0.0.1", port=server.port, user="clinic", timeout=30, connections=2)
    mails = letters(8, size=400_000)
    with closing(SmtpTransport(found, "secret", hostname="clinic.example")) as transport:
        answers = Told(transport, mails)

    assert answers.of(Delivery.ACCEPTED) == arrived(server) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {taken.content for taken in server.ledger} == {mails[0].message}


# --- every fault at every stage -----------------------------------------------------------------

FAULTS = [
    ("rcpt", "550 5.1.1 no such user", (Delivery.PERMANENT, 550, "rcpt")),
    ("rcpt", "450 greylisted", (Delivery.TRANSIENT, 450, "rcpt")),
    ("rcpt", "421 going down", (Delivery.TRANSIENT, 421, "rcpt")),
    ("rcpt", "hello?", (Delivery.TRANSIENT, -1, "rcpt")),
    ("rcpt", "354 go", (Delivery.TRANSIENT, 354, "rcpt")),
    ("rcpt", HANG_UP, (Delivery.TRANSIENT, 0, "rcpt")),
    ("data", "554 no", (Delivery.PERMANENT, 554, "data")),
    ("data", "451 busy", (Delivery.TRANSIENT, 451, "data")),
    ("data", "421 bye", (Delivery.TRANSIENT, 421, "data")),
    ("data", "250 what?", (Delivery.TRANSIENT, 250, "data")),
    ("data", HANG_UP, (Delivery.TRANSIENT, 0, "data")),
    ("data", "354 go\r\n250 done", (Delivery.TRANSIENT, 0, "data")),
    ("dot", "251 will forward", (Delivery.ACCEPTED, 251, "dot")),
    ("dot", "552 5.3.4 too big", (Delivery.PERMANENT, 552, "data")),
    ("dot", "452 full", (Delivery.TRANSIENT, 452, "data")),
    ("dot", "421 4.3.2 going down", (Delivery.TRANSIENT, 421, "data")),
    ("dot", HANG_UP, (Delivery.UNKNOWN, 0, "dot")),
    ("dot", TAKE_AND_HANG_UP, (Delivery.UNKNOWN, 0, "dot")),
    ("dot", "hello?", (Delivery.UNKNOWN, -1, "dot")),
    ("dot", "354 go on", (Delivery.UNKNOWN, 354, "dot")),
    ("dot", "250 " + "x" * 9_000, (Delivery.UNKNOWN, 0, "dot")),
]


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(("stage", "reply", "expected"), FAULTS)
def test_one_mail_gets_its_answer_and_all_others_arrive_once(
    server: MailServer, connections: int, stage: str, reply: str, expected: tuple[Delivery, int, str]
) -> None:
    """F-24 to F-36: whatever happens to one, nobody else gets it twice or not at all."""
    server.always[(stage, person(4))] = reply
    found = told(server, letters(10), connections)

    fourth = found.replies[4]
    assert (fourth.delivery, fourth.code, fourth.stage) == expected
    others = [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [number for number in found.of(Delivery.ACCEPTED) if number != 4] == others
    taken = stage == "dot" and (reply == TAKE_AND_HANG_UP or reply.startswith("2"))
    assert arrived(server) == sorted([*others, 4] if taken else others)
    assert (4 in found.started) is (stage == "dot")


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.7.1 not you", (Delivery.PERMANENT, 550)),
        ("451 later", (Delivery.TRANSIENT, 451)),
        ("hello?", (Delivery.TRANSIENT, -1)),
    ],
)
def test_a_refused_sender_is_that_mails_answer(
    server: MailServer, connections: int, reply: str, expected: tuple[Delivery, int]
) -> None:
    """F-24."""
    server.answer("mail", "250 ok", reply)
    found = told(server, letters(6), connections)

    (refused,) = [answer for answer in found.replies.values() if answer.delivery is not Delivery.ACCEPTED]
    assert (refused.delivery, refused.code, refused.stage) == (*expected, "mail")
    assert arrived(server) == found.of(Delivery.ACCEPTED)
    assert len(server.ledger) == 5


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(
    ("stage", "reply"),
    [("mail", "421 4.7.0 enough for this connection"), ("mail", HANG_UP), ("rcpt", HANG_UP), ("data", HANG_UP)],
)
def test_a_connection_that_worked_and_ends_costs_nobody_a_try(
    server: MailServer, connections: int, stage: str, reply: str
) -> None:
    """F-35."""
    with talking(server, connections) as transport:
        assert Told(transport, letters(1)).of(Delivery.ACCEPTED) == [1]
        server.ledger.clear()
        server.answer(stage, reply)
        found = Told(transport, letters(6))

    assert found.of(Delivery.ACCEPTED) == arrived(server) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("enough", [1, 2, 3])
def test_a_server_that_hangs_up_after_some_messages_is_called_again(
    server: MailServer, connections: int, enough: int
) -> None:
    """F-35: no attempt is consumed, and nobody is in doubt."""
    server.per_connection = enough
    found = told(server, letters(12), connections)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == list(range(1, 13))


@pytest.mark.parametrize("allowed", [1, 2])
def test_a_server_that_allows_fewer_connections_gets_fewer(server: MailServer, allowed: int) -> None:
    server.connections = allowed
    found = told(server, letters(20))

    assert found.of(Delivery.ACCEPTED) == arrived(server) == list(range(1, 21))
    assert server.opened == allowed + 1


@pytest.mark.parametrize("connections", [1, 4])
def test_a_refused_recipient_before_a_lenient_server_sends_nothing(pipelining: MailServer, connections: int) -> None:
    """RFC 2920, 3.1: 354 although nobody is to get it; a lone dot ends it, and the connection goes on."""
    pipelining.lenient = True
    for number in (2, 3, 6):
        pipelining.always[("rcpt", person(number))] = "550 5.1.1 no"
    found = told(pipelining, letters(8), connections)

    assert found.of(Delivery.PERMANENT) == [2, 3, 6]
    assert found.of(Delivery.ACCEPTED) == arrived(pipelining) == [1, 4, 5, 7, 8]
    assert sorted(found.started) == [1, 4, 5, 7, 8]
    assert pipelining.opened <= connections


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_silence_has_an_end(server: MailServer, stage: str) -> None:
    """F-20, F-31: before the dot it is a try that failed, after it a doubt."""
    server.answer(stage, "250 ok" if stage != "data" else "354 go", SILENCE)
    began = time.monotonic()
    found = told(server, letters(5), 1, timeout=0.8, after_dot_seconds=0.8)

    assert time.monotonic() - began < 25  # the server itself hangs up after 30
    doubtful = found.of(Delivery.UNKNOWN)
    assert len(doubtful) == (stage == "dot")
    assert found.of(Delivery.ACCEPTED) == arrived(server) == [n for n in range(1, 6) if n not in doubtful]


def test_the_answer_to_a_message_has_its_own_time(server: MailServer) -> None:
    """RFC 5321, 4.5.3.2.6: what a slow server needs for a whole message must not make a doubt."""
    server.on_accept = lambda _: time.sleep(1)
    found = told(server, letters(1), timeout=0.8, after_dot_seconds=30)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == [1]


def test_a_server_that_answers_in_the_middle_of_a_message_is_left(server: MailServer) -> None:
    """F-36: nobody can know what such an answer means."""
    with impatient() as port:
        found = Smtp(host="127.0.0.1", port=port, security="none", timeout=30, after_dot_seconds=30, connections=1)
        with closing(SmtpTransport(found, "", hostname="clinic.example")) as transport:
            reply = transport.deliver(letters(1, size=20_000_000)[0])
            assert transport.lines == []

    assert (reply.delivery, reply.stage) == (Delivery.UNKNOWN, "dot")


@contextmanager
def impatient() -> Iterator[int]:
    """Run a server that answers a message before it is all there, and reads no more of it."""
    over = threading.Event()

    def talk(listener: socket.socket) -> None:
        with listener.accept()[0] as sock, sock.makefile("rb") as lines:
            for reply in ("220 hello", "250 hello", "250 ok", "250 ok", "354 go"):
                if not reply.startswith("220"):
                    lines.readline()
                sock.sendall(f"{reply}\r\n".encode())
            lines.readline()
            sock.sendall(b"250 thank you\r\n")
            over.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


# --- nothing can go any more --------------------------------------------------------------------


@pytest.mark.parametrize("banner", ["554 no service", "421 busy", "hello?", HANG_UP])
def test_when_the_first_connection_fails_no_mail_is_touched(server: MailServer, banner: str) -> None:
    """F-19."""
    server.always["connect"] = banner
    found = told(server, letters(3))

    assert "cannot be reached" in found.error
    assert found.replies == {}
    assert found.unsent == found.started == []
    assert [mail.mailing_id for mail in found.source] == [1, 2, 3]


def test_a_server_that_hangs_up_on_everybody_gets_no_mail(server: MailServer) -> None:
    server.always["mail"] = HANG_UP
    found = told(server, letters(3))

    assert "hangs up" in found.error
    assert found.error.endswith("nothing was sent.")
    assert (found.replies, found.started) == ({}, [])
    assert [*found.unsent, *(mail.mailing_id for mail in found.source)] == [1, 2, 3]
    assert server.opened == 2


@pytest.mark.parametrize("connections", [1, 4])
def test_when_the_server_goes_away_in_the_middle_each_mail_is_somewhere(server: MailServer, connections: int) -> None:
    server.per_connection = 2

    def shut(_: Accepted) -> None:
        if len(server.ledger) >= 5:
            server.always["connect"] = "421 going down"

    server.on_accept = shut
    found = told(server, letters(30), connections)

    left = [mail.mailing_id for mail in found.source]
    assert sorted([*found.replies, *found.unsent, *left]) == list(range(1, 31))
    assert found.of(Delivery.ACCEPTED) == arrived(server) == sorted(found.replies)
    assert not set(found.unsent) & set(found.started)
    assert "going down" in found.error
    assert left


def test_the_error_is_one_callers_know() -> None:
    error = UnsentError("no way", letters(2))

    assert isinstance(error, TransportError)
    assert error.exit_code == 75
    assert [mail.mailing_id for mail in error.unsent] == [1, 2]


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("connections", "most", "opened"), [(1, 3, 4), (1, 1, 10), (1, 10, 1)])
def test_a_connection_takes_no_more_than_it_may(server: MailServer, connections: int, most: int, opened: int) -> None:
    found = told(server, letters(10), connections, per_connection=most)

    assert found.of(Delivery.ACCEPTED) == arrived(server) == list(range(1, 11))
    assert server.opened in {opened, opened + 1}  # one more to find that there is no more mail
    assert server.log.count("QUIT") == server.opened


@pytest.mark.parametrize("connections", [1, 4])
def test_no_more_go_in_a_second_than_may(server: MailServer, connections: int) -> None:
    taken: list[float] = []

    def mails() -> Iterator[Outgoing]:
        for mail in letters(15):
            taken.append(time.monotonic())
            yield mail

    with talking(server, connections, rate_per_second=40) as transport:
        assert len(list(transport.deliver_all(mails(), lambda _: None))) == 15
    for (i, early), (j, late) in itertools.combinations(enumerate(taken), 2):
        assert j - i + 1 <= 40 * (late - early) + 2 + 0.1
    assert 14 / 40 - 0.06 <= taken[-1] - taken[0] < 30


def test_what_one_run_took_the_next_has_not(server: MailServer) -> None:
    now = [1_000.0]
    found = Smtp(host="127.0.0.1", port=server.port, security="none", timeout=5, rate_per_second=1)
    with closing(SmtpTransport(found, "", hostname="clinic.example", clock=lambda: now[0])) as first:
        first.deliver(letters(1)[0])
    now[0] += 0.25
    again = SmtpTransport(found, "", hostname="clinic.example", bucket=first.bucket, clock=lambda: now[0])

    assert again.bucket == Bucket(0.0, 1_000.0)
    assert again.wait() == pytest.approx(0.75)


@pytest.mark.parametrize("message", [b"a\nb\r\n", b"Subject: x\r\n\r\n" + b"long line\r\n" * 200, b"\xff\r\n"])
def test_a_message_that_cannot_go_is_answered_and_the_others_go(server: MailServer, message: bytes) -> None:
    """F-37, SEC-9."""
    server.extensions = ("PIPELINING", "SIZE 1000")
    mails = letters(6)
    mails[2] = Outgoing(3, SENDER, person(3), message)
    found = told(server, mails, 2)

    assert (found.replies[3].delivery, found.replies[3].stage) == (Delivery.PERMANENT, "data")
    assert found.of(Delivery.ACCEPTED) == arrived(server) == [1, 2, 4, 5, 6]
    assert not [line for line in server.log if person(3) in line]


# --- whatever a server does ---------------------------------------------------------------------

ANYTHING = st.sampled_from(
    [
        "250 ok", "550 no", "451 later", "421 bye", "503 what", "354 go", "hello?", "", "2", "250-more\r\n250 ok",
        HANG_UP, TAKE_AND_HANG_UP, "250 ok\r\n250 ok", "452 full\r\n250 ok", "354 go\r\n250 done", "550 no\r\n354 go",
    ]
)  # fmt: skip
SCRIPTS = st.fixed_dictionaries(
    {},
    optional={
        stage: st.lists(ANYTHING, min_size=1, max_size=4)
        for stage in ("connect", "ehlo", "mail", "rcpt", "data", "dot", "rset")
    },
)
VERBS = ("ehlo", "HELO", "helo", "MAIL", "RCPT", "DATA", "RSET", "QUIT")


@pytest.fixture(scope="module")
def strange() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@st.composite
def servers(draw: st.DrawFn) -> dict[str, object]:
    """Draw what a server says at which stage, and its habits."""
    return {
        "script": draw(SCRIPTS),
        "extensions": EXTENSIONS[draw(st.sampled_from(list(EXTENSIONS)))],
        "lenient": draw(st.booleans()),
        "per_connection": draw(st.sampled_from([0, 0, 1, 2])),
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(habits=servers(), connections=st.sampled_from([1, 2, 4]), count=st.integers(1, 8))
def test_whatever_a_server_does_the_answers_are_true(
    strange: MailServer, habits: dict[str, object], connections: int, count: int
) -> None:
    """P3, P4: nobody gets two; accepted is in the ledger; refused is not; doubt only about what was started."""
    strange.ledger.clear()
    strange.log.clear()
    for name, value in habits.items():
        setattr(strange, name, copy.deepcopy(value))
    found = told(strange, letters(count), connections)

    left = [mail.mailing_id for mail in found.source]
    assert sorted([*found.replies, *found.unsent, *left]) == list(range(1, count + 1))
    ledger = arrived(strange)
    assert len(ledger) == len(set(ledger))
    assert set(found.of(Delivery.ACCEPTED)) <= set(ledger)
    assert not set(ledger) & {*found.of(Delivery.PERMANENT), *found.of(Delivery.TRANSIENT), *found.unsent, *left}
    assert set(found.of(Delivery.UNKNOWN)) | set(ledger) <= set(found.started)
    assert bool(found.error) or not (left or found.unsent)
    # A lone dot may reach a server that says 354 and does not mean it; never a line of a message.
    assert [line for line in strange.log if line != "." and not line.startswith(VERBS)] == []
