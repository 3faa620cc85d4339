"""A message with holes: what is the same for everybody is put together and encoded once, the rest is filled in.

A stencil is cut from one real message, made with a mark in place of each personal field. It fits everybody for
whom the same of these fields are empty, so conditions about a person need not be asked again. Of a signed link
only the token is a hole.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING

from jinja2 import meta, nodes

from funnel.compose.quoted import Slot, around, html_piece, html_quoted, text_piece
from funnel.model import PERSONAL, Link, LinkColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from funnel.model import Column

#: Where in a message, and which field.
Hole = tuple[str, str]
#: What signed links have in them where they differ.
TOKENS = re.compile(rb"[A-Za-z0-9._-]*")
#: A control character stands in no message of ours, so nobody's words can be taken for a mark.
MARK = re.compile("\0([a-z]+):([A-Za-z_-]+)\0")


class NoFitError(Exception):
    """This person's mail cannot be made by this stencil."""


def mark(place: str, name: str) -> str:
    """Return what stands for a field in a message that a stencil is cut from."""
    return f"\0{place}:{name}\0"


def link_mark(name: str, link: object) -> str:
    """Return what stands for a link in a header."""
    return f"{link.before}{mark('token', name)}{link.behind}" if isinstance(link, Link) else mark("url", name)


def slots(values: Mapping[str, object]) -> dict[str, object]:
    """Return the fields with a slot in place of each personal one that is not empty."""
    return {name: _slot(name, value) if name in PERSONAL and value else value for name, value in values.items()}


def _slot(name: str, value: object) -> Slot:
    if not isinstance(value, Link):
        return Slot(mark("text", name), mark("html", name))
    hole = value._replace(token=mark("token", name))
    return Slot(around(hole), around(hole, html_quoted))


def names_in(env: Environment, *sources: str) -> frozenset[str]:
    """Return the fields that templates name."""
    return frozenset().union(*(meta.find_undeclared_variables(env.parse(source)) for source in sources))


def fits(env: Environment, source: str) -> bool:
    """Return whether a template only shows personal fields, and asks whether they are empty."""
    tree = env.parse(source)
    plain = _plain(tree)
    return all(id(node) in plain for node in tree.find_all(nodes.Name) if node.name in PERSONAL)


def _plain(tree: nodes.Template) -> set[int]:
    """Return the ids of names that are shown as they are, or only asked whether they are empty."""
    found = {id(child) for output in tree.find_all(nodes.Output) for child in output.nodes}
    for condition in tree.find_all(nodes.If):
        test: nodes.Node = condition.test
        while isinstance(test, nodes.Not):
            test = test.node
        found.add(id(test))
    return found


class Stencil:
    """One message with holes."""

    def __init__(self, message: str, values: Mapping[str, object]) -> None:
        """Cut a stencil from a message with marks, in place of values such as these."""
        pieces = MARK.split(message)
        holes = list(zip(pieces[1::3], pieces[2::3], strict=True))
        self._pieces = [b""] * (2 * len(holes) + 1)
        self._pieces[::2] = [piece.encode("ascii") for piece in pieces[::3]]
        self._holes = list(dict.fromkeys(holes))
        self._pick = itemgetter(*[self._holes.index(hole) for hole in holes])
        links = {name: values[name] for place, name in self._holes if place == "token"}
        self._ends = {name: (link.before, link.behind) for name, link in links.items() if isinstance(link, Link)}

    def rows(self, columns: Mapping[str, Column], made: dict[Hole, Sequence[bytes]]) -> list[tuple[bytes, ...]]:
        """Return what fills the holes, of one person after another; the values of headers must be fit to stand there.

        ``made`` has what was made of these columns before, and gets what is made now.
        Raises NoFitError when the links are not like those it was cut for, UnicodeEncodeError when a header has
        something in it that no header may have.
        """
        for hole in self._holes:
            column = columns[hole[1]]
            if isinstance(column, LinkColumn) and (column.before, column.behind) != self._ends.get(hole[1]):
                raise NoFitError
            if hole not in made:
                made[hole] = _filling(hole[0], column)
        return list(zip(*[made[hole] for hole in self._holes], strict=True))

    def adds_no_line(self, columns: Mapping[str, Column]) -> bool:
        """Return whether no value puts a line, and so a header, into a message's head, as hardly any does.

        One copy whose headers are the ones meant then speaks for all of them.
        """
        heads = ["".join(map(str, columns[name])) for place, name in self._holes if place == "head"]
        return all(map(str.isprintable, heads)) and all(place != "url" for place, _ in self._holes)

    def filled(self, row: tuple[bytes, ...]) -> bytes:
        """Return the message of the person whose row this is."""
        pieces = self._pieces.copy()
        pieces[1::2] = self._pick(row)
        return b"".join(pieces)


def _filling(place: str, column: Column) -> Sequence[bytes]:
    """Return what goes into one hole, of one person after another; raises NoFitError, UnicodeEncodeError."""
    if isinstance(column, LinkColumn) != (place == "token"):
        raise NoFitError
    if isinstance(column, LinkColumn):
        if not TOKENS.fullmatch(b"".join(column.tokens)):
            raise NoFitError
        return column.tokens
    encode = {"text": text_piece, "html": html_piece}.get(place, str)
    made = {value: encode(value).encode("ascii") for value in set(column)}  # many of them say the same
    return [made[value] for value in column]
