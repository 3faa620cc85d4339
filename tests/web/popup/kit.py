"""A clinic's page on one address, the funnel on another, and a browser between them."""

from __future__ import annotations

import gzip
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from funnel.store import consents
from tests.kit import kept_port
from tests.web.shop import TOML, Shop, make_shop, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route

    from funnel.model import Receipt

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Safari/537.36"
PHONE = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Mobile Safari/537.36"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "user_agent": CHROME}
HAND: dict[str, Any] = {
    "viewport": {"width": 375, "height": 667},
    "user_agent": PHONE,
    "has_touch": True,
    "is_mobile": True,
}
MORNING = datetime(2026, 11, 24, 10, tzinfo=UTC)
#: What tells a page that a program drives the browser; the popup stays away from those.
PERSON = "Object.defineProperty(Navigator.prototype, 'webdriver', {get: () => false})"
NOTES = """
window.notes = {shift: 0, moved: 0, long: [], csp: [], errors: []};
new PerformanceObserver((l) => l.getEntries().filter((e) => !e.hadRecentInput).forEach((e) => {
  notes.shift += e.value;
  notes.moved += e.sources.filter((s) => s.node && s.node.getRootNode() === document).length }))
  .observe({type: 'layout-shift', buffered: true});
new PerformanceObserver((l) => l.getEntries().forEach((e) => notes.long.push(e.duration)))
  .observe({type: 'longtask', buffered: true});
addEventListener('securitypolicyviolation', (e) => notes.csp.push(e.violatedDirective + ' ' + e.blockedURI));
addEventListener('error', (e) => notes.errors.push(String(e.message)));
"""
TEXT = "".join(f"<h2>Part {n}</h2><p>{'Backs are strong, and most pain eases with time. ' * 12}</p>" for n in range(12))
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backs</title><link rel="icon" href="data:,">{head}</head>
<body><main><h1>About backs</h1><p><a href="{base}/" data-funnel-open id="ask">Get the guide</a>
<button id="other">Other</button> <input id="search" aria-label="Search"></p>{text}{body}</main></body></html>"""


@dataclass
class Answer:
    """What the clinic's own server says to one path."""

    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "text/html; charset=utf-8"


class Site:
    """The clinic's own web server, with pages that a test puts there."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer = site.pages.get(self.path.partition("?")[0])
                data = gzip.compress((answer or Answer("")).body.encode(), 1)
                self.send_response(200 if answer else 404)
                for name, value in (answer.headers if answer else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", answer.kind if answer else "text/plain")
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@dataclass
class Place:
    """The clinic's site, the funnel beside it, and what a test looks at."""

    shop: Shop
    site: Site
    base: str
    browser: Browser

    @property
    def tag(self) -> str:
        """Return the line that the snippet command prints, less its hash."""
        return f'<script async src="{self.base}/popup.js" crossorigin="anonymous"></script>'

    def put(self, path: str = "/", *, head: str | None = None, body: str = "", text: str = TEXT,
            headers: Mapping[str, str] | None = None) -> str:  # fmt: skip
        """Put a page with the popup on the clinic's site and return its address."""
        page = PAGE.format(head=self.tag if head is None else head, body=body, text=text, base=self.base)
        self.site.pages[path] = Answer(page, headers or {})
        return self.site.origin + path

    @contextmanager
    def visitor(self, *, still: bool = True, **settings: Any) -> Iterator[Visitor]:
        """Open a browser for one visitor; with ``still`` its clock stands, as the server's does, until it is turned."""
        context = self.browser.new_context(**{**DESKTOP, **settings})
        try:
            context.add_init_script(PERSON + NOTES)
            page = context.new_page()
            if still:
                page.clock.install(time=MORNING)
                page.clock.pause_at(MORNING + timedelta(hours=1))
            page.set_default_timeout(25_000)
            yield Visitor(self, context, page)
        finally:
            context.close()

    def receipts(self, email: str) -> list[Receipt]:
        with self.shop.funnel.session(readonly=True) as db:
            return list(consents.of(db, self.shop.person(email).id))

    def people(self) -> int:
        return self.shop.count("SELECT count(*) FROM subscriber")


