"""What a disk may hold after the power failed: everything up to the last flush of each file, and of the rest anything.

A command is recorded with every byte it wrote and every flush it asked for. Each place in the recording is a moment
at which the power may have failed; the writes that were not flushed by then are there or not, by lot, in whole or in
sectors. The database is opened as it would be found, on a machine that has another boot id, so the journal is void.
"""

from __future__ import annotations

import random
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from funnel.errors import FunnelError
from funnel.store import seal
from tests.faults.books import doubled, doubts, faults_of, missed
from tests.faults.sweep import SENDING, SMALL, TREATMENTS, act, small_batches, state_of
from tests.faults.trace import TALKING, recording
from tests.faults.world import JOURNAL, PEOPLE, a_scene, put_away

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.faults.sweep import Case
    from tests.faults.world import Entry, Scene, Stage

#: Shared memory, the lock, and the journal of the batch, which counts for nothing under another boot id.
VOID = ("-shm", ".lock", ".journal")
SECTOR = 512
LINE = re.compile(r"(\d+) +(\d+\.\d+) (\w+)\((.*)\) += (-?\d+)[^\"]*$")
CUT_OFF = re.compile(r"(\d+) +(\d+\.\d+) (.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"(\d+) +\d+\.\d+ <\.\.\. \w+ resumed>(.*)$")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
ON_FILE = re.compile(r"\d+<([^>]*)>")
YES = re.compile(rb"HTTP/1\.1 [23]")


@dataclass(frozen=True, slots=True)
class Event:
    """One call: a write, cut, flush or removal of a file of the database, or bytes said to somebody."""

    at: float
    kind: str
    file: str = ""
    data: bytes = b""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """What one command did to the disk, and what the world took meanwhile."""

    start: Stage
    events: list[Event]
    taken: list[Entry] = field(default_factory=list)
    journal: bytes = b""


def read_log(log: Path) -> list[Event]:
    """Return the calls that matter, in order of their beginning."""
    return [event for line in _whole_lines(log.read_text("utf-8")) if (event := _event(line))]


def _whole_lines(text: str) -> list[str]:
    """Return the lines of a log, those cut off by another thread's put together again."""
    lines: list[str] = []
    open_at: dict[str, int] = {}
    for line in text.splitlines():
        if cut := CUT_OFF.match(line):
            open_at[cut[1]] = len(lines)
            lines.append(f"{cut[1]} {cut[2]} {cut[3]}")
        elif rest := RESUMED.match(line):
            lines[open_at.pop(rest[1])] += rest[2]
        else:
            lines.append(line)
    return lines


def _event(line: str) -> Event | None:
    found = LINE.match(line)
    if found is None or int(found[5]) < 0:
        return None
    at, call, arguments, result = float(found[2]), found[3], found[4], int(found[5])
    strings = [bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(arguments)]
    if call in TALKING:
        return Event(at, "said", data=b"".join(strings)) if call.startswith("send") else None
    name = strings[-1] if call.startswith("unlink") else _file(arguments)
    event = Event(at, call, name.decode().rpartition("/")[2], strings[-1][:result] if strings else b"")
    return _on_file(event, _number(arguments)) if _is_kept(event.file) else None


def _number(arguments: str) -> int:
    """Return the last argument of a call, 0 when that is no number."""
    last = arguments.rpartition(", ")[2]
    return int(last) if last.isdecimal() else 0


def _file(arguments: str) -> bytes:
    """Return the name of the file whose number comes first."""
    found = ON_FILE.match(arguments)
    return (
        b"" if found is None else bytes.fromhex(found[1].replace("\\x", "")) if "\\x" in found[1] else found[1].encode()
    )


def _is_kept(name: str) -> bool:
    """True for a file of the database that a power cut does not simply empty of meaning."""
    return name.startswith("funnel.db") and not name.endswith(VOID)


def _on_file(event: Event, last: int) -> Event:
    """Return what a call does to a file; ``last`` is its last argument."""
    if event.kind == "pwrite64":
        return replace(event, kind="write", place=last)
    if event.kind == "write":
        return replace(event, kind="append")
    if event.kind == "ftruncate":
        return replace(event, kind="cut", place=last)
    if event.kind in {"fsync", "fdatasync"}:
        return replace(event, kind="flush")
    if event.kind.startswith("unlink"):
        return replace(event, kind="gone", data=b"")
    raise AssertionError(f"{event.kind} on {event.file} is not understood here")


# --- recording ---------------------------------------------------------------------------------


def record_sending(stage: Stage, folder: Path, program: Sequence[str] = SMALL) -> Recording:
    """Record a run that sends all that is due."""
    log = folder / "sending.log"
    with a_scene(stage) as scene:
        ended = scene.run("send", program=program, before=recording(SENDING, log))
        assert ended.out == f"{len(PEOPLE)} sent.\n", ended
        kept = scene.database.with_name("funnel.db.journal").read_bytes()
        return Recording(stage, read_log(log), list(scene.world.taken), kept)


def record(case: Case, folder: Path) -> Recording:
    """Record one command or request."""
    log = folder / f"{case.row.name}.log"
    with a_scene(case.start) as scene:
        ended, said_yes = act(case.row, scene, recording((*case.row.calls, *TALKING), log))
        assert said_yes, ended
    return Recording(case.start, read_log(log))


# --- the disk afterwards -----------------------------------------------------------------------


def disk_after(start: Stage, events: Sequence[Event], lot: random.Random) -> dict[str, bytes | None]:
    """Return what each file of the database may hold when the power fails after these events."""
    names = {path.name for path in start.kept.iterdir() if _is_kept(path.name)} | {e.file for e in events if e.file}
    return {
        name: _file_after(start.kept / name, [event for event in events if event.file == name], lot)
        for name in sorted(names)
    }


def _file_after(path: Path, events: list[Event], lot: random.Random) -> bytes | None:
    flushed = bytearray(path.read_bytes()) if path.exists() else None
    last = max((place for place, event in enumerate(events) if event.kind == "flush"), default=-1) + 1
    chance = lot.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    kept = _applied(_applied(flushed, events[:last]), _some(events[last:], chance, lot))
    return None if kept is None else bytes(kept)


def _some(events: list[Event], chance: float, lot: random.Random) -> Iterator[Event]:
    """Yield events by lot; of a write that was under way some sectors may be there."""
    for event in events:
        there = lot.random() < chance
        if there:
            yield event
        elif event.kind == "gone":
            return  # what came later went into another file of the same name
        elif event.kind == "write" and lot.random() < 0.1:
            yield from _torn(event, lot)


def _torn(event: Event, lot: random.Random) -> Iterator[Event]:
    for begin in range(0, len(event.data), SECTOR):
        if lot.random() < 0.5:
            yield replace(event, data=event.data[begin : begin + SECTOR], place=event.place + begin)


def _applied(content: bytearray | None, events: Sequence[Event] | Iterator[Event]) -> bytearray | None:
    for event in events:
        if event.kind == "gone":
            content = None
            continue
        if event.kind == "flush":
            continue
        content = bytearray() if content is None else content
        if event.kind == "append":
            content += event.data
            continue
        end = event.place + len(event.data)
        content.extend(bytes(max(0, end - len(content))))
        if event.kind == "cut":
            del content[event.place :]
        content[event.place : end] = event.data
    return content


@contextmanager
def found_afterwards(
    recording: Recording, events: Sequence[Event], lot: random.Random, treatment: str
) -> Iterator[Scene]:
    """Give the funnel as it is found when the machine is on again, under another boot id."""
    folder = recording.start.folder
    with a_scene(recording.start, TREATMENTS[treatment]) as scene:
        for name, content in disk_after(recording.start, events, lot).items():
            _write_in_place(folder / name, content)
        (folder / "funnel.db-shm").unlink(missing_ok=True)
        if recording.journal:
            (folder / "funnel.db.journal").write_bytes(recording.journal)
        before, seal.boot_id = seal.boot_id, lambda: b"the boot after the power cut"
        try:
            yield scene
        finally:
            seal.boot_id = before


def _write_in_place(path: Path, content: bytes | None) -> None:
    """Give a file this content, or none: a send journal stays the very file that the database knows."""
    if content is None:
        put_away(path) if path.name == JOURNAL else path.unlink(missing_ok=True)
        return
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(content)
        file.truncate()


# --- what has to hold --------------------------------------------------------------------------


def faults_of_sending(recording: Recording, cut: int, seed: int, treatment: str) -> list[str]:
    """Let the power fail at a place of a run that sends, and return what is wrong after the next run (F-6)."""
    events = recording.events[:cut]
    until = recording.events[cut].at if cut < len(recording.events) else float("inf")
    with (
        small_batches(),
        found_afterwards(recording, events, random.Random(seed), treatment) as scene,
    ):
        scene.world.taken += [entry for entry in recording.taken if entry.at < until]
        try:
            scene.send()
            scene.send()
            found = faults_of(scene)
        except FunnelError as error:
            return [f"send ({treatment}), power cut before event {cut}, lot {seed}: {error}"]
        lost = missed(scene, PEOPLE)
        if treatment == "hold" and doubled(scene):
            found.append(f"doubled: {doubled(scene)}")
        if (treatment == "retry" and lost) or len(lost) > doubts(scene):
            found.append(f"nothing came: {lost}")
        if doubts(scene) > 4:
            found.append(f"{doubts(scene)} in doubt, more than were in hand")
    return [f"send ({treatment}), power cut before event {cut}, lot {seed}: {fault}" for fault in found]


def faults_of_case(case: Case, recording: Recording, cut: int, seed: int) -> list[str]:
    """Let the power fail at a place of a command, and return what is wrong: a yes that was forgotten, a half deed."""
    events = recording.events[:cut]
    said_yes = any(event.kind == "said" and YES.match(event.data) for event in events)
    with found_afterwards(recording, events, random.Random(seed), "retry") as scene:
        found = faults_of(scene)
        state = state_of(case.row, scene)
        if state != case.after and (said_yes or state != case.before):
            found.append(f"{'said yes, and forgot it' if said_yes else 'half done'}: {state}")
    return [f"{case.row.name}, power cut before event {cut}, lot {seed}: {fault}" for fault in found]
