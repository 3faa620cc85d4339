"""What every way out must do: memory, a folder of files, and a real SMTP server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.config import Smtp, TransportSettings, load_config
from funnel.demo.mailserver import MailServer
from funnel.errors import ConfigError, TransportError
from funnel.model import Delivery, Outgoing
from funnel.transport import UnsentError, make_transport
from funnel.transport.memory import MemoryTransport
from funnel.transport.outbox import OutboxTransport
from funnel.transport.smtp import SmtpTransport
from tests.kit import SETTINGS, as_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from funnel.transport import Transport

SENDER, ANN = "hello@clinic.example", "ann@mail.example"
MESSAGE = b"Subject: Hello\r\n\r\nOne line.\r\n"
KINDS = ("memory", "outbox", "smtp", "pipelining")


@dataclass
class Way:
    """A transport, and what the world got from it: sender, recipient, bytes."""

    transport: Transport
    taken: Callable[[], list[tuple[str, str, bytes]]]


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture(scope="module")
def pipelining() -> Iterator[MailServer]:
    with MailServer(extensions=("PIPELINING", "SIZE 1000000", "8BITMIME")) as running:
        yield running


def smtp(server: MailServer) -> SmtpTransport:
    settings = Smtp(host="127.0.0.1", port=server.port, security="none", timeout=5)
    return SmtpTransport(settings, "", hostname="clinic.example")


def in_files(folder: Path) -> list[tuple[str, str, bytes]]:
    found = []
    for file in sorted(folder.glob("*.eml")):
        sender, recipient, message = file.read_bytes().split(b"\r\n", 2)
        found.append((sender.decode()[14:-1], recipient.decode()[14:], message))
    return found


@pytest.fixture(params=KINDS)
def way(request: pytest.FixtureRequest, tmp_path: Path, server: MailServer, pipelining: MailServer) -> Iterator[Way]:
    if request.param == "memory":
        memory = MemoryTransport()
        found = Way(memory, lambda: [(m.sender, m.recipient, m.message) for m in memory.accepted])
    elif request.param == "outbox":
        found = Way(OutboxTransport(tmp_path / "out" / "box"), lambda: in_files(tmp_path / "out" / "box"))
    else:
        chosen = pipelining if request.param == "pipelining" else server
        chosen.ledger.clear()
        found = Way(smtp(chosen), lambda: [(m.sender, m.recipient, m.content) for m in chosen.ledger])
    yield found
    found.transport.close()


def test_what_is_accepted_arrives_unchanged(way: Way) -> None:
    way.transport.open()
    reply = way.transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))

    assert (reply.delivery, reply.code) == (Delivery.ACCEPTED, 250)
    assert way.taken() == [(SENDER, ANN, MESSAGE)]


def test_many_go_one_after_another(way: Way) -> None:
    way.transport.open()
    for i in range(1, 6):
        reply = way.transport.deliver(Outgoing(i, SENDER, f"p{i}@mail.example", MESSAGE))
        assert reply.delivery is Delivery.ACCEPTED

    assert [recipient for _, recipient, _ in way.taken()] == [f"p{i}@mail.example" for i in range(1, 6)]


def test_opening_twice_and_closing_twice_is_fine(way: Way) -> None:
    way.transport.open()
    way.transport.open()
    way.transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))
    way.transport.close()
    way.transport.close()
    way.transport.open()
    way.transport.deliver(Outgoing(2, SENDER, ANN, MESSAGE))

    assert len(way.taken()) == 2


def test_closing_what_was_never_open_is_fine(way: Way) -> None:
    way.transport.close()
    assert way.taken() == []


@pytest.mark.parametrize(
    "body",
    [
        b".\r\n",
        b"..\r\n.\r\nMAIL FROM:<evil@x.example>\r\n",
        b"a\r\n.\r\n.\r\n..b\r\n",
        b"\r\n\r\n.\r\n",
        b"x" * 998 + b"\r\n",
        b"y" * 300_000 + b"\r\n",
    ],
)
def test_dots_and_length_do_not_change_a_message(way: Way, body: bytes) -> None:
    """SEC-9: a line of one dot is a line, not the end."""
    way.transport.open()
    way.transport.deliver(Outgoing(1, SENDER, ANN, b"Subject: x\r\n\r\n" + body))

    assert [message for _, _, message in way.taken()] == [b"Subject: x\r\n\r\n" + body]


def letters(count: int) -> list[Outgoing]:
    return [Outgoing(i, SENDER, f"p{i}@mail.example", MESSAGE) for i in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_all_of_many_arrive_once_and_are_announced_before(way: Way, count: int) -> None:
    way.transport.open()
    started: list[int] = []
    mails = letters(count)
    for mail, reply in way.transport.deliver_all(iter(letters(count)), started.append):
        assert reply.delivery is Delivery.ACCEPTED
        assert mail.mailing_id in started
        mails.remove(mail)

    assert mails == []
    assert sorted(started) == list(range(1, count + 1))
    assert sorted(way.taken()) == sorted((SENDER, mail.recipient, MESSAGE) for mail in letters(count))


def test_nothing_goes_before_somebody_listens(way: Way) -> None:
    mails = iter(letters(3))
    way.transport.deliver_all(mails, lambda _: None)

    assert way.taken() == []
    assert next(mails).mailing_id == 1


def test_when_the_caller_stops_listening_the_rest_stays_with_the_caller(way: Way) -> None:
    way.transport.open()
    started: list[int] = []
    mails = iter(letters(100))
    answers = way.transport.deliver_all(mails, started.append)
    next(answers)
    answers.close()

    left = [mail.mailing_id for mail in mails]
    assert len(left) > 50
    assert not set(started) & set(left)
    assert {recipient for _, recipient, _ in way.taken()} == {f"p{i}@mail.example" for i in started}
    assert way.transport.deliver(Outgoing(101, SENDER, ANN, MESSAGE)).delivery is Delivery.ACCEPTED


class BoomError(Exception):
    """What somebody else's code may raise."""


