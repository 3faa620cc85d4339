"""What the sender's rate keeps between its runs: one value in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.store import runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from funnel.store.database import Database

KEY = "bucket"


class Pace:
    """Keeps a few words from one run to the next; each call opens the database for a moment."""

    def __init__(self, session: Callable[[], AbstractContextManager[Database]], clock: Callable[[], datetime]) -> None:
        self.session = session
        self.clock = clock

    def now(self) -> float:
        """Return this moment in seconds since 1970."""
        return self.clock().timestamp()

    def kept(self) -> str | None:
        """Return what was kept last, or None; raises StoreError."""
        with self.session() as db:
            return runs.get(db, KEY)

    def keep(self, words: str) -> None:
        """Keep these words instead; raises StoreError."""
        with self.session() as db, db.transaction():
            runs.put(db, KEY, words)
