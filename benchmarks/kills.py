"""``funnel send`` killed with SIGKILL again and again while everybody is due, and the server's ledger as the judge.

Each run is a real process. It is killed when the ledger has reached a number drawn by lot, or after a time drawn
by lot, which hits the start and the recovery too; then the next one starts, until all is settled. Promised (P3):
under ``hold`` nobody gets a mail twice, and who got none is on record as uncertain; under ``retry`` nobody goes
without, and a second copy has the same bytes. A kill leaves few mails in doubt for each connection.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.app import Funnel
from funnel.config import load_config
from funnel.founding import found
from funnel.guide.source import known_anchors, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOP = Path(__file__).resolve().parents[1]
STEP = "the-plate"
CONNECTIONS = 8
#: In doubt after a kill, at most, for each connection: the message on the wire.
IN_DOUBT = 1
PEOPLE = 100_000
KILLS = 24
#: The length of a line of ledger.c.
LINE = 64
#: No run takes longer; one that does hangs.
PATIENCE = 900.0

#: Who got which bytes, in the order they were taken.
Taken = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: how many mails the server had taken by then, and how many of them this run."""

    at: int
    seconds: float
    sent: int


@dataclass(slots=True)
class Story:
    """What happened: each kill, what each left in doubt, and what the ledger and the database say at the end."""

    people: int
    kills: list[Kill] = field(default_factory=list)
    doubts: list[int] = field(default_factory=list)
    copies: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    lost: int = 0  #: missing, and the database does not say that it may be
    seconds: float = 0.0

    @property
    def doubled(self) -> int:
        """How many people got a second copy."""
        return sum(len(found) > 1 for found in self.copies.values())

    @property
    def changed(self) -> int:
        """How many people got a second copy that differs, or a third one."""
        return sum(len(found) > 2 or len(set(found)) > 1 for found in self.copies.values())

    def faults(self, treatment: str) -> list[str]:
        """Return which promises were broken; none is what should come out."""
        broken = {
            "more in doubt than a kill may leave": max(self.doubts, default=0) > IN_DOUBT * CONNECTIONS,
            "somebody is missing of whom the database does not know it": self.lost > 0,
            "somebody is in no state": self.statuses.get("sent", 0) + self.statuses.get("uncertain", 0) != self.people,
            "second copies under hold": treatment == "hold" and self.doubled > 0,
            "second copies without a doubt": self.doubled > sum(self.doubts),
            "a second copy with other bytes, or a third one": self.changed > 0,
        }
        return [words for words, true in broken.items() if true]


