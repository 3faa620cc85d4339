"""The two parts of a finished mail: where links lead, what pictures say, and whether both parts say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from funnel.checks.findings import at, error, line_of, short, warning
from funnel.compose.letters import NO_WAY_OUT
from funnel.compose.message import LARGEST_HTML
from funnel.compose.quoted import quoted_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from funnel.compose.source import Mail
    from funnel.config import Config
    from funnel.model import Finding

#: Warn here; above LARGEST_HTML nothing is sent (MSG-8).
LARGE_HTML = 70_000
#: Gmail drops a style sheet above this, whole.
LARGEST_STYLES = 16_000
#: Elements that end a paragraph where they begin and where they end.
BLOCKS = frozenset(
    {"p", "div", "td", "th", "tr", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre",
     "hr", "body"}
)  # fmt: skip
UNSEEN = frozenset({"style", "script", "title"})
VOID = frozenset({"img", "br", "hr", "meta", "link"})
WORD = re.compile(r"\w+")
URL = re.compile(r"(?:https?://|mailto:|tel:)[^\s)>]+")


@dataclass(frozen=True, slots=True)
class Picture:
    """One ``<img>`` as it stands in a page."""

    source: str
    alt: str | None
    sized: bool
    linked: bool


@dataclass(slots=True)
class Page:
    """What a reader gets from the HTML part."""

    links: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)  #: words, paragraph by paragraph
    hidden: list[str] = field(default_factory=list)  #: words nobody sees, but for the preheader
    styles: int = 0  #: octets in <style>


def read_page(html: str) -> Page:
    """Return what a reader gets from the HTML part of a mail; hidden text is left out."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_block()
    return reader.page


class _Reader(HTMLParser):
    """Takes a page apart."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._words: list[str] = []
        self._hidden: list[str] = []  #: open elements from the first hidden one on
        self._linked = self._secret = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element."""
        given = {name: value or "" for name, value in attrs}
        if tag in BLOCKS:
            self.end_block()
        if tag in UNSEEN or (tag not in VOID and self._conceals(given)):
            self._secret = self._secret or not (self._hidden or tag in UNSEEN or "preheader" in given.get("class", ""))
            self._hidden.append(tag)
        if tag == "a":
            self._linked = True
            self.page.links += [given["href"]] if "href" in given else []
        if tag == "img":
            sized = bool(given.get("width") and given.get("height"))
            self.page.pictures.append(Picture(given.get("src", ""), given.get("alt"), sized, self._linked))

    def _conceals(self, given: dict[str, str]) -> bool:
        return bool(self._hidden) or bool(re.search(r"display\s*:\s*none", given.get("style", "")))

    def handle_endtag(self, tag: str) -> None:
        """Note the end of an element."""
        if tag in BLOCKS:
            self.end_block()
        if tag == "a":
            self._linked = False
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()
            self._secret = self._secret and bool(self._hidden)

    def handle_data(self, data: str) -> None:
        """Take in words, or count a style sheet."""
        if self._hidden[-1:] == ["style"]:
            self.page.styles += len(data.encode())
        elif not self._hidden:
            self._words.append(data)
        elif self._secret and data.strip():
            self.page.hidden.append(data.strip())

    def end_block(self) -> None:
        """Close the paragraph in the making."""
        text = " ".join("".join(self._words).split())
        self._words.clear()
        if text:
            self.page.blocks.append(text)


# --- findings ----------------------------------------------------------------------------------


def check_parts(mail: Mail, page: Page, html: str, text: str, config: Config) -> Iterator[Finding]:
    """Yield what is wrong with the finished parts of a mail."""
    yield from _size(mail, page, html)
    yield from _links(mail, page, text, config)
    yield from _pictures(mail, page)
    for words in page.hidden:
        yield error(
            mail.file, f"“{short(words, 40)}” is hidden, which providers take for a trick", "show it or drop it"
        )
    yield from _agreement(mail, page, text)


