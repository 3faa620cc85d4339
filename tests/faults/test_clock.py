"""F-43: real runs on a machine whose clock jumps, by libfaketime."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.books import doubled, doubts, faults_of
from tests.faults.world import FURTHER, JOINED, PEOPLE, a_scene

if TYPE_CHECKING:
    from tests.faults.world import Stage

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
