"""The clinic's own gift codes, each given once, and the people who wait for one; all of it in the caller's transaction.

A code stays in its row for ever, so that a list that is imported again brings none back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.policy import BY_HAND
from funnel.store.database import seconds
from funnel.store.tick import OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.store.database import Database, Row

#: Says to SQLite that the small index of free codes is enough.
FREE = "gift_id IS NULL AND withdrawn_at IS NULL"
#: Who is served: not those whose mail comes back, or who complained; they keep their place until they confirm anew.
QUEUE = """FROM gift_wait w JOIN subscriber s ON s.id = w.subscriber_id
            WHERE s.status IN ('confirmed', 'paused', 'unsubscribed')"""


def knows(db: Database, key: str) -> bool:
    """True when a code was imported before, whatever became of it."""
    return db.one("SELECT 1 FROM pool WHERE key = ?", (key,)) is not None


def add_all(db: Database, codes: Sequence[tuple[str, str]], now: datetime) -> None:
    """Put new codes, each as key and spelling, at the end of the pool."""
    db.many("INSERT INTO pool (key, code, at) VALUES (?, ?, ?)", [(*code, seconds(now)) for code in codes])


def by_key(db: Database, key: str) -> Row | None:
    """Return ``gift_id`` and ``withdrawn_at`` of an imported code, or None."""
    return db.one("SELECT gift_id, withdrawn_at FROM pool WHERE key = ?", (key,))


def within(db: Database, letters: str) -> tuple[str, ...]:
    """Return the keys of all imported codes that stand in a row of letters and digits; looks through all of them."""
    return tuple(row["key"] for row in db.all("SELECT key FROM pool WHERE instr(?, key)", (letters,)))


def give(db: Database, holder: str, subscriber_id: int, *, now: datetime, expires: datetime) -> str:
    """Give a holder the code that has been free for longest, and return its key; nothing when none is left."""
    free = db.one(f"SELECT id, key, code FROM pool WHERE {FREE} ORDER BY id LIMIT 1")  # noqa: S608
    if free is None:
        return ""
    gift = db.one(
        """INSERT INTO gift (code, holder, subscriber_id, status, issued_at, expires_at)
           VALUES (?, ?, ?, 'issued', ?, ?) RETURNING id""",
        (free["code"], holder, subscriber_id, seconds(now), seconds(expires)),
    )
    if gift is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    db.execute("UPDATE pool SET gift_id = ? WHERE id = ?", (gift["id"], free["id"]))
    return str(free["key"])


def give_again(
    db: Database, key: str, holder: str, subscriber_id: int | None, *, at: datetime, expires: datetime
) -> None:
    """Record that a code was given to a holder at a moment this database does not know.

    Where the holder has another one by now, it is taken out: it goes to nobody else.
    """
    gift = db.one(
        """INSERT INTO gift (code, holder, subscriber_id, status, issued_at, expires_at)
           SELECT code, ?, ?, 'issued', ?, ? FROM pool WHERE key = ? ON CONFLICT DO NOTHING RETURNING id""",
        (holder, subscriber_id, seconds(at), seconds(expires), key),
    )
    sql = "UPDATE pool SET gift_id = ?, withdrawn_at = ? WHERE key = ?"
    db.execute(sql, (gift["id"], None, key) if gift else (None, seconds(at), key))


def free_keys(db: Database) -> tuple[str, ...]:
    """Return the keys of the codes that can still be given."""
    return tuple(row["key"] for row in db.all(f"SELECT key FROM pool WHERE {FREE}"))  # noqa: S608


def withdraw(db: Database, now: datetime) -> int:
    """Take every free code out of the pool, for good; returns how many."""
    return db.execute(f"UPDATE pool SET withdrawn_at = ? WHERE {FREE}", (seconds(now),)).rowcount  # noqa: S608


def free(db: Database) -> int:
    """Return how many codes can still be given."""
    return int(db.value(f"SELECT count(*) FROM pool WHERE {FREE}"))  # noqa: S608


def given_since(db: Database, since: datetime) -> int:
    """Return how many codes of the pool were given since a moment."""
    sql = "SELECT count(*) FROM pool p JOIN gift g ON g.id = p.gift_id WHERE g.issued_at >= ?"
    return int(db.value(sql, (seconds(since),)))


def used(db: Database) -> bool:
    """True when any code was ever imported, or anybody waits for one."""
    return bool(db.value("SELECT EXISTS (SELECT 1 FROM pool) OR EXISTS (SELECT 1 FROM gift_wait)"))


# --- who waits ---------------------------------------------------------------------------------


def wait(db: Database, subscriber_id: int, now: datetime) -> None:
    """Put a person at the end of those who wait; who waits already keeps the place."""
    db.execute(
        "INSERT INTO gift_wait (subscriber_id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (subscriber_id, seconds(now))
    )


def waits(db: Database, subscriber_id: int) -> bool:
    """True while a person waits for a code."""
    return db.one("SELECT 1 FROM gift_wait WHERE subscriber_id = ?", (subscriber_id,)) is not None


def waiting(db: Database) -> tuple[int, ...]:
    """Return who waits and can be served, in the order they confirmed."""
    rows = db.all(f"SELECT w.subscriber_id {QUEUE} ORDER BY w.id")
    return tuple(row["subscriber_id"] for row in rows)


def count_waiting(db: Database) -> int:
    """Return how many people wait and can be served."""
    return int(db.value(f"SELECT count(*) {QUEUE}"))


def anybody_waits(db: Database) -> bool:
    """True while somebody waits who can be served."""
    return db.one(f"SELECT 1 {QUEUE} LIMIT 1") is not None


def stop_waiting(db: Database, subscriber_id: int) -> None:
    """Forget that a person waits."""
    db.execute("DELETE FROM gift_wait WHERE subscriber_id = ?", (subscriber_id,))


# --- mail that is held for want of a code ------------------------------------------------------


def holds(db: Database, subscriber_id: int, reason: str) -> bool:
    """True while a mail to a person is held for this reason."""
    sql = """SELECT EXISTS (SELECT 1 FROM enrollment e JOIN mailing m ON m.enrollment_id = e.id
                             WHERE e.subscriber_id = ? AND m.status = 'held' AND m.reason = ?)"""
    return bool(db.value(sql, (subscriber_id, reason)))


#: Nothing of such a mail was ever on the wire, so it is dated, and its tries are counted, from when it may go.
#: One try is on record, because a first claim that leads to nothing is dropped whole.
GOES = f"""UPDATE mailing SET status = 'deferred', reason = :why, retry_at = :now, first_at = :now, finished_at = NULL,
                  attempts = 1 WHERE status = 'held' AND {OPEN}"""  # noqa: S608


def release(db: Database, reason: str, now: datetime) -> int:
    """Let mail go with the next run that was held for this reason, where its person waits no more; returns how many."""
    return db.execute(
        f"""{GOES} AND reason = :reason
              AND (SELECT e.subscriber_id FROM enrollment e WHERE e.id = enrollment_id)
                  NOT IN (SELECT subscriber_id FROM gift_wait)""",  # noqa: S608
        {"why": "its gift code is there", "now": seconds(now), "reason": reason},
    ).rowcount


def let_go(db: Database, mailing_id: int, now: datetime) -> None:
    """Let one held mail go with the next run, as it is."""
    db.execute(
        f"{GOES} AND id = :id",
        {"why": f"goes without a gift code: {BY_HAND}", "now": seconds(now), "id": mailing_id},
    )


def held(db: Database, reason: str) -> int:
    """Return how many mails are held for this reason."""
    sql = f"SELECT count(*) FROM mailing WHERE status = 'held' AND {OPEN} AND reason = ?"  # noqa: S608
    return int(db.value(sql, (reason,)))
