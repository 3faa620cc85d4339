"""Quoted-printable in pieces: any reader gets what a plain template would have given, and no line is ever too long."""

from __future__ import annotations

import quopri
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import escape

from funnel.compose.quoted import quoted_printable, quoted_template
from funnel.compose.template import environment
from tests.compose.kit import NASTY, as_sent, byte_faults, fields, message_of, parts, small

if TYPE_CHECKING:
    from jinja2 import Environment

HTML = environment()
TEXT = HTML.overlay(autoescape=False)
ODD = [
    *NASTY, ".", "..", ". a", "a\n.\n", "." * 300, "From ", "From me", "a\nFrom me\n", "From " * 60, "x" * 73 + ".y",
    "x" * 73 + "From y", "=" * 200, "a=b", "=3D", "é" * 37, "x" * 72 + "=é", "a ", " a", " ", "\t", "a\t\n", " \n ",
    "\n", "\n\n", "\r\n", "a\r\nb", "x" * 72, "x" * 73, "x" * 74, "x" * 75 + " ", "😀" * 30, "&<>\"'",
    "a\x85b\u2028c\x0b",
]  # fmt: skip
odd = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=200),
    st.text(alphabet="ab =.\n\r\t\0é😀&<>\"'-", max_size=300),
    st.lists(st.sampled_from([".", "From ", "=", " ", "\n", "é", "word", "x" * 72]), max_size=30).map("".join),
)


def decoded(quoted: str) -> str:
    """Return a text as the standard library reads it."""
    return quopri.decodestring(quoted.encode("ascii")).decode().replace("\r\n", "\n")


def faults(quoted: str) -> list[str]:
    """Return what no line of a body may be, and what would spoil the piece after it."""
    lines = quoted.split("\r\n")
    rules = {
        "a bare CR or LF": re.search(r"(?<!\r)\n|\r(?!\n)", quoted),
        "over 76": max(map(len, lines)) > 76,
        "a blank at the end": any(line.endswith((" ", "\t")) for line in lines),
        "misread": any(line.startswith((".", "From ")) for line in lines),
        "not plain": not quoted.replace("\r\n", "").isprintable() or not quoted.isascii(),
        "a cut octet": re.search(r"=(?!\r\n|[0-9A-F]{2})", quoted),
        "ends within a line": lines[-1],
    }
    return [name for name, broken in rules.items() if broken]


# --- one piece and several -----------------------------------------------------------------------


@settings(max_examples=300)
@given(odd)
def test_a_piece_is_read_as_it_was_written(text: str) -> None:
    """MSG-1, SEC-9: also no line ends in a blank, starts with a dot, or with From."""
    quoted = quoted_printable(text)

    assert decoded(quoted) == as_sent(text)
    assert faults(quoted) == []


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text)[:24])
def test_each_odd_piece_is_read_as_it_was_written(text: str) -> None:
    assert decoded(quoted_printable(text)) == as_sent(text)
    assert faults(quoted_printable(text)) == []


@given(st.lists(odd, max_size=8))
def test_pieces_are_the_text_of_all_of_them(texts: list[str]) -> None:
    quoted = "".join(map(quoted_printable, texts))

    assert decoded(quoted) == "".join(map(as_sent, texts))
    assert faults(quoted) == []


@pytest.mark.parametrize("text", ["", "\r", "\0"])
def test_nothing_is_no_piece(text: str) -> None:
    assert quoted_printable(text) == ""


def test_most_words_stay_readable() -> None:
    assert quoted_printable("Hello Kim,\nit’s 1 = 1.\n") == "Hello Kim,\r\nit=E2=80=99s 1 =3D 1.\r\n"


# --- templates -----------------------------------------------------------------------------------