def shop(folder: Path, port: int, people: int, treatment: str) -> Path:
    """Make a funnel whose people are all due now, at any hour of any day; return its settings file."""
    answers = {
        "transport.kind": "smtp",
        "transport.smtp.host": "127.0.0.1",
        "transport.smtp.port": str(port),
        "transport.smtp.security": "none",
        "sending.window": "00:00-24:00",
        "sending.closed": "[]",
        "sending.on_uncertain": f'{{ drip = "{treatment}" }}',
        "alerts.to": "",
    }
    config = found(folder, answers)
    guide = config.path(config.guide.output)
    guide.mkdir(parents=True)
    (guide / "guide.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    (guide / "pages.json").write_text(json.dumps(known_anchors(load(TOP / "guide"))))
    fill(Funnel(load_config(folder / "funnel.toml")), people)
    return folder / "funnel.toml"


def fill(funnel: Funnel, people: int) -> None:
    """Enter so many people, with the same mail due for each of them."""
    now = int(time.time())
    with funnel.session() as db, db.transaction():
        db.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO subscriber (id, email, email_key, name, status, zone, locale, source, created_at,
                                       confirmed_at)
               SELECT i, 'p' || i || '@mail.example', 'p' || i || '@mail.example', 'Kim ' || i, 'confirmed',
                      'UTC', 'en-US', '', 0, 0 FROM n""",
            (people,),
        )
        db.execute(
            """INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at)
               SELECT id, 'series', ?, ?, ? FROM subscriber""",
            (now - 24 * 86_400, STEP, now - 3_600),
        )


@contextmanager
def sending(settings: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``funnel send`` in a process of its own; it is gone after the block, as by a power switch."""
    command = [sys.executable, "-m", "funnel", "--config", str(settings), "send", "--quiet"]
    env = os.environ | {"PYTHONPATH": str(TOP)}
    process = subprocess.Popen(command, cwd=settings.parent, env=env, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def known(settings: Path) -> tuple[int, int]:
    """Return how often the fate of a mail was unknown so far, and the newest run that began its work."""
    with Funnel(load_config(settings)).session(readonly=True) as db:
        doubts = db.value("SELECT coalesce(sum(doubts), 0) FROM mailing WHERE doubts > 0")
        return int(doubts), int(db.value("SELECT coalesce(max(id), 0) FROM run"))


def killed_again_and_again(settings: Path, people: int, kills: int, seed: int, taken: Callable[[], int]) -> Story:
    """Start and kill so many runs, then let one finish; ``taken`` says how many mails the server has."""
    lot = random.Random(seed)
    story = Story(people)
    began = time.monotonic()
    doubts, run_id = known(settings)
    culprit = 0  # whose doubts a run finds: those of the last one that began before it
    for number in range(kills):
        mark = 1 + int(people * (number + lot.random()) / (kills + 1))
        story.kills.append(one_kill(settings, lot, mark, taken, by_time=number % 4 == 3))
        story.doubts.append(0)
        found, newest = known(settings)
        story.doubts[culprit] += found - doubts
        culprit = number if newest > run_id else culprit
        doubts, run_id = found, newest
    with sending(settings) as process:
        assert process.wait(PATIENCE) == 0, "the last run did not end well"
    story.doubts[culprit] += known(settings)[0] - doubts
    story.seconds = time.monotonic() - began
    return story


def one_kill(settings: Path, lot: random.Random, mark: int, taken: Callable[[], int], *, by_time: bool) -> Kill:
    """Start a run and kill it when the server has so many mails, or after a while."""
    before, began = taken(), time.monotonic()
    late = lot.uniform(0, 1.5) if by_time or before >= mark else lot.uniform(0, 0.02)
    with sending(settings) as process:
        while not by_time and before < mark and taken() < mark and process.poll() is None:
            time.sleep(0.001)
            assert time.monotonic() - began < PATIENCE, "the run hangs"
        time.sleep(late)
    return Kill(taken(), time.monotonic() - began, taken() - before)


def judge(story: Story, settings: Path, ledger: Taken) -> None:
    """Complete the story with what the ledger and the database say."""
    copies: dict[str, list[str]] = defaultdict(list)
    for recipient, content in ledger:
        copies[recipient].append(content)
    with Funnel(load_config(settings)).session(readonly=True) as db:
        rows = db.all(
            """SELECT s.email, m.status FROM mailing m JOIN enrollment e ON e.id = m.enrollment_id
                 JOIN subscriber s ON s.id = e.subscriber_id WHERE m.step = ?""",
            (STEP,),
        )
        counted = db.all("SELECT status, count(*) FROM mailing GROUP BY status")
    states = {row["email"]: row["status"] for row in rows}
    absent = [f"p{i}@mail.example" for i in range(1, story.people + 1) if f"p{i}@mail.example" not in copies]
    story.copies, story.statuses = dict(copies), {row[0]: row[1] for row in counted}
    story.missing = len(absent)
    story.lost = sum(states.get(person) != "uncertain" for person in absent)


# --- the large form, against the ledger in C -----------------------------------------------------


@contextmanager
def ledger_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """Run ledger.c; gives its port and the file it writes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    program, file = folder / "ledger", folder / "ledger.txt"
    source = Path(__file__).with_name("ledger.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    process = subprocess.Popen([program, str(port), file])
    try:
        while not file.exists():
            time.sleep(0.01)
        yield port, file
    finally:
        process.kill()
        process.wait()


def written(file: Path) -> Taken:
    """Return who got which bytes, as the ledger says."""
    lines = file.read_text("ascii").splitlines()
    return [(line[: LINE - 17].strip(), line[LINE - 17 :]) for line in lines]


def told(treatment: str, people: int, kills: int, seed: int) -> Story:
    """Return what became of so many people under a treatment."""
    with tempfile.TemporaryDirectory() as name, ledger_server(Path(name)) as (port, file):
        settings = shop(Path(name, "shop"), port, people, treatment)
        story = killed_again_and_again(settings, people, kills, seed, lambda: file.stat().st_size // LINE)
        judge(story, settings, written(file))
    return story


def table(story: Story) -> None:
    """Print each kill, with what it left in doubt."""
    print(f"{'kill':>6}{'the server had':>16}{'of that run':>13}{'after':>9}{'in doubt':>10}")
    for number, (kill, doubt) in enumerate(zip(story.kills, story.doubts, strict=True), 1):
        print(f"{number:>6}{kill.at:>16,}{kill.sent:>13,}{kill.seconds:>8.2f}s{doubt:>10}")


def run(people: int = PEOPLE, kills: int = KILLS, seed: int = 1) -> None:
    """Print the kills and what came of them, for both treatments; ends with an error when a promise is broken."""
    if shutil.which("cc") is None:
        print("kills: the ledger is written in C, and there is no cc", file=sys.stderr)
        return
    broken = []
    for treatment in ("hold", "retry"):
        print(f"\n{people:,} people due, killed {kills} times, on doubt: {treatment}")
        story = told(treatment, people, kills, seed)
        table(story)
        print(
            f"in doubt {sum(story.doubts)} (at most {max(story.doubts)} a kill, {CONNECTIONS} connections), "
            f"missing {story.missing} (unknown to the database: {story.lost}), twice {story.doubled}, "
            f"{story.statuses}, {story.seconds:.0f} s"
        )
        broken += [f"{treatment}: {fault}" for fault in story.faults(treatment)]
    if broken:
        raise SystemExit("\n".join(broken))


if __name__ == "__main__":
    run(*(int(argument) for argument in sys.argv[1:4]))
