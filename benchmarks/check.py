"""``funnel check`` over everybody: each mail still to come, written for each person, in seconds and in memory.

The ratio is to writing as many messages from fields that lie ready: what reading people, signing their links and
looking for holes costs on top. Each size is measured in a process of its own, so that the peak is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.app import Funnel
from funnel.checks.people import check_people
from funnel.founding import found
from funnel.model import Due, Enrollment, Kind, Status, Step, Subscriber

if TYPE_CHECKING:
    from funnel.compose.source import Mail
    from funnel.store.database import Database

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECONDS = 60  # the goal for 10,000 people
GROWTH = 1.1  # the goal for the peak of ten times as many people


def fill(funnel: Funnel, db: Database, people: int) -> None:
    """Enter so many people at the beginning of the series, each with a name and a gift."""
    with db.transaction():
        db.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO subscriber (id, email, email_key, name, status, zone, locale, source, created_at,
                                       confirmed_at)
               SELECT i, 'p' || i || '@mail.example', 'p' || i || '@mail.example', 'Kim ' || i, 'confirmed',
                      'America/Chicago', 'en-US', '', 0, 0 FROM n""",
            (people,),
        )
        db.execute(
            """INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at)
               SELECT id, 'series', 0, 'guide', 0 FROM subscriber"""
        )
        for i in range(1, people + 1):
            db.execute(
                """INSERT INTO gift (code, holder, subscriber_id, status, issued_at, expires_at)
                   VALUES (?, ?, ?, 'issued', 0, ?)""",
                (f"7K3M-9QXA-{i:06d}", funnel.context.holder(f"p{i}@mail.example"), i, int(NOW.timestamp()) + 86_400),
            )
    db.execute("ANALYZE")


def measure(people: int) -> dict[str, float]:
    """Return what checking so many people takes, in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        funnel = Funnel(found(Path(folder, "shop")), clock=lambda: NOW)
        with funnel.session() as db:
            fill(funnel, db, people)
        _compile(funnel)
        start, used = time.perf_counter(), time.process_time()
        findings = list(check_people(funnel, NOW))
        seconds, used = time.perf_counter() - start, time.process_time() - used
        mails = [mail for mail in funnel.library.mails.values() if mail.sequence == "series"]
        messages = people * len(mails)
        bare = sum(_bare(funnel, mail) for mail in mails) / len(mails)
    assert not findings, findings[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"messages": messages, "seconds": seconds, "ratio": used / messages / bare, "peak": peak}


def _compile(funnel: Funnel) -> None:
    for mail in funnel.library.mails.values():
        funnel.composer.compiled(mail)


def _bare(funnel: Funnel, mail: Mail, people: int = 100) -> float:
    """Return the processor time of one message, everybody's fields being there already."""
    with funnel.session(readonly=True) as db:
        ready = [funnel.fields.of(db, _due(mail, i), NOW) for i in range(people)]
    start = time.process_time()
    for i, fields in enumerate(ready):
        funnel.composer.render(mail.sequence, mail.name, fields, to="p@mail.example", mailing_id=i, date=NOW)
    return (time.process_time() - start) / people


def _due(mail: Mail, number: int) -> Due:
    person = Subscriber(number, "p@mail.example", Status.CONFIRMED, "UTC", "en-US", NOW, name=f"Kim {number}")
    way = Enrollment(number, number, mail.sequence, 0, NOW, mail.name, NOW)
    return Due(way, person, Step(mail.name, Kind.DRIP), suppressed=False)


def run(sizes: tuple[int, ...] = (1_000, 10_000)) -> None:
    """Print seconds, messages, the ratio to bare writing and the peak of memory, and the goals."""
    print(f"Every mail for everybody (goals: 10,000 people in {SECONDS} s; a peak that grows by at most {GROWTH})")
    print(f"{'people':>8}{'messages':>10}{'seconds':>9}{'us each':>9}{'ratio':>7}{'peak MB':>9}")
    for people in sizes:
        command = [sys.executable, "-m", "benchmarks.check", str(people)]
        one = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        each = one["seconds"] / one["messages"] * 1e6
        print(
            f"{people:>8,}{one['messages']:>10,}{one['seconds']:>9.1f}{each:>9.0f}{one['ratio']:>7.2f}{one['peak']:>9.0f}"
        )
    print()


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        run()
