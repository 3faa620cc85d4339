"""What every answer carries, whom the server answers to, and how it speaks of its own trouble."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest
from flask import abort

from funnel.errors import ConfigError
from funnel.store import runs
from tests.web.shop import TOML, Shop, make_shop
from tests.web.test_links import addresses

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.test import TestResponse

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


def each_answer(shop: Shop) -> list[tuple[str, TestResponse]]:
    """Return the answers of every route, and of every kind of refusal."""
    found = [(path, shop.client.get(path)) for path in addresses(shop).values()]
    found += [(path, shop.client.post(path)) for path in addresses(shop).values()]
    bad = shop.client.get("/", headers={"Host": "evil.example"})
    large = shop.client.post("/signup", data={"x": "x" * 20_000})
    return [*found, ("/x", shop.client.get("/x")), ("/", bad), ("/signup", large)]


def test_every_answer_is_locked_down(shop: Shop) -> None:
    """SEC-17, SEC-30."""
    seen = set()
    for path, answer in each_answer(shop):
        headers = answer.headers
        seen.add(answer.status_code)
        scripted = "<script" in answer.text if answer.mimetype == "text/html" else False
        policy = f"script-src 'self'; {POLICY}" if scripted else POLICY
        assert headers["Content-Security-Policy"] == policy or path.endswith("guide.html"), path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert "geolocation=()" in headers["Permissions-Policy"]
        assert headers.get("X-Robots-Tag") == (None if path == "/" else "noindex"), path
        assert "Set-Cookie" not in headers
        assert "Server" not in headers
        open_to_caches = path.endswith((".pdf", ".html", ".css", ".png", ".js")) and answer.status_code == 200
        assert (headers["Cache-Control"] == "no-store") != open_to_caches, path
    assert seen >= {200, 400, 404, 405, 413, 421, 422}


def test_pages_are_small_and_speak_for_themselves(shop: Shop) -> None:
    """POP-40, HLT-3."""
    style = len(shop.client.get("/style.css").data)
    for path, answer in each_answer(shop):
        if answer.mimetype != "text/html" or path.endswith("guide.html"):
            continue
        assert answer.text.startswith("<!doctype html>"), path
        assert len(answer.data) + style <= 15_000, path
        assert '<html lang="en" dir="ltr">' in answer.text
        assert re.search(r"<title>[^<]{5,}</title>", answer.text)
        assert len(re.findall(r"<h1[ >]", answer.text)) == 1
        assert "Test &lt;Clinic&gt; &amp; Co" in answer.text
        assert not re.search(r"<script|style=|javascript:| on\w+=", answer.text)
        outside = set(re.findall(r'(?:src|href|action)="(https?://[^/"]+)', answer.text))
        assert outside <= {"https://go.clinic.example"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("go.clinic.example", 200),
        ("GO.clinic.example:443", 200),
        ("localhost:8040", 200),
        ("127.0.0.1", 200),
        ("[::1]:8040", 200),
        ("go.clinic.example:8080", 421),
        ("evil.example", 421),
        ("go.clinic.example.evil.example", 421),
        ("go.clinic.example@evil.example", 421),
        ("evil.example/go.clinic.example", 421),
        ("go.clinic.example, evil.example", 421),
        ("[::1", 421),
        ("a:b:c", 421),
        ("", 421),
    ],
)
def test_only_our_own_name_is_answered(shop: Shop, host: str, status: int) -> None:
    """SEC-29."""
    assert shop.client.get("/", headers={"Host": host}).status_code == status


def test_no_link_comes_from_the_request(shop: Shop) -> None:
    """SEC-29."""
    headers = {"Host": "localhost", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    for path in addresses(shop).values():
        answer = shop.client.get(path, headers=headers)
        assert b"evil.example" not in answer.data + bytes(str(answer.headers), "utf-8")
        assert b"http://localhost" not in answer.data


@pytest.mark.parametrize("path", ["/c//x", "//c/x", "/privacy/", "/./privacy", "/c/x/", "/%2f%2fevil.example"])
def test_nothing_is_redirected_to_a_guess(shop: Shop, path: str) -> None:
    """SEC-7, SEC-29."""
    answer = shop.client.get(path, headers={"Host": "localhost"})
    assert answer.status_code == 404
    assert "Location" not in answer.headers


def test_a_site_below_a_path_finds_its_own_pages(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, toml=TOML.replace("https://go.clinic.example", "https://clinic.example/go"))
    page = shop.client.get("/").text
    assert 'action="/go/signup"' in page
    assert 'href="/go/style.css?' in page
    assert shop.sign_up("a@example.com").headers["Location"] == "/go/check-inbox"


def test_plain_http_on_this_machine_asks_for_no_https(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, toml=TOML.replace("https://go.clinic.example", "http://127.0.0.1:8040"))
    assert "Strict-Transport-Security" not in shop.client.get("/").headers


def test_a_proxy_that_is_no_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"site\.trusted_proxies: 'nginx'"):
        make_shop(tmp_path, toml=TOML.replace('"2001:db8::1"', '"nginx"'))


# --- our own trouble -----------------------------------------------------------------------------


def test_a_broken_store_asks_to_try_again(shop: Shop, tmp_path: Path) -> None:
    path = addresses(shop)["/u/<token>"]
    key = shop.key()
    database = tmp_path / "funnel.db"
    for name in ("funnel.db-wal", "funnel.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    for content in (b"this is no database at all" * 99, None):
        database.unlink()
        if content:
            database.write_bytes(content)
        for answer in (
            shop.client.get(path),
            shop.client.post(path),
            shop.client.post("/signup", data={"email": "a@example.com", "key": key}),
        ):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "30"
            assert "nothing was changed" in answer.text
            assert "funnel.db" not in answer.text
        assert shop.client.get("/").status_code == 200


def test_a_fault_of_ours_shows_and_logs_nothing_personal(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """SEC-22."""
    path = addresses(shop)["/g/<token>"]
    with shop.funnel.session() as db, db.transaction():
        db.execute("ALTER TABLE gift RENAME TO gone")
    with caplog.at_level(logging.DEBUG):
        answer = shop.client.get(path + "?email=ann@example.com")
    assert answer.status_code == 500
    assert "Sorry" in answer.text
    assert "Traceback" not in answer.text
    assert "no such table" not in answer.text
    assert "OperationalError in guide" in caplog.text
    assert path[3:] not in caplog.text
    assert "ann" not in caplog.text


def test_health_says_how_store_and_sending_are(shop: Shop, tmp_path: Path) -> None:
    def health() -> tuple[int, dict[str, object]]:
        answer = shop.client.get("/healthz")
        return answer.status_code, json.loads(answer.data)

    assert health() == (200, {"ok": True, "store": True, "last_send": None, "silent": True})
    with shop.funnel.session() as db, db.transaction():
        runs.tick(db, shop.clock.now)
    assert health() == (200, {"ok": True, "store": True, "last_send": "2026-11-24T10:00:00+00:00", "silent": False})
    shop.clock.move(minutes=31)
    assert health()[1]["silent"] is True
    (tmp_path / "funnel.db").unlink()
    assert health() == (503, {"ok": False, "store": False, "last_send": None, "silent": True})


def test_a_refusal_for_haste_says_when_to_come_back(shop: Shop) -> None:
    shop.app.add_url_rule("/busy", "busy", lambda: abort(429))
    answer = shop.client.get("/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "wait a few minutes" in answer.text


def test_the_style_sheet_may_be_kept(shop: Shop) -> None:
    first = shop.client.get("/style.css")
    assert first.headers["Cache-Control"] == "public, max-age=86400"
    assert first.headers["Content-Type"] == "text/css; charset=utf-8"
    assert shop.client.get("/style.css", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
