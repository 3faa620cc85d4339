"""F-1 to F-5: a few moments of the sweep over every command; ``./run bench faults`` tries them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from funnel.sender.journal import Journal
from funnel.sender.journal import Stage as Started
from tests.faults.books import doubled, doubts, faults_of
from tests.faults.sweep import (
    ROWS,
    SMALL,
    Row,
    make_sample,
    sending_moments,
    small_batches,
    strike,
    strike_sending,
)
from tests.faults.trace import TALKING, Moment, killing, spread
from tests.faults.world import CONNECTIONS, HOLD, PEOPLE, a_scene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.world import Stage

#: One on the wire of each connection.
MOST = CONNECTIONS

pytestmark = pytest.mark.usefixtures("strace")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_killed_command_is_done_or_not_done_and_can_be_done_again(stage: Stage, row: Row) -> None:
    """F-2, F-3, F-5: what each row asks afterwards is in tests/faults/sweep.py."""
    case = make_sample(row, stage)

    assert case.before != case.after
    assert strike(case, row.sample) == []


@pytest.fixture(scope="session")
def moments(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    return sending_moments(stage, tmp_path_factory.mktemp("moments"))


@pytest.mark.parametrize(("treatment", "place"), [("retry", 3), ("hold", 2)])
def test_a_killed_run_loses_nobody_and_doubles_nobody_in_silence(
    stage: Stage, moments: list[Moment], treatment: str, place: int
) -> None:
    talking = [at for at in moments if at.call in TALKING]

    assert strike_sending(stage, spread(talking, 5)[place], treatment, MOST) == []


def test_the_sweep_knows_the_calls_a_run_makes(moments: list[Moment]) -> None:
    """Else there would be moments at which nobody is killed."""
    assert {at.call for at in moments} >= {"pwrite64", "fdatasync", "ftruncate", "connect"}
    assert len(moments) == len(set(moments)) > 100


def test_killed_between_the_first_claims_and_the_first_byte_nothing_is_in_doubt(stage: Stage) -> None:
    """P3: what certainly never left goes again, and costs nobody an attempt."""
    with a_scene(stage, HOLD) as scene, small_batches():
        assert scene.run("send", program=SMALL, before=killing(Moment("fdatasync", 4))).killed
        assert scene.world.taken == []
        scene.send()

        assert faults_of(scene) == []
        assert doubts(scene) == 0
        assert {entry.recipient for entry in scene.world.taken} == set(PEOPLE)


def test_a_journal_of_another_size_is_not_misread(tmp_path: Path) -> None:
    """After an update a batch may be larger; what had started must not count as waiting, or it goes twice."""
    with Journal(tmp_path / "journal", 8) as before:
        before.begin(1, [1, 2])
        before.note(1, Started.STARTED)
    with Journal(tmp_path / "journal", 16) as after:
        assert after.stages(1) in ({1: Started.STARTED, 2: Started.WAITING}, None)


def test_a_run_killed_again_and_again_ends_well(stage: Stage) -> None:
    """Each death leaves its doubts; none of them makes a third copy, or a second under hold.

    F-10: whoever dies leaves the lock to the next run.
    """
    with a_scene(stage, HOLD) as scene, small_batches():
        for n in (2, 6):
            scene.run("send", program=SMALL, before=killing(Moment("recvfrom", n)))
            scene.world.settle()
        scene.send()

        assert faults_of(scene) == []
        assert doubled(scene) == []
        assert doubts(scene) <= 2 * MOST
