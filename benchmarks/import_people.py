"""Import of a million people, checked and without repeats, beside ``sqlite3 .import`` into the same indexed table.

The reference reads rows that are ready: nothing is checked, no repeated row is dropped, no receipt is kept.
Ours is measured twice: people alone, and as it is, with a receipt of consent and an event for each.

    python -m benchmarks.import_people [ROWS]
"""

from __future__ import annotations

import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.importing import Import, import_people
from funnel.store import bulk
from funnel.store.database import open_database
from tests.kit import make_funnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 1_000_000
ROUNDS = 3
NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
#: What the reference imports: all columns that an import fills.
COLUMNS = ["id", "email", "email_key", "status", "name", "zone", "locale", "source", "created_at"]


@dataclass(frozen=True)
class Spent:
    """What one way took: seconds on the wall, and seconds of processor."""

    wall: float
    cpu: float


def run(rows: int = ROWS) -> None:
    """Print seconds and ratios; the best of three rounds, in turns."""
    folder = Path(tempfile.mkdtemp(prefix="funnel-bench-"))
    try:
        write_people(folder, rows)
        best: dict[str, Spent] = {}
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                spent = measured(partial(way, folder, rows))
                best[name] = min(best.get(name, spent), spent, key=lambda s: s.wall)
        show(best, rows)
    finally:
        shutil.rmtree(folder)


def write_people(folder: Path, rows: int) -> None:
    """Write the same people twice, in no order: as staff have them, and as the table wants them."""
    chosen = list(range(rows))
    random.Random(2026).shuffle(chosen)
    with (folder / "people.csv").open("w") as plain, (folder / "ready.csv").open("w") as ready:
        plain.write("email,name,zone\n")
        for i, n in enumerate(chosen, 1):
            email, name, zone = f"Person.{n}@mail{n % 997}.org", f"Ann {NAMES[n % 7]}", "America/Chicago"
            plain.write(f"{email},{name},{zone}\n")
            ready.write(f"{i},{email},{email.lower()},pending,{name},{zone},en-US,import people.csv,1800000000\n")


NAMES = ("Alba", "Brook", "Cole", "Dunn", "Eve", "Ford", "Gray")


def measured(act: Callable[[], None]) -> Spent:
    """Return what an act took, with the programs it started."""
    start, before = time.perf_counter(), cpu()
    act()
    return Spent(time.perf_counter() - start, cpu() - before)


def cpu() -> float:
    """Return the processor seconds of this program and of those it started."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def by_sqlite(folder: Path, rows: int) -> None:
    """Import the ready rows with sqlite3's own .import into our table, with our indexes and the same cache."""
    file = folder / "reference.db"
    for path in folder.glob("reference.db*"):
        path.unlink()
    script = f"""PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16000;
{schema(folder)}
.mode csv
.import {folder / "ready.csv"} subscriber
SELECT count(*) FROM subscriber;
"""
    told = subprocess.run(["sqlite3", str(file)], input=script, capture_output=True, text=True, check=True).stdout
    assert told.split()[-1] == str(rows), told


def schema(folder: Path) -> str:
    """Return how our table of people and its indexes are made, cut to the columns that are filled."""
    made = folder / "schema.db"
    with open_database(made, create=True) as db:
        found = [
            row["sql"] for row in db.all("SELECT sql FROM sqlite_schema WHERE tbl_name = 'subscriber' AND sql > ''")
        ]
    table = re.sub(r"--.*", "", found[0])
    rest = [c for c in re.findall(r"^\s{4}(\w+) ", table, re.MULTILINE) if c not in COLUMNS]
    for column in rest:
        table = re.sub(rf",\s*{column} [^,)]*", "", table)
    return ";\n".join([table, *(sql for sql in found[1:] if not any(f"({column})" in sql for column in rest))]) + ";"


def ours(folder: Path, rows: int) -> None:
    """Import the people as the command does."""
    home = folder / "funnel"
    shutil.rmtree(home, ignore_errors=True)
    funnel = make_funnel(home)
    plan = Import(folder / "people.csv", "a benchmark", "none", not_patients=True, operator="bench")
    with funnel.session() as db:
        done = import_people(db, funnel.context, plan, now=NOW, really=True)
    assert (done.applied, done.new) == (True, rows), str(done)


def people_alone(folder: Path, rows: int) -> None:
    """Import without what the reference does not do either."""
    with without("add_receipts", "add_import_events"):
        ours(folder, rows)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Leave out some statements for a block."""
    kept = {name: getattr(bulk, name) for name in names}
    try:
        for name in names:
            setattr(bulk, name, lambda *_: None)
        yield
    finally:
        for name, function in kept.items():
            setattr(bulk, name, function)


WAYS = {
    "sqlite3 .import, ready rows": by_sqlite,
    "people alone": people_alone,
    "with receipt and event each": ours,
}


def show(best: dict[str, Spent], rows: int) -> None:
    """Print the table."""
    reference = next(iter(best.values()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Import of {rows:,} people (ratio: 1 is as fast as the reference, more is faster)")
    print(f"{'':32}{'seconds':>9}{'cpu':>8}{'rows/s':>10}{'ratio':>8}{'by cpu':>8}")
    for name, spent in best.items():
        ratios = f"{reference.wall / spent.wall:>8.2f}{reference.cpu / spent.cpu:>8.2f}"
        print(f"{name:32}{spent.wall:>9.2f}{spent.cpu:>8.2f}{rows / spent.wall:>10,.0f}{ratios}")
    print(f"peak memory of this program: {peak:.0f} MB\n")


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
