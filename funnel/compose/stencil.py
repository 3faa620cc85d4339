"""A message with holes: what is the same for everybody is put together and encoded once, the rest is filled in.

A stencil is cut from one real message, made with a mark in place of each personal field. It fits everybody for
whom the same of these fields are empty, so conditions about a person need not be asked again.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING

from jinja2 import meta, nodes

from funnel.compose.quoted import Slot, in_html, in_text, plain_link
from funnel.model import PERSONAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jinja2 import Environment

#: A control character stands in no message of ours, so nobody's words can be taken for a mark.
MARK = re.compile("\0([a-z]+):([A-Za-z_-]+)\0")


def mark(place: str, name: str) -> str:
    """Return what stands for a field in a message that a stencil is cut from."""
    return f"\0{place}:{name}\0"


def slots(values: Mapping[str, object]) -> dict[str, object]:
    """Return the fields with a slot in place of each personal one that is not empty."""
    return {
        name: Slot(mark("text", name), mark("html", name)) if name in PERSONAL and value else value
        for name, value in values.items()
    }


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


ENCODE: dict[str, Callable[[object], str]] = {"text": in_text, "html": in_html, "head": str}


def _link_in(place: str) -> Callable[[object], str]:
    other = ENCODE[place]
    return lambda value: plain_link(str(value)) or other(value)


class Stencil:
    """One message with holes."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        """Cut a stencil from a message with marks, whose headers have these names."""
        self.names = names
        pieces = MARK.split(message)
        holes = list(zip(pieces[1::3], pieces[2::3], strict=True))
        kinds = list(dict.fromkeys(holes))
        self._pieces = [""] * (2 * len(holes) + 1)
        self._pieces[::2] = pieces[::3]
        self._kinds = [(_link_in(place) if name.endswith("_url") else ENCODE[place], name) for place, name in kinds]
        self._pick = itemgetter(*[kinds.index(hole) for hole in holes])

    def filled(self, values: Mapping[str, object]) -> str:
        """Return the message with every hole filled; the values of headers must be fit to stand there."""
        pieces = self._pieces.copy()
        pieces[1::2] = self._pick([encode(values[name]) for encode, name in self._kinds])
        return "".join(pieces)