def _size(mail: Mail, page: Page, html: str) -> Iterator[Finding]:
    size = len(quoted_printable(html))
    if size > LARGE_HTML:
        yield warning(mail.file, f"the HTML part is {size:,} bytes; Gmail cuts at {LARGEST_HTML:,}", "shorten it")
    if page.styles > LARGEST_STYLES:
        says = f"<style> holds {page.styles:,} bytes; Gmail drops one above {LARGEST_STYLES:,} whole"
        yield warning("emails/_layout/mail.css", says, "shorten it")


def _links(mail: Mail, page: Page, text: str, config: Config) -> Iterator[Finding]:
    ours = {urlsplit(url).hostname for url in (config.site.base_url, config.clinic.website, config.clinic.booking_url,
                                               config.content.article_url, config.site.privacy_url)}  # fmt: skip
    for url in sorted(set(page.links)):
        parts = urlsplit(url)
        where = _at(mail, url)
        if not url or parts.scheme not in {"http", "https", "mailto", "tel"}:
            yield error(where, f"a link leads to “{short(url)}”", "links are https, mailto or tel")
        elif parts.scheme in {"http", "https"} and parts.hostname not in ours:
            yield warning(where, f"a link leaves for {parts.hostname}", "make sure it is meant")
    if mail.kind not in NO_WAY_OUT and not any("/u/" in url for url in page.links):
        yield error(mail.file, "has no unsubscribe link", "put {{ unsubscribe_url }} into emails/_layout/layout.html")
    yield from _same_links(mail, page, text)


def _same_links(mail: Mail, page: Page, text: str) -> Iterator[Finding]:
    """Yield each web address that only one of the two parts has (MSG-7)."""
    html_links = {url for url in page.links if url.startswith("http")}
    text_links = {url for url in URL.findall(text) if url.startswith("http")}
    for url in sorted(html_links):
        if url not in text:
            yield warning(_at(mail, url), f"the text part lacks the link {short(url, 60)}", "both must say the same")
    for url in sorted(text_links):
        if url not in html_links and url.rstrip(".,;:") not in html_links:
            yield warning(_at(mail, url), f"the HTML part lacks the link {short(url, 60)}", "both must say the same")


def _pictures(mail: Mail, page: Page) -> Iterator[Finding]:
    for picture in page.pictures:
        name = picture.source.rpartition("/")[2]
        where = _at(mail, name.removesuffix(".png"))
        figure = name.startswith("fig-")
        if picture.alt is None:
            yield error(where, f"the picture {name} has no alt text", 'say what it shows in alt="…"')
        elif not picture.alt.strip() and (figure or picture.linked):
            yield error(where, f"the alt text of {name} is empty, though it tells something", "say what it shows")
        if not picture.sized and not figure:
            says = f"the picture {name} has no width or no height, so the page jumps and Outlook shows it as it is"
            yield warning(where, says, "give it both, as numbers")


def _at(mail: Mail, words: str) -> str:
    """Return the file and line of a mail that holds some words; the file alone when they come from elsewhere."""
    return at(mail.file, line_of(mail.body.split("\n"), re.escape(words), mail.first_line) if words else 0)


# --- both parts say the same -------------------------------------------------------------------


def _agreement(mail: Mail, page: Page, text: str) -> Iterator[Finding]:
    """Yield each paragraph of the HTML part that readers of the text part do not get (MSG-7)."""
    told = _Told(URL.sub(" ", text))
    for block in [*page.blocks, *(picture.alt for picture in page.pictures if picture.alt)]:
        if not told.has(block):
            says = f"the text part lacks “{short(block, 60)}”"
            yield warning(_at(mail, block[:20]), says, "both parts must say the same; compare _layout/layout.txt")


class _Told:
    """The words of the text part, to look paragraphs up in."""

    def __init__(self, text: str) -> None:
        words = _words(text)
        self._words = set(words)
        self._pairs = set(pairwise(words))

    def has(self, block: str) -> bool:
        """True when a paragraph is there: most neighbouring words are neighbours here too."""
        words = _words(URL.sub(" ", block))
        if len(words) < 2:
            return self._words.issuperset(words)
        return _most(pair in self._pairs for pair in pairwise(words))


def _most(answers: Iterable[bool]) -> bool:
    given = list(answers)
    return 2 * sum(given) > len(given)


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
