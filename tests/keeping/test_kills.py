"""Killed at any step, a backup is there whole or not at all, and a restore leaves the old database or the new (F-5)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from funnel.keeping import back_up
from funnel.store import runs
from tests.kit import TOP

if TYPE_CHECKING:
    from tests.keeping.kit import Shop


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
