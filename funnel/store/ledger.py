"""The send journal beside the database: what went out and who was taken off, kept where a restored copy cannot lose it.

One line for each batch, before its first byte leaves, one for each stop, and one for each code of the pool that is
given. It holds numbers and keyed hashes, no address and no words. Each line carries a checksum, so that whatever a
power cut leaves reads as whole lines.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: At this size a new file is begun; one older is kept, which together remember some two million mails.
ROTATE_BYTES = 16_000_000
#: How much of the end is read to learn where the journal stands.
TAIL_BYTES = 65_536
#: macOS has no fdatasync.
SYNC = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the journal stood when a file or an epoch began.

    ``whole`` is false when it knows nothing of what went out before; ``base`` is the batch up to which the
    database of this epoch shares the history before it.
    """

    id: str
    epoch: int
    batch: int
    acts: int
    base: int
    whole: bool

    def line(self) -> bytes:
        """Return the record as it is written."""
        known = "whole" if self.whole else "from"
        return _line(f"seal {self.id} {self.epoch} {self.batch} {self.acts} {self.base} {known}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Mails that a run was about to hand over, by ``sequence/step``: the mailing of each, and their enrollments."""

    epoch: int
    number: int
    acts: int
    at: int
    run: int
    mails: dict[str, tuple[list[int], list[int]]]

    def line(self) -> bytes:
        """Return the record as it is written."""
        parts = [f"{name}:{_ids(mailings)},{_ids(ways)}" for name, (mailings, ways) in self.mails.items()]
        return _line(f"batch {self.epoch} {self.number} {self.acts} {self.at} {self.run} {' '.join(parts)}")


@dataclass(frozen=True, slots=True)
class Ended:
    """How mails of a batch ended: ``sent``, or certainly not taken by the server."""

    sent: bool
    mailings: list[int]

    def line(self) -> bytes:
        """Return the record as it is written."""
        return _line(f"{'sent' if self.sent else 'not'} {_ids(self.mailings)}")


@dataclass(frozen=True, slots=True)
class Act:
    """Somebody was taken off, with the reason, or came back, when that is empty."""

    number: int
    at: int
    hash: str
    reason: str

    def line(self) -> bytes:
        """Return the record as it is written."""
        kind = "stop" if self.reason else "back"
        return _line(f"{kind} {self.number} {self.at} {self.hash} {' '.join(self.reason.split())}")


@dataclass(frozen=True, slots=True)
class Given:
    """A code of the clinic's own was given away: keyed hashes of the code, and of who has it."""

    at: int
    code: str
    holder: str

    def line(self) -> bytes:
        """Return the record as it is written."""
        return _line(f"gave {self.at} {self.code} {self.holder}")


Record = Mark | Batch | Ended | Act | Given


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a journal stands now; ``last`` is its newest act when no batch followed it."""

    id: str
    epoch: int
    batch: int
    acts: int
    last: Act | None = None


def path_of(database: Path) -> Path:
    """Return where the journal of a database is."""
    return database.with_name(database.name + ".sent")


def older(journal: Path) -> Path:
    """Return where the part of a journal is that was full."""
    return journal.with_name(journal.name + ".1")


# --- lines -------------------------------------------------------------------------------------


def _line(text: str) -> bytes:
    raw = text.encode()
    return b"%b %08x\n" % (raw, zlib.crc32(raw))


def parse(line: bytes) -> Record | None:
    """Return the record in a line with its end of line, or None for one that is not whole."""
    text, space, checksum = line.rpartition(b" ")
    if not space or checksum != b"%08x\n" % zlib.crc32(text):
        return None
    kind, _, rest = text.decode().partition(" ")
    if kind == "seal":
        name, epoch, batch, acts, base, known = rest.split(" ")
        return Mark(name, int(epoch), int(batch), int(acts), int(base), known == "whole")
    if kind == "batch":
        epoch, number, acts, at, run, *mails = rest.split(" ")
        return Batch(int(epoch), int(number), int(acts), int(at), int(run), dict(map(_mails, filter(None, mails))))
    if kind in {"sent", "not"}:
        return Ended(kind == "sent", _numbers(rest))
    if kind in {"stop", "back"}:
        count, at, key_hash, reason = rest.split(" ", 3)
        return Act(int(count), int(at), key_hash, reason)
    if kind == "gave":
        at, code, holder = rest.split(" ")
        return Given(int(at), code, holder)
    return None  # written by a newer version


def _mails(text: str) -> tuple[str, tuple[list[int], list[int]]]:
    name, _, ids = text.partition(":")
    mailings, _, ways = ids.partition(",")
    return name, (_numbers(mailings), _numbers(ways))


def _ids(numbers: list[int]) -> str:
    """Return numbers as one word, ten times as fast as writing out each: a run waits for it."""
    kind = "I" if max(numbers) < 1 << 32 else "Q"
    return kind + b2a_base64(struct.pack(f"<{len(numbers)}{kind}", *numbers), newline=False).decode()


def _numbers(word: str) -> list[int]:
    raw = a2b_base64(word[1:])
    return list(struct.unpack(f"<{len(raw) // (4 if word[0] == 'I' else 8)}{word[0]}", raw))


def read(journal: Path) -> Iterator[Record]:
    """Yield the records of a journal, oldest first; what a power cut tore is left out."""
    for part in (older(journal), journal):
        if part.exists():
            with part.open("rb") as file:
                yield from (record for line in file if (record := parse(line)))


def untouched(journal: Path) -> bool:
    """Return whether a journal is one just begun for the first time, which knows of nothing that happened."""
    begun = False
    for record in read(journal):
        if isinstance(record, Mark) and (record.epoch, record.batch, record.acts) == (1, 0, 0):
            begun = True
        elif not isinstance(record, Act) or record.number:  # who was off by then is written there at once
            return False
    return begun


def given(journal: Path) -> dict[str, Given]:
    """Return what a journal knows of codes that were given, each by its hash."""
    return {record.code: record for record in read(journal) if isinstance(record, Given)}


def stand(journal: Path) -> Stand | None:
    """Return where a journal stands, from its first line and its last ones; None when there is none."""
    try:
        with journal.open("rb") as file:
            head = parse(file.readline())
            size = file.seek(0, os.SEEK_END)
            if not isinstance(head, Mark):
                return None
            length = TAIL_BYTES
            while (found := _stand(head.id, _tail(file.fileno(), size, length))) is None:
                length *= 8
            return found
    except FileNotFoundError:
        return None


def _tail(handle: int, size: int, length: int) -> list[bytes]:
    """Return the last lines; the first of them may be a part of one, which its checksum tells."""
    start = max(0, size - length)
    return os.pread(handle, size - start, start).splitlines(keepends=True)


def _stand(name: str, lines: list[bytes]) -> Stand | None:
    last: Act | None = None
    for line in reversed(lines):
        record = parse(line)
        if isinstance(record, Act) and (last is None or record.number > last.number):
            last = record
        if isinstance(record, Mark | Batch):
            batch = record.batch if isinstance(record, Mark) else record.number
            after = last if last and last.number > record.acts else None
            return Stand(name, record.epoch, batch, after.number if after else record.acts, after)
    return None


# --- writing -----------------------------------------------------------------------------------


def begin(journal: Path, mark: Mark) -> int:
    """Begin a journal file at a place where none is, and return its inode; durable when it returns."""
    scratch = journal.with_name(journal.name + ".new")
    scratch.unlink(missing_ok=True)
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, mark.line())
        os.fsync(handle)
        place = os.fstat(handle).st_ino
    finally:
        os.close(handle)
    scratch.replace(journal)
    sync_folder(journal.parent)
    return place


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def place_of(journal: Path) -> int | None:
    """Return the inode of a journal, or None when there is none."""
    try:
        return journal.stat().st_ino
    except FileNotFoundError:
        return None


def _append(handle: int, text: bytes) -> None:
    if os.write(handle, text) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Pen:
    """Writes to a journal that is there. Any number of processes may: each record goes in by one append."""

    def __init__(self, journal: Path) -> None:
        self._name = journal.name
        try:
            self._handle = os.open(journal, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise self._told(error) from None

    def write(self, lines: Iterable[bytes], *, durable: bool = True) -> None:
        """Append records, on the disk when it returns if ``durable``; raises StoreError."""
        try:
            _append(self._handle, self._gap() + b"".join(lines))
            if durable:
                SYNC(self._handle)
        except OSError as error:
            raise self._told(error) from None

    def _gap(self) -> bytes:
        """Return what ends a line that a crash tore."""
        size = os.fstat(self._handle).st_size
        return b"\n" if size and os.pread(self._handle, 1, size - 1) != b"\n" else b""

    def _told(self, error: OSError) -> StoreError:
        return StoreError(
            f"The disk does not take {self._name}, the send journal: {error.strerror}. "
            "No mail goes out that is not in there; see to the disk."
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def write(journal: Path, lines: Sequence[bytes], *, durable: bool = True) -> None:
    """Append records to a journal that is there; raises StoreError."""
    pen = Pen(journal)
    try:
        pen.write(lines, durable=durable)
    finally:
        pen.close()
