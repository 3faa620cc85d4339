"""How often something was asked for lately: rows of ``quota``, under keyed hashes, gone when their window ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.store.database import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database


def used(db: Database, key: str) -> int:
    """Return how often a key was counted in its window."""
    return int(db.value("SELECT count FROM quota WHERE key = ?", (key,)) or 0)


def count(db: Database, key: str, ends: datetime) -> None:
    """Count a key once more; the first time in a window says when that ends."""
    db.execute(
        "INSERT INTO quota VALUES (?, 1, ?) ON CONFLICT (key) DO UPDATE SET count = count + 1", (key, seconds(ends))
    )


def purge(db: Database, now: datetime) -> int:
    """Drop the counts of windows that are over; returns how many."""
    return db.execute("DELETE FROM quota WHERE ends <= ?", (seconds(now),)).rowcount
