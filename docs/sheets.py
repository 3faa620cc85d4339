# ruff: noqa: INP001 - a script, not a package
"""Draws the contact sheets of docs/images: ``python docs/sheets.py``, or ``python docs/sheets.py mails`` for one.

Needs Chromium, and no network. A further sheet is a function that yields pictures, and its line in SHEETS.
"""

from __future__ import annotations

import base64
import io
import logging
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from playwright.sync_api import sync_playwright

from funnel.app import Funnel
from funnel.founding import found
from funnel.preview import parts_of, render_sample, with_pictures
from funnel.signup import Request
from funnel.web import create_app
from funnel.web.popup_preview import write_preview

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests know how every page is reached

from tests.web.gallery import View, views
from tests.web.shop import Clock, Shop
from tests.web.test_server import at_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playwright.sync_api import Browser, Page, ViewportSize

    from funnel.compose.source import Mail

IMAGES = Path(__file__).resolve().parent / "images"
LARGEST = 900_000
#: The sequences a reader meets first; the others follow by name.
FIRST = ("confirm", "series", "again")
#: A Tuesday, so that a sheet changes only when what it shows does.
NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
ANSWERS = {"site.base_url": "https://go.thrivehealth.example"}
PHONE = 375
WINDOW: ViewportSize = {"width": PHONE, "height": 700}
WIDE: ViewportSize = {"width": 1280, "height": 800}
#: Milliseconds until an act on a page has come to rest.
SETTLES = 4000
#: The banner stays away from robots, which a browser held by a program says it is.
NO_ROBOT = "Object.defineProperty(Navigator.prototype, 'webdriver', { get: () => false })"
STATES = ("open", "error", "success", "offline")
#: How large a page of a phone's width is drawn.
SCALE = 0.5
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
#: The pages worth a look, by their names in the gallery of the tests; the rest differ by a sentence.
SHOWN = (
    "form", "form-problem", "form-meant", "check-inbox-gmail", "confirm", "thanks", "guide", "guide-gift", "again",
    "preferences", "preferences-paused", "unsubscribe", "goodbye", "restored", "privacy", "missing",
)  # fmt: skip
#: No picture of a page is longer than this; what lies below is more of the same.
LONGEST = 1400

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sheet</title><style>
body { margin: 0; padding: 24px; width: max-content; background: #dfe3e2;
  font: 600 16px/24px 'Liberation Sans', sans-serif; color: #1f2a2e }
.row { display: grid; grid-template-columns: repeat(COLUMNS, auto); gap: 0 18px; justify-content: start;
  align-items: start; margin: 0 0 30px }
.dark, .name { margin: 14px 0 0 } img { display: block; border-radius: 6px }
</style>ROWS</html>"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One thing on a sheet: what stands below it, and how it looks by day and by night."""

    name: str
    light: bytes
    dark: bytes


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where a sheet's pictures come from, and how many stand side by side."""

    pictures: Callable[[Browser, Funnel], Iterator[Picture]]
    columns: int


def mails(browser: Browser, funnel: Funnel) -> Iterator[Picture]:
    """Yield every mail as a phone shows it, in the order in which a reader may get them."""
    for mail in _in_order(funnel):
        html = with_pictures(funnel, parts_of(render_sample(funnel, mail, now=NOW).message)[0])
        light, dark = (_photograph(browser, html, scheme) for scheme in SCHEMES)
        yield Picture(mail.name, light, dark)


def pages(browser: Browser, funnel: Funnel) -> Iterator[Picture]:
    """Yield the pages as a phone shows them, in the order in which a reader may get there."""
    for name, page in visits(browser, funnel, viewport=WINDOW, device_scale_factor=SCALE):
        light, dark = (_cut(_as_it_is(page, scheme)) for scheme in SCHEMES)
        yield Picture(name, light, dark)


def visits(browser: Browser, funnel: Funnel, **look: Any) -> Iterator[tuple[str, Page]]:
    """Yield by name, open in a browser, every page worth a look. The funnel is used up by that."""
    site = replace(funnel.config.site, trusted_proxies=("127.0.0.1",))
    clock = Clock()
    seen = Funnel(replace(funnel.config, site=site), clock=clock)
    shop = Shop(seen, create_app(seen), clock)
    logging.getLogger("funnel.web").addHandler(logging.NullHandler())  # what is broken here is broken on purpose
    with at_home(shop) as base:
        for number, view in enumerate([*_worth_a_look(shop), *_troubles(shop)]):
            visitor = f"203.0.113.{number}"  # from elsewhere: at the machine itself each page has a note of ours
            context = browser.new_context(extra_http_headers={"X-Forwarded-For": visitor}, **look)
            page = context.new_page()
            with _in_trouble(shop, view.name, visitor):
                view.open(shop, page, base)
                page.wait_for_load_state()
            yield view.name, page
            context.close()


def _worth_a_look(shop: Shop) -> list[View]:
    known = {view.name: view for view in views(shop)}
    return [View("form, Spanish", "/?lang=es"), *(known[name] for name in SHOWN)]


def _troubles(shop: Shop) -> list[View]:
    """Return pages that nobody should meet, last because time passes for one of them."""
    return [
        View("too many requests", "/", (".panel button",), "ann@example.com"),
        View("maintenance", f"/u/{shop.stop_token(shop.join('early@example.com'))}"),
        View("expired link", f"/c/{shop.confirm_token('slow@example.com')}"),
    ]


@contextmanager
def _in_trouble(shop: Shop, name: str, visitor: str) -> Iterator[None]:
    """Bring about what a page of trouble needs, and take back what others would feel."""
    store = shop.funnel.config.path(shop.funnel.config.store.path)
    away = store.with_suffix(".away")
    if name == "too many requests":
        for number in range(5):
            shop.funnel.ask(Request(f"many{number}@example.com", wording="", ip=visitor))
    elif name == "expired link":
        shop.clock.move(days=30)
    elif name == "maintenance":
        store.rename(away)
    yield
    if away.exists():
        away.rename(store)


def popup(browser: Browser, funnel: Funnel) -> Iterator[Picture]:
    """Yield the popup on the sample's article, state by state, wide and on a phone."""
    with tempfile.TemporaryDirectory() as folder:
        index = write_preview(funnel, Path(folder))
        for device, window, states in (("phone", WINDOW, ("banner", *STATES)), ("desktop", WIDE, STATES)):
            for state in states:
                page = browser.new_page(viewport=window, device_scale_factor=SCALE, user_agent="Mozilla/5.0")
                page.add_init_script(NO_ROBOT)
                page.goto(f"{index.with_name('page.html').as_uri()}?state={state}&device={device}")
                page.wait_for_timeout(SETTLES)
                light, dark = (_as_it_is(page, scheme, whole=False) for scheme in SCHEMES)
                yield Picture(f"{state}, {device}", light, dark)
                page.context.close()


def _as_it_is(page: Page, scheme: Literal["light", "dark"], *, whole: bool = True) -> bytes:
    page.emulate_media(color_scheme=scheme)
    return page.screenshot(full_page=whole)


def _cut(png: bytes) -> bytes:
    """Return a picture that is no longer than LONGEST."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    out = io.BytesIO()
    picture.crop((0, 0, picture.width, min(picture.height, round(LONGEST * SCALE)))).save(out, "PNG")
    return out.getvalue()


SHEETS = {"mails": Sheet(mails, columns=11), "pages": Sheet(pages, columns=10), "popup": Sheet(popup, columns=5)}


def _in_order(funnel: Funnel) -> Iterator[Mail]:
    library = funnel.library
    first = [name for name in FIRST if name in library.sequences]
    for sequence in first + sorted(library.sequences.keys() - set(first)):
        for step in library.sequences[sequence].steps:
            if (sequence, step.name) in library.mails:
                yield library.mail(sequence, step.name)


def _photograph(browser: Browser, html: str, scheme: Literal["light", "dark"]) -> bytes:
    """Return the whole page as a PNG."""
    window = {"width": PHONE, "height": 600}
    page = browser.new_page(viewport=window, color_scheme=scheme, device_scale_factor=SCALE)  # type: ignore[arg-type]
    page.set_content(html)
    png = page.screenshot(full_page=True)
    page.context.close()
    return png


def draw(browser: Browser, pictures: Sequence[Picture], columns: int) -> bytes:
    """Return a sheet as a PNG: rows of pictures by day, below them the same by night, and their names."""
    rows = "".join(_row(pictures[at : at + columns], columns) for at in range(0, len(pictures), columns))
    page = browser.new_page(viewport={"width": 600, "height": 600})
    page.set_content(PAGE.replace("COLUMNS", str(columns)).replace("ROWS", rows))
    png = page.locator("body").screenshot()
    page.context.close()
    return _smaller(png)


def _row(pictures: Sequence[Picture], columns: int) -> str:
    light = "".join(f"<div>{_image(picture.light)}</div>" for picture in pictures)
    dark = "".join(f'<div class="dark">{_image(picture.dark)}</div>' for picture in pictures)
    names = "".join(f'<div class="name">{escape(picture.name)}</div>' for picture in pictures)
    gaps = "<div></div>" * (columns - len(pictures))
    return f'<div class="row">{light}{gaps}{dark}{gaps}{names}{gaps}</div>'


def _image(png: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _smaller(png: bytes) -> bytes:
    """Return a picture with as many colours as fit into LARGEST bytes."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        picture.quantize(colors=colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def sample(folder: Path) -> Funnel:
    """Return the sample clinic's funnel in ``folder``, with its guide built."""
    found(folder, ANSWERS)
    funnel = Funnel.load(str(folder / "funnel.toml"))
    funnel.build_guide()
    return funnel


def main(names: Sequence[str]) -> None:
    """Draw these sheets, or all."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        funnel = sample(Path(folder, "clinic"))
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        for name in names or SHEETS:
            sheet = SHEETS[name]
            png = draw(browser, list(sheet.pictures(browser, funnel)), sheet.columns)
            (IMAGES / f"{name}.png").write_bytes(png)
            sys.stdout.write(f"docs/images/{name}.png  {len(png) // 1000} kB\n")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
