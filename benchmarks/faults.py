"""Every command killed before every call that changes or sends something; the power cut at every such place; and
every write failing: the whole sweeps of which ``tests/faults`` tries a few.

No speeds here but counts: moments tried, and what was wrong afterwards, which is printed and ends with exit code 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.faults.disk import ERRORS, failing_moments, faults_of_failing
from tests.faults.powercut import faults_of_case, faults_of_sending, record, record_sending
from tests.faults.sweep import ROWS, TREATMENTS, make_case, sending_moments, strike, strike_sending
from tests.faults.trace import MISSING, strace_works
from tests.faults.world import make_stage

#: So many disks are drawn by lot for each place at which the power fails.
LOTS = 3
MEMORY = Path("/dev/shm")


class Table:
    """What is printed, a line for each sweep."""

    def __init__(self) -> None:
        self.wrong = 0
        print(f"{'fault':10} {'command':14} {'moments':>8} {'wrong':>6} {'time':>8}")

    def add(self, fault, command, tries):
        began, wrong, count = time.perf_counter(), 0, 0
        for found in tries:
            count += 1
            wrong += bool(found)
            for sentence in found:
                print(f"  {sentence}", flush=True)
        self.wrong += wrong
        print(f"{fault:10} {command:14} {count:>8} {wrong:>6} {time.perf_counter() - began:>7.0f}s", flush=True)


def sweep_sending(table, stage, folder):
    """Kill a run everywhere, cut the power everywhere, fail every write."""
    moments = sending_moments(stage, folder)
    for treatment in TREATMENTS:
        table.add("kill -9", f"send, {treatment}", (strike_sending(stage, at, treatment) for at in moments))
    recording = record_sending(stage, folder)
    for treatment in TREATMENTS:
        tries = (
            faults_of_sending(recording, cut, lot, treatment)
            for cut in range(len(recording.events) + 1)
            for lot in range(LOTS)
        )
        table.add("power cut", f"send, {treatment}", tries)
    for error in ERRORS:
        places = failing_moments(moments)
        table.add(error.name, "send", (faults_of_failing(stage, error, at) for at in places))


def sweep_row(table, row, stage, folder):
    """Kill one command everywhere, and cut the power everywhere when it is one that a database alone has to keep."""
    case = make_case(row, stage, folder)
    table.add("kill -9", row.name, (strike(case, at) for at in case.moments))
    if row.post is not None:
        recording = record(case, folder)
        cuts = range(len(recording.events) + 1)
        table.add(
            "power cut", row.name, (faults_of_case(case, recording, cut, lot) for cut in cuts for lot in range(LOTS))
        )


def run(names: tuple[str, ...] = ()) -> None:
    """Run every sweep, or those of some commands, and print a line for each."""
    if not strace_works():
        sys.exit(MISSING)
    table = Table()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        stage = make_stage(Path(folder))
        if not names or "send" in names:
            sweep_sending(table, stage, Path(folder))
        for row in ROWS:
            if not names or row.name in names:
                sweep_row(table, row, stage, Path(folder))
    if table.wrong:
        sys.exit(f"{table.wrong} moments were not survived.")


if __name__ == "__main__":
    run(tuple(sys.argv[1:]))
