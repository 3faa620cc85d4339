"""Cron with nothing due at a million people, against an idle Python; and what a look at the queue costs.

Ratios of one run on one machine; the figures in docs/performance.md say which.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from funnel.founding import found
from funnel.store.database import Database, open_database, seconds
from funnel.store.enrollments import DUE_SQL, anything_due

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def fill(db: Database, people: int) -> None:
    """Enter so many people into the series, each with the next step in the future, in random order of time."""
    later = seconds(NOW + timedelta(days=1))
    with db.transaction():
        db.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at, confirmed_at)
               SELECT i, 'p' || i || '@mail.example', 'p' || i || '@mail.example', 'confirmed', 'UTC', 'en-US', '', 0, 0
                 FROM n""",
            (people,),
        )
        db.execute(
            """INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at)
               SELECT id, 'series', 0, 'decide', ? + abs(random() % 1000000) FROM subscriber""",
            (later,),
        )
    db.execute("ANALYZE")


def seconds_of(command: list[str], cwd: Path, runs: int) -> list[float]:
    """Return how long a whole process takes, run by run."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=env)
        times.append(time.perf_counter() - start)
    return times[1:]


def look(db: Database, repeat: int = 200) -> float:
    """Return the median microseconds of asking whether anything is due."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        anything_due(db, NOW)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def due_query(db: Database, due: int) -> float:
    """Return milliseconds to fetch ``due`` enrollments that have just become due."""
    db.execute("UPDATE enrollment SET next_at = ? WHERE id <= ?", (seconds(NOW) - 10, due))
    start = time.perf_counter()
    rows = db.all(DUE_SQL, {"now": seconds(NOW), "limit": due})
    spent = time.perf_counter() - start
    assert len(rows) == due
    return spent * 1000


def run(sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000), runs: int = 15) -> None:
    """Print what a tick costs at each size, in multiples of an idle Python started between the ticks."""
    funnel = str(Path(sys.executable).with_name("funnel"))
    print(f"{'people':>10} {'tick':>9} {'python -c pass':>15} {'ratio':>6} {'look':>9} {'1,000 due':>10}")
    for people in sizes:
        with tempfile.TemporaryDirectory() as folder:
            shop = Path(folder, "shop")
            config = found(shop)
            with open_database(config.path(config.store.path)) as db:
                fill(db, people)
                us = look(db)
            ticks, idles = [], []
            for _ in range(runs):
                ticks += seconds_of([funnel, "send", "--quiet"], shop, 1)
                idles += seconds_of([sys.executable, "-c", "pass"], shop, 1)
            ratio = statistics.median(t / i for t, i in zip(ticks, idles, strict=True))
            with open_database(config.path(config.store.path)) as db:
                ms = due_query(db, 1000)
            print(
                f"{people:>10,} {statistics.median(ticks) * 1e3:>7.1f}ms {statistics.median(idles) * 1e3:>13.1f}ms "
                f"{ratio:>6.2f} {us:>7.1f}us {ms:>8.1f}ms"
            )


if __name__ == "__main__":
    run()
