"""Disks that fill up or fail: from the N-th write on, once or for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.books import faults_of, missed
from tests.faults.sweep import SMALL, small_batches
from tests.faults.trace import Moment, failing
from tests.faults.world import PEOPLE, a_scene

if TYPE_CHECKING:
    from tests.faults.world import Ended, Scene, Stage

#: What a database writes with; a failing of these is a failing disk.
WRITES = ("pwrite64", "fdatasync", "ftruncate")


@dataclass(frozen=True, slots=True)
class DiskError:
    """One way to fail: the system's word, once or for ever, and what is said about it."""

    name: str
    word: str
    for_ever: bool
    sentence: str


FULL = DiskError("full", "ENOSPC", for_ever=True, sentence="disk")
BROKEN = DiskError("broken", "EIO", for_ever=True, sentence="disk")
ONCE = DiskError("EIO once", "EIO", for_ever=False, sentence="disk")
READONLY = DiskError("read-only", "EROFS", for_ever=True, sentence="funnel.db")
ERRORS = (FULL, BROKEN, ONCE, READONLY)


def failing_moments(moments: list[Moment]) -> list[Moment]:
    """Return the moments at which the database writes."""
    return [at for at in moments if at.call in WRITES]


def send_on_failing(scene: Scene, error: DiskError, at: Moment) -> Ended:
    """Run a sender whose disk fails from a moment on."""
    when = f"{at.n}+" if error.for_ever else str(at.n)
    return scene.run("send", program=SMALL, before=failing((at.call,), error.word, when))


def faults_of_failing(stage: Stage, error: DiskError, at: Moment) -> list[str]:
    """Let the disk of a run fail from a moment on; return what is wrong then or later (F-11, F-12)."""
    with a_scene(stage) as scene, small_batches():
        ended = send_on_failing(scene, error, at)
        scene.world.settle()
        early = len(scene.world.taken)
        found = told_badly(ended, error)
        if early < len(PEOPLE) and ended.code == 0:
            found.append(f"stopped with exit code 0 after {early}")
        scene.send()
        scene.send()
        found += faults_of(scene)
        lost = missed(scene, PEOPLE)
        if lost:
            found.append(f"nothing came: {lost}")
    return [f"send, {error.word} at {at}{'+' if error.for_ever else ''}: {fault}" for fault in found]


def told_badly(ended: Ended, error: DiskError) -> list[str]:
    """Return what is wrong with what a command said: a traceback, no sentence, a failure that is called success."""
    said = ended.err.strip()
    wrong = {
        "a traceback": "Traceback" in said,
        "no plain sentence": ended.code != 0 and not (said.startswith("Error: ") and error.sentence in said),
        "more than a sentence": said.count("\n") > 1,
        "success and an error": ended.code == 0 and bool(said),
        "died": ended.code < 0 or ended.code > 100,
    }
    return [f"{what}: {ended}" for what, is_so in wrong.items() if is_so]
