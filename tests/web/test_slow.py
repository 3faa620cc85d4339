"""Bytes no browser sends, at the speed no browser sends them, against the real server: refused, and harmless."""

from __future__ import annotations

import http.client
import logging
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel.web import server as server_module
from funnel.web.headers import ALWAYS
from tests.web.shop import Shop, make_shop
from tests.web.test_server import raw, served, status

if TYPE_CHECKING:
    from collections.abc import Iterator

#: No answer takes longer, not even on a machine that does much else.
PATIENCE = 20.0
HOST = b"Host: localhost\r\n"
FORM = HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
SIGNUP = b"POST /signup HTTP/1.1\r\n" + FORM
CHUNKED = SIGNUP + b"Transfer-Encoding: chunked\r\n"
LONG = b"9" * 5000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def port(shop: Shop) -> Iterator[int]:
    with served(shop) as port:
        yield port


@pytest.fixture(autouse=True)
def _nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No request, however odd, is worth a line in the log (SEC-22): a full disk is an outage too."""
    caplog.set_level(logging.INFO)
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Return what one line answered: status, headers and body, one after the other."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append((int(first.split()[1]), headers, data[:length]))
        data = data[length:]
    return found


def is_alive(port: int) -> bool:
    start = time.monotonic()
    ok = status(raw(port, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")) == 200
    return ok and time.monotonic() - start < PATIENCE


#: What is sent, and what may come back; nothing at all only where more is sent than is read.
ODD: dict[str, tuple[bytes, set[int]]] = {
    "bare line feeds": (b"GET / HTTP/1.1\nHost: localhost\n\n\r\n\r\n", {400}),
    "one bare line feed in a header": (b"GET / HTTP/1.1\r\nX: a\nHost: localhost\r\n\r\n", {400}),
    "bare carriage return": (b"GET / HTTP/1.1\r\nX: a\rb\r\n" + HOST + b"\r\n", {400}),
    "NUL in the path": (b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    "NUL in a header": (b"GET / HTTP/1.1\r\nX: \x00\r\n" + HOST + b"\r\n", {200, 400}),
    "NUL in the host": (b"GET / HTTP/1.1\r\nHost: local\x00host\r\n\r\n", {400, 421}),
    "escaped NUL": (b"GET /c/%00 HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "broken UTF-8 in the path": (b"GET /c/%ff%fe HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "raw bytes in the path": (b"GET /\xc3\x28\xff HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    "half an escape": (b"GET /%f HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "broken UTF-8 in the query": (b"GET /?a=%ff&%c0%af=1 HTTP/1.1\r\n" + HOST + b"\r\n", {200}),
    "raw bytes in the query": (b"GET /?\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", {200, 400}),
    "overlong UTF-8": (b"GET /%c0%ae%c0%ae/ HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
    "broken UTF-8 in the body": (SIGNUP + b"Content-Length: 9\r\n\r\nemail=%ff", {422}),
    "raw bytes in the body": (SIGNUP + b"Content-Length: 9\r\n\r\nemail=\xff\xfe\x00", {422}),
    "absolute address of ours": (b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", {200}),
    "absolute address of another": (b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", {200, 400, 421}),
    "absolute address with a broken host": (b"GET http://[/ HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "address for a proxy": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404, 405}),
    "star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", {200, 400, 404, 405}),
    "unknown host": (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", {421}),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", {400, 421}),
    "broken host": (b"GET / HTTP/1.1\r\nHost: [\r\n\r\n", {400, 421}),
    "host with a huge port": (b"GET / HTTP/1.1\r\nHost: localhost:" + LONG + b"\r\n\r\n", {400, 421}),
    "no host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", {200}),
    "HTTP/0.9": (b"GET /\r\n\r\n", {200, 400}),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 405}),
    "TLS at a plain door": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "a header without a name": (b"GET / HTTP/1.1\r\n: x\r\n" + HOST + b"\r\n", {400}),
    "a space before the colon": (b"GET / HTTP/1.1\r\nX : x\r\n" + HOST + b"\r\n", {400}),
    "a folded first header": (b"GET / HTTP/1.1\r\n X: x\r\n" + HOST + b"\r\n", {400}),
    "two lengths": (SIGNUP + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", {400}),
    "two equal lengths": (SIGNUP + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", {400}),
    "a length below nothing": (SIGNUP + b"Content-Length: -1\r\n\r\n", {400}),
    "a length with a sign": (SIGNUP + b"Content-Length: +1\r\n\r\na", {400}),
    "a length in words": (SIGNUP + b"Content-Length: x\r\n\r\n", {400}),
    "a length of 5,000 digits": (SIGNUP + b"Content-Length: " + LONG + b"\r\n\r\n", {400}),
    "a length beyond all": (SIGNUP + b"Content-Length: 99999999999\r\n\r\n", {413}),
    "a form too long": (SIGNUP + b"Content-Length: 20000\r\n\r\n" + b"x" * 20000, {413}),
    "chunks of no size": (CHUNKED + b"\r\nzz\r\nab\r\n0\r\n\r\n", {400}),
    "chunks below nothing": (CHUNKED + b"\r\n-1\r\nab\r\n0\r\n\r\n", {400}),
    "chunks longer than said": (CHUNKED + b"\r\n1\r\nabcdef\r\n0\r\n\r\n", {400}),
    "chunks with a broken extension": (CHUNKED + b"\r\n1;\x00=\xff\r\na\r\n0\r\n\r\n", {400}),
    "chunks and a length": (CHUNKED + b"Content-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n", {400, 422}),
    "an unknown coding": (SIGNUP + b"Transfer-Encoding: gzip, chunked\r\n\r\n", {400}),
    "a hidden coding": (SIGNUP + b"Transfer-Encoding: \x0bchunked\r\n\r\n", {400}),
    "many fields": (SIGNUP + b"Content-Length: 10000\r\n\r\n" + b"a&" * 5000, {413, 422}),
    "a broken boundary": (
        b"POST /signup HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=\r\n"
        b"Content-Length: 4\r\n\r\n----", {400, 422},
    ),
    "a length and the promise of more": (
        SIGNUP + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", {100, 422},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_requests_get_a_plain_answer(port: int, name: str) -> None:
    """SEC-31."""
    request, allowed = ODD[name]
    start = time.monotonic()
    first, *_ = answers(raw(port, request))
    assert first[0] in allowed
    assert time.monotonic() - start < PATIENCE
    assert is_alive(port)


@pytest.mark.parametrize("name", [name for name, (_, allowed) in ODD.items() if allowed <= {400, 413, 421, 431}])
def test_refusals_have_the_headers_of_every_answer(port: int, name: str) -> None:
    """SEC-17, SEC-30: also where the server answers before the pages are asked; nothing of the request comes back."""
    (_, headers, body), *more = answers(raw(port, ODD[name][0]))
    assert not more, "the line is closed after a request that cannot be understood"
    assert {name: headers.get(name.lower()) for name in ALWAYS} == ALWAYS
    assert headers["strict-transport-security"].startswith("max-age=")
    assert "server" not in headers
    assert b"waitress" not in body
    if headers["content-type"].startswith("text/plain"):
        assert headers["x-robots-tag"] == "noindex"
        assert headers["connection"] == "close"
        assert len(body) < 40


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HT",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        SIGNUP + b"Content-Length: 100\r\n\r\nemail=",
        CHUNKED + b"\r\n" + b"f" * 5000 + b"\r\nemail=",
        CHUNKED + b"\r\n5\r\nem",
        b"",
    ],
)
def test_half_a_request_is_not_answered(port: int, request_: bytes) -> None:
    """Who hangs up in the middle did not ask for anything; the line is closed at once."""
    start = time.monotonic()
    assert raw(port, request_) == b""
    assert time.monotonic() - start < PATIENCE
    assert is_alive(port)


def test_headers_without_end_are_refused(port: int) -> None:
    """SEC-28: said when it can be said, and hung up."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        line.sendall(b"GET / HTTP/1.1\r\n" + HOST)
        heard = b""
        with suppress(ConnectionError):  # who waits for their end instead is found out by the time limit
            for _ in range(16):
                line.sendall(b"X: " + b"y" * 4093 + b"\r\n")
            heard = line.recv(65536)
        assert heard == b"" or status(heard) == 431
    assert is_alive(port)


