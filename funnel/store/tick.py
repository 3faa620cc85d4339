"""Cron's question, answered with as little as possible: is anything due?

Asked every minute, for years: so this module imports nothing but the database driver, and finds the
database by a note that a full command left beside the settings instead of reading them again.
"""

from __future__ import annotations

import os
import sqlite3

#: "Funl" in ASCII: marks a file as ours, so that another program's database is refused.
APPLICATION_ID = 0x46756E6C
#: How many migrations there are; bumped with each one in migrations.py.
SCHEMA_VERSION = 5
NOTE = ".funnel/tick"
#: Says to SQLite, which does not see it by itself, that the small index of unsettled mail is enough.
OPEN = "(status = 'sending' OR status = 'uncertain' OR status = 'held' OR status = 'deferred')"
#: Three look-ups in partial indexes, however many people there are. A database that was put back waits for somebody.
ANYTHING_DUE = f"""SELECT EXISTS (SELECT 1 FROM enrollment WHERE next_at <= :now)
                      OR EXISTS (SELECT 1 FROM mailing WHERE status = 'deferred' AND retry_at <= :now)
                      OR EXISTS (SELECT 1 FROM mailing WHERE status = 'sending' AND {OPEN})
                      OR EXISTS (SELECT 1 FROM setting WHERE key IN ('restored', 'copied_at'))"""  # noqa: S608
LAST_TICK = """INSERT INTO setting VALUES ('last_tick', :now)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


def leave_note(settings: str, database: str) -> None:
    """Note where the database of these settings is; without the note only time is lost."""
    note = os.path.join(os.path.dirname(settings), NOTE)
    try:
        os.makedirs(os.path.dirname(note), mode=0o700, exist_ok=True)
        with open(note + ".new", "w", encoding="utf-8") as file:
            file.write(f"{_stamp(settings)}\n{os.path.abspath(database)}")
        os.replace(note + ".new", note)
    except OSError:
        return


def _stamp(settings: str) -> str:
    """Return what tells that the settings are still the ones the note was made from."""
    found = os.stat(settings)
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def nothing_due(settings: str, now: int) -> bool:
    """True when nothing is due at ``now`` (UTC seconds), with the visit on record.

    False means "look closer": something is due, or anything at all is unusual, which the full
    command can explain.
    """
    try:
        with open(os.path.join(os.path.dirname(settings), NOTE), encoding="utf-8") as file:
            stamp, _, database = file.read().partition("\n")
        if stamp != _stamp(settings) or not os.path.exists(database):
            return False
        connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    except (OSError, ValueError, sqlite3.Error):
        return False
    try:
        connection.execute("PRAGMA synchronous = FULL")
        ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        current = connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        sealed = connection.execute("SELECT value FROM setting WHERE key = 'seal'").fetchone()
        if not (ours and current and _in_its_place(database, sealed[0] if sealed else None)):
            return False
        if connection.execute(ANYTHING_DUE, {"now": now}).fetchone()[0]:
            return False
        connection.execute(LAST_TICK, {"now": str(now)})
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return True


def _in_its_place(database: str, sealed: str | None) -> bool:
    """True when a database has beside it the send journal that its seal names, or has neither of both."""
    try:
        place = str(os.stat(database + ".sent").st_ino)
    except OSError:
        return sealed is None
    _, _, places = (sealed or "").partition('"places": [')
    return place in places.partition("]")[0].split(", ")
