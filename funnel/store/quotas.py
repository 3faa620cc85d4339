"""How often something was asked for lately: rows of ``quota``, under keyed hashes, gone when their window ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.store.database import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.store.database import Database


def used(db: Database, key: str) -> int:
    """Return how often a key was counted in its window."""
    return int(db.value("SELECT count FROM quota WHERE key = ?", (key,)) or 0)


def count(db: Database, windows: Sequence[tuple[str, datetime]]) -> dict[str, int]:
    """Count each key once more and return how often each was counted; a window ends at the moment beside its key."""
    rows = db.all(
        f"""INSERT INTO quota VALUES {", ".join(["(?, 1, ?)"] * len(windows))}
            ON CONFLICT (key) DO UPDATE SET count = count + 1 RETURNING key, count""",  # noqa: S608
        [value for key, ends in windows for value in (key, seconds(ends))],
    )
    return {row["key"]: row["count"] for row in rows}


def purge(db: Database, now: datetime) -> int:
    """Drop the counts of windows that are over; returns how many."""
    return db.execute("DELETE FROM quota WHERE ends <= ?", (seconds(now),)).rowcount
