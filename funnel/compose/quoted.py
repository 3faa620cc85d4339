"""Quoted-printable that is put together from pieces, so that a mail's own words are encoded once and not per person.

Every piece starts and ends in the first column: one that does not end its line ends in a soft break. Pieces in
any order are therefore the encoding of their texts in that order, with no line over 76 octets, and none that
starts with a dot, which SMTP would double, or with ``From``, which mailboxes would quote.

A signed link is three pieces: what stands before its token is alike for everybody, and so is what stands behind.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import nodes
from jinja2.visitor import NodeTransformer
from markupsafe import escape

from funnel.model import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment, Template

SOFT_BREAK = "=\r\n"
ENCODED = re.compile(r"[^ -<>-~]| \Z")
#: As much as fits on a line with a soft break and a longer first character, and no ``=3D`` cut in two.
ROOM = 73
ROW = re.compile(rf".{{1,{ROOM}}}(?<!=)(?<!=.)")
MISREAD = (".", "From ")
#: What needs neither encoding nor escaping, as most names do.
PLAIN = re.compile(rf"(?!From )[A-Za-z0-9,;:!?/+_-](?:[A-Za-z0-9,;:!?/+_. -]{{0,{ROOM - 2}}}[A-Za-z0-9,;:!?/+_.-])?")


def quoted_printable(text: str) -> str:
    """Return text as one piece of quoted-printable with CRLF line ends (RFC 2045 section 6.7)."""
    if text.isascii() and text.isprintable() and not text.endswith(" "):  # so is most of what is filled in
        return _rows(text.replace("=", "=3D")) + SOFT_BREAK if text else ""
    octets = text.replace("\r", "").replace("\0", "").encode("utf-8", "replace").decode("latin-1")
    lines = octets.split("\n")
    return "\r\n".join([_rows(ENCODED.sub(_octet, line)) for line in lines]) + (SOFT_BREAK if lines[-1] else "")


def _rows(line: str) -> str:
    if len(line) <= ROOM and not line.startswith(MISREAD):
        return line
    rows = ROW.findall(line)
    return SOFT_BREAK.join([f"={ord(row[0]):02X}{row[1:]}" if row.startswith(MISREAD) else row for row in rows])


def _octet(found: re.Match[str]) -> str:
    return f"={ord(found[0]):02X}"


def quoted_template(env: Environment, source: str) -> Template:
    """Return a template that renders quoted-printable: its words encoded now, each field when it is filled in.

    Fields are escaped as the environment says, then encoded, both here: Jinja's own escaping comes too late.
    """
    tree = _Encode().visit(env.parse(source))
    return env.overlay(autoescape=False, finalize=in_html if env.autoescape else in_text).from_string(tree)


class _Encode(NodeTransformer):
    """Encodes a template's own words, and looks up ``clinic.name`` as ``clinic["name"]``, at which Jinja is faster."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802 - Jinja names it
        return nodes.TemplateData(quoted_printable(node.data), lineno=node.lineno)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802
        return nodes.Getitem(node.node, nodes.Const(node.attr), node.ctx, lineno=node.lineno)


class Slot:
    """Stands for a field in a template that is filled in for nobody yet: text of its own for each kind of part."""

    def __init__(self, text: str, html: str) -> None:
        self.text = text
        self.html = html


def in_html(value: object) -> str:
    """Return a field as one piece of an HTML part."""
    if type(value) is str:
        return _known_html(value)
    if isinstance(value, Link):
        return around(value, html_quoted)
    return value.html if isinstance(value, Slot) else quoted_printable(str(escape(value)))


def in_text(value: object) -> str:
    """Return a field as one piece of a plain text part."""
    if type(value) is str:
        return _known_text(value)
    if isinstance(value, Link):
        return around(value)
    return value.text if isinstance(value, Slot) else quoted_printable(str(value))


def around(link: Link, encode: Callable[[str], str] = quoted_printable) -> str:
    """Return a link as one piece, its token, of which nothing has to be encoded, in a piece of its own."""
    return encode(link.before) + link.token + SOFT_BREAK + encode(link.behind)


def escaped(text: str) -> str:
    """Return text as Jinja escapes it, which takes longer over it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


def html_quoted(text: str) -> str:
    """Return text as one piece of an HTML part."""
    return quoted_printable(escaped(text))


def text_piece(text: str) -> str:
    """Return words as one piece of a plain text part."""
    return text + SOFT_BREAK if PLAIN.fullmatch(text) else quoted_printable(text)


def html_piece(text: str) -> str:
    """Return words as one piece of an HTML part."""
    return text + SOFT_BREAK if PLAIN.fullmatch(text) else html_quoted(text)


#: Names repeat, and the clinic's words come in every mail.
_known_text, _known_html = lru_cache(maxsize=256)(text_piece), lru_cache(maxsize=256)(html_piece)
