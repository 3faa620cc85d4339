"""Markdown and components to the two parts of a mail. Pure text in, pure text out.

A component stands alone on its line: ``[[button: Open the guide | URL]]``, ``[[gift]]``,
``[[signature]]``, ``[[divider]]``. Both parts come from the one source, so they say the same.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import TYPE_CHECKING

from funnel.errors import ContentError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

COMPONENT = re.compile(r"^\[\[\s*([a-z]+)\s*(?::\s*(.*?)\s*)?\]\]\s*$", re.MULTILINE)
PLACE = "q8z%dz8q"
LEFT_OVER = re.compile(r"q8z\d+z8q")
WIDTH = 72
KNOWN = ("button", "divider", "gift", "signature")


def to_html(markdown: str, where: str) -> str:
    """Return the HTML of a mail's body; raises ContentError for a component nobody knows."""
    marked, parts = _take_out(markdown, where)
    html: str = _parser().render(marked)
    for n, (name, argument) in enumerate(parts):
        html = html.replace(f"<p>{PLACE % n}</p>", _component_html(name, argument, where))
    if LEFT_OVER.search(html):
        raise ContentError(f"{where}: a [[component]] must stand alone on its line, not inside code.")
    return html


def to_text(markdown: str, where: str) -> str:
    """Return the plain text of a mail's body, wrapped, with every link written out."""
    marked, parts = _take_out(markdown, where)
    text = _blocks(_parser().parse(marked))
    for n, (name, argument) in enumerate(parts):
        text = text.replace(PLACE % n, _component_text(name, argument, where))
    return text


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "typographer": True, "quotes": "“”‘’"}).enable(
        ["smartquotes", "replacements"]
    )


def _take_out(markdown: str, where: str) -> tuple[str, list[tuple[str, str]]]:
    """Replace each component by a word of its own paragraph."""
    parts: list[tuple[str, str]] = []

    def keep(match: re.Match[str]) -> str:
        name, argument = match[1], match[2] or ""
        if name not in KNOWN:
            raise ContentError(f"{where}: [[{name}]] is no component; there are: {', '.join(KNOWN)}.")
        parts.append((name, argument))
        return f"\n{PLACE % (len(parts) - 1)}\n"

    return COMPONENT.sub(keep, markdown), parts


def _button(argument: str, where: str) -> tuple[str, str]:
    label, bar, url = (piece.strip() for piece in argument.partition("|"))
    if not (label and bar and url):
        raise ContentError(f"{where}: write a button as [[button: Its words | its address]].")
    return label, url


def _component_html(name: str, argument: str, where: str) -> str:
    if name == "button":
        label, url = _button(argument, where)
        return (
            '<table role="presentation" class="button" cellpadding="0" cellspacing="0" border="0"><tr>'
            f'<td class="button-cell"><a class="button-link" href="{escape(url)}">{escape(label)}</a></td>'
            "</tr></table>\n"
        )
    if name == "gift":
        return (
            '<table role="presentation" class="gift" cellpadding="0" cellspacing="0" border="0" width="100%"><tr>'
            '<td class="gift-cell"><p class="gift-name">{{ gift_name }}</p><p class="gift-code">{{ gift_code }}</p>'
            '<p class="gift-note">Show this code at the front desk by {{ gift_expires }}.</p></td></tr></table>\n'
        )
    if name == "signature":
        return "<p>Warmly,<br>{{ clinic.from_name }}<br>{{ clinic.name }}</p>\n"
    return '<hr class="divider">\n'


def _component_text(name: str, argument: str, where: str) -> str:
    if name == "button":
        label, url = _button(argument, where)
        return f"{label}:\n{url}"
    if name == "gift":
        return "{{ gift_name }}\nYour code: {{ gift_code }}\nShow it at the front desk by {{ gift_expires }}."
    if name == "signature":
        return "Warmly,\n{{ clinic.from_name }}\n{{ clinic.name }}"
    return "* * *"


# --- Markdown tokens to plain text -------------------------------------------------------------


def _blocks(tokens: list[Token]) -> str:
    """Return block tokens as paragraphs with a blank line between them."""
    pieces: list[str] = []
    prefix: list[str] = []
    counters: list[int] = []
    for token in tokens:
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            counters.append(int(token.attrGet("start") or 1) if token.type == "ordered_list_open" else 0)
        elif token.type in {"bullet_list_close", "ordered_list_close"}:
            counters.pop()
        elif token.type == "list_item_open":
            prefix.append(f"{counters[-1]}. " if counters[-1] else "- ")
            counters[-1] += bool(counters[-1])
        elif token.type == "list_item_close":
            prefix.clear()
        elif token.type == "hr":
            pieces.append("* * *")
        elif token.type in {"code_block", "fence"}:
            pieces.append(token.content.rstrip())
        elif token.type == "inline":
            lead = prefix.pop() if prefix else ("  " if counters else "")
            pieces.append(_wrapped(_inline(token.children or []), lead))
    return "\n\n".join(pieces)


def _wrapped(text: str, lead: str) -> str:
    rest = " " * len(lead)
    lines = [
        textwrap.fill(
            line, WIDTH, initial_indent=lead if i == 0 else rest, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False,
        )
        for i, line in enumerate(text.split("\n"))
    ]  # fmt: skip
    return "\n".join(lines)


def _inline(tokens: list[Token]) -> str:
    """Return inline tokens as text; a link becomes its words and its address."""
    out: list[str] = []
    links: list[tuple[str, int]] = []
    for token in tokens:
        if token.type in {"text", "code_inline"}:
            out.append(token.content)
        elif token.type == "softbreak":
            out.append(" ")
        elif token.type == "hardbreak":
            out.append("\n")
        elif token.type == "link_open":
            links.append((str(token.attrGet("href") or ""), len(out)))
        elif token.type == "link_close":
            href, start = links.pop()
            out.append("" if "".join(out[start:]) == href.removeprefix("mailto:") else f" ({href})")
        elif token.type == "image":
            out.append(token.content)
    return "".join(out)
