"""A backup is one whole moment of the database, for its owner only, and nobody waits for it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from funnel.errors import BackupError, StoreError
from funnel.keeping import back_up
from funnel.store import copies
from funnel.store.database import open_database
from tests.keeping.kit import ANN, BEN, Shop, files

if TYPE_CHECKING:
    from pathlib import Path


def test_it_holds_everything_and_says_how_much(shop: Shop, tmp_path: Path) -> None:
    shop.join(ANN, BEN)
    target = tmp_path / "backup.db"
    contents = back_up(shop.path, target, now=shop.clock())

    assert (contents.people, contents.mailings, contents.size) == (2, 4, target.stat().st_size)
    with shop.funnel.session(readonly=True) as live, open_database(target, readonly=True) as copy:
        for table in ("subscriber", "consent", "enrollment", "mailing", "gift", "event"):
            rows = [[tuple(row) for row in db.all(f"SELECT * FROM {table}")] for db in (live, copy)]
            assert rows[0] == rows[1], table
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not files(tmp_path, but=["backup.db"])


def test_it_is_one_moment_while_others_write_and_nobody_waits(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-46: each transaction writes a pair; no backup has half of one, and no writer waits two seconds."""
    monkeypatch.setattr(copies, "PAGES", 8)
    with shop.funnel.session() as db:
        db.execute("CREATE TABLE pair (a INTEGER, b TEXT)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                   " INSERT INTO pair SELECT 0, hex(randomblob(200)) FROM n")  # fmt: skip
    over = threading.Event()
    waits: list[float] = []

    def write() -> None:
        with shop.funnel.session() as db:
            while not over.is_set():
                start = time.monotonic()
                with db.transaction():
                    db.execute("INSERT INTO pair VALUES (1, hex(randomblob(500)))")
                    db.execute("INSERT INTO pair VALUES (1, hex(randomblob(500)))")
                waits.append(time.monotonic() - start)

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for n in range(4):
            while len(waits) < n * 3:
                time.sleep(0.001)
            back_up(shop.path, tmp_path / f"{n}.db", now=shop.clock(), told=lambda *_: time.sleep(0.001))
            with closing(sqlite3.connect(tmp_path / f"{n}.db")) as copy:
                counts.append(copy.execute("SELECT count(*) FROM pair").fetchone()[0])
                assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        over.set()
        writer.join()

    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert sum(wait >= 2 for wait in waits) <= 1, "once the machine itself may have been away"


def test_it_tells_how_far_it_is(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PAGES", 4)
    heard: list[tuple[int, int]] = []
    back_up(shop.path, tmp_path / "b.db", now=shop.clock(), told=lambda left, pages: heard.append((left, pages)))

    assert len(heard) > 3
    assert heard[-1][0] == 0


def test_a_file_that_is_there_is_kept_unless_told_otherwise(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(BackupError, match=r"backup\.db exists already"):
        back_up(shop.path, target, now=shop.clock())
    assert target.read_text() == "precious"

    back_up(shop.path, target, now=shop.clock(), force=True)
    assert target.read_bytes().startswith(b"SQLite")


def test_a_file_that_comes_meanwhile_is_kept(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with pytest.raises(BackupError, match="exists already"):
        back_up(shop.path, target, now=shop.clock(), told=lambda *_: target.touch())

    assert target.read_bytes() == b""
    assert not files(tmp_path, but=["backup.db"])


def test_without_links_it_is_renamed(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    back_up(shop.path, tmp_path / "backup.db", now=shop.clock())

    assert files(tmp_path) == {"backup.db"}


def test_places_that_are_none(shop: Shop, tmp_path: Path) -> None:
    for target, sentence in (
        (tmp_path, "is no place for a backup"),
        (tmp_path / "nowhere" / "b.db", "is no place for a backup"),
        (shop.path, "is the database itself"),
    ):
        with pytest.raises(BackupError, match=sentence):
            back_up(shop.path, target, now=shop.clock(), force=True)
    (tmp_path / "b.db.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupError, match=r"b\.db\.part cannot be written"):
        back_up(shop.path, tmp_path / "b.db", now=shop.clock())


def test_two_at_once_do_not_mix(shop: Shop, tmp_path: Path) -> None:
    with (tmp_path / "b.db.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="Another backup is being written"):
            back_up(shop.path, tmp_path / "b.db", now=shop.clock())
    assert not (tmp_path / "b.db").exists()
    back_up(shop.path, tmp_path / "b.db", now=shop.clock())  # what a dead one left is written over


def test_a_damaged_database_is_told_and_nothing_is_left(shop: Shop, tmp_path: Path) -> None:
    shop.copy()
    with shop.path.open("r+b") as file:
        for page in range(2, 30):
            file.seek(4096 * page)
            file.write(b"\xff" * 512)

    with pytest.raises((BackupError, StoreError), match="damaged"):
        back_up(shop.path, tmp_path / "b.db", now=shop.clock())
    assert not files(tmp_path)


def test_a_full_disk_is_told_and_nothing_is_left(shop: Shop, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StoreError):
            back_up(shop.path, tmp_path / "b.db", now=shop.clock())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not files(tmp_path)
