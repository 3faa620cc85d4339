"""What only somebody at the machine itself is told, and pages while the database cannot be used."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from funnel.store import database, runs
from funnel.web.dates import escaped, folded, last_day

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.shop import Shop

NOTE = "Only shown on this machine"
STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


def test_silence_is_told_at_the_machine_and_to_nobody_else(shop: Shop) -> None:
    """F-61."""
    assert "has never run" in shop.client.get("/").text
    with shop.funnel.session() as db, db.transaction():
        runs.tick(db, shop.clock.now)
    assert NOTE not in shop.client.get("/").text
    shop.clock.move(minutes=31)
    assert f"{NOTE}: no mail has been sent or looked for since 2026-11-24 10:00 UTC" in shop.client.get("/").text
    assert NOTE not in shop.client.get("/", environ_base=STRANGER).text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"])
def test_who_comes_through_a_proxy_on_the_machine_is_not_at_it(shop: Shop, header: str) -> None:
    """LAW-2."""
    assert NOTE not in shop.client.get("/", headers={header: "x"}).text


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_every_spelling_of_this_machine_counts(shop: Shop, peer: str) -> None:
    assert NOTE in shop.client.get("/", environ_base={"REMOTE_ADDR": peer}).text


def test_a_proxy_nobody_named_is_told_of_once(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """LAW-2: then receipts and limits know only the proxy."""
    for n, peer in enumerate(["10.0.0.7", "127.0.0.1", "127.0.0.1"]):
        data = {"email": f"p{n}@example.com", "key": shop.key()}
        headers = {"X-Forwarded-For": "203.0.113.5"}
        shop.client.post("/signup", data=data, headers=headers, environ_base={"REMOTE_ADDR": peer})
        assert caplog.text.count("trusted_proxies") == min(n, 1)
    assert "203.0.113.5" not in caplog.text


def test_a_locked_database_asks_for_patience(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-14: 503 with Retry-After, nothing changed; what only looks goes on."""
    ann = shop.join("ann@example.com")
    key, token = shop.key(), shop.stop_token(ann)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    before = shop.dump()
    other = sqlite3.connect(tmp_path / "funnel.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for path, data in (("/signup", {"email": "bob@example.com", "key": key}), (f"/u/{token}", {})):
        answer = shop.client.post(path, data=data)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "nothing was changed" in answer.text
        assert "funnel.db" not in answer.text
    for path in ("/", "/privacy", f"/u/{token}", f"/p/{shop.preferences_token(ann)}"):
        assert shop.client.get(path).status_code == 200
    assert shop.client.get("/healthz").status_code == 503
    other.execute("ROLLBACK")
    other.close()
    assert shop.dump() == before
    assert shop.client.post(f"/u/{token}").status_code == 200


def test_a_database_that_cannot_be_written_is_maintenance_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = shop.join("ann@example.com")
    connect = database._connect
    monkeypatch.setattr(database, "_connect", lambda path, **_: connect(path, create=False, readonly=True))
    answer = shop.client.post(f"/u/{shop.stop_token(ann)}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert shop.client.get(f"/u/{shop.stop_token(ann)}").status_code == 200


# --- the date for a calendar ---------------------------------------------------------------------


def test_a_calendar_file_keeps_to_the_format() -> None:
    """RFC 5545 3.1, 3.3.11."""
    assert escaped("a, b; c\\d\ne") == r"a\, b\; c\\d e"
    long = "SUMMARY:" + "ü" * 100
    lines = folded(long).split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert lines[0] + "".join(line[1:] for line in lines[1:]) == long
    assert all(line.startswith(" ") for line in lines[1:])


def test_the_last_day_is_that_of_the_clinic(shop: Shop) -> None:
    now = shop.clock.now.replace(hour=2)
    text = last_day(now, "America/Chicago", key="k", domain="x.example", title="T", note="N")
    assert "DTSTART;VALUE=DATE:20261123\r\nDTEND;VALUE=DATE:20261124\r\n" in text
    assert text == last_day(now, "America/Chicago", key="k", domain="x.example", title="T", note="N")
    assert text.startswith("BEGIN:VCALENDAR\r\n")
    assert text.endswith("END:VCALENDAR\r\n")
    assert "Z\r\n" in text.partition("DTSTAMP:")[2][:20]