def test_chunks_without_end_are_refused(port: int) -> None:
    """SEC-28."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line, suppress(OSError):
        line.sendall(CHUNKED + b"\r\n")
        while sent < 64 << 20:
            line.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000
    assert sent < 32 << 20
    assert is_alive(port)


def test_what_follows_on_one_line_is_answered_in_its_order(shop: Shop, port: int) -> None:
    """Ten requests sent at once, the last of them broken."""
    ask = b"".join(b"GET %s HTTP/1.1\r\n" % path + HOST + b"\r\n" for path in (b"/healthz", b"/x", b"/style.css") * 3)
    found = answers(raw(port, ask + b"broken\r\n\r\n"))
    assert [code for code, *_ in found] == [200, 404, 200] * 3 + [400]
    assert {headers["content-type"].partition(";")[0] for _, headers, _ in found[:1]} == {"application/json"}


def test_nothing_is_smuggled_in_a_body(shop: Shop, port: int) -> None:
    """A second request inside a first one's body is not answered, whatever the lengths say."""
    path = f"/u/{shop.stop_token(shop.join('bob@example.com'))}".encode()
    hidden = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for head in (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(hidden),
        b"Content-Length: %d" % len(hidden),
    ):
        found = answers(raw(port, SIGNUP + head + b"\r\n\r\n" + hidden))
        assert len(found) == 1
        assert 400 <= found[0][0] < 500
    assert shop.person("bob@example.com").status == "confirmed"


