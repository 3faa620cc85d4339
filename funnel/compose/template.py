"""Compile a mail once per version: Markdown, layout and styles become two small templates.

Placeholders are taken out before Markdown and the inliner see the text, and must all be found again.
What a mail may say in Jinja is a short list, so that rendering is bounded in time and size and a
subscriber's data is never a template (SEC-11). Inlining is slow, so compiled mails are kept on disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from funnel.compose import words
from funnel.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Environment, nodes

    from funnel.compose.source import Library, Mail

#: Bumped when the compiler changes what it makes of the same source.
COMPILER = "1"
CONTENT = "<!-- content -->"
STYLES = "/* styles */"
TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
WORD = re.compile(r"q9z(\d+)z9q")
#: What a mail may ask about a person. Every one of them is always there, if only as "".
FIELDS = frozenset(
    {
        "name",
        "clinic",
        "guide_title",
        "guide_url",
        "guide_page",
        "guide_page_url",
        "section_url",
        "gift_name",
        "gift_code",
        "gift_expires",
        "confirm_url",
        "confirm_days",
        "unsubscribe_url",
        "preferences_url",
        "privacy_url",
        "home_url",
        "again_url",
        "subject",
        "preheader",
        "why",
        "lang",
        "dir",
        "test_banner",
        "page",
        "digest",
        "digest_until",
    }
)
#: What a mail may say about the clinic, as ``clinic.name``.
CLINIC = frozenset(
    {
        "name",
        "postal_address",
        "from_name",
        "from_address",
        "time_zone",
        "phone",
        "website",
        "booking_url",
        "reply_to",
        "locale",
    }
)
FILTERS = frozenset({"upper", "lower", "title", "capitalize", "trim", "default", "d", "e", "escape"})
TESTS = frozenset({"defined", "none", "string"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """A mail ready to be filled in: Jinja sources whose styles are inlined already."""

    version: str
    subjects: tuple[str, ...]
    preheader: str
    html: str
    text: str


def compile_mail(mail: Mail, library: Library, cache: Path | None = None) -> Compiled:
    """Return the compiled mail, from ``cache`` when this very version was compiled before.

    Raises ContentError naming file and line for anything a mail may not contain.
    """
    version = _version(mail, library)
    kept = cache / f"{version}.json" if cache else None
    if kept and (found := _load(kept)):
        return found
    compiled = _compile(mail, library, version)
    if kept:
        _save(kept, compiled)
    return compiled


def _version(mail: Mail, library: Library) -> str:
    parts = [COMPILER, mail.kind.value, *mail.subjects, mail.preheader, mail.body]
    parts += [library.layout_html, library.layout_text, library.styles]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _load(file: Path) -> Compiled | None:
    try:
        found = json.loads(file.read_text("utf-8"))
        return Compiled(**found | {"subjects": tuple(found["subjects"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _save(file: Path, compiled: Compiled) -> None:
    """Keep a compiled mail; a folder that cannot be written only costs time."""
    scratch = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(asdict(compiled)), "utf-8")
        scratch.replace(file)
    except OSError:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _compile(mail: Mail, library: Library, version: str) -> Compiled:
    env = environment()
    layouts = ((library.layout_html, "emails/_layout/layout.html"), (library.layout_text, "emails/_layout/layout.txt"))
    for source, file in layouts:
        check_source(env, source, file, 1)
    for subject in (*mail.subjects, mail.preheader):
        check_source(env, subject, mail.file, 1)
    check_source(env, mail.body, mail.file, mail.first_line)
    _refuse_our_words(library.layout_html + library.layout_text + mail.body, mail.file)
    html, text = _pages(mail, library)
    for source, form in ((html, "as HTML"), (text, "as plain text")):
        check_source(env, source, f"{mail.file} ({form})", 1)
    return Compiled(version, mail.subjects, mail.preheader, html, text)


def _pages(mail: Mail, library: Library) -> tuple[str, str]:
    """Return the HTML and the plain text of a mail as Jinja sources."""
    taken: list[str] = []
    body = _mask(mail.body, taken)
    of_body = len(taken)
    html = _comments(_with_content(library, taken, words.to_html(body, mail.file)), taken)
    text = library.layout_text.replace(CONTENT, words.to_text(body, mail.file))
    blocks = {n for n in range(of_body) if taken[n].startswith("{%")}
    return (
        _unmask(_inline_styles(html), taken, set(range(len(taken))), mail.file),
        _unmask(text, taken, blocks, mail.file),
    )


# --- the subset of Jinja -----------------------------------------------------------------------


def environment() -> Environment:
    """Return the sandbox mails are rendered in: strict about fields, escaping, without globals."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True, keep_trailing_newline=True)
    env.globals.clear()
    return env


