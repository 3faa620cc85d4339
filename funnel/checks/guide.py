"""The guide, and what mails point at in it: pages and figures, as it is written and as it was built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.checks.findings import at, error, line_of
from funnel.compose.words import figures_in
from funnel.errors import FunnelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.app import Funnel
    from funnel.compose.source import Mail
    from funnel.guide.source import Book
    from funnel.model import Finding

#: A page of the guide by its name, as a mail writes it: ``{{ page.fig_09 }}``.
PAGE = re.compile(r"\bpage\.([A-Za-z0-9_]+)")


def check_guide(funnel: Funnel) -> Iterator[Finding]:
    """Yield what is wrong with the guide as it was built; one error when it was not."""
    from funnel.guide import check

    source = funnel.config.path(funnel.config.content.guide)
    out = funnel.config.path(funnel.config.guide.output)
    if not (out / "guide.pdf").exists():
        yield error("guide", "has not been built", "run “funnel guide build”")
        return
    try:
        yield from check(source, funnel.guide_settings, out)
    except FunnelError as fault:
        yield error("guide", str(fault), "mend it and run “funnel guide build”")


@dataclass(frozen=True, slots=True)
class Things:
    """Things of one sort that mails point at: those the guide is written with, and those it was built with.

    Building adds some of its own, as the index; an empty set means that nobody knows.
    """

    written: frozenset[str]
    built: frozenset[str]

    def check(self, where: str, what: str, name: str) -> Iterator[Finding]:
        """Yield an error when the guide does not have a thing."""
        if self.written and name not in self.written | self.built:
            yield error(where, f"the guide has no {what}“{name}”", "name one that it has")
        elif self.built and name not in self.built:
            yield error(where, f"the guide as it was built has no {what}“{name}”", "run “funnel guide build” again")


class Pointers:
    """Looks up what mails point at in the guide."""

    def __init__(self, funnel: Funnel, *, source: bool) -> None:
        book = _book(funnel) if source else None
        pages, figures = _names(book) if book else (frozenset(funnel.guide_pages), frozenset(funnel.figures))
        self.pages = Things(pages, frozenset(funnel.guide_pages))
        self.figures = Things(figures, frozenset(funnel.figures))

    def check(self, mail: Mail, lines: list[str]) -> Iterator[Finding]:
        """Yield each page and figure a mail points at that the guide does not have; ``lines`` are the mail's file."""
        pages = {mail.guide_page: r"^guide_page\b"} if mail.guide_page else {}
        for name in PAGE.findall("\n".join(lines)):
            pages.setdefault(name.replace("_", "-"), rf"\bpage\.{name}\b")
        for name, pattern in pages.items():
            yield from self.pages.check(at(mail.file, line_of(lines, pattern)), "", name)
        for name in figures_in(mail.body):
            where = at(mail.file, line_of(lines, rf"figure\s*:\s*{name}\b"))
            yield from self.figures.check(where, "figure ", name)


def _names(book: Book) -> tuple[frozenset[str], frozenset[str]]:
    """Return the pages and the figures a guide has, as it is written."""
    from funnel.guide.source import known_anchors

    return frozenset(known_anchors(book)), frozenset(book.figures)


def _book(funnel: Funnel) -> Book | None:
    """Return the guide as it is written; None when it cannot be read, which the guide's own check tells."""
    from funnel.guide.source import load

    try:
        return load(funnel.config.path(funnel.config.content.guide))
    except FunnelError:
        return None
