"""Many callers, one commit: who comes while the disk is busy shares the next transaction.

Bringing a row to the disk takes as long as bringing twenty. So one thread takes whatever work is waiting, runs it in
one transaction, each caller's part in a savepoint of its own, and answers all of them once that is on the disk.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from funnel.store.database import Database

#: So long the connection is kept for the next caller.
IDLE_SECONDS = 2.0
#: So many share one commit at most, which bounds how long another program waits for the write lock.
AT_MOST = 64

#: So long the write lock is free after each shared commit. Without it whoever waits outside (a stop, the sender)
#: would get in by luck only, because SQLite lets them look again at times of its own; and more come together.
PAUSE_SECONDS = 0.01

T = TypeVar("T")


class Turn:
    """One caller's work and what came of it."""

    def __init__(self, work: Callable[[Database], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()

    def take(self, db: Database) -> None:
        """Do the work inside the open transaction; what it did is undone when it raises, and nobody else's is.

        Raises only when SQLite gave up the whole transaction, as it does on a full disk.
        """
        db.execute("SAVEPOINT turn")
        try:
            self.result = self.work(db)
        except Exception as error:
            if not db.connection.in_transaction:
                raise
            db.execute("ROLLBACK TO turn")
            self.error = error
        db.execute("RELEASE turn")

    def answer(self) -> Any:
        """Wait until all is on the disk; returns what the work returned, or raises what it raised."""
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Together:
    """The one writer of a process. Its thread starts with the first caller and ends when nobody comes."""

    def __init__(
        self, session: Callable[[], AbstractContextManager[Database]], path: Path, *, idle: float = IDLE_SECONDS
    ) -> None:
        self._session = session
        self._path = path
        self._idle = idle
        self._waiting: list[Turn] = []
        self._came = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def run(self, work: Callable[[Database], T]) -> T:
        """Return what ``work`` returns, once everything it did is durable.

        Raises what ``work`` raises, or StoreError when the database cannot be opened or written; nothing was done then.
        """
        turn = Turn(work)
        with self._came:
            self._waiting.append(turn)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="funnel-writer", daemon=True)
                self._thread.start()
            self._came.notify()
        result: T = turn.answer()
        return result

    def close(self) -> None:
        """Finish what is waiting and close the connection; a later caller opens it again."""
        with self._came:
            thread, self._closing = self._thread, True
            self._came.notify()
        if thread is not None:
            thread.join()
        self._closing = False

    def _write(self) -> None:
        """Serve one batch after another, and open the database anew when a fault or a restored copy asks for it."""
        batch = self._next()
        while batch:
            place = _place(self._path)
            try:
                with self._session() as db:
                    while batch and place == _place(self._path):
                        _commit(db, batch)
                        _answer(batch)
                        if len(batch) > 1:
                            time.sleep(PAUSE_SECONDS)
                        batch = self._next()
            except BaseException as error:  # noqa: BLE001 - whoever waits must be told
                _answer(batch, error)
                batch = self._next()

    def _next(self) -> list[Turn]:
        """Return who is waiting, after a pause for somebody to come; nobody means that the thread ends."""
        with self._came:
            if not self._waiting and not self._closing:
                self._came.wait(self._idle)
            batch, self._waiting = self._waiting[:AT_MOST], self._waiting[AT_MOST:]
            if not batch:
                self._thread = None
            return batch


def _commit(db: Database, batch: list[Turn]) -> None:
    with db.transaction():
        for turn in batch:
            turn.take(db)


def _answer(batch: list[Turn], error: BaseException | None = None) -> None:
    for turn in batch:
        turn.error = error or turn.error
        turn.done.set()


def _place(path: Path) -> tuple[int, int] | None:
    """Return which file is at a path now: a restored copy is another one, and must be opened anew."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
