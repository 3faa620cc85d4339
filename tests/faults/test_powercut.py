"""F-6: some of the disks that a power cut may leave; ``./run bench faults`` tries many more."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.powercut import (
    Event,
    disk_after,
    faults_of_case,
    faults_of_sending,
    record,
    record_sending,
)
from tests.faults.sweep import ROWS, SMALL, make_sample
from tests.faults.world import PYTHON

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.powercut import Recording
    from tests.faults.world import Stage

pytestmark = pytest.mark.usefixtures("strace")

#: The same run on a database that does not wait for the disk.
CARELESS = (PYTHON, "-c", f"""
from funnel.store import database
carefully = database._set_up
def carelessly(connection):
    carefully(connection)
    connection.execute("PRAGMA synchronous = OFF")
database._set_up = carelessly
{SMALL[2]}""")  # fmt: skip


@pytest.fixture(scope="module")
def sending(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record_sending(stage, tmp_path_factory.mktemp("sending"))


def places(recording: Recording, count: int) -> list[int]:
    """Return places all over a recording, its end included."""
    return [len(recording.events) * i // (count - 1) for i in range(count)]


@pytest.mark.parametrize("treatment", ["retry", "hold"])
def test_after_a_power_cut_no_claim_is_forgotten_and_nobody_is_mailed_twice_in_silence(
    sending: Recording, treatment: str
) -> None:
    assert [
        fault
        for seed, cut in enumerate(places(sending, 6))
        for fault in faults_of_sending(sending, cut, seed, treatment)
    ] == []


def test_a_database_that_does_not_wait_for_the_disk_would_be_found_out(stage: Stage, tmp_path: Path) -> None:
    """Else the test before would prove nothing."""
    recording = record_sending(stage, tmp_path, CARELESS)

    assert any(
        faults_of_sending(recording, cut, seed, "retry")
        for seed in range(3) for cut in places(recording, 9)[4:]
    )  # fmt: skip


def test_what_a_page_answered_with_yes_survives_a_power_cut(stage: Stage, tmp_path: Path) -> None:
    """Status, gift code and series of somebody who confirmed: all or nothing, and all once the page has said so."""
    (row,) = (row for row in ROWS if row.name == "confirm")
    case = make_sample(row, stage)
    recording = record(case, tmp_path)

    assert {event.kind for event in recording.events} >= {"write", "flush", "said"}
    for lot, cut in enumerate(places(recording, 12)):
        assert faults_of_case(case, recording, cut, lot) == []


# --- the disk of the tests ---------------------------------------------------------------------


WAL = "funnel.db-wal"


def disks(stage: Stage, *events: Event) -> set[bytes | None]:
    """Return what the log may be after these calls."""
    return {disk_after(stage, events, random.Random(seed))[WAL] for seed in range(60)}


def test_what_was_flushed_is_there_and_the_rest_may_be(stage: Stage) -> None:
    gone = Event(0, "gone", WAL)
    one, two = Event(0, "write", WAL, b"one"), Event(0, "write", WAL, b"two", 3)
    flush = Event(0, "flush", WAL)

    assert disks(stage, gone, flush) == {None}
    assert disks(stage, gone, flush, one, flush) == {b"one"}
    assert disks(stage, gone, flush, one, flush, two) == {b"one", b"onetwo"}
    assert disks(stage, gone, flush, one, two) == {None, b"one", b"\0\0\0two", b"onetwo"}
    assert disks(stage, gone, flush, one, two, flush, Event(0, "cut", WAL, place=2)) == {b"onetwo", b"on"}
    assert disks(stage, gone, flush, one, flush, gone, two) == {b"one", None, b"\0\0\0two"}
    assert disks(stage, gone, flush, one, flush, Event(0, "write", "funnel.db", b"x")) == {b"one"}
