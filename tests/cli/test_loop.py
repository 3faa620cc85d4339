"""Sending without cron: a loop that drains, rests, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from funnel.cli import loop
from funnel.errors import RunActiveError, TransportError
from funnel.store import runs
from tests.cli.shell import ANN, Shell
from tests.kit import sign_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.app import Funnel

COMMAND = str(Path(sys.executable).with_name("funnel"))
PATIENCE = 60


class Looks(loop.Stop):
    """Ends a loop after so many waits, without waiting; keeps how long each would have been."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.rests: list[float] = []

    def wait(self, seconds: float) -> None:
        self.rests.append(seconds)
        if len(self.rests) >= self.most:
            self.set()


#: Waits, and is told to end at each place in turn at which Python lets a signal in.
INTERRUPTED = """
import sys
from funnel.cli.loop import Stop

for place in range(1, 60):
    stop, left = Stop(), place

    def passing(frame, event, argument):
        global left
        left -= 1
        if not left:
            stop.set()
        return passing

    sys.settrace(passing)
    stop.wait(0.001)
    sys.settrace(None)
    assert stop.is_set() == (left < 1)
print("over")
"""


def test_who_waits_can_be_told_to_end_at_any_moment() -> None:
    """F-7: a signal comes in the midst of whatever the loop does, also of how it waits; it must not hang then."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("over\n", "")


def test_a_rest_is_slept_in_naps_and_ends_with_the_one_it_is_told_in(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, naps = loop.Stop(), list[float]()

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            stop.set()

    monkeypatch.setattr(time, "sleep", nap)
    stop.wait(PATIENCE)
    stop.wait(PATIENCE)
    assert naps == [loop.NAP] * 3


def until(true: Callable[[], object]) -> None:
    """Wait for another process to do something."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def alive(funnel: Funnel) -> bool:
    """Return whether a loop has said that it is there."""
    with funnel.session(readonly=True) as db:
        return runs.last_tick(db) is not None


def mails() -> int:
    return len(list(Path("outbox").glob("*.eml")))


def test_it_drains_only_when_something_is_due(shell: Shell) -> None:
    drained: list[int] = []

    def drain() -> int:
        drained.append(1)
        return 0

    looks = Looks(3)
    loop.keep_sending(shell.funnel, drain, looks, beside=False)
    assert drained == []
    assert set(looks.rests) == {loop.LOOK}

    shell.ask()
    loop.keep_sending(shell.funnel, drain, Looks(4), beside=False)
    assert len(drained) == 2


def test_it_rests_after_a_fault_and_tells_it_once_a_try(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.ask()

    def refused() -> int:
        raise TransportError("The mail server cannot be reached.")

    looks = Looks(2)
    assert loop.keep_sending(shell.funnel, refused, looks, beside=False) == 0
    assert looks.rests == [loop.REST, loop.LOOK]
    assert capsys.readouterr().err == "Error: The mail server cannot be reached.\n"


def test_a_loop_without_memory_says_so_and_lives_on(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """F-56."""
    shell.ask()

    def short() -> int:
        raise MemoryError

    looks = Looks(2)
    assert loop.keep_sending(shell.funnel, short, looks, beside=False) == 0
    assert looks.rests == [loop.REST, loop.LOOK]
    assert "no memory left" in capsys.readouterr().err


def test_another_run_at_work_is_no_fault(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.ask()

    def busy() -> int:
        raise RunActiveError

    looks = Looks(2)
    loop.keep_sending(shell.funnel, busy, looks, beside=False)
    assert looks.rests == [loop.LOOK, loop.LOOK]
    assert capsys.readouterr().err == ""


def test_a_refused_sender_rests_too(shell: Shell) -> None:
    shell.ask()
    looks = Looks(2)
    loop.keep_sending(shell.funnel, lambda: 1, looks, beside=False)
    assert looks.rests == [loop.REST, loop.LOOK]


def test_a_quiet_loop_says_that_it_lives(shell: Shell) -> None:
    """Else the pages would say that cron is silent."""
    loop.keep_sending(shell.funnel, lambda: 0, Looks(1), beside=False)
    with shell.funnel.session(readonly=True) as db:
        assert runs.last_tick(db) is not None


def test_it_ends_with_the_process_that_started_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([7, 7, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    looks = Looks(9)
    loop.keep_sending(shell.funnel, lambda: 0, looks, beside=True)
    assert len(looks.rests) == 1


def test_a_real_loop_sends_what_comes_and_ends_when_told(shell: Shell) -> None:
    """F-7: SIGTERM ends it, and the exit code says that all is well."""
    with subprocess.Popen([COMMAND, "send", "--loop"], stdout=subprocess.PIPE, text=True) as running:
        try:
            shell.ask()
            until(lambda: mails() == 1)
            shell.ask("ben@mail.example")
            until(lambda: mails() == 2)
            running.send_signal(signal.SIGTERM)
            said, _ = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()

    assert running.returncode == 0
    assert "sent." in said


def test_settings_spoilt_in_service_are_refused_by_who_starts_only(shell: Shell) -> None:
    """F-57: the pages go on with what they know, the loop says what is wrong and lives; mended, all is well."""
    command = [COMMAND, "serve", "--listen", "127.0.0.1:0"]
    settings = shell.folder / "funnel.toml"
    good, known = settings.read_text("utf-8"), shell.funnel
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving,
        subprocess.Popen([COMMAND, "send", "--loop"], stderr=subprocess.PIPE, text=True) as looping,
    ):
        try:
            assert serving.stdout
            assert looping.stderr
            port = serving.stdout.readline().partition(" on 127.0.0.1:")[2].split(";")[0]
            until(lambda: alive(known))
            settings.write_text(good + "\nx = [\n", "utf-8")
            sign_up(known, ANN)
            assert "funnel.toml is not valid TOML" in looping.stderr.readline()
            with urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as page:
                assert page.status == 200
            assert shell("send").code == 2
            assert (mails(), looping.poll()) == (0, None)

            settings.write_text(good, "utf-8")
            assert shell("send").code == 0
            assert mails() == 1
            looping.send_signal(signal.SIGTERM)
            assert looping.wait(timeout=PATIENCE) == 0
        finally:
            serving.kill()
            looping.kill()


def test_the_server_can_send_too_and_takes_the_sender_with_it(shell: Shell) -> None:
    with subprocess.Popen([COMMAND, "serve", "--send", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE) as running:
        try:
            shell.ask(ANN)
            until(lambda: mails() == 1)
            (child,) = children_of(running.pid)
        finally:
            running.kill()
        running.wait(timeout=PATIENCE)

    until(lambda: gone(child))


def gone(pid: int) -> bool:
    """Return whether a process has ended, also when nobody has asked yet how."""
    try:
        return "zombie" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(pid: int) -> list[int]:
    """Return the processes a process has started."""
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        pytest.skip("the system does not list the children of a process; Linux does")
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
