"""Handing out the guide: ranges, validators, and never half a file with a whole length."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.shop import HTML, PDF, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.test import TestResponse

SIZE = len(PDF)


@pytest.fixture
def path(shop: Shop) -> str:
    return f"/g/{shop.guide_token(shop.join('ann@example.com'))}/guide.pdf"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "build" / "guide" / "guide.pdf"


def get(shop: Shop, path: str, **headers: str) -> TestResponse:
    return shop.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_the_whole_file_comes_with_everything_it_needs(shop: Shop, path: str) -> None:
    """SEC-17, SEC-18."""
    answer = get(shop, path)
    assert (answer.status_code, answer.data) == (200, PDF)
    headers = answer.headers
    assert headers["Content-Type"] == "application/pdf"
    assert headers["Content-Length"] == str(SIZE)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private, no-transform"
    assert headers["Content-Disposition"] == 'inline; filename="guide.pdf"'
    assert headers["X-Robots-Tag"] == "noindex"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["ETag"].startswith('"')
    assert headers["Last-Modified"].endswith("GMT")
    head = shop.client.head(path, headers={"Range": "bytes=0-4"})
    assert (head.status_code, head.headers["Content-Length"], head.data) == (200, str(SIZE), b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-4", 0, 4),
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        ("BYTES=5-6", 5, 6),
        (f"bytes=10-{SIZE * 9}", 10, SIZE - 1),
        (f"bytes=-{SIZE * 9}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=60000-140000", 60000, 140000),
    ],
)
def test_a_part_comes_as_a_part(shop: Shop, path: str, asked: str, start: int, end: int) -> None:
    """SEC-18."""
    answer = get(shop, path, Range=asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start + 1)
    assert answer.data == PDF[start : end + 1]


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0", "bytes=999999999999-"])
def test_a_part_beyond_the_end_is_refused(shop: Shop, path: str, asked: str) -> None:
    """SEC-18."""
    answer = get(shop, path, Range=asked)
    assert (answer.status_code, answer.data) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=", "bytes=a-b", "items=0-4", "bytes=0-4,6-9", "bytes 0-4", "bytes=--4", "é"]
)
def test_what_is_no_single_range_gets_the_whole_file(shop: Shop, path: str, asked: str) -> None:
    """SEC-18: RFC 9110 section 14.2."""
    answer = get(shop, path, Range=asked)
    assert (answer.status_code, answer.data) == (200, PDF)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(start=st.integers(0, SIZE + 50), end=st.none() | st.integers(0, SIZE + 50))
def test_parts_add_up(shop: Shop, path: str, start: int, end: int | None) -> None:
    answer = get(shop, path, Range=f"bytes={start}-{'' if end is None else end}")
    if end is not None and end < start:
        assert (answer.status_code, answer.data) == (200, PDF)
    elif start >= SIZE:
        assert answer.status_code == 416
    else:
        assert answer.data == PDF[start : None if end is None else end + 1]


def test_a_second_look_costs_no_second_download(shop: Shop, path: str) -> None:
    first = get(shop, path)
    same = get(shop, path, If_None_Match=first.headers["ETag"])
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["ETag"] == first.headers["ETag"]
    assert get(shop, path, If_Modified_Since=first.headers["Last-Modified"]).status_code == 304
    assert get(shop, path, If_None_Match='"other"').status_code == 200


def test_a_half_goes_on_only_in_the_same_edition(shop: Shop, path: str, file: Path) -> None:
    """SEC-18, F-49."""
    first = get(shop, path)
    etag, date = first.headers["ETag"], first.headers["Last-Modified"]
    assert get(shop, path, Range="bytes=5-", If_Range=etag).status_code == 206
    assert get(shop, path, Range="bytes=5-", If_Range=date).status_code == 206
    for other in (f"W/{etag}", '"x"', "Mon, 01 Jan 2024 00:00:00 GMT", "nonsense"):
        assert get(shop, path, Range="bytes=5-", If_Range=other).status_code == 200
    edition = PDF.replace(b"%PDF-1.7", b"%PDF-1.6")
    file.with_suffix(".new").write_bytes(edition)
    os.utime(file.with_suffix(".new"), ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    file.with_suffix(".new").replace(file)
    after = get(shop, path, Range="bytes=5-", If_Range=etag)
    assert (after.status_code, after.data) == (200, edition)
    assert after.headers["ETag"] != etag


def test_a_download_under_way_keeps_its_edition(shop: Shop, path: str, file: Path) -> None:
    """F-49: the file is replaced while it is being read."""
    answer = shop.app.test_client().get(path)
    chunks = answer.iter_encoded()
    begun = next(iter(chunks))
    file.with_suffix(".new").write_bytes(b"%PDF-1.7 short %%EOF")
    file.with_suffix(".new").replace(file)
    assert begun + b"".join(chunks) == PDF
    answer.close()


@pytest.mark.parametrize("content", [None, b"", b"%PDF", b"not a pdf", PDF[: SIZE // 2], b"\n" + PDF])
def test_a_missing_or_broken_file_asks_to_try_again(shop: Shop, path: str, file: Path, content: bytes | None) -> None:
    """F-49."""
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for method in ("GET", "HEAD"):
        answer = shop.client.open(path, method=method, headers={"Range": "bytes=0-4"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "300"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"].startswith("text/html")
    assert "your link stays good" in get(shop, path).text.lower()
    page = get(shop, path.removesuffix("/guide.pdf"))
    assert page.status_code == 200
    assert ("MB" in page.text) == bool(content)
    file.write_bytes(PDF)
    assert get(shop, path).status_code == 200


def test_a_folder_in_its_place_is_no_guide(shop: Shop, path: str, file: Path) -> None:
    file.unlink()
    file.mkdir()
    assert get(shop, path).status_code == 503


def test_the_web_edition_may_use_its_own_style_and_nothing_else(shop: Shop, path: str) -> None:
    """SEC-17, HLT-3."""
    answer = get(shop, path.replace(".pdf", ".html"))
    assert (answer.status_code, answer.data) == (200, HTML)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'")
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "private, no-transform"
    assert answer.headers["Content-Disposition"] == 'inline; filename="guide.html"'
