"""The files and the disk they are on: who may read them, and whether there is room."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.config import secret_file
from funnel.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from funnel.app import Funnel

MB = 1_000_000
#: Less than this, and the next commits may fail.
ALMOST_FULL = 20 * MB
ENOUGH = 200 * MB


@dataclass(frozen=True, slots=True)
class File:
    """One file, and what it is to us: ``people``, ``secret``, ``settings`` or ``folder``."""

    name: str
    kind: str
    mode: int
    ours: bool = True  #: it belongs to whoever asks


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that the database is on."""

    free: int
    database: int


def look(funnel: Funnel, environ: Mapping[str, str] = os.environ) -> tuple[list[File], Disk]:
    """Return the files that matter and their disk; what is not there is left out."""
    database = funnel.database_path
    wanted = [(database.with_name(database.name + end), "people") for end in ("", "-wal", "-shm")]
    wanted += [(secret_file(funnel.config), "secret"), (funnel.config.file, "settings"), (database.parent, "folder")]
    wanted += [(Path(path), "secret") for name, path in environ.items() if _names_a_secret(name)]
    files = [found for path, kind in wanted if (found := _file(path, kind)) is not None]
    size = database.stat().st_size if database.is_file() else 0
    return files, Disk(shutil.disk_usage(database.parent).free if database.parent.is_dir() else 0, size)


def _names_a_secret(name: str) -> bool:
    return name in {"FUNNEL_SMTP_PASSWORD_FILE", "FUNNEL_SECRET_FILE"}


def _file(path: Path, kind: str) -> File | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return File(path.name, kind, stat.S_IMODE(found.st_mode), found.st_uid == os.geteuid())


def check_files(files: list[File]) -> Iterator[Finding]:
    """Yield each file that others may read or write who should not; one line when there is none."""
    found = [finding for file in files for finding in _open_to_others(file)]
    yield from found
    if not found and any(file.kind in {"people", "secret"} for file in files):
        yield ok("files", "Only you can read the database and the keys.")


def _open_to_others(file: File) -> Iterator[Finding]:
    mend = f"chmod {'700' if file.kind == 'folder' else '600'} {file.name}"
    if file.kind in {"settings", "folder"} and file.mode & 0o022:
        level = error if file.mode & 0o002 else warning  # a group is often one person's own
        yield level(file.name, "Others on this machine may change it, and so send mail in your name.", f"Run “{mend}”.")
    if file.kind == "secret" and file.mode & 0o077:
        yield error(file.name, "Others on this machine may read this secret.", f"Run “{mend}”, then change the secret.")
    if file.kind == "people" and file.mode & 0o077:
        level = error if file.mode & 0o007 else warning
        yield level(file.name, "Others on this machine may read who your subscribers are.", f"Run “{mend}”.")
    if not file.ours:
        yield warning(
            file.name,
            "It belongs to another user than the one who asks now.",
            "Run this command, cron and the server as one and the same user.",
        )


def check_disk(disk: Disk) -> Finding:
    """Return whether there is room for the database to grow and to be copied."""
    wanted = max(ENOUGH, 2 * disk.database)
    if disk.free < ALMOST_FULL:
        return error("disk", f"It is full: {disk.free / MB:,.0f} MB are free.", "Free some space; sending stops soon.")
    if disk.free < wanted:
        return warning(
            "disk",
            f"{disk.free / MB:,.0f} MB are free; {wanted / MB:,.0f} MB would do for the database and a copy of it.",
            "Free some space.",
        )
    return ok("disk", f"{disk.free / 1e9:,.1f} GB are free.")
