"""A whole run, from the database to the wire and back into the database, against Postfix' own ``smtp-source -s 16``.

Everybody is due for the same mail of 30 kB, filled in for each of them. One core for us and one for the mail
server, where there are two. ``smtp-source`` is C, has no database and sends one fixed message: it is the
measure, not a rival. Rounds are interleaved; each ratio is taken within one round.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.smtp import RECIPIENT, SENDER, SIZE, Spent, built, free_port, of_process, serving, tool
from funnel.app import Funnel
from funnel.config import load_config
from funnel.founding import found
from funnel.model import MailingStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2030, 1, 1, 18, tzinfo=UTC)
STEP = "the-plate"
PARAGRAPH = f"\n\n{'Words that are the same for everybody, as most words of a mail are. ' * 5}\n"
MESSAGES = 20_000
ROUNDS = 3
GROWTH = (10_000, 100_000)
#: A server this many milliseconds away gets fewer messages, over sixteen connections, as ``smtp-source`` has.
FAR, FEW = 20, 3_000


def shop(folder: Path, port: int, people: int, *, mixed: bool = False, connections: int = 8) -> None:
    """Make a funnel whose people are all due; ``mixed`` puts them in another order than they came in."""
    config = found(folder)
    settings = folder / "funnel.toml"
    text = settings.read_text("utf-8").replace('kind = "outbox"', 'kind = "smtp"', 1)
    ours = f'[transport.smtp]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nconnections = {connections}\n'
    before, _, after = text.partition("[transport.smtp]\n")
    settings.write_text(before + ours + after[after.index("\n[") :], "utf-8")
    mail = config.path(config.content.emails) / "series" / f"{STEP}.md"
    words, end = mail.read_text("utf-8"), "\n[[signature]]"
    for times in range(1, 60):
        mail.write_text(words.replace(end, PARAGRAPH * times + end), "utf-8")
        if size_of(settings) >= SIZE:
            break
    fill(Funnel(load_config(settings)), people, mixed=mixed)


def size_of(settings: Path) -> int:
    """Return the size of the mail, compiling it on the way, as the first run would."""
    funnel = Funnel(load_config(settings), clock=lambda: NOW)
    compiled = funnel.composer.compiled(funnel.library.mail("series", STEP))
    return int((len(compiled.html) + len(compiled.text)) * 1.02) + 1_500


def fill(funnel: Funnel, people: int, *, mixed: bool) -> None:
    """Enter so many people, each with one mail behind them and the next one due."""
    order = "(i * 7919) % 1000003" if mixed else "i"
    now = int(NOW.timestamp())
    with funnel.session() as db, db.transaction():
        db.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO subscriber (id, email, email_key, name, status, zone, locale, source, created_at,
                                       confirmed_at)
               SELECT i, 'p' || i || '@mail.example', 'p' || i || '@mail.example', 'Kim ' || i, 'confirmed',
                      'America/Chicago', 'en-US', '', 0, 0 FROM n""",
            (people,),
        )
        db.execute(
            f"""INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at, last_at)
               WITH n AS (SELECT id AS i FROM subscriber)
               SELECT i, 'series', ? - i % 86400, ?, ? - 2000000 + {order}, ? FROM n""",
            (now - 30 * 86_400, STEP, now, now - 10 * 86_400),
        )
        db.execute("ANALYZE")


def send(folder: str) -> dict[str, float]:
    """Send all that is due there, and return what it took."""
    funnel = Funnel(load_config(Path(folder, "funnel.toml")), clock=lambda: NOW)
    used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with funnel.session() as db:
        sender = funnel.sender(db)
        for _ in sender.send_due():
            pass
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    sent = sender.tally[MailingStatus.SENT]
    assert sent == sender.tally.total(), sender.tally
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"messages": sent, "wall": wall, "cpu": cpu, "peak": peak_megabytes()}


