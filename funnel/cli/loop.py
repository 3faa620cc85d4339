"""Sending without cron: drain what is due, wait until something is, drain again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from funnel.cli.telling import tell
from funnel.errors import FunnelError, OutOfMemoryError, RunActiveError
from funnel.store import enrollments, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from funnel.app import Funnel

#: Seconds between two looks; one look is three look-ups in small indexes.
LOOK = 1.0
#: Seconds slept at a time: a signal does not end a sleep.
NAP = 0.2
#: Seconds of rest after a run that could not send.
REST = 60.0
#: Seconds between two notes that the sender is alive.
ALIVE = 30.0


class Stop:
    """Whether it is enough, which a signal may say at any moment.

    Not an Event: that has a lock, and whoever is interrupted while holding it, and then asks for it, hangs for ever.
    """

    def __init__(self) -> None:
        self._said = False

    def set(self) -> None:
        """Say that it is enough."""
        self._said = True

    def is_set(self) -> bool:
        """Return whether it is enough."""
        return self._said

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is enough, which is noticed within ``NAP`` seconds."""
        end = time.monotonic() + seconds
        while not self._said and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, NAP))


def keep_sending(funnel: Funnel, drain: Callable[[], int], stop: Stop, *, beside: bool) -> int:
    """Call ``drain`` whenever something is due, until ``stop`` is set; returns 0.

    ``beside`` ends it also when the process that started it is gone. What ``drain`` raises for a person to
    mend is told once and tried again after a rest.
    """
    parent = os.getppid()
    noted = 0.0
    with funnel.session() as db:
        while not stop.is_set() and not (beside and os.getppid() != parent):
            now = funnel.clock()
            if enrollments.anything_due(db, now):
                stop.wait(LOOK if _drained(drain) else REST)
            elif now.timestamp() - noted >= ALIVE:
                runs.tick(db, now)
                noted = now.timestamp()
            stop.wait(LOOK)
    return 0


def _drained(drain: Callable[[], int]) -> bool:
    """True when a run went well, or another run is at work."""
    try:
        return drain() == 0
    except RunActiveError:
        return True
    except (FunnelError, MemoryError) as error:
        tell(f"Error: {OutOfMemoryError() if isinstance(error, MemoryError) else error}", err=True)
        return False


@contextmanager
def gentle(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM, SIGHUP and the first Ctrl+C call ``stop``, so that the mail on the wire ends; a second kills (F-7).

    What the caller has switched off, as nohup does, stays off.
    """

    def asked(number: int, _: object) -> None:
        stop()
        signal.signal(number, signal.SIG_DFL)

    heard = [n for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, asked) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sender_beside(settings: str) -> Iterator[None]:
    """Keep a sending process beside this one for as long as the block runs, and start it again if it dies."""
    command = [sys.executable, "-m", "funnel", "--config", settings, "send", "--loop", "--beside", "--quiet"]
    over = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def watch() -> None:
        while not over.is_set():
            children[:] = [subprocess.Popen(command)]
            children[0].wait()
            over.wait(REST / 6)

    watcher = threading.Thread(target=watch, name="sender", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        for child in children:
            child.terminate()
        watcher.join(timeout=REST)
