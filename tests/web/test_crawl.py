"""Scanners open every link, some in a browser: nothing they see may do anything (P6, BOT-1, UNS-6, UNS-7).

The routes are read off the application, so that a new one is crawled without being named here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from funnel.store.database import open_database
from tests.web.shop import Shop, make_shop
from tests.web.test_server import at_home, opened

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser
    from werkzeug.routing import Rule

READING = ("GET", "HEAD", "OPTIONS")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
#: What scanners, mail programs and browsers that look ahead send.
GUISES: tuple[dict[str, str], ...] = (
    {},
    {"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch"},
    {"User-Agent": "Mozilla/5.0", "X-Forwarded-For": "203.0.113.9"},
    {"X-HTTP-Method-Override": "POST", "X-HTTP-Method": "POST"},
)
#: What an act is called when somebody tries to do it by a link.
TRICKS = ("", "?_method=POST", "?act=stop&key=1&confirm=1&List-Unsubscribe=One-Click", "?lang=es", "?lang=%00")


class People:
    """Somebody in each state, and every link that was ever mailed to one of them."""

    def __init__(self, shop: Shop) -> None:
        confirmed, stopped = shop.join("ann@example.com"), shop.stop("sue@example.com")
        asking = shop.confirm_token("bob@example.com")
        pending = shop.person("bob@example.com")
        gone = shop.join("eve@example.com")
        shop.funnel.erase("eve@example.com", "test")
        people = (confirmed, stopped, pending, gone)
        self.tokens = {
            "c": [asking],
            "g": [shop.guide_token(person) for person in people],
            "u": [shop.stop_token(person) for person in people],
            "p": [shop.preferences_token(person) for person in people],
        }

    def paths(self, rule: Rule) -> list[str]:
        """Return the address of a route for everybody it may be for, and for nobody."""
        if not rule.arguments:
            return [rule.rule]
        if rule.arguments == {"name"}:
            return [rule.rule.replace("<name>", name) for name in ("fig-01.png", "logo.png", "..", "nothing")]
        assert rule.arguments == {"token"}, f"{rule.rule} takes something new; say here what"
        kind = rule.rule.split("/")[1]
        return [rule.rule.replace("<token>", token) for token in [*self.tokens[kind], "nobody", "x" * 39]]


def every_path(shop: Shop) -> dict[str, set[str]]:
    """Return each address there is, and what its route allows."""
    people, found = People(shop), dict[str, set[str]]()
    for rule in shop.app.url_map.iter_rules():
        for path in people.paths(rule):
            found.setdefault(path, set()).update(rule.methods or ())
    return found


def settle(shop: Shop) -> None:
    """Bring all into the one file, so that its bytes are the whole truth."""
    with open_database(shop.funnel.database_path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def state(shop: Shop) -> tuple[str, str, list[str]]:
    """Return the database as text, the hash of its bytes, and which files lie beside it."""
    path: Path = shop.funnel.database_path
    text = shop.dump()
    beside = sorted(file.name for file in path.parent.iterdir() if not file.name.startswith(path.name + "-"))
    return text, hashlib.sha256(path.read_bytes()).hexdigest(), beside


def test_reading_leaves_the_file_as_it_was_to_the_byte(shop: Shop) -> None:
    """P6, BOT-1, UNS-6."""
    paths = every_path(shop)
    settle(shop)
    before = state(shop)
    for path in paths:
        for method in READING:
            for headers in GUISES:
                answer = shop.client.open(path, method=method, headers=headers)
                assert answer.status_code < 500, (method, path)
        for trick in TRICKS:
            assert shop.client.get(path + trick).status_code < 500, path + trick
        assert state(shop)[0] == before[0], path
    assert state(shop) == before
    settle(shop)
    assert state(shop) == before


def test_the_crawl_would_see_a_change(shop: Shop) -> None:
    """The test above can fail: one press of a button is seen in all that it looks at."""
    every_path(shop)
    settle(shop)
    before = state(shop)
    token = shop.stop_token(shop.person("ann@example.com"))
    assert shop.client.post(f"/u/{token}").status_code == 200
    settle(shop)
    after = state(shop)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_every_route_was_reached(shop: Shop) -> None:
    """Nothing above was only a page that says no."""
    seen: dict[str, set[int]] = {}
    people = People(shop)
    for rule in shop.app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            seen[rule.rule] = {shop.client.get(path).status_code for path in people.paths(rule)}
    assert [rule for rule, codes in seen.items() if not codes & {200, 304}] == []


def test_other_methods_are_refused_by_name(shop: Shop) -> None:
    """SEC-31: 405, and Allow says exactly what there is."""
    paths = every_path(shop)
    before = shop.dump()
    for path, allowed in paths.items():
        for method in METHODS:
            if method in allowed:
                continue
            answer = shop.client.open(path, method=method)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["Allow"].split(", ")) == allowed, (method, path)
    assert shop.dump() == before


def test_options_tells_what_there_is(shop: Shop) -> None:
    for path, allowed in every_path(shop).items():
        answer = shop.client.options(path)
        assert set(answer.headers["Allow"].split(", ")) == allowed, path
        assert answer.data == b""


def test_head_is_get_without_a_body(shop: Shop) -> None:
    """SEC-31: the same status and headers, the length of what GET would bring, and nothing after them."""
    for path, allowed in every_path(shop).items():
        if "GET" not in allowed:
            continue
        get, head = shop.client.get(path), shop.client.head(path)
        assert head.data == b""
        assert head.status == get.status, path
        names = {name for name, _ in get.headers}
        assert {name for name, _ in head.headers} == names, path
        # A key of the moment may be a byte shorter, and a second may pass between the two.
        for name in names - {"Content-Length", "Date"}:
            assert head.headers.getlist(name) == get.headers.getlist(name), (path, name)


def test_no_page_asks_for_more_than_one_button(shop: Shop) -> None:
    """UNS-11: every form that acts for a person works with what its page holds; nothing has to be typed."""
    for path, allowed in every_path(shop).items():
        page = shop.client.get(path)
        if "POST" not in allowed or page.status_code != 200 or not path.startswith(("/c/", "/u/", "/p/", "/g/")):
            continue
        assert "required" not in page.text, path
        assert 'type="password"' not in page.text, path


@pytest.mark.browser
def test_a_browser_left_open_presses_no_button(tmp_path: Path, browser: Browser) -> None:
    """UNS-7: scripts on, every timer ten minutes on, and a while to act in; no page sends anything."""
    shop = make_shop(tmp_path)
    paths = [path for path, allowed in every_path(shop).items() if "GET" in allowed and not path.endswith(".pdf")]
    settle(shop)
    before = state(shop)
    sent: list[str] = []
    with at_home(shop) as base, opened(browser) as (page, _):
        page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
        page.clock.install()
        for path in paths:
            if path.endswith((".ics", "/..")):  # a browser saves the one and walks up for the other
                continue
            page.goto(base + path)
            page.clock.fast_forward("10:00")
            page.mouse.move(10, 10)
            page.keyboard.press("Escape")
            assert page.locator("meta[http-equiv=refresh]").count() == 0, path
            page.wait_for_timeout(100)
            assert page.url == base + path
        page.wait_for_timeout(1000)
    assert [line for line in sent if not line.startswith("GET ")] == []
    assert len(sent) >= len(paths) / 2
    settle(shop)
    assert state(shop) == before


def test_tokens_here_are_real(shop: Shop) -> None:
    """The addresses crawled are those in the mails, not look-alikes."""
    people = People(shop)
    ann = shop.person("ann@example.com")
    assert shop.funnel.links.unsubscribe(ann.id).token in people.tokens["u"]
    assert shop.client.get(f"/c/{people.tokens['c'][0]}").status_code == 200