def peak_megabytes() -> float:
    """Return the most memory this process held at once; ``ru_maxrss`` also counts what its parent had before."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(*arguments: str) -> dict[str, float]:
    """Return what a part of this module says, run in a process of its own on the first core."""
    command = [sys.executable, "-m", "benchmarks.engine", *arguments]
    return json.loads(subprocess.run([*pinned(0), *command], check=True, capture_output=True, text=True).stdout)


def pinned(core: int) -> list[str]:
    """Return what to say before a command to keep it on one core, where there are two and a way to."""
    return ["taskset", "-c", str(core)] if tool("taskset") and (os.cpu_count() or 1) > 1 else []


@contextmanager
def sinks(*, far: bool = False) -> Iterator[dict[str, int]]:
    """Run the mail servers that can be had here, on the second core; a ``far`` one, too, if asked for."""
    as_somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ports = {"smtp-sink": free_port(), "a light sink": free_port()}
        commands = {"smtp-sink": [tool("smtp-sink"), *as_somebody, f"127.0.0.1:{ports['smtp-sink']}", "100"]}
        if program := built(folder):
            commands["a light sink"] = [program, str(ports["a light sink"])]
            if far:
                ports["a far sink"] = free_port()
                commands["a far sink"] = [program, str(ports["a far sink"]), str(FAR)]
        for name, command in commands.items():
            stack.enter_context(serving([*pinned(1), *command], ports[name]))
        yield {name: ports[name] for name in commands}


def one_round(port: int, messages: int, connections: int = 8) -> dict[str, Spent]:
    """Return what ``smtp-source`` and a run of ours take, one after the other."""
    source = [*pinned(0), tool("smtp-source"), "-d", "-s", "16", "-m", str(messages), "-l", str(SIZE)]
    theirs = of_process([*source, "-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}"], messages)
    with tempfile.TemporaryDirectory() as folder:
        shop(Path(folder, "shop"), port, messages, connections=connections)
        found = child("send", str(Path(folder, "shop")))
    return {"smtp-source": theirs, "ours": Spent(messages, found["wall"], found["cpu"])}


def rates(messages: int, rounds: int) -> None:
    """Print rate and processor time against smtp-source, for each server."""
    print(f"A run end to end: {messages:,} people, {SIZE:,} bytes each")
    print(f"{'':16}{'theirs/s':>10}{'ours/s':>10}{'ratio':>7}{'their us':>10}{'our us':>8}{'ratio':>7}")
    with sinks(far=True) as ports:
        for name, port in ports.items():
            far = name == "a far sink"
            found = [one_round(port, FEW if far else messages, 16 if far else 8) for _ in range(rounds)]
            theirs, ours = ([one[who] for one in found] for who in ("smtp-source", "ours"))
            rate = statistics.median(o.rate / t.rate for o, t in zip(ours, theirs, strict=True))
            cpu = statistics.median(o.microseconds / t.microseconds for o, t in zip(ours, theirs, strict=True))
            print(
                f"{name:16}{statistics.median(t.rate for t in theirs):>10,.0f}"
                f"{statistics.median(o.rate for o in ours):>10,.0f}{rate:>7.2f}"
                f"{statistics.median(t.microseconds for t in theirs):>10.0f}"
                f"{statistics.median(o.microseconds for o in ours):>8.0f}{cpu:>7.2f}"
            )


def growth(sizes: tuple[int, ...]) -> None:
    """Print rate, peak of memory and bytes a person, in the order they came and in another one."""
    print(f"{'people':>10}  {'order':8}{'per s':>8}{'us':>6}{'peak MB':>9}{'bytes each':>12}")
    with sinks() as ports:
        port = ports.get("a light sink") or ports["smtp-sink"]
        for people in sizes:
            for mixed in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    place = Path(folder, "shop")
                    shop(place, port, people, mixed=mixed)
                    one = child("send", str(place))
                    each = sum(f.stat().st_size for f in place.glob("funnel.db*")) / people
                print(
                    f"{people:>10,}  {'mixed' if mixed else 'as come':8}{people / one['wall']:>8,.0f}"
                    f"{one['cpu'] / people * 1e6:>6.0f}{one['peak']:>9.0f}{each:>12.0f}"
                )


def run(messages: int = MESSAGES, rounds: int = ROUNDS, sizes: tuple[int, ...] = GROWTH) -> None:
    """Print both tables."""
    if not tool("smtp-source") or not tool("smtp-sink"):
        print("engine: smtp-source is missing; apt-get install postfix", file=sys.stderr)
        return
    rates(messages, rounds)
    growth(sizes)


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        print(json.dumps(send(sys.argv[2])))
    else:
        run(*(int(argument) for argument in sys.argv[1:3]))
