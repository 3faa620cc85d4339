"""Whether sending goes on by itself: cron, the clock, and what waits for somebody."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from funnel.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.store.health import Health

#: How far two clocks may be apart without anybody minding.
SKEW = timedelta(minutes=5)
#: A run that began so long ago and has not ended has died.
DEAD = timedelta(hours=6)


def check_running(health: Health, now: datetime, silent_after: timedelta) -> Iterator[Finding]:
    """Yield how sending stands at ``now``."""
    yield _clock(health, now) or ok("clock", f"It is {now:%Y-%m-%d %H:%M} UTC, after everything on record.")
    yield _cron(health, now, silent_after)
    run = health.last_run
    if run is not None and run.finished_at is None and now - run.started_at > DEAD:
        yield warning(
            "last run",
            f"The run of {run.started_at:%Y-%m-%d %H:%M} UTC never ended.",
            "Run “funnel send” by hand and read what it says.",
        )
    if health.rests_until is not None and health.rests_until > now:
        yield error(
            "sending",
            f"It rests until {health.rests_until:%H:%M} UTC because the mail server refuses you as a sender.",
            "Read its words in “funnel outbox list” and mend what they name: SPF, DKIM, DMARC, a blocklist or a rate.",
        )
    if health.unsettled:
        count = f"{health.unsettled} {'mail waits' if health.unsettled == 1 else 'mails wait'}"
        yield warning("outbox", f"{count} for somebody to decide.", "See “funnel outbox list”.")


def _clock(health: Health, now: datetime) -> Finding | None:
    """Return the latest thing on record that has not happened yet, if there is one."""
    run = health.last_run
    known = [moment for moment in (health.last_tick, run.started_at if run else None) if moment]
    latest = max(known, default=now)
    if latest <= now + SKEW:
        return None
    return error(
        "clock",
        f"Sending last ran at {latest:%Y-%m-%d %H:%M} UTC, and now it is {now:%Y-%m-%d %H:%M} UTC: a clock is wrong.",
        "Switch on time synchronisation (timedatectl set-ntp true), and look at the date.",
    )


def _cron(health: Health, now: datetime, silent_after: timedelta) -> Finding:
    fix = "Look at cron (crontab -l) or the timer, and run “funnel send” by hand."
    if health.last_tick is None:
        return warning("cron", "Sending has never run.", "Set up cron as in docs/operator.md.")
    silent = now - health.last_tick
    if silent > silent_after:
        return error("cron", f"Sending has not run for {spoken(silent)}.", fix)
    return ok("cron", f"Sending last ran {spoken(max(silent, timedelta(0)))} ago.")


def spoken(length: timedelta) -> str:
    """Return a length of time as one says it."""
    seconds = int(length.total_seconds())
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{seconds // size} {word}{'' if seconds // size == 1 else 's'}"
    return "less than a minute"