def check_source(env: Environment, source: str, file: str, first_line: int) -> None:
    """Raise ContentError, naming the line, unless the source keeps to what a mail may say."""
    from jinja2 import TemplateSyntaxError

    try:
        tree = env.parse(source)
    except TemplateSyntaxError as error:
        line = first_line + (error.lineno or 1) - 1
        raise ContentError(f"{file} line {line}: {error.message or 'this is not valid Jinja'}.") from None
    _walk(tree, file, first_line - 1, loops=0)


ALLOWED = {
    "Template", "Output", "TemplateData", "Name", "Const", "If", "For", "Filter", "Test", "Compare", "Operand",
    "And", "Or", "Not", "Getattr", "CondExpr",
}  # fmt: skip


def _walk(node: nodes.Node, file: str, offset: int, loops: int) -> None:
    kind = type(node).__name__
    where = f"{file} line {_line(node) + offset}"
    if kind not in ALLOWED:
        raise ContentError(
            f"{where}: a mail may not use Jinja's “{kind.lower()}”; fields, if, for and filters are enough."
        )
    if kind == "For":
        loops += 1
        if loops > 1:
            raise ContentError(f"{where}: a loop inside a loop is not allowed in a mail; it could run for ever.")
    if kind == "Filter" and node.name not in FILTERS:  # type: ignore[attr-defined]
        raise ContentError(f"{where}: the filter “{node.name}” is unknown; use one of {', '.join(sorted(FILTERS))}.")  # type: ignore[attr-defined]
    if kind == "Test" and node.name not in TESTS:  # type: ignore[attr-defined]
        raise ContentError(f"{where}: the test “is {node.name}” is unknown; use one of {', '.join(sorted(TESTS))}.")  # type: ignore[attr-defined]
    if kind == "Getattr":
        _known_of_clinic(node, where)  # type: ignore[arg-type]
    if kind == "Name":
        _known(node.name, node.ctx, where)  # type: ignore[attr-defined]
    for child in node.iter_child_nodes():
        _walk(child, file, offset, loops)


def _line(node: nodes.Node) -> int:
    """Return the line of a node; the few that have none stand on that of what is in them."""
    return node.lineno or max((_line(child) for child in node.iter_child_nodes()), default=1)


def _known(name: str, context: str, where: str) -> None:
    if context == "load" and name not in FIELDS and not name.startswith("each_"):
        raise ContentError(f"{where}: there is no field “{name}”; there are: {', '.join(sorted(FIELDS))}.")
    if context == "store" and not name.startswith("each_"):
        raise ContentError(f"{where}: name the variable of a loop each_something, like “each_{name}”.")


def _known_of_clinic(node: nodes.Getattr, where: str) -> None:
    """Raise ContentError for a dot after anything but ``clinic`` and ``page``, or for what the clinic has not."""
    owner = getattr(node.node, "name", "")
    if owner == "page":
        return  # which pages there are, the guide knows
    if owner != "clinic" or node.attr not in CLINIC:
        raise ContentError(
            f"{where}: there is no “{owner}.{node.attr}”; after “clinic.” come: {', '.join(sorted(CLINIC))}."
        )


