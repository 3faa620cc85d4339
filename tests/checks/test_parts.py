"""What is said about finished parts: pictures, links, and words that only one of the two parts has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks.parts import check_parts, read_page
from funnel.config import load_config
from funnel.model import Kind, Level
from funnel.preview import parts_of, render_sample
from tests.checks.kit import letter
from tests.kit import NOW, SETTINGS, as_toml, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.config import Config

OUT = '<p><a href="http://127.0.0.1/u/x">Unsubscribe</a></p>'
OUT_TEXT = "Unsubscribe: http://127.0.0.1/u/x"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return the settings of the tests' clinic."""
    file = tmp_path_factory.mktemp("settings") / "funnel.toml"
    file.write_text(as_toml(SETTINGS))
    return load_config(file)


def said(config: Config, html: str, text: str = "", body: str = "") -> list[tuple[Level, str]]:
    """Return level and text of each finding about a mail whose parts have a way out."""
    html, text = f"{html}{OUT}", f"{text}\n{OUT_TEXT}"
    return [(f.level, str(f)) for f in check_parts(letter(body), read_page(html), html, text, config)]


@pytest.mark.parametrize(
    ("html", "level", "sentence"),
    [
        ('<img src="http://127.0.0.1/f/x.png" width="1" height="1">', Level.ERROR, "the picture x.png has no alt"),
        ('<img src="/f/fig-04.png" alt="" width="1" height="1">', Level.ERROR, "the alt text of fig-04.png is empty"),
        ('<a href="tel:1"><img src="/x.png" alt="" width="1" height="1"></a>', Level.ERROR, "the alt text of x.png is"),
        ('<img src="/x.png" alt="" height="1">', Level.WARNING, "no width or no height"),
        ('<p style="display: none">Secret words</p>', Level.ERROR, "“Secret words” is hidden"),
        ('<div style="display:none"><p>Secret</p></div>', Level.ERROR, "“Secret” is hidden"),
        (f"<style>{'a { color: red }' * 1_100}</style>", Level.WARNING, "Gmail drops one above 16,000"),
        ('<a href="">Words</a>', Level.ERROR, "a link leads to “”"),
        ('<a href="javascript:x">Words</a>', Level.ERROR, "a link leads to “javascript:x”"),
        ('<a href="https://elsewhere.com/x">Words</a>', Level.WARNING, "a link leaves for elsewhere.com"),
        ('<a href="http://127.0.0.1/a?b&amp;c">Words</a>', Level.WARNING, "the text part lacks the link http://127.0.0.1/a?b&c"),
    ],
)  # fmt: skip
def test_what_harms_a_reader_is_found(config: Config, html: str, level: Level, sentence: str) -> None:
    """MSG-7, MSG-10."""
    assert any(found is level and sentence in line for found, line in said(config, html, "Words Secret"))


@pytest.mark.parametrize(
    "html",
    [
        '<img src="/leaf.png" alt="" width="1" height="1">',
        '<img src="/f/fig-04.png" alt="Words here" width="1" height="1">',
        '<div class="preheader" style="display:none">Some other words<span>&nbsp;</span></div>',
        '<a href="mailto:a@thrivehealth.example">Words</a>',
        '<a href="tel:+15550100123">Words</a>',
        "<title>Not a word of it</title><style>.a { color: red }</style>",
        "<p>Words <b>he</b>re</p>",
    ],
)
def test_what_is_good_is_left_alone(config: Config, html: str) -> None:
    assert said(config, html, "Words here") == []


def test_a_link_only_the_text_part_has_is_found(config: Config) -> None:
    ((level, line),) = said(config, "", "See http://127.0.0.1/only-here")

    assert level is Level.WARNING
    assert "the HTML part lacks the link http://127.0.0.1/only-here" in line


def test_a_link_is_named_with_its_line(config: Config) -> None:
    url = "https://elsewhere.com/x"
    ((_, line),) = said(config, f'<a href="{url}">Words</a>', f"Words {url}", body=f"Hello\n\n[Words]({url})")

    assert line.startswith("emails/series/guide.md line 8: ")


def test_a_mail_without_a_way_out_is_found_unless_it_needs_none(config: Config) -> None:
    """UNS-12, UNS-14."""
    page = read_page("<p>Words</p>")

    def has(kind: Kind) -> bool:
        findings = check_parts(letter(kind=kind), page, "", "Words", config)
        return any("no unsubscribe link" in finding.says for finding in findings)

    assert {kind: has(kind) for kind in (Kind.DRIP, Kind.GUIDE, Kind.CONFIRM, Kind.DIGEST)} == {
        Kind.DRIP: True, Kind.GUIDE: True, Kind.CONFIRM: False, Kind.DIGEST: False,
    }  # fmt: skip


def test_a_paragraph_only_the_html_part_has_is_found(config: Config) -> None:
    """MSG-7."""
    ((level, line),) = said(config, "<p>One thing is here.</p><p>Another stands alone.</p>", "One thing is here.")

    assert level is Level.WARNING
    assert "the text part lacks “Another stands alone.”" in line


def test_the_sample_s_mails_say_the_same_twice(tmp_path: Path) -> None:
    """MSG-7: take any one paragraph out of any text part, and it is missed."""
    funnel = make_funnel(tmp_path)
    mail = funnel.library.mails["series", "decide"]
    html, text = parts_of(render_sample(funnel, mail, now=NOW).message)
    page = read_page(html)
    pieces = text.replace("\r\n", "\n").split("\n\n")
    assert list(check_parts(mail, page, html, text, funnel.config)) == []

    for i, piece in enumerate(pieces):
        if len(piece.split()) > 6 and "http" not in piece:
            rest = "\n\n".join(pieces[:i] + pieces[i + 1 :])
            assert list(check_parts(mail, page, html, rest, funnel.config)), piece


@given(st.lists(st.text(alphabet="abcdefg ", min_size=3).filter(str.strip), min_size=1, max_size=5))
def test_the_words_of_a_page_are_read_paragraph_by_paragraph(pieces: list[str]) -> None:
    html = "<body>" + "".join(f"<div><p>{piece}</p></div>" for piece in pieces) + "</body>"

    assert read_page(html).blocks == [" ".join(piece.split()) for piece in pieces]
