"""Two at the same row at the same moment: each with its own connection, as two processes have."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from funnel.model import Event, EventKind, MailingStatus
from funnel.store import enrollments, events, gifts, mailings
from funnel.store.database import moment, open_database
from tests.store.rows import NOW, START, one_of_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.store.database import Database

RACERS = 6
LATER = moment(START + 86_400)


def deferred(db: Database) -> None:
    mailings.finish(db, 1, MailingStatus.DEFERRED, now=NOW, retry_at=NOW)


def nothing(_: Database) -> None:
    return


#: What comes before, the race, and what all but one get.
RACES: dict[str, tuple[Callable[[Database], object], Callable[[Database, int], object], object]] = {
    "claim": (
        nothing,
        lambda db, i: mailings.add(db, 1, "next", "drip", MailingStatus.SENDING, due=NOW, now=NOW, run_id=i),
        None,
    ),
    "claim again": (deferred, lambda db, i: mailings.reclaim(db, 1, now=NOW, run_id=i), False),
    "finish": (nothing, lambda db, _: mailings.finish(db, 1, MailingStatus.SENT, now=NOW), False),
    "redeem": (nothing, lambda db, i: gifts.redeem(db, 1, by=f"clerk {i}", now=NOW), False),
    "code of one holder": (nothing, lambda db, i: gifts.add(db, f"code {i}", "h", 1, now=NOW, expires=LATER), False),
    "holder of one code": (nothing, lambda db, i: gifts.add(db, "code", f"h {i}", 1, now=NOW, expires=LATER), False),
    "event": (nothing, lambda db, _: events.add(db, Event("esp", "1", EventKind.BOUNCED, NOW, 1)), False),
    "end": (nothing, lambda db, _: enrollments.end_all(db, 1, "unsubscribed"), 0),
}


@pytest.mark.parametrize("name", RACES)
def test_one_wins(tmp_path: Path, name: str) -> None:
    before, race, lost = RACES[name]
    path = tmp_path / "funnel.db"
    with open_database(path, create=True) as db:
        one_of_each(db)
        before(db)
    start = threading.Barrier(RACERS)
    results: list[object] = []

    def run(number: int) -> None:
        with open_database(path) as db:
            start.wait()
            with db.transaction():
                results.append(race(db, number))

    racers = [threading.Thread(target=run, args=(i,)) for i in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert len(results) == RACERS
    assert sum(result != lost for result in results) == 1


def test_of_two_who_read_before_they_write_none_is_lost(tmp_path: Path) -> None:
    """SQL-2: the lock is taken before the reading, so that no count is written twice."""
    path = tmp_path / "funnel.db"
    with open_database(path, create=True) as db:
        db.execute("INSERT INTO setting VALUES ('count', '0')")

    def count_up() -> None:
        with open_database(path) as db:
            for _ in range(25):
                with db.transaction():
                    seen = int(db.value("SELECT value FROM setting WHERE key = 'count'"))
                    db.execute("UPDATE setting SET value = ? WHERE key = 'count'", (str(seen + 1),))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with open_database(path) as db:
        assert db.value("SELECT value FROM setting WHERE key = 'count'") == "100"