def test_what_cannot_be_noted_does_not_go(way: Way) -> None:
    """F-11: the caller could not write down that a mail is about to go, so it does not."""
    way.transport.open()
    noted: list[int] = []

    def note(mailing_id: int) -> None:
        if len(noted) == 5:
            raise BoomError
        noted.append(mailing_id)

    with pytest.raises(BoomError):
        list(way.transport.deliver_all(iter(letters(30)), note))
    assert sorted(recipient for _, recipient, _ in way.taken()) == sorted(f"p{i}@mail.example" for i in noted)


def test_when_the_next_mail_cannot_be_had_those_before_are_finished(way: Way) -> None:
    way.transport.open()
    started: list[int] = []

    def mails() -> Iterator[Outgoing]:
        yield from letters(6)
        raise BoomError

    with pytest.raises(BoomError):
        list(way.transport.deliver_all(mails(), started.append))
    assert sorted(recipient for _, recipient, _ in way.taken()) == [f"p{i}@mail.example" for i in sorted(started)]


LINES = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=60) | st.sampled_from([".", "..", ".a"]),
    max_size=8,
)


@settings(max_examples=40)
@given(lines=LINES)
def test_any_lines_arrive_as_they_are(server: MailServer, lines: list[str]) -> None:
    """SEC-9, MSG-6."""
    message = "".join(f"{line}\r\n" for line in ["Subject: x", "", *lines]).encode()
    server.ledger.clear()
    transport = smtp(server)
    transport.deliver(Outgoing(1, SENDER, ANN, message))
    transport.close()

    assert [taken.content for taken in server.ledger] == [message]


# --- the folder --------------------------------------------------------------------------------


def test_the_same_mail_again_is_the_same_file(tmp_path: Path) -> None:
    """MSG-6: a second try leaves one file."""
    transport = OutboxTransport(tmp_path / "outbox")
    transport.open()
    for _ in range(2):
        transport.deliver(Outgoing(7, SENDER, ANN, MESSAGE))

    (file,) = (tmp_path / "outbox").iterdir()
    assert file.name == "00000007.eml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransportError, match="outbox folder box cannot be made"):
        OutboxTransport(tmp_path / "file" / "box").open()


def test_a_folder_that_went_away_is_told(tmp_path: Path) -> None:
    transport = OutboxTransport(tmp_path / "outbox")
    transport.open()
    (tmp_path / "outbox").rmdir()
    with pytest.raises(TransportError, match="outbox folder outbox cannot be written: No such file"):
        transport.deliver(Outgoing(1, SENDER, ANN, MESSAGE))


def test_a_mail_for_which_there_is_no_folder_is_handed_back(tmp_path: Path) -> None:
    transport = OutboxTransport(tmp_path / "outbox")
    transport.open()
    mails = iter(letters(3))
    answers = transport.deliver_all(mails, lambda _: None)
    assert next(answers)[0].mailing_id == 1
    shutil.rmtree(tmp_path / "outbox")
    with pytest.raises(UnsentError, match="cannot be written") as raised:
        next(answers)

    assert [mail.mailing_id for mail in raised.value.unsent] == [2]
    assert [mail.mailing_id for mail in mails] == [3]


# --- choosing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "made"), [("memory", MemoryTransport), ("outbox", OutboxTransport)])
def test_the_settings_choose(tmp_path: Path, kind: str, made: type) -> None:
    (tmp_path / "funnel.toml").write_text(as_toml({**SETTINGS, "transport": {"kind": kind}}))
    assert isinstance(make_transport(load_config(tmp_path / "funnel.toml")), made)


def test_a_user_without_a_password_is_told_where_to_put_it(tmp_path: Path) -> None:
    server = {"host": "mail.example", "user": "clinic"}
    (tmp_path / "funnel.toml").write_text(
        as_toml({**SETTINGS, "transport": {"kind": "smtp"}, "transport.smtp": server})
    )
    config = load_config(tmp_path / "funnel.toml")
    with pytest.raises(ConfigError, match="FUNNEL_SMTP_PASSWORD"):
        make_transport(config)

    assert isinstance(make_transport(config, "secret"), SmtpTransport)
    assert TransportSettings().kind == "outbox"
