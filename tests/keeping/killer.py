"""Kill -9 a process at each step it takes towards the disk, and say what is left. Run alone: it forks.

python -m tests.keeping.killer backup|restore FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.keeping import back_up, restore
from tests.keeping.kit import Shop

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a process does to files, as Python's audit hooks name it.
STEPS = {"open", "os.rename", "os.link", "os.remove", "os.truncate", "sqlite3.connect", "os.chmod"}


def die_at(step: int, folder: Path, action: Callable[[], object]) -> bool:
    """Run an action in a process of its own that is killed before a step in a folder; True when it took fewer."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    left = step

    def count(event: str, about: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS and str(folder) in str(about[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    action()
    os._exit(0)


def state(file: Path) -> str:
    """Return what a database is: its mark, or why it is none."""
    if not file.exists():
        return "absent"
    try:
        with closing(sqlite3.connect(file)) as db:
            whole = db.execute("PRAGMA integrity_check").fetchone()[0]
            mark = db.execute("SELECT value FROM setting WHERE key = 'mark'").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return f"broken: {error}"
    return str(mark) if whole == "ok" else f"damaged: {whole}"


def sweep(name: str, folder: Path) -> list[list[str]]:
    """Return, for each step it may die at, what is left, and what is there after doing it once more."""
    found: list[list[str]] = []
    shop = Shop(folder)
    context, now = shop.funnel.context, shop.clock()
    for step in range(1, 200):
        place = folder.with_name(f"try-{step}")
        place.mkdir()
        for file in folder.glob("*.db*"):
            shutil.copyfile(file, place / file.name)
        path, target = place / "funnel.db", place / "made.db"

        def action(place: Path = place, path: Path = path, target: Path = target) -> None:
            if name == "backup":
                back_up(path, target, now=now)
            else:
                restore(path, place / "backup.db", context, now=now)

        finished = die_at(step, place, action)
        looked_at = target if name == "backup" else path
        left = state(looked_at)
        if name == "restore" or left == "absent":
            action()
        found.append([left, state(looked_at)])
        shutil.rmtree(place)
        if finished:
            break
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(sweep(sys.argv[1], Path(sys.argv[2]))))
