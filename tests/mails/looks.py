"""Every mail of the sample as a page for a browser, and what is measured there.

The guide's pictures and page numbers are stand-ins of the right size, so that the guide need not be built.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from funnel.preview import parts_of, render_sample, with_pictures
from tests.kit import NOW, TOP, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from funnel.app import Funnel

SOURCES = sorted((TOP / "emails").glob("*/*.md"))
NAMES = [f"{file.parent.name}/{file.stem}" for file in SOURCES]
#: As large as the guide draws them: the shape of a usual one.
PICTURE = (536, 300)


def clinic(folder: Path, **settings: Any) -> Funnel:
    """Return a funnel with the sample's mails, and stand-ins for what they take from the guide."""
    funnel = make_funnel(folder, **settings)
    built = funnel.config.path(funnel.config.guide.output)
    (built / "figures").mkdir(parents=True)
    words = "\n".join(file.read_text("utf-8") for file in SOURCES)
    figures = re.findall(r"\[\[figure: *(fig-[a-z0-9-]+)", words)
    for name in figures:
        (built / "figures" / f"{name}.png").write_bytes(_picture())
    (built / "figures.json").write_text(json.dumps(dict.fromkeys(figures, PICTURE)))
    anchors = re.findall(r'^guide_page = "(.+)"', words, re.MULTILINE) + re.findall(r"\bpage\.(\w+)", words)
    pages = {"anchors": {name.replace("_", "-"): 44 for name in anchors}}
    (built / "pages.json").write_text(json.dumps(pages))
    return funnel


def _picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (2 * PICTURE[0], 2 * PICTURE[1]), 254).save(out, "PNG")
    return out.getvalue()


def html_of(funnel: Funnel, name: str, *, pictures: bool = True, test: int = 0) -> str:
    """Return a mail's HTML as it is sent; with its pictures inside it, or with pictures that nobody hands out."""
    html, _ = parts_of(render_sample(funnel, funnel.library.find(name), now=NOW, test=test).message)
    return with_pictures(funnel, html) if pictures else html


# --- what is measured --------------------------------------------------------------------------


def too_wide(page: Page) -> list[str]:
    """Return what reaches over the right or left edge of the window."""
    found: list[str] = page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth
          const over = [...document.body.querySelectorAll('*')].filter(e => {
            const box = e.getBoundingClientRect()
            return box.width && (box.right > wide + 0.5 || box.left < -0.5)
          }).map(e => e.outerHTML.slice(0, 120))
          return document.scrollingElement.scrollWidth > wide ? ['the page itself', ...over] : over
        }"""
    )
    return found


def too_small(page: Page) -> list[str]:
    """Return the visible words that are set smaller than 16 pixels."""
    found: list[str] = page.evaluate(
        """() => {
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), small = []
          while (walk.nextNode()) {
            const words = walk.currentNode.data.trim(), holder = walk.currentNode.parentElement
            if (words && holder.checkVisibility() && parseFloat(getComputedStyle(holder).fontSize) < 16)
              small.push(words)
          }
          return small
        }"""
    )
    return found


def hard_to_hit(page: Page) -> list[str]:
    """Return the buttons, and the links of the foot, that are less than 44 pixels high; inline links are let be."""
    found: list[str] = page.evaluate(
        """() => [...document.links].filter(link => {
          const inline = getComputedStyle(link).display === 'inline'
          return !(inline && link.closest('.content')) && link.getBoundingClientRect().height < 44
        }).map(link => link.textContent)"""
    )
    return found


def badly_built(page: Page) -> list[str]:
    """Return what a screen reader would trip over: headings, languages, tables and pictures not as they should be."""
    found: list[str] = page.evaluate(
        """() => {
          const all = (what) => [...document.querySelectorAll(what)]
          const said = []
          if (all('h1').length !== 1) said.push(all('h1').length + ' h1')
          if (!document.documentElement.lang || !document.title) said.push('no lang or no title')
          for (const table of all('table')) if (table.getAttribute('role') !== 'presentation') said.push('a data table')
          for (const picture of all('img'))
            if (!picture.alt || !(picture.getAttribute('width') > 0) || !(picture.getAttribute('height') > 0))
              said.push(picture.outerHTML.slice(-160))
          return said
        }"""
    )
    return found


def clipped_alternatives(page: Page) -> list[str]:
    """Return the pictures in whose place their words have no room; browsers cut off what does not fit."""
    found: list[str] = page.evaluate(
        """() => [...document.images].filter(picture => {
          const words = document.createElement('div'), place = picture.getBoundingClientRect()
          const style = getComputedStyle(picture)
          words.textContent = picture.alt
          words.style.cssText = `font: ${style.font}; width: ${place.width}px; text-indent: 20px`
          document.body.append(words)
          const high = words.getBoundingClientRect().height
          words.remove()
          return high > place.height
        }).map(picture => picture.alt)"""
    )
    return found


def double_the_text(page: Page) -> None:
    """Set all text twice as large, as a mail program does for somebody who asked for large type."""
    page.evaluate(
        """() => {
          const all = [...document.body.querySelectorAll('*')].map(e => {
            const style = getComputedStyle(e)
            return [e, parseFloat(style.fontSize), parseFloat(style.lineHeight)]
          })
          for (const [e, size, line] of all) {
            e.style.setProperty('font-size', `${2 * size}px`, 'important')
            if (line) e.style.setProperty('line-height', `${2 * line}px`, 'important')
          }
        }"""
    )


def seen(page: Page) -> str:
    """Return the words that can be seen."""
    return " ".join(page.inner_text("body").split())
