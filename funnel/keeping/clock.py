"""Has the clock gone ahead of the machine? By such a clock everything is due, for everybody, at once (F-43).

The machine counts its seconds since it started, asleep or not, and nobody can set that count: the moment at which it
started, by the clock, stays the same for as long as the clock is right.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel.errors import FunnelError
from funnel.store import runs, seal
from funnel.store.database import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database

#: Where the database keeps the machine's start: which one it is, and when that was by the clock.
STARTED = "machine_started"
#: More than this is no correction of a clock.
LEAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Machine:
    """Which start of the machine this is, and how long ago that was."""

    boot: str
    up: timedelta


def this_machine() -> Machine | None:
    """Return what this machine tells without its clock, or None where it tells nothing."""
    boot, count = seal.boot(), getattr(time, "CLOCK_BOOTTIME", None)
    return Machine(boot, timedelta(seconds=time.clock_gettime(count))) if boot and count is not None else None


def check_clock(db: Database, now: datetime, machine: Machine | None) -> None:
    """Raise FunnelError when the clock went ahead by more than a day since it was last looked at.

    A clock that is behind what is on record judges nothing, so that one which is put right later is believed.
    """
    if machine is None:
        return
    known, started = _known(db, machine.boot), seconds(now - machine.up)
    if known is not None and leapt(known, started):
        ahead = timedelta(seconds=started - known)
        raise FunnelError(
            f"The clock went ahead by {ahead.days} {'day' if ahead.days == 1 else 'days'} while this machine did not, "
            "so nothing was sent. Set the clock right; if it is right now, say “funnel send --clock-ok” once."
        )
    last = runs.last_tick(db)
    if (known is None and (last is None or last <= now)) or (known is not None and started > known + 60):
        trust_clock(db, now, machine)


def leapt(known: int, started: int) -> bool:
    """True when a machine that started at ``known`` seems, by a clock that leapt, to have started so much later."""
    return started - known > LEAP.total_seconds()


def trust_clock(db: Database, now: datetime, machine: Machine | None) -> None:
    """Take the clock as right from now on."""
    if machine is not None:
        runs.put(db, STARTED, f"{machine.boot} {seconds(now - machine.up)}")


def _known(db: Database, boot: str) -> int | None:
    """Return when this start of the machine was, as last looked at."""
    known, _, started = (runs.get(db, STARTED) or "").partition(" ")
    return int(started) if known == boot else None
