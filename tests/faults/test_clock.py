"""F-43: real runs on a machine whose clock jumps, by libfaketime."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.books import doubled, doubts, faults_of
from tests.faults.world import FURTHER, JOINED, PEOPLE, a_scene

if TYPE_CHECKING:
    from tests.faults.world import Ended, Scene, Stage

NO_FAKETIME = "no faketime found; install it: apt-get install faketime"


@pytest.fixture(autouse=True)
def _faketime() -> None:
    if shutil.which("faketime") is None:
        pytest.skip(NO_FAKETIME)


def test_wherever_the_clock_jumps_each_mail_goes_once(stage: Stage) -> None:
    """One that is behind sends what was due then, and nothing again; one that is ahead, what comes next."""
    ways = {
        "@1970-01-02 00:00:00": 0, "-1d": len(FURTHER), "+0": len(PEOPLE) - len(FURTHER),
        "-2d": 0, "+1d": len(JOINED) + len(FURTHER), "-3d": 0, "+86401": 0,
    }  # fmt: skip
    with a_scene(stage) as scene:
        for jump, count in ways.items():
            said = scene.run("send", before=("faketime", "-f", jump))
            assert (jump, said.out) == (jump, f"{count} sent.\n" if count else "Nothing is due.\n")

        assert faults_of(scene) == []
        assert (doubled(scene), doubts(scene)) == ([], 0)
        assert sorted(entry.recipient for entry in scene.world.taken) == sorted([*PEOPLE, *JOINED, *FURTHER])


def test_a_clock_that_leaps_ahead_sends_nothing_until_somebody_says_it_is_right(
    stage: Stage,
) -> None:
    def at(scene: Scene, jump: str, *more: str) -> Ended:
        return scene.run("send", *more, before=("faketime", "--exclude-monotonic", "-f", jump))

    with a_scene(stage) as scene:
        assert at(scene, "+0").out == f"{len(PEOPLE)} sent.\n"
        refused = [at(scene, "+10d"), at(scene, "+3650d", "--quiet")]
        assert [(done.code, done.out) for done in refused] == [(1, ""), (1, "")]
        assert "The clock went ahead by 3650 days" in refused[1].err
        assert (at(scene, "-1d").out, at(scene, "+0").out) == ("Nothing is due.\n", "Nothing is due.\n")
        assert len(scene.world.taken) == len(PEOPLE)

        assert at(scene, "+10d", "--clock-ok").out == f"{len(JOINED) + len(FURTHER)} sent.\n"
        assert faults_of(scene) == []
