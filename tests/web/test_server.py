"""The real server: raw bytes on a socket, and a real browser with its own ideas about headers."""

from __future__ import annotations

import gc
import http.client
import socket
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from funnel.app import Funnel
from funnel.config import load_config
from funnel.errors import ConfigError, StoreError
from funnel.model import Status
from funnel.web import create_app, make_server, serve
from funnel.web.server import where
from tests.kit import kept_port
from tests.web.shop import PDF, TOML, Shop, make_shop, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page


@contextmanager
def served(shop: Shop) -> Iterator[int]:
    """Serve a funnel on a free port and give the port."""
    with running(shop.funnel, "127.0.0.1:0") as port:
        yield port


@pytest.fixture
def port(shop: Shop) -> Iterator[int]:
    with served(shop) as port:
        yield port


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.1:0 127.0.0.1:0"])
def test_where_a_server_listens_is_told_with_the_ports_it_has(shop: Shop, listen: str) -> None:
    server = make_server(shop.funnel, listen=listen)
    try:
        told = where(server).split()
        assert [place.partition(":")[0] for place in told] == [place.partition(":")[0] for place in listen.split()]
        for place in told:
            host, _, port = place.partition(":")
            socket.create_connection((host, int(port)), timeout=20).close()
    finally:
        server.close()


def raw(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(request)
        with suppress(OSError):  # the server may have heard enough already
            line.shutdown(socket.SHUT_WR)
        parts = []
        with suppress(ConnectionResetError):
            while part := line.recv(65536):
                parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_one_click_works_for_the_plainest_client(shop: Shop, port: int) -> None:
    """UNS-4, UNS-5: HTTP/1.0, no Host, no body."""
    path = f"/u/{shop.stop_token(shop.join('ann@example.com'))}".encode()
    answer = raw(port, b"POST " + path + b" HTTP/1.0\r\n\r\n")
    assert status(answer) == 200
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_one_click_works_in_chunks(shop: Shop, port: int) -> None:
    """UNS-5."""
    path = f"/u/{shop.stop_token(shop.join('ann@example.com'))}".encode()
    head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(port, b"POST " + path + head + b"1a\r\nList-Unsubscribe=One-Click\r\n0\r\n\r\n")
    assert status(answer) == 200
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_a_chunked_form_is_measured_too(shop: Shop, port: int) -> None:
    """SEC-28."""
    head = b"POST /signup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    answer = raw(port, head + kind + b"5000\r\n" + b"x" * 0x5000 + b"\r\n0\r\n\r\n")
    assert status(answer) == 413


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /%ff%fe HTTP/1.1",
        b"GET /c/\xff\xfe HTTP/1.1",
        b"GET //c/x HTTP/1.1",
        b"GET http://evil.example/ HTTP/1.1",
        b"GET /../../etc/passwd HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /?%ff=%00&a&&=; HTTP/1.1",
        b"BREW / HTTP/1.1",
        b"GET / HTTP/9.9",
        b"GET /x\x0b HTTP/1.1",
        b"nonsense",
        b"POST /signup HTTP/1.1\r\nContent-Length: -5",
        b"POST /signup HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST /signup HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\xff",
        b"GET / HTTP/1.1\r\nCookie: \xff\x00",
    ],
)
def test_broken_requests_are_the_senders_fault(shop: Shop, port: int, request_line: bytes) -> None:
    """SEC-31."""
    before = shop.dump()
    answer = raw(port, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert 200 <= status(answer) < 500
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"server:" not in head
    assert b"set-cookie" not in head
    assert b"location: http" not in head
    assert shop.dump() == before


def test_headers_longer_than_any_are_not_read(port: int) -> None:
    """SEC-28: refused, and hung up on when more keeps coming."""
    answer = raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000 + b"\r\n\r\n")
    assert answer == b"" or status(answer) == 431


def test_the_guide_arrives_whole_and_in_parts(shop: Shop, port: int) -> None:
    """SEC-18."""
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}/guide.pdf"
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request("GET", path)
        whole = line.getresponse()
        assert (whole.status, whole.read()) == (200, PDF)
        assert whole.headers["Server"] is None
        line.request("GET", path, headers={"Range": "bytes=1000-1999", "If-Range": whole.headers["ETag"]})
        part = line.getresponse()
        assert (part.status, part.read()) == (206, PDF[1000:2000])
        line.request("HEAD", path)
        head = line.getresponse()
        assert (head.status, head.headers["Content-Length"], head.read()) == (200, str(len(PDF)), b"")
    finally:
        line.close()


