"""The lock of a database's one sender, a file beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from funnel.errors import RunActiveError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.errors import FunnelError


def lock_of(database: Path) -> Path:
    """Return where the lock of a database is; there is none before its first run."""
    return database.with_name(database.name + ".lock")


def sending() -> StoreBusyError:
    """Return why a database cannot be changed as a whole just now."""
    return StoreBusyError("A run is sending from this database; nothing was changed. Try again in a moment.")


@contextlib.contextmanager
def alone(database: Path, refusal: FunnelError | None = None) -> Iterator[None]:
    """Hold the lock of a database's one sender; the kernel gives it back however that ends (F-9, F-10).

    Raises ``refusal``, or RunActiveError, while a run has it.
    """
    handle = os.open(lock_of(database), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise refusal or RunActiveError() from None
        yield
    finally:
        os.close(handle)
