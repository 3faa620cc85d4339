"""The form at 64 connections, each answer given once its row is on the disk, beside the same server without a store.

Two references, for each its own process and the same waitress: ``same pages`` is the whole application with only the
store left out (host, page key and form are checked, the answer is made), ``bare`` sends the same bytes from a function
of one line. Load and server share the machine, so times are higher than a visitor's; the ratios hold.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from funnel.app import Funnel
from funnel.config import load_config
from funnel.founding import found
from funnel.signup import limits
from funnel.store.database import open_database
from funnel.web.server import make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 64
GOAL_RATIO, GOAL_P99 = 0.5, 50.0
KINDS = ("funnel", "same pages", "bare")
#: In the last row each of the visitors waits so long between two forms: 128 a second, half a million an hour.
THINKING = 0.5


class NoStore(Funnel):
    """A funnel that takes in a form and writes nothing."""

    def ask(self, request: Any) -> None:
        pass


def bare(answer: bytes) -> Any:
    """Return a WSGI application that gives one answer, given as it is on the wire."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines if not line.startswith("Date")]

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start(status.partition(" ")[2], headers)
        return [body]

    return app


def serve(kind: str, folder: Path) -> None:
    """Serve one kind until interrupted; says its port first."""
    config = load_config(folder / "funnel.toml")
    # Each visitor comes from an address of their own, as behind a proxy; all are counted, and nobody is too many.
    limits.ALL["signup"] = limits.Limit(10**9, 3600)
    config = replace(config, site=replace(config.site, trusted_proxies=("127.0.0.1",)))
    funnel = (Funnel if kind == "funnel" else NoStore)(config)
    server = make_server(funnel, "127.0.0.1:0")
    if kind == "bare":
        server.application = bare((folder / "answer").read_bytes())
    print(server.effective_port, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server.run()


@contextmanager
def served(kind: str, folder: Path) -> Iterator[int]:
    """Start a server in a process of its own and give its port."""
    command = [sys.executable, "-m", "benchmarks.signup", kind, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class Visitor(asyncio.Protocol):
    """One connection: sends a form, waits for the whole answer and maybe a moment more, sends the next."""

    def __init__(
        self, forms: Iterator[bytes], times: list[float], last: asyncio.Future[None], thinking: float = 0
    ) -> None:
        self.forms, self.times, self.last, self.thinking, self.seen = forms, times, last, thinking, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        asyncio.get_running_loop().call_later(random.random() * self.thinking, self.send)

    def send(self) -> None:
        form = next(self.forms, None)
        if form is None:
            self.transport.close()
            return
        self.start = time.perf_counter()
        self.transport.write(form)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.seen.endswith(b"\r\n\r\n"):  # the answer has no body
            return
        self.times.append(time.perf_counter() - self.start)
        if not self.seen.startswith(b"HTTP/1.1 303 "):
            self.last.set_exception(RuntimeError(self.seen.decode()))
            return
        self.seen = b""
        if self.thinking:
            asyncio.get_running_loop().call_later(self.thinking, self.send)
        else:
            self.send()

    def connection_lost(self, _: object) -> None:
        if not self.last.done():
            self.last.set_result(None)


def form(key: str, number: int) -> bytes:
    """Return one request of one more visitor."""
    body = urlencode({"email": f"p{number}@mail.example", "key": key}).encode()
    lines = [
        "POST /signup HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def load(port: int, forms: Iterator[bytes], thinking: float = 0) -> tuple[float, list[float]]:
    """Send forms over all connections at once; returns the whole time, and that of each."""
    loop, times = asyncio.get_running_loop(), list[float]()
    lasts = [loop.create_future() for _ in range(CONNECTIONS)]
    start = time.perf_counter()
    for last in lasts:
        await loop.create_connection(partial(Visitor, forms, times, last, thinking), "127.0.0.1", port)
    await asyncio.gather(*lasts)
    return time.perf_counter() - start, times


def key_of(port: int) -> str:
    """Return the key of a page shown long enough ago."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
        found = re.search(r'name="key" value="([^"]+)"', page.read().decode())
    assert found
    time.sleep(1.2)
    return found[1]


def measure(
    kind: str, folder: Path, requests: int, first: int, key: str, *, thinking: float = 0
) -> tuple[float, list[float]]:
    """Return the requests a second of one kind, and how long each took in ms."""
    with served(kind, folder) as port:
        warm = (form(key, number) for number in range(first, first + 200))
        asyncio.run(load(port, warm))
        forms = (form(key, number) for number in range(first + 200, first + 200 + requests))
        whole, times = asyncio.run(load(port, forms, thinking))
    assert len(times) == requests
    return requests / whole, [spent * 1000 for spent in times]


def prepare(folder: Path) -> str:
    """Make a funnel, keep its answer to a form for the bare server, and return a key that works."""
    found(folder)
    with served("same pages", folder) as port:
        key = key_of(port)
        answers: list[bytes] = []

        class Once(Visitor):
            def data_received(self, data: bytes) -> None:
                answers.append(data)
                super().data_received(data)

        async def once() -> None:
            loop = asyncio.get_running_loop()
            last = loop.create_future()
            await loop.create_connection(lambda: Once(iter([form(key, 0)]), [], last), "127.0.0.1", port)
            await last

        asyncio.run(once())
    (folder / "answer").write_bytes(b"".join(answers))
    return key


def people(folder: Path) -> int:
    """Return how many people the database holds."""
    config = load_config(folder / "funnel.toml")
    with open_database(config.path(config.store.path), readonly=True) as db:
        return int(db.value("SELECT count(*) FROM subscriber"))


def quantile(times: list[float], share: float) -> float:
    """Return the time within which that share of the answers came."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def disk(folder: Path, times: int = 50) -> float:
    """Return the median ms of bringing one small write to the disk."""
    spent = []
    with (folder / "disk").open("wb") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1000


def run(rounds: int = 5, requests: int = 4000) -> None:
    """Print rates and times of interleaved rounds, and how the ratio stands to the goal."""
    folder = Path(tempfile.mkdtemp(dir=Path(__file__).parents[1], prefix=".signup-"))
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    try:
        key, number = prepare(folder), 0
        print(f"one small write to this disk: {disk(folder):.1f} ms (fdatasync)")
        for _ in range(rounds):
            for kind in KINDS:
                rate, spent = measure(kind, folder, requests, number, key)
                rates[kind].append(rate)
                times[kind] += spent
                number += requests + 200 if kind == "funnel" else 0
        _, paced = measure("funnel", folder, requests // 4, number, key, thinking=THINKING)
        number += requests // 4 + 200
        assert people(folder) == number, "an answered form is not in the database"
    finally:
        shutil.rmtree(folder)
    print(f"{'server':>12} {'answers/s':>10} {'ratio':>6} {'p50':>8} {'p99':>8} {'longest':>8}")
    for kind in KINDS:
        ratio = statistics.median(a / b for a, b in zip(rates["funnel"], rates[kind], strict=True))
        p50, p99 = quantile(times[kind], 0.5), quantile(times[kind], 0.99)
        print(
            f"{kind:>12} {statistics.median(rates[kind]):>10,.0f} {ratio:>6.2f} "
            f"{p50:>6.1f}ms {p99:>6.1f}ms {max(times[kind]):>6.0f}ms"
        )
    print(
        f"{'not in haste':>12} {CONNECTIONS / THINKING:>10,.0f} {'':>6} {quantile(paced, 0.5):>6.1f}ms "
        f"{quantile(paced, 0.99):>6.1f}ms {max(paced):>6.0f}ms"
    )
    print(f"goal: a ratio of {GOAL_RATIO} to the same pages, and a p99 of {GOAL_P99:.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], Path(sys.argv[2]))
    else:
        run()
