"""How the database file is: what SQLite says of it, and what stands in it about the last runs."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.store import figures, runs
from funnel.store.database import maybe_moment
from funnel.store.seal import BACKED_UP

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about one database file."""

    sqlite: tuple[int, int, int]
    journal: str
    damage: str  #: what a look at every page found wrong, or nothing
    size: int
    last_tick: datetime | None
    last_run: runs.Run | None
    unsettled: int
    rests_until: datetime | None
    rests_because: str
    last_backup: datetime | None


def health(db: Database) -> Health:
    """Return how a database is; reads every page of it."""
    until, _, reason = (runs.get(db, "breaker") or "").partition(" ")
    backed_up = runs.get(db, BACKED_UP)
    found = db.value("PRAGMA quick_check(1)")
    major, minor, patch = sqlite3.sqlite_version_info[:3]
    return Health(
        sqlite=(major, minor, patch),
        journal=str(db.value("PRAGMA journal_mode")),
        damage="" if found == "ok" else str(found),
        size=int(db.value("PRAGMA page_count")) * int(db.value("PRAGMA page_size")),
        last_tick=runs.last_tick(db),
        last_run=runs.latest(db),
        unsettled=figures.unsettled(db),
        rests_until=maybe_moment(int(until) if until.isdigit() else None),
        rests_because=reason,
        last_backup=maybe_moment(int(backed_up) if backed_up else None),
    )