# --- placeholders ------------------------------------------------------------------------------


def _mask(source: str, taken: list[str]) -> str:
    """Replace each placeholder by a word that Markdown, HTML and CSS leave alone."""

    def keep(match: re.Match[str]) -> str:
        taken.append(match[0])
        return f"q9z{len(taken) - 1}z9q"

    return TAG.sub(keep, source)


def _with_content(library: Library, taken: list[str], body: str) -> str:
    """Return the whole page: layout with styles and body, every placeholder masked."""
    body = _mask(body, taken)
    if CONTENT not in library.layout_html or STYLES not in library.layout_html:
        raise ContentError(f"emails/_layout/layout.html must contain {CONTENT} and {STYLES} once each.")
    return _mask(library.layout_html, taken).replace(STYLES, library.styles).replace(CONTENT, body)


MARKUP = re.compile(r"(<!--.*?-->|<style\b.*?</style>|<title\b.*?</title>|<[^>]*>)", re.DOTALL | re.IGNORECASE)
ALONE = re.compile(r"<p>((?:\s*q9z\d+z9q\s*)+)</p>")


def _comments(html: str, taken: list[str]) -> str:
    """Turn block tags between elements into comments, which survive inside tables; refuse them within a tag."""

    def is_block(word: re.Match[str]) -> bool:
        return taken[int(word[1])].startswith(("{%", "{#"))

    def bare(match: re.Match[str]) -> str:
        found = list(WORD.finditer(match[1]))
        return match[1] if all(is_block(word) for word in found) else match[0]

    def swap(word: re.Match[str]) -> str:
        return f"<!--{word[0]}-->" if is_block(word) else word[0]

    pieces = MARKUP.split(ALONE.sub(bare, html))
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            pieces[i] = WORD.sub(swap, piece)
        else:
            _refuse_in_markup(piece, taken)
    return "".join(pieces)


def _refuse_in_markup(piece: str, taken: list[str]) -> None:
    """Raise ContentError for a placeholder inside <style>, or inside a tag but outside a quoted value."""
    start = piece[:6].lower()
    outside = piece if start == "<style" else re.sub(r"\"[^\"]*\"|'[^']*'", "", piece)
    found = None if start == "<title" else WORD.search(outside)
    if found:
        raise ContentError(
            f"emails/_layout: {taken[int(found[1])]} stands inside a tag or <style>; put it in quotes or in text."
        )


def _refuse_our_words(source: str, file: str) -> None:
    if WORD.search(source):
        raise ContentError(f"{file}: the text contains the word q9z…z9q, which is kept for our own use.")


def _unmask(source: str, taken: list[str], needed: set[int], file: str) -> str:
    """Put every placeholder back; raises ContentError when one that is needed got lost on the way."""
    lost = needed - {int(n) for n in WORD.findall(source)}
    if lost:
        raise ContentError(f"{file}: {taken[min(lost)]} got lost, because Markdown shows nothing of where it stands.")
    source = re.sub(r"<!--(q9z\d+z9q)-->", r"\1", source)
    return WORD.sub(lambda word: taken[int(word[1])], source)


def _inline_styles(html: str) -> str:
    """Return the page with its styles written into each element; @media rules stay in <style>."""
    from premailer import Premailer

    before = sorted(WORD.findall(html))
    inlined: str = Premailer(
        html,
        keep_style_tags=True,
        strip_important=False,
        disable_validation=True,
        remove_classes=False,
        allow_network=False,
        disable_basic_attributes=["width", "height"],  # a picture's own stay: Outlook knows no max-width
        cssutils_logging_level=logging.CRITICAL,
    ).transform()
    if sorted(WORD.findall(inlined)) != before:
        raise ContentError(
            "emails/_layout: a placeholder got lost when styles were inlined; keep it in text or a value."
        )
    return inlined
