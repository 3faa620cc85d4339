"""What is asked while sending costs what is due, not what is stored: SQLite's own plan says so."""

from __future__ import annotations

import inspect
import time
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from funnel.model import EventKind, MailingStatus, Receipt, Status
from funnel.store import consents, enrollments, events, figures, gifts, mailings, runs, subscribers, tick
from funnel.store.database import open_database
from tests.store.rows import NOW, Noting, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from funnel.store.database import Database

PEOPLE = 20_000
BIG = ("subscriber", "enrollment", "mailing", "event", "consent", "gift", "suppression", "outgoing")
NEAR = NOW + timedelta(minutes=5)
LONG_AGO = NOW - timedelta(days=13)

#: Everything that sending, the pages and one person's answer ask; each on its own.
ASKED: dict[str, Callable[[Database], object]] = {
    "anything due": lambda db: enrollments.anything_due(db, NEAR),
    "due": lambda db: enrollments.due(db, NEAR, 200),
    "all due": lambda db: enrollments.due(db, NEAR, -1),
    "retries due": lambda db: mailings.retries_due(db, NEAR, -1),
    "left in sending": lambda db: mailings.sending_of_dead_runs(db, 7),
    **{f"all {status}": lambda db, s=status: mailings.in_status(db, s)  # type: ignore[misc]
       for status in (MailingStatus.UNCERTAIN, MailingStatus.HELD, MailingStatus.DEFERRED, MailingStatus.SENDING)},
    "empty runs": runs.drop_empty,
    "last run": runs.latest,
    "pauses": lambda db: subscribers.end_pauses(db, LONG_AGO),
    "pending": lambda db: subscribers.pending_before(db, LONG_AGO),
    "gifts": lambda db: gifts.expire(db, NEAR),
    "old addresses": lambda db: consents.truncate_ips(db, LONG_AGO),
    "raw sources": lambda db: events.forget_raw(db, LONG_AGO),
    "person": lambda db: subscribers.by_id(db, 7),
    "address": lambda db: subscribers.by_key(db, "p7@mail.example"),
    "tags": lambda db: subscribers.tags_of(db, 7),
    "receipts": lambda db: consents.of(db, 7),
    "way": lambda db: enrollments.latest(db, 7, "series"),
    "asked how often": lambda db: enrollments.entered_since(db, 7, "confirm", LONG_AGO),
    "ways": lambda db: enrollments.of(db, 7),
    "last mail": lambda db: enrollments.last_mail_at(db, 7),
    "mails": lambda db: mailings.of_enrollment(db, 7),
    "one mail": lambda db: mailings.of_step(db, 7, "guide"),
    "put back": lambda db: enrollments.put_back(db, enrollments.of(db, 7)[0]),
    "dead run's": lambda db: mailings.give_back(db, 7, now=NOW, attempted=False),
    "stop ways": lambda db: enrollments.end_all(db, 7, "unsubscribed"),
    "stop mails": lambda db: mailings.end_open_of(db, 7, "unsubscribed", NOW),
    "gift": lambda db: gifts.by_holder(db, "7"),
    "code": lambda db: gifts.by_code(db, "7"),
    "events": lambda db: events.of(db, 7),
    "last event": lambda db: events.last(db, 7, (EventKind.DOWNLOADED, EventKind.CAPTURED)),
    "suppressed": lambda db: events.suppressed(db, "hash 7", "hash 8"),
    "forget receipts": lambda db: consents.forget(db, 7),
    "forget mails": lambda db: mailings.forget(db, 7),
    "forget events": lambda db: events.forget(db, 7),
    "forget gift": lambda db: gifts.forget(db, 7),
    "forget person": lambda db: subscribers.forget(db, 7, NOW),
    "confirm": lambda db: subscribers.confirm(db, 7, NOW),
    "stop": lambda db: subscribers.stop(db, 7, Status.UNSUBSCRIBED, NOW),
    "receipt": lambda db: consents.add(db, 7, Receipt("withdrawn", NOW, wording="words")),
    "claim": lambda db: mailings.add(db, 7, "next", "drip", MailingStatus.SENDING, due=NOW, now=NOW),
    "claim again": lambda db: mailings.reclaim(db, 50, now=NOW, run_id=None),
    "finish": lambda db: mailings.finish(db, 7, MailingStatus.SENT, now=NOW),
    "give back": lambda db: mailings.release(db, 7),
    "due in all": lambda db: figures.due_count(db, NEAR),
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "funnel.db"
    fill(path, PEOPLE)
    return path


@pytest.fixture
def db(path: Path) -> Iterator[Noting]:
    """Give the big database; what a test changes is undone."""
    with open_database(path) as opened:
        opened.connection.execute("BEGIN")
        noting = Noting(opened.connection, path)
        noting._depth = 1
        yield noting
        opened.connection.rollback()


def scans(db: Noting) -> list[tuple[str, str]]:
    """Return what reads a whole table: every row of it, or into a filter made on the spot."""
    return [
        (" ".join(sql.split()), line)
        for sql, line in db.plans()
        if "BLOOM FILTER" in line or "AUTOMATIC" in line or (line.startswith("SCAN") and line.split()[1] in names(sql))
    ]


def names(sql: str) -> set[str]:
    """Return what the big tables are called in a statement: by name, or by what follows the name."""
    words = sql.replace(",", " ").replace("(", " ").split()
    return {*BIG, *(after for word, after in pairwise(words) if word in BIG)}


@pytest.mark.parametrize("name", ASKED)
def test_no_big_table_is_read_through(db: Noting, name: str) -> None:
    ASKED[name](db)

    assert db.asked
    assert scans(db) == []


def test_a_scan_would_be_seen(db: Noting) -> None:
    """The check itself can fail."""
    db.all("SELECT * FROM mailing WHERE reply = 'no'")
    db.all("SELECT m.id FROM mailing m WHERE m.reply = 'no'")
    db.all("SELECT count(*) FROM event e JOIN consent c ON c.detail = e.raw WHERE e.raw = 'x'")

    assert len(scans(db)) >= 4


def test_dropping_rows_reads_no_table_for_their_references(path: Path) -> None:
    """A reference without an index makes SQLite read the whole other table for each row that goes."""
    with open_database(path) as db:
        references = [
            (table, row["from"], row["table"])
            for table in BIG
            for row in db.all("SELECT * FROM pragma_foreign_key_list(?)", (table,))
        ]
        for table, column, parent in references:
            if parent in {"mailing", "run"}:  # the only ones whose rows ever go
                (plan,) = db.all(f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = ?", (1,))
                assert plan["detail"].startswith("SEARCH"), f"{table}.{column}"


def test_every_sender_question_is_asked_here() -> None:
    """A new function of these rooms must be judged here, too, or named as one that only the report uses."""
    rarely = {"by_id", "each", "suppressions", "counts", "key_of", "in_status", "wording_hash", "from_row"}
    tested = "\n".join(inspect.getsource(function) for function in ASKED.values()) + "runs.latest"
    for room in (subscribers, enrollments, mailings, gifts, events, consents):
        for name, function in inspect.getmembers(room, inspect.isfunction):
            reads = name.startswith(("of", "by", "due", "last", "pending", "retries", "sending", "expire", "end"))
            if function.__module__ == room.__name__ and reads and name not in rarely:
                assert f".{name}(" in tested, f"{room.__name__}.{name}"


def test_nothing_due_costs_the_same_however_many_there_are(path: Path, tmp_path: Path) -> None:
    """A ratio, so that a slow machine is no reason to fail: twenty thousand people against twenty."""
    fill(tmp_path / "small.db", 20)

    def cost(file: Path) -> float:
        with open_database(file) as db:
            best = 1.0
            for _ in range(50):
                began = time.perf_counter()
                db.value(tick.ANYTHING_DUE, {"now": 0})
                best = min(best, time.perf_counter() - began)
        return best

    assert cost(path) < 20 * cost(tmp_path / "small.db")