def test_a_forged_header_does_not_pass_the_socket(shop: Shop, port: int) -> None:
    """LAW-2."""
    key = shop.key()
    body = f"email=a@example.com&key={key}".encode()
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nX-Forwarded-For: 6.6.6.6\r\n"
    head = b"POST /signup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + kind
    answer = raw(port, head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert status(answer) == 303
    assert "6.6.6.6" not in shop.dump()
    assert "127.0.0.1" in shop.dump()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_is_said(shop: Shop, port: int) -> None:
    told: list[str] = []
    with pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1:{port}"):
        serve(shop.funnel, listen=f"127.0.0.1:{port}", ready=told.append)
    assert told == []
    gc.collect()  # waitress leaves the socket it could not bind to the garbage collector


def test_nothing_is_served_without_a_store_or_keys(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    (tmp_path / "funnel.db").unlink()
    with pytest.raises(StoreError, match="no database"):
        make_server(shop.funnel, listen="127.0.0.1:0")
    (tmp_path / "funnel.secret").unlink()
    with pytest.raises(ConfigError, match="no keys"):
        create_app(Funnel(load_config(tmp_path / "funnel.toml")))


# --- in a browser --------------------------------------------------------------------------------


@contextmanager
def at_home(shop: Shop) -> Iterator[str]:
    """Serve a funnel under the address its own settings name."""
    with kept_port() as port:
        base = f"http://127.0.0.1:{port}"
        config = shop.funnel.config
        shop.funnel.config = replace(config, site=replace(config.site, base_url=base))
        with running(shop.funnel, f"127.0.0.1:{port}"):
            yield base


@contextmanager
def opened(browser: Browser, **settings: object) -> Iterator[tuple[Page, list[str]]]:
    """Open a page that notes each host it asks and each complaint of the browser."""
    context = browser.new_context(**settings)  # type: ignore[arg-type]
    page, notes = context.new_page(), list[str]()
    page.on("request", lambda request: notes.append(request.url.split("/")[2]))
    page.on("console", lambda message: notes.append(message.text))
    try:
        yield page, notes
    finally:
        context.close()


def press(page: Page, button: str = "button") -> None:
    """Press a button, and wait for the page it leads to."""
    with page.expect_navigation():
        page.click(button)


@pytest.mark.browser
@pytest.mark.parametrize("scripts", [True, False])
def test_the_whole_way_in_a_browser(shop: Shop, browser: Browser, *, scripts: bool) -> None:
    """SEC-4, BOT-2, HLT-3: form, confirmation, guide, stop; with and without scripts."""
    with at_home(shop) as base, opened(browser, java_script_enabled=scripts) as (page, notes):
        page.goto(base + "/")
        page.fill("#email", "ann@example.com")
        shop.clock.move(seconds=3)
        with page.expect_request(base + "/signup") as sent:
            press(page)
        assert sent.value.header_value("origin") == base
        assert page.url == base + "/check-inbox"
        assert shop.person("ann@example.com").status is Status.PENDING
        shop.clock.move(days=1, seconds=1)
        page.goto(f"{base}/c/{shop.confirm_token('ann@example.com')}")
        press(page)
        assert page.locator(".note").is_visible()
        shop.clock.move(seconds=3)
        press(page)
        assert page.locator("#code").is_visible()
        ann = shop.person("ann@example.com")
        assert ann.status is Status.CONFIRMED
        page.goto(f"{base}/p/{shop.preferences_token(ann)}")
        press(page, "button[value=pause-14]")
        assert shop.person("ann@example.com").status is Status.PAUSED
        page.goto(f"{base}/u/{shop.stop_token(ann)}")
        press(page)
        assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED
        assert page.context.cookies() == []
    notes = [note for note in notes if "422" not in note]  # the browser notes the answer "once more"
    assert set(notes) == {base.partition("//")[2]}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "size"), [(320, 16), (320, 32), (1280, 16)])
def test_no_page_is_wider_than_the_screen(tmp_path: Path, browser: Browser, scheme: str, width: int, size: int) -> None:
    """POP-5, POP-40: 320 px, text of 200 %, and right to left; every button at least 44 px high."""
    name = "Praxisgemeinschaft für Schmerzbehandlung und Bewegungstherapie"
    shop = make_shop(tmp_path, "[signup]\nname_field = true\nmarketing_checkbox = true\n", TOML.replace("Test <", name))
    ann = shop.join("ann@example.com")
    thanks = shop.confirm_token("bob@example.com")
    view = {"width": width, "height": 640}
    with at_home(shop) as base, opened(browser, viewport=view, color_scheme=scheme) as (page, _):
        paths = ["/", "/check-inbox", "/privacy", "/nothing", f"/c/{thanks}", f"/g/{shop.guide_token(ann)}"]
        paths += [f"/u/{shop.stop_token(ann)}", f"/p/{shop.preferences_token(ann)}"]
        for path in paths:
            page.goto(base + path)
            for direction in ("ltr", "rtl"):
                wide = page.evaluate(
                    """([size, direction]) => {
                        document.documentElement.dir = direction;
                        document.documentElement.style.fontSize = size * 1.125 + "px";
                        return document.documentElement.scrollWidth;
                    }""",
                    [size, direction],
                )
                assert wide <= width, (path, direction)
            for button in page.locator("button").all():
                box = button.bounding_box()
                assert box is not None
                assert box["height"] >= 44