def test_slow_lines_stop_nobody_else(port: int) -> None:
    """SEC-28: sixty visitors who send a letter now and then, and one who does not wait for them."""
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(60)]
        for letter in b"POST /signup HTTP/1.1\r\n"[:6]:
            for line in lines:
                line.sendall(bytes([letter]))
            assert is_alive(port)


def test_a_dribbled_request_is_cut_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-28: bytes now and then do not keep a line; waitress itself counts from the last one."""
    monkeypatch.setattr(server_module, "TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(server_module, "CLEANUP_SECONDS", 1)
    with served(shop) as port, socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        start = time.monotonic()
        line.sendall(b"GET / HTTP/1.1\r\n")
        line.settimeout(0.2)
        heard = None
        while heard is None and time.monotonic() - start < 3 * PATIENCE:
            with suppress(TimeoutError):
                try:
                    line.sendall(b"X: y\r\n")
                    heard = line.recv(100)
                except ConnectionError:
                    heard = b""
        assert heard == b""
        assert time.monotonic() - start < 3 * PATIENCE


def test_a_silent_line_is_cut_off_and_a_busy_one_is_not(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "TIMEOUT_SECONDS", 3)
    monkeypatch.setattr(server_module, "CLEANUP_SECONDS", 1)
    with served(shop) as port, ExitStack() as stack:
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        busy = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        stack.callback(busy.close)
        busy.connect()
        line, start, heard = busy.sock, time.monotonic(), None
        silent.settimeout(0.2)
        while heard is None and time.monotonic() - start < 3 * PATIENCE:
            with suppress(TimeoutError):
                heard = silent.recv(1)
            busy.request("GET", "/style.css")
            with busy.getresponse() as answer:
                assert (answer.status, len(answer.read())) == (200, int(answer.headers["Content-Length"]))
        assert heard == b""
        assert busy.sock is line, "one line for all"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from([
    b"GET", b"POST", b"/", b"/signup", b"/c/x", b" ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b":", b"\x00",
    b"\xff", b"Host: localhost\r\n", b"Content-Length: ", b"5", b"-", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n",
    b"http://[", b"%", b"%00", b"0\r\n\r\n", b"?", b"#", b"//", b"Expect: 100-continue\r\n",
    b"Connection: keep-alive\r\n",
]), max_size=14), st.binary(max_size=30))  # fmt: skip
def test_any_bytes_at_all(port: int, parts: list[bytes], tail: bytes) -> None:
    """SEC-31: whatever comes, answers are well-formed and none of them is a fault of ours."""
    data = raw(port, b"".join(parts) + tail + b"\r\n\r\n")
    assert all(100 <= code < 500 for code, *_ in answers(data))
