"""The rate over several real runs, and the key by which a provider knows a double."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.app import Funnel
from funnel.config import Smtp, load_config
from funnel.demo.mailserver import TAKE_AND_HANG_UP, Accepted, MailServer
from funnel.errors import ConfigError, StoreBusyError, TransportError
from funnel.model import Delivery, Outgoing
from funnel.store import runs
from funnel.store.pace import KEY, Pace
from funnel.transport.around import Keyed, Paced, key_of
from funnel.transport.bucket import IN_USE, Bucket
from funnel.transport.memory import MemoryTransport
from funnel.transport.smtp import SmtpTransport
from tests.kit import Clock, as_toml, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 40.0
HEADER = "Resend-Idempotency-Key"
LETTER = b"From: a@clinic.example\r\nDate: Tue, 17 Nov 2026 16:00:00 +0000\r\nX-Funnel-Id: 1.aa\r\n\r\nHello\r\n"


@pytest.fixture
def taken() -> list[float]:
    return []


@pytest.fixture
def server(taken: list[float]) -> Iterator[MailServer]:
    def note(_: Accepted) -> None:
        taken.append(time.monotonic())

    with MailServer(on_accept=note) as running:
        yield running


def shop(folder: Path, server: MailServer, **smtp: object) -> Funnel:
    """Return a funnel that sends to the server."""
    make_funnel(folder, clinic={"from_address": "hello@clinic.example"})
    settings = folder / "funnel.toml"
    server_is = {"host": "127.0.0.1", "port": server.port, "security": "none", "timeout": 30} | smtp
    words = settings.read_text("utf-8").replace('kind = "memory"', 'kind = "smtp"')
    settings.write_text(words + "\n" + as_toml({"transport.smtp": server_is}), "utf-8")
    return Funnel(load_config(settings), clock=Clock())


def run(funnel: Funnel) -> int:
    """Send what is due with a transport of its own, as each start of the command has."""
    funnel.__dict__.pop("transport", None)
    with funnel.session() as db:
        return len(list(funnel.sender(db).send_due()))


def kept(funnel: Funnel) -> str | None:
    with funnel.session(readonly=True) as db:
        return runs.get(db, KEY)


# --- a rate that holds from run to run -----------------------------------------------------------


def test_eight_runs_share_one_rate(tmp_path: Path, server: MailServer, taken: list[float]) -> None:
    """The funnel's clock stands still, so that nothing is gained between runs. Alone, none would have to wait."""
    funnel = shop(tmp_path, server, rate_per_second=20)
    for number in range(8):
        sign_up(funnel, f"p{number}@mail.example")
        assert run(funnel) == 1

    # One token may have grown back before the first was noted, on a slow machine.
    assert taken[-1] - taken[0] >= 6 / 20 - 0.001


def test_a_run_without_mail_leaves_the_bucket_alone(tmp_path: Path, server: MailServer) -> None:
    funnel = shop(tmp_path, server, rate_per_second=RATE)

    assert run(funnel) == 0
    assert kept(funnel) is None


def test_while_a_run_is_at_work_that_is_on_record(tmp_path: Path, server: MailServer) -> None:
    """So a run that dies at any moment leaves the word by which the next begins with nothing."""
    funnel = shop(tmp_path, server, rate_per_second=RATE)
    sign_up(funnel, "ann@mail.example")
    seen: list[str | None] = []
    server.on_accept = lambda _: seen.append(kept(funnel))
    run(funnel)

    assert seen == [IN_USE]
    tokens, at = map(float, (kept(funnel) or "").split())
    assert 0 <= tokens <= 2
    assert at == funnel.clock().timestamp()


def test_without_a_rate_nothing_is_kept(tmp_path: Path, server: MailServer) -> None:
    funnel = shop(tmp_path, server)
    sign_up(funnel, "ann@mail.example")
    run(funnel)

    assert isinstance(funnel.transport, SmtpTransport)
    assert kept(funnel) is None


class Shelf:
    """Keeps words in memory; ``busy`` makes it refuse."""

    def __init__(self, words: str | None = None) -> None:
        self.words = words
        self.busy = False

    def now(self) -> float:
        return 2e9

    def kept(self) -> str | None:
        return self.words

    def keep(self, words: str) -> None:
        if self.busy:
            raise StoreBusyError
        self.words = words


def paced(server: MailServer, shelf: Shelf, rate: float = 1.0) -> Paced:
    settings = Smtp(host="127.0.0.1", port=server.port, security="none", timeout=30, rate_per_second=rate)
    return Paced(SmtpTransport(settings, "", hostname="clinic.example", clock=lambda: 7.0), shelf)


def test_what_a_dead_run_left_is_nothing(server: MailServer) -> None:
    transport = paced(server, Shelf(IN_USE))
    transport.open()
    assert transport.inner.bucket == Bucket(0.0, 7.0)
    transport.close()


def test_it_can_be_used_without_being_opened_first_and_again_after(server: MailServer) -> None:
    shelf = Shelf("1.0 1999999999.0")
    transport = paced(server, shelf)
    for used in range(2):
        transport.inner.bucket = Bucket(1.0, 7.0)
        if used:
            shelf.words = "1.0 2000000000.0"
        assert transport.deliver(Outgoing(1, "a@b.example", "c@d.example", LETTER)).delivery is Delivery.ACCEPTED
        assert shelf.words == IN_USE
        transport.close()
        assert shelf.words == "0.0 2000000000.0"


