"""The popup on a page like the clinic's own, to look at before it is live. Sends nothing and needs no server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.web.popup import Popup

if TYPE_CHECKING:
    from funnel.app import Funnel

HERE = Path(__file__).parent
LINK = re.compile(r'<a href="[^"]*"')


def write_preview(funnel: Funnel, out: Path) -> Path:
    """Write the pages of the preview into a folder and return the one to open; raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    popup = Popup(funnel)
    (out / "page.html").write_text(_page(popup), "utf-8")
    (out / "popup.js").write_bytes(popup.script)
    (out / "preview.js").write_text((HERE / "popup-preview.js").read_text("utf-8"), "utf-8")
    index = out / "index.html"
    index.write_text((HERE / "popup-preview.html").read_text("utf-8"), "utf-8")
    return index


def _page(popup: Popup) -> str:
    """Return the article as a page of a blog; its links lead nowhere."""
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    config = popup.funnel.config
    source = config.path(config.content.article).read_text("utf-8")
    html = MarkdownIt("commonmark", {"html": False}).render(source)
    env = Environment(autoescape=True, undefined=StrictUndefined)
    title = re.search(r"^# (.+)$", source, re.MULTILINE)
    return env.from_string((HERE / "popup-preview-page.html").read_text("utf-8")).render(
        article=Markup(LINK.sub('<a href="#"', html)),  # noqa: S704 - made from Markdown without raw HTML
        title=title[1] if title else config.clinic.name,
        clinic=config.clinic,
        home=popup.links.home,
    )
