"""The journal of a batch: what it says after any end, and when it is not to be believed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.sender.journal import HEAD, Journal, Stage
from funnel.store import seal

if TYPE_CHECKING:
    from pathlib import Path

ROOM = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "funnel.db.journal"


def test_a_new_batch_waits(path: Path) -> None:
    with Journal(path, ROOM) as journal:
        journal.begin(7, [3, 1, 2])
        assert journal.stages(7) == dict.fromkeys([3, 1, 2], Stage.WAITING)


def test_it_is_there_for_its_owner_only(path: Path) -> None:
    Journal(path, ROOM).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 10, HEAD.size + ROOM * 9])
def test_all_of_it_is_on_the_disk_before_it_is_written_to(path: Path, size: int) -> None:
    """A hole in a map is filled when it is written to, and on a full disk that kills without a word."""
    with path.open("wb") as file:
        file.truncate(size)
    Journal(path, ROOM).close()
    assert path.stat().st_blocks * 512 >= path.stat().st_size > 0


@given(notes=st.lists(st.tuples(st.sampled_from([5, 6, 7]), st.sampled_from(Stage)), max_size=20))
def test_the_last_note_of_each_mail_stays(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[int, Stage]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    with Journal(path, ROOM) as journal:
        journal.begin(1, [5, 6, 7])
        for mailing_id, stage in notes:
            journal.note(mailing_id, stage)
    with Journal(path, ROOM) as again:
        assert again.stages(1) == dict.fromkeys([5, 6, 7], Stage.WAITING) | dict(notes)


def test_nothing_of_the_batch_before_is_left(path: Path) -> None:
    """Else a mail that waits would count as taken, and be lost."""
    with Journal(path, ROOM) as journal:
        journal.begin(1, [1, 2, 3])
        for mailing_id in (1, 2, 3):
            journal.note(mailing_id, Stage.ACCEPTED)
        journal.begin(1, [4, 5])
        assert journal.stages(1) == {4: Stage.WAITING, 5: Stage.WAITING}


@pytest.mark.parametrize("written", range(HEAD.size + ROOM * 9 + 1))
def test_killed_while_a_batch_is_noted_every_mail_of_it_waits(path: Path, written: int) -> None:
    """However far the writing came: states are cleared first, and nothing starts before it is over."""
    with Journal(path, ROOM) as journal:
        journal.begin(1, [1, 2, 3])
        for mailing_id in (1, 2, 3):
            journal.note(mailing_id, Stage.ACCEPTED)
        before = path.read_bytes()
        journal.begin(1, [4, 5, 6, 7])
    after = path.read_bytes()
    states = HEAD.size + ROOM * 8
    order = [*range(states, len(after)), *range(HEAD.size, states), *range(HEAD.size)]
    half = bytearray(before)
    for place in order[:written]:
        half[place] = after[place]
    path.write_bytes(half)

    with Journal(path, ROOM) as journal:
        stages = journal.stages(1) or {}
    assert {stages.get(mailing_id, Stage.WAITING) for mailing_id in (4, 5, 6, 7)} == {Stage.WAITING}


def test_what_was_noted_outlives_a_killed_process(path: Path) -> None:
    child = os.fork()
    if child == 0:
        journal = Journal(path, ROOM)
        journal.begin(9, [1, 2])
        journal.note(1, Stage.STARTED)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    with Journal(path, ROOM) as journal:
        assert journal.stages(9) == {1: Stage.STARTED, 2: Stage.WAITING}


@pytest.mark.parametrize("room", [ROOM // 2, ROOM - 1, ROOM * 5])
def test_what_a_run_with_another_room_left_is_known(path: Path, room: int) -> None:
    """An update may change how many mails a batch has."""
    with Journal(path, ROOM) as journal:
        journal.begin(1, [7, 8, 9])
        journal.note(8, Stage.STARTED)
        journal.note(9, Stage.ACCEPTED)

    with Journal(path, room) as again:
        assert again.stages(1) == {7: Stage.WAITING, 8: Stage.STARTED, 9: Stage.ACCEPTED}
        again.begin(2, [3])
        assert again.stages(1) is None
        assert again.stages(2) == {3: Stage.WAITING}


@pytest.mark.parametrize("boot", [b"another boot", b""])
def test_after_another_start_of_the_machine_it_counts_for_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, boot: bytes
) -> None:
    """Its pages may not have reached the disk."""
    with Journal(path, ROOM) as journal:
        journal.begin(1, [1])
        monkeypatch.setattr(seal, "boot_id", lambda: boot)
        assert journal.stages(1) is None


def test_where_no_boot_can_be_told_apart_it_never_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "BOOT_ID", path.with_name("nothing"))
    with Journal(path, ROOM) as journal:
        journal.begin(1, [1])
        assert journal.stages(1) is None


def test_of_another_run_it_knows_nothing(path: Path) -> None:
    with Journal(path, ROOM) as journal:
        assert journal.stages(0) is None
        journal.begin(1, [1])
        assert journal.stages(2) is None


@given(junk=st.binary(max_size=200))
def test_junk_is_not_believed(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "j"
    path.write_bytes(junk)
    with Journal(path, ROOM) as journal:
        assert journal.stages(1) is None
