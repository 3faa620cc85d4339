"""F-7, F-8: a run that is asked to stop, or stands still, while the answer to a message is awaited."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.books import doubled, doubts, faults_of
from tests.faults.world import CONNECTIONS, HOLD, PATIENCE, PEOPLE, Scene, a_scene, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from funnel.demo.mailserver import Accepted
    from tests.faults.world import Stage


if not Path("/proc/self/status").exists():
    pytest.skip("the system does not say which signals a process hears; Linux does", allow_module_level=True)


class Slow:
    """Takes every message and keeps its answer back until told."""

    def __init__(self, scene: Scene) -> None:
        self.take = scene.world.take
        self.answer = threading.Event()

    def __call__(self, message: Accepted) -> None:
        self.take(message)
        self.answer.wait(PATIENCE)


@contextmanager
def sending(scene: Scene) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """Give a run that waits for its first answers, and what lets them come."""
    slow = scene.world.server.on_accept = Slow(scene)
    with scene.start("send") as running:
        try:
            wait_until(lambda: scene.world.taken)
            yield running, slow.answer
        finally:
            slow.answer.set()
            running.kill()


def heard(running: subprocess.Popen[str], number: int) -> bool:
    """True once a run has taken a signal in: the next one of its kind would kill it."""
    status = Path(f"/proc/{running.pid}/status").read_text()
    (caught,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return not caught >> (number - 1) & 1


def ended(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=PATIENCE)
    return running.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_it_waits_for_the_answers_and_starts_nothing_more(stage: Stage, number: int) -> None:
    """F-7: no doubt is left, and the next run goes on."""
    with a_scene(stage, HOLD) as scene:
        with sending(scene) as (running, answer):
            running.send_signal(number)
            wait_until(lambda: heard(running, number))
            answer.set()
            code, out, err = ended(running)
        on_the_wire = len(scene.world.taken)
        assert (code, err) == (0, "")
        assert out == f"{on_the_wire} sent.\n"
        assert 1 <= on_the_wire <= 2 * CONNECTIONS  # the envelope of the next goes out behind a message

        scene.send()
        assert faults_of(scene) == []
        assert doubts(scene) == 0
        assert len(scene.world.taken) == len(PEOPLE)


def test_asked_twice_it_ends_at_once_and_leaves_its_doubts(stage: Stage) -> None:
    """F-7."""
    with a_scene(stage, HOLD) as scene:
        with sending(scene) as (running, _):
            wait_until(lambda: len(scene.world.taken) == CONNECTIONS)
            running.send_signal(signal.SIGTERM)
            wait_until(lambda: heard(running, signal.SIGTERM))
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE) == -signal.SIGTERM
        scene.world.settle()
        scene.send()

        assert faults_of(scene) == []
        assert doubled(scene) == []
        assert 1 <= doubts(scene) <= CONNECTIONS


def test_while_a_run_stands_still_no_other_sends_and_then_it_goes_on(stage: Stage) -> None:
    """F-8: the machine slept with the answers on their way."""
    with a_scene(stage, HOLD) as scene:
        with sending(scene) as (running, answer):
            running.send_signal(signal.SIGSTOP)
            other = scene.run("send")
            assert (other.code, other.out) == (0, "")
            assert "Another run is sending" in other.err
            answer.set()
            running.send_signal(signal.SIGCONT)
            code, out, err = ended(running)

        assert (code, out, err) == (0, f"{len(PEOPLE)} sent.\n", "")
        assert faults_of(scene) == []
        assert doubts(scene) == 0
