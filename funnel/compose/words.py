"""Markdown and components to the two parts of a mail. Pure text in, pure text out.

A component stands alone on its line: ``[[button: Open the guide | URL]]``, ``[[figure: fig-04 | What it
shows]]``, ``[[gift]]``, ``[[signature]]``, ``[[divider]]``; a callout is a block from ``::: callout Its title``
to ``:::``. Both parts come from the one source, so they say the same.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import TYPE_CHECKING, Any

from funnel.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

COMPONENT = re.compile(r"^\[\[\s*([a-z]+)\s*(?::\s*(.*?)\s*)?\]\]\s*$", re.MULTILINE)
FENCE = re.compile(r":{3,}\s*([^\s]*)")
FIGURE = re.compile(r"^(\[\[\s*figure\s*:\s*([a-z0-9-]+)\s*\|[^|\n]*?)[ \t]*\]\][ \t]*$", re.MULTILINE)
PLACE = "q8z%dz8q"
LEFT_OVER = re.compile(r"q8z\d+z8q")
WIDTH = 72
INDENT = "    "
KNOWN = ("button", "divider", "figure", "gift", "signature")


def to_html(markdown: str, where: str) -> str:
    """Return the HTML of a mail's body; raises ContentError for a component nobody knows."""
    marked, parts = _take_out(markdown, where)
    html: str = _parser().render(marked)
    for n, (name, argument) in enumerate(parts):
        html = html.replace(f"<p>{PLACE % n}</p>", HTML[name](argument, where))
    if LEFT_OVER.search(html):
        raise ContentError(f"{where}: a [[component]] must stand alone on its line, not inside code.")
    return html


def to_text(markdown: str, where: str) -> str:
    """Return the plain text of a mail's body, wrapped, with every link written out."""
    marked, parts = _take_out(markdown, where)
    text = _blocks(_parser().parse(marked))
    for n, (name, argument) in enumerate(parts):
        text = _put_in(text, PLACE % n, TEXT[name](argument, where))
    return text


def refuse_unknown(markdown: str, file: str, first_line: int) -> None:
    """Raise ContentError, naming the line, for a component or callout that is unknown or not whole."""
    opened = 0
    for number, line in enumerate(markdown.split("\n"), first_line):
        where = f"{file} line {number}"
        fence = FENCE.match(line)
        if line.startswith("[[") and line.rstrip().endswith("]]"):
            _refuse_component(line, where)
        elif fence and fence[1]:
            _refuse_block(fence[1], opened, where)
            opened = number
        elif fence:
            opened = 0
    if opened:
        raise ContentError(f"{file} line {opened}: this callout has no end; put a line of ::: after it.")


def _refuse_component(line: str, where: str) -> None:
    found = COMPONENT.match(line)
    name = found[1] if found else line.strip("[] ").partition(":")[0].strip()
    if not found or name not in KNOWN:
        raise _unknown(name, where)
    HTML[name](found[2] or "", where)


def _refuse_block(name: str, opened: int, where: str) -> None:
    if name != "callout":
        raise ContentError(f"{where}: there is no block “::: {name}”; write ::: callout Its title.")
    if opened:
        raise ContentError(f"{where}: a callout inside a callout; close the one of line {opened} with ::: first.")


def figures_in(markdown: str) -> list[str]:
    """Return the ids of the figures a mail shows, in order."""
    return [found[2] for found in FIGURE.finditer(markdown)]


def with_sizes(markdown: str, sizes: Mapping[str, tuple[int, int]], widest: int) -> str:
    """Return a mail's body with the size of each figure it shows written into it, no wider than ``widest``."""

    def sized(found: re.Match[str]) -> str:
        if found[2] not in sizes:
            return found[0]
        width, height = sizes[found[2]]
        shown = min(width, widest)
        return f"{found[1]} | {shown}x{round(height * shown / width)}]]"

    return FIGURE.sub(sized, markdown)


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.container import container_plugin

    parser = MarkdownIt("commonmark", {"html": False, "typographer": True, "quotes": "“”‘’"})
    parser.use(container_plugin, "callout", render=_callout_html)
    return parser.enable(["smartquotes", "replacements"])


def _take_out(markdown: str, where: str) -> tuple[str, list[tuple[str, str]]]:
    """Replace each component by a word of its own paragraph."""
    parts: list[tuple[str, str]] = []

    def keep(match: re.Match[str]) -> str:
        name, argument = match[1], match[2] or ""
        if name not in KNOWN:
            raise _unknown(name, where)
        parts.append((name, argument))
        return f"\n{PLACE % (len(parts) - 1)}\n"

    return COMPONENT.sub(keep, markdown), parts


def _unknown(name: str, where: str) -> ContentError:
    return ContentError(f"{where}: [[{name}]] is no component; there are: {', '.join(KNOWN)}, and ::: callout.")


def _put_in(text: str, place: str, component: str) -> str:
    """Put a component's text in its place, every line as far in as the place."""
    return re.sub(rf"^( *){place}", lambda at: textwrap.indent(component, at[1]), text, flags=re.MULTILINE)


# --- the components ----------------------------------------------------------------------------


def _table(name: str, cell: str, more: str = "") -> str:
    """Return a box that Outlook draws too."""
    return (
        f'<table role="presentation" class="{name}" cellpadding="0" cellspacing="0" border="0"{more}><tr>'
        f'<td class="{name}-cell">{cell}</td></tr></table>\n'
    )


WIDE = ' width="100%"'


