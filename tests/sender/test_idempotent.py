"""A provider that drops doubles by their key: lost answers cost no copy and no mail, for as long as it remembers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from funnel.app import Funnel
from funnel.config import load_config
from funnel.demo.mailserver import HANG_UP, TAKE_AND_HANG_UP, Accepted, MailServer
from funnel.model import MailingStatus
from funnel.store import mailings
from tests.kit import Clock, as_toml, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANN = "ann@mail.example"
KEY = re.compile(rb"^Resend-Idempotency-Key: (\w+)\r$", re.MULTILINE)


class Provider:
    """Delivers each key once in 24 hours."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.known: dict[bytes, float] = {}
        self.delivered: list[tuple[str, bytes]] = []

    def take(self, mail: Accepted) -> None:
        (key,) = KEY.findall(mail.content)
        now = self.clock.now.timestamp()
        if now - self.known.get(key, 0) >= timedelta(hours=24).total_seconds():
            self.known[key] = now
            self.delivered.append((mail.recipient, key))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
def server(provider: Provider) -> Iterator[MailServer]:
    with MailServer(on_accept=provider.take) as running:
        yield running


@pytest.fixture
def funnel(tmp_path: Path, server: MailServer, clock: Clock) -> Funnel:
    make_funnel(tmp_path, now=clock)
    settings = tmp_path / "funnel.toml"
    smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "timeout": 5,
            "idempotency_header": "Resend-Idempotency-Key"}  # fmt: skip
    words = settings.read_text("utf-8").replace('kind = "memory"', 'kind = "smtp"')
    settings.write_text(words + "\n" + as_toml({"transport.smtp": smtp}), "utf-8")
    return Funnel(load_config(settings), clock=clock)


def run(funnel: Funnel) -> None:
    with funnel.session() as db:
        list(funnel.sender(db).send_due())


def statuses(funnel: Funnel) -> list[str]:
    with funnel.session(readonly=True) as db:
        return [row[0] for row in db.all("SELECT status FROM mailing ORDER BY id")]


def to_first_drip(funnel: Funnel, clock: Clock) -> None:
    """Bring one person to the first mail of the series, which without a key would be held after a doubt."""
    sign_up(funnel, ANN)
    run(funnel)
    confirm(funnel, ANN)
    run(funnel)
    with funnel.session(readonly=True) as db:
        due = db.value("SELECT min(next_at) FROM enrollment WHERE next_at IS NOT NULL")
    clock.tick(seconds=due - clock.now.timestamp())


@pytest.mark.parametrize("lost", [TAKE_AND_HANG_UP, HANG_UP])
@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_costs_neither_a_copy_nor_a_mail(  # noqa: PLR0917
    funnel: Funnel, clock: Clock, server: MailServer, provider: Provider, lost: str, times: int
) -> None:
    to_first_drip(funnel, clock)
    before = len(provider.delivered)
    server.answer("dot", *[lost] * times)
    for _ in range(40):
        run(funnel)
        clock.tick(minutes=15)
        if set(statuses(funnel)) == {"sent"}:
            break

    assert set(statuses(funnel)) == {"sent"}
    assert len(provider.delivered) - before == 1


def test_when_cron_was_silent_for_too_long_it_is_held(
    funnel: Funnel, clock: Clock, server: MailServer, provider: Provider
) -> None:
    to_first_drip(funnel, clock)
    before = len(provider.delivered)
    server.answer("dot", TAKE_AND_HANG_UP)
    run(funnel)
    assert statuses(funnel)[-1] == "deferred"
    clock.tick(hours=23, minutes=30)
    for _ in range(3):
        run(funnel)
        clock.tick(minutes=10)

    with funnel.session(readonly=True) as db:
        (held,) = mailings.in_status(db, MailingStatus.UNCERTAIN)
    assert "too late to try again" in held.reason
    assert len([key for _, key in provider.delivered[before:] if key == provider.delivered[before][1]]) == 1


def test_what_somebody_decided_goes_however_late(funnel: Funnel, clock: Clock, server: MailServer) -> None:
    to_first_drip(funnel, clock)
    server.answer("dot", TAKE_AND_HANG_UP)
    run(funnel)
    clock.tick(days=2)
    with funnel.session() as db:
        db.execute("UPDATE mailing SET reason = 'goes again: somebody decided so' WHERE status = 'deferred'")
    run(funnel)

    assert set(statuses(funnel)) <= {"sent", "skipped"}
