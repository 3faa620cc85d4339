"""strace as a tool: end a command at its N-th call, let its N-th call fail, or write down what it wrote."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import FORBIDDEN

if TYPE_CHECKING:
    from pathlib import Path

#: What changes files, by the names of this machine's kernel and of others; strace skips with ``?`` what it lacks.
STORING = (
    "write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate",
    "?unlink", "unlinkat", "?rename", "?renameat", "renameat2", "?link", "linkat", "?mkdir", "mkdirat",
    "?chmod", "fchmod", "fchmodat",
)  # fmt: skip
#: What talks to others.
TALKING = ("connect", "sendto", "sendmsg", "recvfrom", "recvmsg")
MISSING = "no strace that works; install it: apt-get install strace"


class Moment(NamedTuple):
    """Right before the N-th time that a thread makes this call."""

    call: str
    n: int

    def __str__(self) -> str:
        return f"{self.call}-{self.n}"


@cache
def strace_works() -> bool:
    """Return whether commands can be watched on this machine; some containers forbid it."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=getpid:signal=KILL:when=9999", "true"]
    return subprocess.run(tried, capture_output=True).returncode == 0


def need_strace() -> None:
    """Skip the test where there is no strace, or where nobody may use it."""
    if not strace_works():
        pytest.skip(f"no process may be traced: {FORBIDDEN}" if shutil.which("strace") else MISSING)


def _watching(calls: tuple[str, ...], log: Path | str) -> list[str]:
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(calls)}", "-e", "signal=none"]


def noting(calls: tuple[str, ...], log: Path) -> list[str]:
    """Return the words before a command that note each of these calls, a line each."""
    return [*_watching(calls, log), "-s", "0"]


def killing(moment: Moment) -> list[str]:
    """Return the words before a command that kill it right before this call of one of its threads."""
    # With --seccomp-bpf strace 6.1 would forget the signal.
    return [*_watching((moment.call,), "/dev/null"), "-e", f"inject={moment.call}:signal=KILL:when={moment.n}"]


def failing(calls: tuple[str, ...], error: str, when: str) -> list[str]:
    """Return the words before a command whose calls fail: ``when`` is ``3`` for the third, ``3+`` from the third on."""
    return [*_watching(calls, "/dev/null"), "-e", f"inject={','.join(calls)}:error={error}:when={when}"]


def recording(calls: tuple[str, ...], log: Path) -> list[str]:
    """Return the words before a command that write down these calls with the moment, the file and every byte."""
    return [*_watching(calls, log), "-ttt", "-y", "-xx", "-s", "4000000"]


def moments(log: Path) -> list[Moment]:
    """Return every call that was noted, in order; strace counts each call of each thread for itself."""
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[Moment, None] = {}
    for line in log.read_text("utf-8", "replace").splitlines():
        thread, _, rest = line.partition(" ")
        call = rest.strip().partition("(")[0]
        if call.isidentifier():  # and not the second half of one that was interrupted
            counts[thread, call] += 1
            found[Moment(call, counts[thread, call])] = None
    return list(found)


def spread(every: list[Moment], most: int) -> list[Moment]:
    """Return so many of these, from the first to the last, at even distances."""
    return every if len(every) <= most else [every[i * (len(every) - 1) // (most - 1)] for i in range(most)]
