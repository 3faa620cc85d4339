"""F-11 to F-17: disks that fill up or fail, and a database that is locked or damaged, under real runs."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.conftest import FORBIDDEN
from tests.faults.books import faults_of, missed
from tests.faults.disk import FULL, ONCE, READONLY, DiskError, faults_of_failing, send_on_failing, told_badly
from tests.faults.sweep import ROWS, Row, act, again, ask_server, here, make_sample
from tests.faults.trace import Moment, failing
from tests.faults.world import FUNNEL, PEOPLE, a_scene, make_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.world import Scene, Stage

PAGE = 4096


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(
    ("error", "at"),
    [
        (FULL, Moment("pwrite64", 32)),
        (ONCE, Moment("fdatasync", 7)),
        (ONCE, Moment("fdatasync", 6)),
        (ONCE, Moment("ftruncate", 2)),
    ],
    ids=["full", "once", "send journal", "journal"],
)
def test_a_disk_that_fails_stops_the_run_and_loses_nobody(stage: Stage, error: DiskError, at: Moment) -> None:
    """F-11, F-12: at the record of what was answered, and at the journals."""
    assert faults_of_failing(stage, error, at) == []


@pytest.mark.usefixtures("strace")
def test_nothing_goes_out_before_the_claim_is_on_the_disk(stage: Stage) -> None:
    """P7, F-11, F-13: the server is not even called."""
    with a_scene(stage) as scene:
        ended = send_on_failing(scene, READONLY, Moment("pwrite64", 8))

        assert told_badly(ended, READONLY) == []
        assert ended.code == 1
        assert scene.world.taken == []
        assert scene.world.server.opened == 0


@pytest.mark.usefixtures("strace")
def test_a_form_is_not_answered_with_yes_while_the_disk_is_full(stage: Stage) -> None:
    """F-11: and when there is room again, the same form is taken in."""
    row = ROWS[0]
    with a_scene(stage) as scene:
        assert row.post
        before = row.state(scene)
        _, said_yes = ask_server(scene, *row.post(scene), failing(("pwrite64",), "ENOSPC", "1+"))

        assert not said_yes
        assert row.state(scene) == before
        assert again(row, scene)
        assert row.state(scene) != before


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a funnel on a real file system of a few megabytes; only root may make one."""
    disk = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(f"no file system may be mounted: {FORBIDDEN}")
    try:
        yield make_stage(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@contextmanager
def almost_full(folder: Path, room: int) -> Iterator[None]:
    """Leave so many kilobytes free on a disk until the block ends."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, PAGE):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
        file.truncate(file.tell() // PAGE * PAGE - room * 1024)
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.parametrize("room", range(0, 104, 8))
def test_a_disk_that_is_really_full_is_called_full(small_disk: Stage, room: int) -> None:
    """F-11: at every place where the room can end, also in the maps of SQLite and of our journal, which may be new."""
    with a_scene(small_disk) as scene:
        (scene.folder / "funnel.db.journal").unlink()
        with almost_full(scene.folder.parent, room):
            ended = scene.run("send")
        scene.world.settle()
        early = len(scene.world.taken)
        scene.send()
        scene.send()

        assert ended.code == 1
        assert ended.err.startswith("Error: The disk ")
        assert ended.err.count("\n") == 1
        assert "full" in ended.err or "No space left" in ended.err
        assert early in {0, len(PEOPLE)}
        assert faults_of(scene) == []
        assert missed(scene, PEOPLE) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_command_stumbles_over_a_disk_that_is_really_full(small_disk: Stage, row: Row) -> None:
    """F-11: one sentence and nothing changed; and once there is room, the same again works."""
    case = make_sample(row, small_disk)
    with a_scene(case.start) as scene:
        with almost_full(scene.folder.parent, 48):
            ended, said_yes = act(row, scene, ())
            left = set(scene.folder.rglob(".*.new"))

        assert not said_yes
        assert ended.err.strip()
        assert ended.err.count("\n") == 1
        assert left == set()
        assert row.state(scene) == case.before
        assert again(row, scene)
        assert row.state(scene) == case.after


# --- locked, damaged -----------------------------------------------------------------------------


def test_a_run_waits_for_another_writer(stage: Stage) -> None:
    """F-14."""
    with a_scene(stage) as scene:
        other = sqlite3.connect(scene.database, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(1.5, other.close)
        release.start()
        began = time.monotonic()
        ended = scene.run("send")
        release.join()

        assert (ended.code, ended.out) == (0, f"{len(PEOPLE)} sent.\n")
        assert time.monotonic() - began > 1.4


def damaged(scene: Scene, lot: random.Random) -> bytes:
    """Write noise over one page that is not the first, and return what the file is then."""
    content = bytearray(scene.database.read_bytes())
    place = lot.randrange(1, len(content) // PAGE) * PAGE
    content[place : place + PAGE] = lot.randbytes(PAGE)
    scene.database.write_bytes(content)
    return bytes(content)


@pytest.fixture(scope="module")
def checkpointed(stage: Stage) -> Stage:
    """Give a stage whose database is in one file."""
    with a_scene(stage) as scene:
        with scene.funnel.session() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return stage.keep("checkpointed")


@pytest.mark.parametrize("seed", range(4))
def test_damage_that_is_met_stops_the_run_before_anything_went_out(checkpointed: Stage, seed: int) -> None:
    """F-15: noise over a page; a run that does not need that page does its work."""
    with a_scene(checkpointed) as scene:
        damaged(scene, random.Random(seed))
        ended = here(scene, "send")

        if ended.code == 0:
            assert len(scene.world.taken) == len(PEOPLE)
        else:
            assert ended.err.startswith("Error: funnel.db is not a database or is damaged;")
            assert ended.err.count("\n") == 1
            assert scene.world.taken == []


@pytest.mark.parametrize("length", [0, 100, PAGE, 5 * PAGE + 17])
def test_a_database_cut_short_sends_nothing(checkpointed: Stage, length: int) -> None:
    """F-15."""
    with a_scene(checkpointed) as scene:
        os.truncate(scene.database, length)
        left = scene.database.read_bytes()
        ended = here(scene, "send")

        assert ended.code == 1
        assert ended.err.startswith("Error: funnel.db ")
        assert "backup" in ended.err
        assert scene.world.taken == []
        assert scene.database.read_bytes() == left


# --- nobody reads what it says -------------------------------------------------------------------


def test_a_run_whose_words_nobody_reads_does_its_work(stage: Stage) -> None:
    """F-17."""
    with a_scene(stage) as scene:
        ended = scene.run("-c", f"exec {FUNNEL} send | true", program=("sh",))

        assert ended == type(ended)(0, "", "")
        assert len(scene.world.taken) == len(PEOPLE)
        assert scene.value("SELECT count(*) FROM mailing WHERE status <> 'sent'") == 0


def test_a_run_whose_log_is_full_does_its_work_and_says_so_plainly(stage: Stage) -> None:
    """F-17: cron's log is on a full disk."""
    with a_scene(stage) as scene:
        ended = scene.run("-c", f"exec {FUNNEL} send > /dev/full", program=("sh",))

        assert len(scene.world.taken) == len(PEOPLE)
        assert scene.value("SELECT count(*) FROM mailing WHERE status <> 'sent'") == 0
        assert "Traceback" not in ended.err
