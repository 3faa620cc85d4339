"""What HTML and CSS a finished mail makes use of, as short marks that data about mail programs is looked up by.

``position:`` is a property, ``display:grid`` a property with a value, ``calc()`` a function, ``1vh`` a unit,
``@media`` a rule, ``:hover`` a selector, ``<video>`` an element, ``[srcset]`` an attribute, ``*.svg`` a picture.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REMARK = re.compile(r"/\*.*?\*/", re.DOTALL)
ADDRESS = re.compile(r"url\(\s*([\"']?)(.*?)\1\s*\)", re.DOTALL | re.IGNORECASE)
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
PIECE = re.compile(r"([^{};]+)([{};]|\Z)")
NUMBER = re.compile(r"(?<![\w#.-])[-+]?\d*\.?\d+(%|[a-z]+)", re.IGNORECASE)
WORD = re.compile(r"(?<![\w#-])-?[a-z][a-z-]*", re.IGNORECASE)
ENDING = re.compile(r"\.([a-z0-9]{2,5})(?:[?#]|\Z)", re.IGNORECASE)
#: Signs in a selector that programs support or not; each is its own mark.
SIGNS = {">": r"\S\s*>\s*\S", "+": r"\S\s*\+\s*\S", "~": r"\S\s*~\s*\S", "*": r"\*", "#": r"#[\w-]", "&": r"&",
         "[]": r"\[", " ": r"[\w\])]\s+[\w.#\[:*]", ".a.b": r"[\w\])]\.[\w-]+"}  # fmt: skip


def features(html: str) -> set[str]:
    """Return the marks of everything a page makes use of; what only Outlook's conditional comments hold is not read."""
    page = _Page()
    page.feed(html)
    page.close()
    return page.marks


def css_features(css: str) -> set[str]:
    """Return the marks of a style sheet, or of what stands in one style attribute."""
    marks = {mark for found in ADDRESS.finditer(css) for mark in _picture(found[2])}
    plain = QUOTED.sub(" ", ADDRESS.sub(" ", REMARK.sub(" ", css)))
    for found in PIECE.finditer(plain):
        piece = found[1].strip()
        if piece.startswith("@"):
            marks |= _rule(piece)
        elif found[2] == "{":
            marks |= _selector(piece)
        else:
            marks |= _declaration(piece)
    return marks


def _rule(prelude: str) -> set[str]:
    name = prelude.split(maxsplit=1)[0].partition("(")[0].lower()
    return {name} | {f"{name} ({asked})" for asked in re.findall(r"\(\s*([a-z-]+)", prelude.lower())}


def _selector(selector: str) -> set[str]:
    bare = re.sub(r"\[[^\]]*\]", "[]", selector)
    pseudo = set(re.findall(r"::?[a-z-]+", bare.lower()))
    return pseudo | {mark for mark, pattern in SIGNS.items() if re.search(pattern, bare)}


def _declaration(piece: str) -> set[str]:
    name, colon, value = piece.partition(":")
    name, value = name.strip().lower(), value.strip().lower()
    if not colon or name.startswith("mso-"):
        return set()
    value, urgent, _ = value.partition("!important")
    marks = {f"{name}:"} | {f"1{unit}" for unit in NUMBER.findall(value)}
    for word in WORD.finditer(value):
        called = value[word.end() : word.end() + 1] == "("
        marks |= {f"{word[0]}()"} if called else {word[0], f"{name}:{word[0]}"}
    return marks | ({"!important"} if urgent else set())


def _picture(address: str) -> Iterator[str]:
    if address.startswith("data:"):
        yield "data:"
    elif ending := ENDING.search(address):
        yield f"*.{ending[1].lower()}"


class _Page(HTMLParser):
    """Collects the marks of a page while it is read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.marks: set[str] = set()
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element and its attributes."""
        self.marks.add(f"<{tag}>")
        self._style = tag == "style"
        for name, value in attrs:
            self.marks.add(f"[{name}]")
            self.marks |= _of_attribute(tag, name, value or "")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser gives it
        """Note that a style sheet ends."""
        self._style = False

    def handle_data(self, data: str) -> None:
        """Take in a style sheet."""
        if self._style:
            self.marks |= css_features(data)


def _of_attribute(tag: str, name: str, value: str) -> set[str]:
    if name == "style":
        return css_features(value)
    if name == "src" and tag == "img":
        return set(_picture(value))
    if name == "type" and tag in {"input", "button"}:
        return {f"<{tag} type={value.lower()}>"}
    if name == "href" and value.startswith("#"):
        return {"[href=#]"}
    return {"[href=mailto]"} if name == "href" and value.startswith("mailto:") else set()


# --- where it stands in a source ---------------------------------------------------------------


def pattern_of(mark: str) -> re.Pattern[str]:
    """Return the pattern that finds what a mark stands for in the source of a layout or a style sheet."""
    name, colon, value = mark.partition(":")
    if mark.startswith("<"):
        pattern = rf"<{re.escape(mark[1:-1].split(maxsplit=1)[0])}\b"
    elif mark.startswith("[") and len(mark) > 2:
        pattern = rf"\b{re.escape(mark[1:-1].partition('=')[0])}\s*="
    elif mark.startswith("@"):
        rule, _, asked = mark.partition(" ")
        pattern = re.escape(rule) + (rf"\b[^{{]*{re.escape(asked.rstrip(')'))}" if asked else r"\b")
    elif mark.startswith("1"):
        pattern = rf"\d{re.escape(mark[1:])}(?!\w)"
    elif name and colon:
        pattern = rf"(?<![-\w]){re.escape(name)}\s*:" + (rf"[^;}}]*\b{re.escape(value)}\b" if value else "")
    else:
        pattern = re.escape(mark.removesuffix(")").removeprefix("*")) if mark not in SIGNS else SIGNS[mark]
    return re.compile(pattern, re.IGNORECASE)
