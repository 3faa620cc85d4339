"""The database file: whole, and written by an SQLite without the fault that can damage it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.store.health import Health

#: The first versions in which two programs that tidy the log at the same moment can no longer damage the file
#: (https://sqlite.org/wal.html#walresetbug); the fault came with 3.7.0.
MENDED = {(3, 44): 6, (3, 50): 7, (3, 51): 3}


def can_damage(version: tuple[int, int, int]) -> bool:
    """True for an SQLite that has the fault of 2010 in how it starts its log anew."""
    if version < (3, 7, 0):
        return False
    if version >= (3, 52, 0):
        return False
    first = MENDED.get(version[:2])
    return first is None or version[2] < first


def check_database(health: Health, name: str) -> Iterator[Finding]:
    """Yield how the file is and whether its SQLite can be relied upon."""
    if health.damage:
        yield error(name, f"It is damaged ({health.damage}).", "Stop sending and restore your latest backup.")
    else:
        yield ok(name, f"The database is whole ({health.size / 1e6:,.1f} MB).")
    yield _version(health)


def _version(health: Health) -> Finding:
    version = ".".join(map(str, health.sqlite))
    if health.journal != "wal" or not can_damage(health.sqlite):
        return ok("SQLite", f"Version {version} is fine.")
    return warning(
        "SQLite",
        f"Version {version} has a fault that can, very rarely, damage a database which two programs write at the "
        "same moment, as the pages and cron do.",
        "Use a Python with SQLite 3.51.3 or newer (3.50.7 and 3.44.6 are mended, too). Until then, back up daily.",
    )
