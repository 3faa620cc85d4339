# ruff: noqa: INP001 - a script, not a package
"""Draws the contact sheets of docs/images: ``python docs/sheets.py``, or ``python docs/sheets.py mails`` for one.

Needs Chromium, and no network. A further sheet is a function that yields pictures, and its line in SHEETS.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright

from funnel.app import Funnel
from funnel.founding import found
from funnel.preview import parts_of, render_sample, with_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playwright.sync_api import Browser

    from funnel.compose.source import Mail

IMAGES = Path(__file__).resolve().parent / "images"
LARGEST = 900_000
#: The sequences a reader meets first; the others follow by name.
FIRST = ("confirm", "series", "again")
#: A Tuesday, so that a sheet changes only when what it shows does.
NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
ANSWERS = {"site.base_url": "https://go.thrivehealth.example"}
PHONE = 375
#: How large a page of a phone's width is drawn.
SCALE = 0.5
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sheet</title><style>
body { margin: 0; padding: 24px; width: max-content; background: #dfe3e2;
  font: 600 16px/24px 'Liberation Sans', sans-serif; color: #1f2a2e }
.row { display: grid; grid-template-columns: repeat(COLUMNS, auto); gap: 0 18px; align-items: start; margin: 0 0 30px }
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


SHEETS = {"mails": Sheet(mails, columns=11)}


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
    return f'<img alt="" width="{PHONE * SCALE:.0f}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


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
