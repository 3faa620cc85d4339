"""Which fields a mail shows, and what must hold for that: so that an empty one is found where it would be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import nodes

from funnel.compose.template import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from funnel.compose.template import Compiled

#: Filled in by the composer, or rightly empty.
OURS = frozenset({"subject", "preheader", "test_banner", "digest"})
#: Filters that say what stands in the place of nothing.
FALLBACKS = frozenset({"default", "d"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A field as ``gift_code`` or ``clinic.phone``, and which other fields must be there, or empty, to show it."""

    name: str
    when: frozenset[tuple[str, bool]]


def shown(compiled: Compiled) -> frozenset[Shown]:
    """Return every field a compiled mail shows, each with what it asks before."""
    env = environment()
    sources = (compiled.html, compiled.text, compiled.preheader, *compiled.subjects)
    found = {field for source in sources for field in _below(env.parse(source), frozenset())}
    return frozenset(field for field in found if field.name not in OURS and (field.name, True) not in field.when)


def holes(wanted: frozenset[Shown], fields: Mapping[str, object]) -> set[str]:
    """Return the fields that would be shown and are empty."""
    empty = (field for field in wanted if not _value(fields, field.name))
    return {field.name for field in empty if all(bool(_value(fields, name)) is there for name, there in field.when)}


def _value(fields: Mapping[str, object], name: str) -> object:
    owner, dot, rest = name.partition(".")
    value = fields.get(owner)
    return value.get(rest) if dot and isinstance(value, dict) else value


Asked = frozenset[tuple[str, bool]]


def _below(node: nodes.Node, asked: Asked) -> Iterator[Shown]:
    """Yield the fields shown below a node, with what was asked on the way to them."""
    if isinstance(node, nodes.If):
        yield from _all(node.body, asked | _holds(node.test, yes=True))
        yield from _all([*node.elif_, *node.else_], asked | _holds(node.test, yes=False))
    elif isinstance(node, nodes.CondExpr):
        yield from _below(node.expr1, asked | _holds(node.test, yes=True))
        yield from _all([node.expr2] if node.expr2 else [], asked | _holds(node.test, yes=False))
    elif isinstance(node, nodes.For):
        yield from _all([*node.body, *node.else_], asked)
    elif isinstance(node, nodes.Filter) and node.name in FALLBACKS:
        return
    elif isinstance(node, nodes.Name | nodes.Getattr):
        yield from (Shown(name, asked) for name in [_name(node)] if name)
    else:
        yield from _all(node.iter_child_nodes(), asked)


def _all(children: Iterable[nodes.Node], asked: Asked) -> Iterator[Shown]:
    for child in children:
        yield from _below(child, asked)


def _holds(test: nodes.Node, *, yes: bool) -> Asked:
    """Return which fields are known to be there, or empty, where a test holds or fails."""
    if isinstance(test, nodes.Not):
        return _holds(test.node, yes=not yes)
    if isinstance(test, nodes.And if yes else nodes.Or):
        return _holds(test.left, yes=yes) | _holds(test.right, yes=yes)
    return frozenset((name, yes) for name in [_name(test)] if name)


def _name(node: nodes.Node) -> str:
    """Return the field a node stands for; nothing for loop variables, and for pages of the guide."""
    if isinstance(node, nodes.Name):
        return "" if node.name.startswith("each_") else node.name
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name != "page":
        return f"{node.node.name}.{node.attr}"
    return ""