def test_a_shelf_that_is_locked_at_the_end_costs_only_time(server: MailServer) -> None:
    """Closing never raises; the word that is left makes the next run begin with nothing."""
    shelf = Shelf()
    transport = paced(server, shelf)
    transport.open()
    shelf.busy = True
    transport.close()

    assert shelf.words == IN_USE


def test_nothing_goes_that_cannot_be_counted(server: MailServer) -> None:
    shelf = Shelf()
    shelf.busy = True
    with pytest.raises(StoreBusyError):
        paced(server, shelf).open()
    assert server.opened == 0


def test_a_server_that_is_away_costs_no_token() -> None:
    with MailServer() as gone:
        shelf, transport = Shelf("0.25 2000000000.0"), paced(gone, Shelf())
        transport.keeper = shelf
    with pytest.raises(TransportError):
        transport.open()
    transport.close()

    assert shelf.words == "0.25 2000000000.0"


def test_the_database_keeps_it(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    pace = Pace(funnel.session, funnel.clock)
    assert pace.kept() is None
    pace.keep("one")
    pace.keep("two")

    assert Pace(funnel.session, funnel.clock).kept() == "two"
    assert pace.now() == funnel.clock().timestamp()


# --- a key for the provider ----------------------------------------------------------------------


def header(message: bytes, name: str) -> str:
    (found,) = re.findall(rf"^{name}: (.+)\r$".encode(), message.partition(b"\r\n\r\n")[0] + b"\r\n", re.MULTILINE)
    return str(found, "ascii")


def test_a_mail_has_the_same_key_at_every_try(tmp_path: Path, server: MailServer) -> None:
    """Also after a run that died, when the message is written anew."""
    funnel = shop(tmp_path, server, idempotency_header=HEADER)
    sign_up(funnel, "ann@mail.example")
    sign_up(funnel, "ben@mail.example")
    server.answer("dot", TAKE_AND_HANG_UP, TAKE_AND_HANG_UP)
    run(funnel)
    assert isinstance(funnel.clock, Clock)
    funnel.clock.tick(minutes=1)
    run(funnel)
    keys = [(mail.recipient, header(mail.content, HEADER)) for mail in server.ledger]

    assert len(keys) == 4
    assert len(set(keys)) == 2
    assert len({key for _, key in keys}) == 2
    assert all(re.fullmatch("[0-9a-f]{40}", key) for _, key in keys)
    assert {header(mail.content, "X-Funnel-Id") for mail in server.ledger}  # and our own mark stays


def test_no_key_where_the_settings_name_no_header(tmp_path: Path, server: MailServer) -> None:
    funnel = shop(tmp_path, server)
    sign_up(funnel, "ann@mail.example")
    run(funnel)

    assert b"dempotency" not in server.ledger[0].content


@given(st.text("abc123", min_size=1, max_size=9), st.text("abc123", min_size=1, max_size=9), st.binary(max_size=50))
def test_a_key_tells_mailings_apart_and_nothing_else(one: str, other: str, words: bytes) -> None:
    mails = [LETTER.replace(b"1.aa", mark.encode()) for mark in (one, other)]

    assert (key_of(mails[0]) == key_of(mails[1])) == (one == other)
    assert key_of(mails[0] + words) == key_of(mails[0])
    assert key_of(mails[0].replace(b"a@clinic", b"z@clinic")) == key_of(mails[0])
    assert key_of(LETTER + b"\r\n\r\nX-Funnel-Id: 2.bb\r\n") == key_of(LETTER)


def test_a_number_given_out_again_after_a_restore_has_another_key() -> None:
    assert key_of(LETTER.replace(b"16:00:00", b"16:00:01")) != key_of(LETTER)


def test_it_adds_one_line_and_passes_all_else_on() -> None:
    memory = MemoryTransport()
    transport = Keyed(memory, HEADER)
    mail = Outgoing(1, "a@b.example", "c@d.example", LETTER)
    transport.open()
    transport.deliver(mail)
    started: list[int] = []
    answers = list(transport.deliver_all(iter([mail]), started.append))
    transport.close()

    assert [sent.message for sent in memory.accepted] == [f"{HEADER}: {key_of(LETTER)}\r\n".encode() + LETTER] * 2
    assert [(got.mailing_id, reply.delivery) for got, reply in answers] == [(1, Delivery.ACCEPTED)]
    assert started == [1]


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Message-ID", "x-funnel-id", "List-Unsubscribe", "To", "a b", "A:", "Ü-Key", "K\n"])
def test_a_header_of_ours_is_no_header_for_a_key(tmp_path: Path, server: MailServer, name: str) -> None:
    with pytest.raises(ConfigError, match="idempotency_header"):
        shop(tmp_path, server, idempotency_header=name)


def test_idempotent_wants_to_know_the_header(tmp_path: Path, server: MailServer) -> None:
    with pytest.raises(ConfigError, match="idempotency_header is empty"):
        make_funnel(tmp_path, sending={"on_uncertain": {"drip": "idempotent"}})
    assert shop(tmp_path, server).config.remembers == timedelta(0)
    assert shop(tmp_path, server, idempotency_header=HEADER).config.remembers == timedelta(hours=24)
    given = shop(tmp_path, server, idempotency_header="Idempotency-Key", idempotency_hours=1.5)
    assert given.config.remembers == timedelta(hours=1.5)