def _button(argument: str, where: str) -> tuple[str, str]:
    label, bar, url = (piece.strip() for piece in argument.partition("|"))
    if not (label and bar and url):
        raise ContentError(f"{where}: write a button as [[button: Its words | its address]].")
    return label, url


def _button_html(argument: str, where: str) -> str:
    label, url = _button(argument, where)
    return _table("button", f'<a class="button-link" href="{escape(url)}">{escape(label)}</a>')


def _button_text(argument: str, where: str) -> str:
    label, url = _button(argument, where)
    return f"{label}:\n{url}"


def _figure(argument: str, where: str) -> tuple[str, str, str]:
    """Return the id of a figure, what it shows, and its size when the guide is built."""
    name, alt, size = ([piece.strip() for piece in argument.split("|")] + ["", ""])[:3]
    if not re.fullmatch(r"fig-[a-z0-9-]{1,40}", name) or not alt or not re.fullmatch(r"(\d+x\d+)?", size):
        raise ContentError(f"{where}: write a figure as [[figure: fig-04 | What it shows, in words]].")
    return name, alt, size


def _figure_html(argument: str, where: str) -> str:
    name, alt, size = _figure(argument, where)
    width, _, height = size.partition("x")
    shape = f' width="{width}" height="{height}"' if size else ""
    source = f"{{{{ home_url }}}}f/{name}.png"
    return _table("figure", f'<img class="figure-image" src="{source}"{shape} alt="{escape(alt)}">', WIDE)


def _figure_text(argument: str, where: str) -> str:
    return _wrapped(f"[{_figure(argument, where)[1]}]", "")


GIFT = (
    '<p class="gift-name">{{ gift_name }}</p><p class="gift-code">{{ gift_code }}</p>'
    '<p class="gift-note">Show this code at the front desk by {{ gift_expires }}.</p>'
)
GIFT_TEXT = "{{ gift_name }}\nYour code: {{ gift_code }}\nShow it at the front desk by {{ gift_expires }}."
SIGNATURE = "Warmly,\n{{ clinic.from_name }}\n{{ clinic.name }}"
RULE = "* * *"

#: What each component becomes: from what stands after its colon, and the place to name when that is wrong.
HTML: dict[str, Callable[[str, str], str]] = {
    "button": _button_html,
    "divider": lambda _, __: '<hr class="divider">\n',
    "figure": _figure_html,
    "gift": lambda _, __: _table("gift", GIFT, WIDE),
    "signature": lambda _, __: f"<p>{SIGNATURE}</p>\n".replace("\n", "<br>", 2),
}
TEXT: dict[str, Callable[[str, str], str]] = {
    "button": _button_text,
    "divider": lambda _, __: RULE,
    "figure": _figure_text,
    "gift": lambda _, __: GIFT_TEXT,
    "signature": lambda _, __: SIGNATURE,
}


def _callout_html(_: object, tokens: Sequence[Token], at: int, *__: Any) -> str:
    """Return how a callout begins or ends in HTML."""
    start, end = _table("callout", "\n", WIDE).split("\n", 1)
    if tokens[at].nesting < 0:
        return end
    title = _title(tokens[at])
    return start + (f'<p class="callout-title">{_parser().renderInline(title)}</p>\n' if title else "\n")


def _title(token: Token) -> str:
    return token.info.strip().removeprefix("callout").strip()


# --- Markdown tokens to plain text -------------------------------------------------------------


def _blocks(tokens: list[Token]) -> str:
    """Return block tokens as paragraphs with a blank line between them."""
    plain = _Plain()
    for token in tokens:
        plain.add(token)
    return "\n\n".join(plain.pieces)


class _Plain:
    """Paragraphs in the making."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.prefix: list[str] = []  #: what the next line of a list begins with
        self.counters: list[int] = []  #: the next number of each open list, 0 for bullets
        self.callouts: list[int] = []  #: where each open callout began

    def add(self, token: Token) -> None:
        """Take in one block token."""
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            self.counters.append(int(token.attrGet("start") or 1) if token.type == "ordered_list_open" else 0)
        elif token.type in {"bullet_list_close", "ordered_list_close"}:
            self.counters.pop()
        elif token.type == "list_item_open":
            self.prefix.append(f"{self.counters[-1]}. " if self.counters[-1] else "- ")
            self.counters[-1] += bool(self.counters[-1])
        elif token.type == "list_item_close":
            self.prefix.clear()
        elif token.type.startswith("container_callout"):
            self._callout(token)
        elif token.type == "hr":
            self.pieces.append(RULE)
        elif token.type in {"code_block", "fence"}:
            self.pieces.append(token.content.rstrip())
        elif token.type == "inline":
            lead = self.prefix.pop() if self.prefix else ("  " if self.counters else "")
            self._words(token.children or [], lead)

    def _callout(self, token: Token) -> None:
        """Begin a callout with its title, or move what was in it in."""
        if token.nesting < 0:
            start = self.callouts.pop()
            self.pieces[start:] = [textwrap.indent(piece, INDENT) for piece in self.pieces[start:]]
            return
        self.callouts.append(len(self.pieces))
        for line in _parser().parseInline(_title(token)):
            if line.content:
                self._words(line.children or [], "")

    def _words(self, children: list[Token], lead: str) -> None:
        width = WIDTH - len(INDENT) * len(self.callouts)
        self.pieces.append(_wrapped(_inline(children), lead, width))


def _wrapped(text: str, lead: str, width: int = WIDTH) -> str:
    rest = " " * len(lead)
    lines = [
        textwrap.fill(
            line, width, initial_indent=lead if i == 0 else rest, subsequent_indent=rest,
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