PIECES = [
    "Hello {{ name }}, ",
    ".{{ name }}",
    "From {{ name }}",
    "{{ name }}{{ name }}.\n",
    "a line\n",
    ".\n",
    "From here ",
    "é = “q” & <b>",
    "x" * 80,
    '<a href="{{ guide_url }}">{{ name|upper }}</a>\n',
    "{{ name|e }}",
    "{{ name|trim|default('x') }}",
    "{{ name|title }}",
    "{{ '<b>' }}",
    "{{ 1 }}{{ true }}{{ 1.0 }}",
    "{{ name == 'Kim' }}",
    "{{ '<' if name else '&' }}",
    "{% if name %}yes {{ name }}{% else %}.no{% endif %}",
    "{% if not name -%} \n cut {%- endif %}",
    "{% for each_x in name %}{{ each_x }}.{% endfor %}",
    "{{ clinic.name }}",
    "{# nothing #}",
    " ",
    "\n",
]


def same(env: Environment, source: str, values: dict[str, object]) -> None:
    """Fail unless a source says the same encoded piece by piece and plain."""
    quoted = quoted_template(env, source).render(values)

    assert decoded(quoted) == as_sent(env.from_string(source).render(values))
    assert faults(quoted) == []


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), odd, odd)
def test_a_template_says_the_same_as_a_plain_one(source: str, name: str, clinic: str) -> None:
    """The oracle is Jinja itself, escaping in HTML and not in text."""
    values = fields(name=name, clinic={"name": clinic}, guide_url=f"https://go.mill.example/?a={name}&b")

    same(HTML, source, values)
    same(TEXT, source, values)


@pytest.mark.parametrize("source", PIECES)
@pytest.mark.parametrize("name", ["", "Kim", ".", "From me", "a&b<c>\"d'", "&lt;", "é " * 60], ids=ascii)
def test_each_piece_says_the_same_as_a_plain_one(source: str, name: str) -> None:
    same(HTML, source, fields(name=name))
    same(TEXT, source, fields(name=name))


@pytest.mark.parametrize("value", [True, 1, 1.0, 0, None, "1", ["<"], {"a": "<"}, escape("<"), "<", "&lt;"], ids=repr)
def test_what_was_filled_in_before_changes_nothing(value: object) -> None:
    """Equal values that are written differently are not taken for each other, whatever came first."""
    for source in ("{{ name }}", "{{ name|e }}", "{{ name == 1 }}"):
        for first in (True, 1, "1", escape("<"), "&lt;", "<", value):
            same(HTML, source, fields(name=first))
            same(TEXT, source, fields(name=first))


@given(odd)
def test_fields_are_escaped_as_jinja_does(text: str) -> None:
    quoted = quoted_template(HTML, "{{ name }}").render(name=text)

    assert decoded(quoted) == as_sent(str(escape(text)))


@pytest.mark.parametrize("source", ["{{ name }}", "{{ clinic.name }}", "{{ name|upper }}", "{{ clinic.phone }}"])
def test_a_field_that_is_not_there_is_an_error(source: str) -> None:
    for env in (HTML, TEXT):
        with pytest.raises(UndefinedError):
            quoted_template(env, source).render(clinic={"phone": "1"} if "phone" not in source else {})


# --- whole messages ------------------------------------------------------------------------------

BODY = "{{ name }}\n\nFrom {{ name }} to [{{ why }}]({{ guide_url }}).\n\n- .{{ name }}\n- {{ gift_code }}.\n\n[[gift]]"
LETTERS = small(BODY)


@settings(max_examples=150)
@given(odd, odd, st.sampled_from(["why", "gift_code", "gift_name", "guide_url"]))
def test_no_field_spoils_a_line_of_a_message(name: str, other: str, field: str) -> None:
    """MSG-1: a scan of the bytes, and both parts are those of plain templates."""
    name, other = name[:300], other[:300]  # longer ones, many times over, are more than Gmail shows
    message = message_of(LETTERS, name=name, **{field: other})  # type: ignore[arg-type]
    made = LETTERS.compiled(LETTERS.library.mail("series", "tip"))
    values = fields(name=name, **{field: other}) | {"subject": "A tip", "preheader": ""}

    assert byte_faults(message) == []
    assert parts(message) == (
        as_sent(TEXT.from_string(made.text).render(values)), as_sent(HTML.from_string(made.html).render(values))
    )  # fmt: skip
