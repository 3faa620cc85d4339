"""A database with many rows in every state, and a connection that notes what it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from funnel.address import parse_address
from funnel.model import Event, EventKind, MailingStatus, Receipt
from funnel.store import consents, enrollments, events, gifts, mailings, runs, subscribers
from funnel.store.database import Database, moment, open_database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.store.database import Row

NOW = datetime(2027, 5, 3, 10, tzinfo=UTC)
START = int(NOW.timestamp())
SERIES = {"sequence": "series"}


class Noting(Database):
    """A database that notes every statement with its values."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self.asked: list[tuple[str, Any]] = []

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self.asked.append((sql, values))
        return super().execute(sql, values)

    def one(self, sql: str, values: Any = ()) -> Row | None:
        self.asked.append((sql, values))
        return super().one(sql, values)

    def all(self, sql: str, values: Any = ()) -> list[Row]:
        self.asked.append((sql, values))
        return super().all(sql, values)

    def each(self, sql: str, values: Any = ()) -> Iterator[Row]:
        self.asked.append((sql, values))
        return super().each(sql, values)

    def plans(self) -> list[tuple[str, str]]:
        """Return how SQLite carries out what was asked: each statement with each line of its plan."""
        return [
            (sql, row["detail"])
            for sql, values in self.asked
            if not sql.lstrip().startswith(("PRAGMA", "BEGIN"))
            for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        ]


def one_of_each(db: Database) -> None:
    """Add one person with a receipt, two ways, a mail, a gift and an event, all with id 1, and one run."""
    with db.transaction():
        person = subscribers.add(db, parse_address("ann@mail.example", samples=True), zone="UTC", locale="en",
                                 source="/", now=NOW)  # fmt: skip
        consents.add(db, person.id, Receipt("requested", NOW, wording="words", ip="192.0.2.7"))
        way = enrollments.add(db, person.id, "series", anchor=NOW, next_step="guide", next_at=NOW)
        run = runs.start(db, host="here", pid=1, now=NOW)
        mailings.add(db, way.id, "guide", "guide", MailingStatus.SENDING, due=NOW, now=NOW, run_id=run)
        gifts.add(db, "7K3M-9QXA-P2VD-5", "holder", person.id, now=NOW, expires=moment(START + 86_400))
        events.add(db, Event("funnel", "captured:1", EventKind.CAPTURED, NOW, person.id))


def fill(path: Path, people: int) -> None:
    """Make a database of many people, one in every state in turn, as a clinic has after some years."""
    everybody = range(1, people + 1)
    with open_database(path, create=True) as db, db.transaction():
        c = db.connection
        c.executemany(
            """INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at, paused_until)
               VALUES (?1, ?2, ?2, ?3, 'UTC', 'en', '', ?4, iif(?3 = 'paused', ?4, NULL))""",
            ((i, f"p{i}@mail.example", ("confirmed", "pending", "paused", "bounced")[i % 4], START - i * 60)
             for i in everybody),
        )  # fmt: skip
        c.executemany(
            """INSERT INTO enrollment (id, subscriber_id, sequence, anchor_at, next_step, next_at)
               VALUES (?1, ?1, 'series', 0, 'guide', ?2)""",
            ((i, START + i * 60 if i % 3 else None) for i in everybody),
        )
        c.executemany(
            """INSERT INTO mailing (id, enrollment_id, step, kind, status, due_at, claimed_at, first_at, retry_at)
               VALUES (?1, ?1, 'guide', 'guide', ?2, 0, 0, 0, iif(?2 = 'deferred', ?3, NULL))""",
            ((i, "deferred" if i % 50 == 0 else "held" if i % 51 == 0 else "sent", START + i) for i in everybody),
        )
        c.executemany(
            """INSERT INTO consent (subscriber_id, act, at, form, page, locale, ip, agent, operator, detail)
               VALUES (?1, 'requested', ?2, '', '', '', iif(?1 % 2, '192.0.2.0/24', '192.0.2.9'), '', '', '')""",
            ((i, START - i * 60) for i in everybody),
        )
        c.executemany(
            """INSERT INTO event (source, event_id, kind, at, subscriber_id, mailing_id)
               VALUES ('funnel', ?1, 'captured', ?1, ?1, iif(?1 % 9, NULL, ?1))""",
            ((i,) for i in everybody),
        )
        c.executemany(
            """INSERT INTO gift (code, holder, subscriber_id, status, issued_at, expires_at)
               VALUES (?1, ?1, ?1, ?2, 0, ?3)""",
            ((str(i), ("sent", "redeemed", "expired")[i % 3], START + i) for i in everybody),
        )
        c.executemany("INSERT INTO suppression VALUES (?, 'bounced', 0)", ((f"hash {i}",) for i in everybody))
        c.execute("ANALYZE")
