"""Counts and choices: what is asked of them costs one person, not the table, however many there are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from funnel.store import choices, quotas
from funnel.store.database import open_database
from tests.store.rows import NOW, Noting, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.store.database import Database

BEFORE = {"person": [["confirmed", None, None]], "ways": [[1, 5, ""]], "mails": [], "suppression": []}
ASKED: dict[str, Callable[[Database], object]] = {
    "used": lambda db: quotas.used(db, "k"),
    "count": lambda db: quotas.count(db, [("k", NOW)]),
    "purge": lambda db: quotas.purge(db, NOW),
    "gap": lambda db: choices.gap_days(db, 7),
    "set gap": lambda db: choices.set_gap_days(db, 7, 7),
    "state": lambda db: choices.state(db, 7, "hash 7"),
    "keep": lambda db: choices.keep_undo(db, 7, BEFORE, NOW),
    "kept": lambda db: choices.undo_of(db, 7),
    "put back": lambda db: choices.put_back(db, 7, "hash 7", BEFORE, NOW),
    "purge undos": lambda db: choices.purge_undos(db, NOW),
}


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "funnel.db"
    fill(path, 2_000)
    with open_database(path) as db, db.transaction():
        for n in range(500):
            quotas.count(db, [(str(n), NOW + timedelta(seconds=n))])
            choices.keep_undo(db, n + 1, BEFORE, NOW)
        db.execute("ANALYZE")
    return path


@pytest.mark.parametrize("name", ASKED)
def test_nothing_reads_a_whole_table(big: Path, name: str) -> None:
    with open_database(big) as db:
        db.execute("BEGIN")
        noting = Noting(db.connection, big)
        ASKED[name](noting)
        plans = noting.plans()
        db.connection.rollback()
    assert plans or name in {"count", "keep"}
    assert [line for line in plans if line[1].startswith("SCAN")] == []


def test_counts_grow_and_go(tmp_path: Path) -> None:
    with open_database(tmp_path / "x.db", create=True) as db:
        assert quotas.used(db, "a") == 0
        for _ in range(3):
            quotas.count(db, [("a", NOW)])
        quotas.count(db, [("b", NOW + timedelta(seconds=1))])
        assert (quotas.used(db, "a"), quotas.used(db, "b")) == (3, 1)
        assert quotas.purge(db, NOW) == 1
        assert (quotas.used(db, "a"), quotas.used(db, "b")) == (0, 1)
