"""Killed at any step, a backup is there whole or not at all, and a restore leaves the old database or the new (F-5)."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from funnel.errors import StoreError
from funnel.keeping import back_up
from funnel.store import copies, runs
from funnel.store.database import open_database
from tests.kit import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.keeping.kit import Shop

#: SQLite's, and so the most that it writes into the database at once.
PAGE = 4096


def swept(shop: Shop, name: str) -> list[list[str]]:
    """Return what the sweep found; killed processes must not take this one along."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.keeping.killer", name, shop.folder], cwd=TOP, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def mark(shop: Shop, word: str) -> None:
    with shop.funnel.session() as db:
        runs.put(db, "mark", word)


def test_a_backup_is_whole_or_absent(shop: Shop) -> None:
    shop.send()
    mark(shop, "live")
    found = swept(shop, "backup")

    assert len(found) > 5
    assert {left for left, _ in found} == {"absent", "live"}
    assert {again for _, again in found} == {"live"}


def test_a_restore_leaves_the_old_database_or_the_new(shop: Shop) -> None:
    shop.send()
    mark(shop, "old")
    back_up(shop.path, shop.folder / "backup.db", now=shop.clock())
    mark(shop, "live")
    found = swept(shop, "restore")

    assert len(found) > 12
    assert {left for left, _ in found} == {"live", "old"}
    assert {again for _, again in found} == {"old"}


def test_the_old_database_is_taken_over_by_one_page_alone(shop: Shop) -> None:
    """A rollback journal takes more than a page, and left by a killed program it keeps out whoever only reads."""
    back_up(shop.path, shop.folder / "new.db", now=shop.clock())
    copies.finish_draft(shop.folder / "new.db")
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # kills whoever writes beyond the limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))
        copies.put_in_place(shop.folder / "new.db", shop.path, shop.folder / "kept.db")
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_of_a_change_that_was_broken_off_readers_say_what_mends_it(shop: Shop, tmp_path: Path) -> None:
    """As an earlier version's restore left it, killed, and as a failing disk may."""
    mark(shop, "live")
    broken = tmp_path / "broken.db"
    with closing(sqlite3.connect(shop.path, isolation_level=None)) as db:
        for pragma in ("journal_mode = DELETE", "cache_size = 1"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        db.execute("UPDATE setting SET value = 'half'")
        db.execute("INSERT INTO setting SELECT hex(randomblob(8)), hex(randomblob(2000)) FROM sqlite_schema")
        for suffix in ("", "-journal"):
            shutil.copyfile(f"{shop.path}{suffix}", f"{broken}{suffix}")
        db.execute("ROLLBACK")

    with pytest.raises(StoreError, match=r"change of broken\.db was broken off; say “funnel send” once"):
        open_database(broken, readonly=True)
    open_database(broken).close()  # as sending does, also while it is held back
    with open_database(broken, readonly=True) as mended:
        assert runs.get(mended, "mark") == "live"
