"""P5: what a sender has seen holds for a moment, and nobody is told of a stop before that is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from funnel.model import Status
from funnel.store import database, events, subscribers
from funnel.store.database import LOOK_SECONDS, Database, open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 6, 1, 17, tzinfo=UTC)


class Time:
    """A clock that only sleeping turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(database, "time", made)
    return made


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "funnel.db", create=True) as db:
        yield db


@pytest.fixture
def web(tmp_path: Path, sender: Database) -> Iterator[Database]:
    with sender.transaction():
        sender.execute(
            """INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at)
               VALUES (1, 'ann@mail.example', 'ann@mail.example', 'confirmed', 'UTC', '', '', 0)"""
        )
    with open_database(tmp_path / "funnel.db") as db:
        yield db


@pytest.mark.parametrize(
    "stop",
    [
        lambda db: subscribers.stop(db, 1, Status.UNSUBSCRIBED, NOW),
        lambda db: subscribers.forget(db, 1, NOW),
        lambda db: events.suppress(db, "hash", "blocked", NOW),
    ],
    ids=["stopped", "forgotten", "blocked"],
)
def test_nothing_starts_once_somebody_was_told_that_it_stops(
    sender: Database, web: Database, clock: Time, stop: Callable[[Database], None]
) -> None:
    """P5: whatever was seen right before, it is looked at anew when the stop's transaction has returned."""
    seen = sender.version
    assert sender.still(seen)
    with web.transaction():
        stop(web)
    assert not sender.still(seen)


def test_what_was_seen_holds_for_a_moment(sender: Database, web: Database, clock: Time) -> None:
    """And no longer: whoever else writes waits for nobody, and is seen soon."""
    seen, before = sender.version, clock.now
    assert sender.still(seen)
    with web.transaction():
        web.execute("UPDATE subscriber SET name = 'Ann'")
    assert clock.now == before
    assert sender.still(seen)
    clock.now += LOOK_SECONDS
    assert not sender.still(seen)
    assert sender.still(sender.version)


def test_what_was_asked_about_another_version_does_not_count(sender: Database, web: Database, clock: Time) -> None:
    """A new batch begins with what its claims were decided by."""
    assert clock.now
    seen = sender.version
    assert sender.still(seen)
    assert not sender.still(seen + 1)
