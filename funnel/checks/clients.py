"""What mail programs would not show: features of the finished mails against data of caniemail.com.

``support.toml`` holds that data, trimmed; ``clients.toml`` what may be used all the same, each with its reason.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from funnel.checks.features import features, pattern_of
from funnel.checks.findings import at, line_of, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from funnel.compose.source import Library
    from funnel.model import Finding

#: So many mails are named; of more, their number.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Feature:
    """Something HTML or CSS can do, and the programs that show it in part or not at all."""

    slug: str
    title: str
    uses: frozenset[str]
    no: tuple[str, ...]
    partly: tuple[str, ...]


@cache
def support() -> tuple[Feature, ...]:
    """Return every feature that some program does not show as it is meant."""
    data = _table("support.toml")
    names = data["clients"]
    return tuple(
        Feature(
            slug, found["title"], frozenset(found["uses"]),
            tuple(names[key] for key in found.get("no", ())), tuple(names[key] for key in found.get("partly", ())),
        )
        for slug, found in data["features"].items()
    )  # fmt: skip


@cache
def allowed() -> dict[str, str]:
    """Return the features that may be used all the same, each with the reason why nothing is lost."""
    return dict(_table("clients.toml")["allowed"])


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / name).read_text("utf-8"))


def check_clients(library: Library, pages: Mapping[tuple[str, str], str]) -> Iterator[Finding]:
    """Yield each feature that some program would not show, with the mails that use it and where it is written.

    ``pages`` holds the finished HTML of each mail by sequence and name.
    """
    used = {place: features(html) for place, html in pages.items()}
    for feature in support():
        mails = [place for place, marks in used.items() if marks & feature.uses]
        if mails and feature.slug not in allowed():
            marks = {mark for place in mails for mark in used[place] & feature.uses}
            where = _where(library, mails, sorted(marks))
            yield warning(where, _says(feature, library, mails), "do without it, or see that nothing is lost there")


def _says(feature: Feature, library: Library, mails: list[tuple[str, str]]) -> str:
    blind = f"is not shown by {_spoken(feature.no)}"
    verdict = blind if feature.no else f"is shown only in part by {_spoken(feature.partly)}"
    users = f"{len(mails)} mails" if len(mails) > NAMED else ", ".join(library.mail(*place).file for place in mails)
    return f"“{feature.title}” {verdict}; {users} would look different"


def _spoken(programs: Iterable[str]) -> str:
    """Return programs with one maker named once: ``Outlook for iOS, for Android``."""
    groups = (list(group) for _, group in groupby(programs, key=lambda name: name.split()[0]))
    return "; ".join(", ".join([first, *(_tail(first, name) for name in rest)]) for first, *rest in groups)


def _tail(first: str, name: str) -> str:
    for little in (" on ", " in ", " for "):
        head, found, tail = name.partition(little)
        if found and first.startswith(head):
            return f"{little.strip()} {tail}"
    return name


def _where(library: Library, mails: list[tuple[str, str]], marks: list[str]) -> str:
    """Return the first file and line that holds one of the marks; the first mail when none does."""
    first = library.mail(*mails[0])
    folder = f"{library.folder.name}/_layout"
    layout = ((f"{folder}/layout.html", library.layout_html), (f"{folder}/mail.css", library.styles))
    for mark in marks:
        for file, text in layout:
            line = line_of(text.split("\n"), pattern_of(mark))
            if line:
                return at(file, line)
        line = line_of(first.body.split("\n"), pattern_of(mark), first.first_line)
        if line and mark.startswith(("*.", "data:")):  # Markdown has no other way to say one of these
            return at(first.file, line)
    return first.file