class Visitor:
    """Somebody who reads a page, and may leave."""

    def __init__(self, place: Place, context: BrowserContext, page: Page) -> None:
        self.place, self.context, self.page = place, context, page
        self.requests: list[str] = []
        self.asking = 0  #: requests without an answer
        page.on("request", self._asks)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)

    def _asks(self, request: Any) -> None:
        self.requests.append(request.url)
        self.asking += 1

    def _answered(self, _: object) -> None:
        self.asking -= 1

    @property
    def dialog(self) -> Locator:
        return self.page.locator("funnel-popup dialog")

    @property
    def banner(self) -> Locator:
        return self.page.locator("funnel-popup section")

    def go(self, url: str, **more: Any) -> None:
        self.page.goto(url, **more)
        self.page.wait_for_function("window.FunnelPopup")

    def later(self, seconds: float) -> None:
        """Let time pass on the visitor's clock, and as much on the server's."""
        self.place.shop.clock.move(seconds=seconds)
        self.page.clock.fast_forward(int(seconds * 1000))

    def read(self, seconds: float = 6) -> None:
        """Do something on the page and let time pass."""
        self.page.mouse.wheel(0, 40)
        self.page.mouse.move(600, 500)
        self.page.mouse.down()
        self.page.mouse.up()
        self.later(seconds)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let the visitor's clock run by itself, for what waits in the page."""
        self.page.clock.resume()
        yield
        self.page.clock.pause_at(self.page.evaluate("Date.now()") / 1000 + 60)

    def leave(self, *, y: int = -3, drift: int = 20) -> None:
        """Flick the pointer out through the top, as on the way to the tabs; no time passes meanwhile."""
        for x, height in ((600, 300), (600 + drift // 2, 120), (600 + drift, y)):
            self.page.mouse.move(x, height)

    def scroll(self, script: str) -> None:
        """Run a script that scrolls, and wait until the page has heard of it."""
        self.page.evaluate(
            f"() => new Promise((done) => {{ addEventListener('scroll', () => done(), {{once: true}}); {script} }})"
        )

    def half_read(self, share: float = 0.6) -> None:
        """Read down to a share of the page with a thumb."""
        self.page.touchscreen.tap(200, 400)
        self.scroll(f"scrollTo(0, document.documentElement.scrollHeight * {share})")
        self.later(6)

    def back_to_tab(self) -> None:
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def open(self) -> None:
        with self.page.expect_response("**/popup.json"):
            self.page.click("#ask")
        self.dialog.wait_for()

    def hold(self, pattern: str) -> list[Route]:
        """Let requests wait, and return those that do."""
        waiting: list[Route] = []

        def keep(route: Route) -> None:
            waiting.append(route)

        self.page.route(pattern, keep)
        return waiting

    def settle(self) -> None:
        """Wait until every request has its answer; a busy machine may take a while."""
        self.page.wait_for_timeout(30)
        for _ in range(500):
            if not self.asking:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"no answer to one of {self.requests}")

    def stays_closed(self) -> bool:
        """True when nothing is shown, after as long as the popup may take."""
        self.settle()
        self.later(0.5)
        self.page.wait_for_timeout(60)
        return self.page.locator("funnel-popup").count() == 0

    def fill(self, email: str) -> None:
        """Type an address, as slowly as a person does.

        Time passes only when the server has given the form its key: one that is made later is too young to be taken.
        """
        self.dialog.locator("#email").fill(email)
        self.settle()
        self.later(3)

    def send(self, email: str) -> None:
        """Type an address and press the button."""
        self.fill(email)
        self.dialog.locator("button[type=submit]").click()

    def note(self, name: str) -> Any:
        return self.page.evaluate(f"notes.{name}")


@contextmanager
def open_place(folder: Path, browser: Browser, extra: str = "", **site: Any) -> Iterator[Place]:
    """Serve a clinic's site and a funnel that allows it."""
    with closing(Site()) as pages, kept_port() as port:
        base = f"http://127.0.0.1:{port}"
        toml = TOML.replace("https://go.clinic.example", base).replace("https://clinic.example", pages.origin)
        shop = make_shop(folder, extra, toml)
        if site:
            config = shop.funnel.config
            shop.funnel.config = replace(config, site=replace(config.site, **site))
        with running(shop.funnel, f"127.0.0.1:{port}"):
            yield Place(shop, pages, base, browser)
