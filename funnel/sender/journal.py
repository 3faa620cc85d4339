"""How far each mail of the batch in hand has come, in a small file that outlives a killed process.

The page cache keeps what was written to a mapped file when a process is killed; when the power fails it may not,
and then the machine's boot id has changed and the journal counts for nothing. So it is never flushed to the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Self

from funnel.errors import StoreError
from funnel.store import seal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Magic word, boot id, run, number of entries; then an id each, then a state each.
HEAD = struct.Struct("<8s36sqq")
MAGIC = b"funnel-1"


class Stage(IntEnum):
    """How far one mail has come."""

    WAITING = 0  #: nothing of it has left
    STARTED = 1  #: some of it may have left; nobody knows what became of it
    ACCEPTED = 2  #: the server said 2yz
    REFUSED = 3  #: the server said no, or it was not to be sent after all


#: A plain number is written faster than a word.
STARTED = int(Stage.STARTED)


class Journal:
    """The stages of one batch after another. One writer at a time, which the sender's lock sees to.

    Opening it raises StoreError when there is no room for it.
    """

    def __init__(self, path: Path, room: int) -> None:
        self._room = room
        size = HEAD.size + room * 9
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._left: bytes | None = os.pread(handle, os.fstat(handle).st_size, 0)  #: what the last run left
                _make_room(handle, size)
                self._map = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        except OSError as error:
            raise StoreError(f"The disk does not take {path.name}: {error.strerror}. Nothing was sent.") from error
        self._place: dict[int, int] = {}

    def begin(self, run_id: int, ids: Sequence[int]) -> None:
        """Start a batch: every one of these waits. Killed in the midst of this, all of them count as waiting."""
        states = HEAD.size + self._room * 8
        self._map[states:] = bytes(self._room)
        struct.pack_into(f"<{len(ids)}q", self._map, HEAD.size, *ids)
        HEAD.pack_into(self._map, 0, MAGIC, seal.boot_id(), run_id, len(ids))
        self._place = {mailing_id: states + place for place, mailing_id in enumerate(ids)}
        self._left = None

    def started(self, mailing_id: int) -> None:
        """Note that from now on nobody knows what becomes of a mail until it is answered."""
        self._map[self._place[mailing_id]] = STARTED

    def note(self, mailing_id: int, stage: Stage) -> None:
        """Note how far a mail of the batch has come."""
        self._map[self._place[mailing_id]] = stage

    def stages(self, run_id: int) -> dict[int, Stage] | None:
        """Return how far the mails of a run's last batch came; None when this journal does not know that run.

        A claimed mail of that run that is not named here was waiting: a batch is noted before it starts.
        """
        return _stages(self._map[:] if self._left is None else self._left, run_id)

    def close(self) -> None:
        """Close the file."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stages(raw: bytes, run_id: int) -> dict[int, Stage] | None:
    """Return what a journal says, whatever its room; None when it is not of this run and this start of the machine."""
    room = (len(raw) - HEAD.size) // 9
    if room < 0:
        return None
    magic, boot, run, count = HEAD.unpack_from(raw, 0)
    known = seal.boot_id()
    if (magic, boot, run) != (MAGIC, known, run_id) or not known.strip(b"\0") or not 0 <= count <= room:
        return None
    ids = struct.unpack_from(f"<{count}q", raw, HEAD.size)
    states = HEAD.size + room * 8
    return {mailing_id: Stage(min(raw[states + i], 3)) for i, mailing_id in enumerate(ids)}


def _make_room(handle: int, size: int) -> None:
    """Give a file its size, all of it on the disk: writing to a map kills where a full disk has no room left for it."""
    if os.fstat(handle).st_size != size:
        os.ftruncate(handle, 0)  # made for batches of another size: its states stand elsewhere
        os.ftruncate(handle, size)
    if os.pwrite(handle, os.pread(handle, size, 0), 0) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
