"""Runs of the sender and the few values the database keeps about itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.store.database import maybe_moment, moment, seconds
from funnel.store.tick import LAST_TICK, OPEN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from funnel.store.database import Database


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sender."""

    id: int
    host: str
    pid: int
    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, int]
    note: str


def start(db: Database, *, host: str, pid: int, now: datetime) -> int:
    """Record that a run began and return its id."""
    row = db.one(
        "INSERT INTO run (host, pid, started_at, heartbeat_at) VALUES (?, ?, ?, ?) RETURNING id",
        (host, pid, seconds(now), seconds(now)),
    )
    if row is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    return int(row["id"])


def beat(db: Database, run_id: int, now: datetime) -> None:
    """Record that a run is alive."""
    db.execute("UPDATE run SET heartbeat_at = ? WHERE id = ?", (seconds(now), run_id))


def finish(db: Database, run_id: int, *, now: datetime, counts: Mapping[str, int], note: str = "") -> None:
    """Record how a run ended."""
    db.execute(
        "UPDATE run SET heartbeat_at = :now, finished_at = :now, counts = :counts, note = :note WHERE id = :id",
        {"id": run_id, "now": seconds(now), "counts": json.dumps(dict(counts), sort_keys=True), "note": note[:500]},
    )


def latest(db: Database) -> Run | None:
    """Return the newest run, or None."""
    row = db.one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
    if row is None:
        return None
    return Run(
        id=row["id"],
        host=row["host"],
        pid=row["pid"],
        started_at=moment(row["started_at"]),
        finished_at=maybe_moment(row["finished_at"]),
        counts=json.loads(row["counts"]),
        note=row["note"],
    )


def drop_empty(db: Database, *, keep: int = 100) -> None:
    """Drop old runs that had nothing to do, so that a cron of every minute leaves no heap."""
    db.execute(
        f"""DELETE FROM run WHERE counts = :nothing AND note = '' AND finished_at IS NOT NULL
              AND id < (SELECT max(id) FROM run) - :keep
              AND NOT EXISTS (SELECT 1 FROM mailing WHERE {OPEN} AND status = 'sending' AND run_id = run.id)""",  # noqa: S608
        {"nothing": "{}", "keep": keep},
    )


def tick(db: Database, now: datetime) -> None:
    """Remember that cron was here, also when nothing was due."""
    db.execute(LAST_TICK, {"now": str(seconds(now))})


def last_tick(db: Database) -> datetime | None:
    """Return when the sender was last started, or None."""
    stored = get(db, "last_tick")
    return maybe_moment(int(stored) if stored else None)


def put(db: Database, key: str, value: str) -> None:
    """Keep one value under a key."""
    db.execute("INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))


def get(db: Database, key: str) -> str | None:
    """Return the value kept under a key, or None."""
    stored: str | None = db.value("SELECT value FROM setting WHERE key = ?", (key,))
    return stored
