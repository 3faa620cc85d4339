"""Hand out the guide: one open file, its strong ETag, single ranges, constant memory (SEC-18, F-49)."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.http import http_date, is_resource_modified

from funnel.errors import GuideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

    from flask import Request

CHUNK = 64 * 1024
RANGE = re.compile(r"bytes=(?:(?P<start>\d{1,18})-(?P<end>\d{1,18})?|-(?P<last>\d{1,18}))", re.IGNORECASE)

Stamp = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Book:
    """One edition of the guide: where it is, its type, and the bytes a whole file begins and ends with."""

    path: Path
    mimetype: str
    starts: bytes
    ends: bytes

    def open(self) -> BufferedReader:
        """Return the open file, whole at this moment; raises GuideError when there is none."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise GuideError(f"{self.path.name} cannot be opened: {error.strerror}") from None
        try:
            whole = file.read(len(self.starts)).lower() == self.starts.lower() and self.ends in _tail(file)
        except OSError:
            whole = False
        if not whole:
            file.close()
            raise GuideError(f"{self.path.name} is not a whole file; build it again with “funnel guide build”")
        return file

    @property
    def size(self) -> int:
        """Return the size in bytes; 0 when there is no file."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


def _tail(file: BufferedReader) -> bytes:
    file.seek(max(0, os.fstat(file.fileno()).st_size - 1024))
    return file.read(1024)


def _stamp(file: BufferedReader) -> Stamp:
    """Return what tells one version of a file from the next."""
    facts = os.fstat(file.fileno())
    return str(file.name), facts.st_ino, facts.st_mtime_ns, facts.st_size


_HASHES: dict[Stamp, str] = {}


def etag(file: BufferedReader) -> str:
    """Return a hash of what the open file holds; worked out once for each version of it."""
    stamp = _stamp(file)
    if stamp not in _HASHES:
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        if len(_HASHES) > 8:
            _HASHES.clear()
        _HASHES[stamp] = found
    return _HASHES[stamp]


def answer(request: Request, book: Book) -> Response:
    """Return the file, the part asked for (206), or that nothing changed (304); raises GuideError."""
    file = book.open()
    response = Response(status=200, mimetype=book.mimetype)
    response.call_on_close(file.close)
    _describe(response, file, book)
    if _unchanged(request, response):
        response.status_code = 304
        return response
    size = os.fstat(file.fileno()).st_size
    start, length = 0, size
    part = _part(request, response, size)
    if part is not None:
        start, length = part
        response.status_code = 206 if length else 416
        inside = f"{start}-{start + length - 1}" if length else "*"
        response.headers["Content-Range"] = f"bytes {inside}/{size}"
    response.headers["Content-Length"] = str(length)
    response.response = () if request.method == "HEAD" else _chunks(file, start, length)
    return response


def _describe(response: Response, file: BufferedReader, book: Book) -> None:
    moment = datetime.fromtimestamp(int(os.fstat(file.fileno()).st_mtime), UTC)
    response.set_etag(etag(file))
    response.headers["Last-Modified"] = http_date(moment)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-transform"
    response.headers["Content-Disposition"] = f'inline; filename="{book.path.name}"'


def _unchanged(request: Request, response: Response) -> bool:
    headers = response.headers
    return not is_resource_modified(request.environ, headers["ETag"], last_modified=headers["Last-Modified"])


def _part(request: Request, response: Response, size: int) -> tuple[int, int] | None:
    """Return where the part asked for starts and how long it is, 0 when the file ends before it; None for all of it.

    Several ranges at once, other units and nonsense are answered with the whole file, as RFC 9110 14.2 allows.
    """
    found = RANGE.fullmatch(request.headers.get("Range", "").strip())
    if request.method != "GET" or not found or not _if_range(request.headers.get("If-Range"), response):
        return None
    if found["last"]:
        length = min(int(found["last"]), size)
        return size - length, length
    start, end = int(found["start"]), min(int(found["end"] or size - 1), size - 1)
    if found["end"] and int(found["end"]) < start:
        return None
    return start, max(0, end - start + 1)


def _if_range(condition: str | None, response: Response) -> bool:
    """True when the visitor's half is of this very version: the same strong ETag, or the same date."""
    if condition is None or condition == response.headers["ETag"]:
        return True
    try:
        return parsedate_to_datetime(condition) == parsedate_to_datetime(response.headers["Last-Modified"])
    except (TypeError, ValueError):
        return False


def _chunks(file: BufferedReader, start: int, length: int) -> Iterator[bytes]:
    file.seek(start)
    while length > 0:
        chunk = file.read(min(CHUNK, length))
        if not chunk:
            return
        length -= len(chunk)
        yield chunk
