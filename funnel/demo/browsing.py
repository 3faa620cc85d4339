"""What a visitor's browser and a link scanner do with our pages: real HTTP over loopback, forms sent as forms are."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

BROWSER = "Mozilla/5.0 (a visitor of the demo)"
SCANNER = "LinkScanner/1.0 (a mail gateway of the demo)"


@dataclass(frozen=True, slots=True)
class Page:
    """What a server answered."""

    status: int
    body: str
    url: str

    def form(self, action: str = "") -> Form:
        """Return the first form, or the first whose action contains ``action``; raises LookupError."""
        reader = _Forms()
        reader.feed(self.body)
        for form in reader.forms:
            if action in form.action or (not form.action and action in self.url):
                return form
        raise LookupError(f"no form for {action or 'anything'} on {urlsplit(self.url).path[:3]}")


@dataclass(slots=True)
class Form:
    """A form as it stands on a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    """Collects forms with their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field or a button."""
        given = {key: value or "" for key, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif self.forms and tag == "input" and given.get("type") not in {"checkbox", "radio", "submit"}:
            self.forms[-1].fields[given.get("name", "")] = given.get("value", "")
        elif self.forms and tag == "button" and given.get("name"):
            self.forms[-1].buttons.append((given["name"], given.get("value", "")))


def fetch(url: str, fields: dict[str, str] | None = None, *, agent: str = BROWSER, method: str = "") -> Page:
    """Return one page; with ``fields`` they are posted. Redirects are followed, as a browser does."""
    for _ in range(5):
        page, onward = _once(url, fields, agent, method)
        if not onward:
            return page
        url, fields, method = urljoin(url, onward), None, ""
    return page


def _once(url: str, fields: dict[str, str] | None, agent: str, method: str) -> tuple[Page, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=20)
    headers = {"User-Agent": agent}
    body = None
    if fields is not None:
        body = urlencode(fields)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method or ("POST" if body is not None else "GET"), path or "/", body, headers)
        answer = connection.getresponse()
        raw = answer.read()
        onward = answer.headers.get("Location", "") if answer.status in {301, 302, 303, 307} else ""
    finally:
        connection.close()
    kind = answer.headers.get("Content-Type", "")
    text = raw.decode("utf-8", "replace") if kind.startswith("text/") else f"({kind}, {len(raw)} bytes)"
    return Page(answer.status, text, url), onward


def links_in(text: str, base: str) -> list[str]:
    """Return every link to our own pages in a mail's text, in order, each once."""
    found = re.findall(r"https?://[^\s<>\")]+", text)
    return list(dict.fromkeys(url for url in found if url.startswith(base)))


def link_to(text: str, base: str, page: str) -> str:
    """Return the first link to one kind of page in a mail's text, or nothing."""
    return next((url for url in links_in(text, base) if url.startswith(f"{base}/{page}/")), "")
