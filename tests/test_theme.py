"""The look: filled in once, refused with one sentence when it cannot work, and readable."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks import check
from funnel.compose.source import load_library
from funnel.compose.template import compile_mail
from funnel.compose.theme import PLACE, Colours, Theme, dress, load_theme
from funnel.errors import ContentError
from funnel.guide.palette import LEAST, contrast
from tests.kit import NOW, TOP, make_funnel

if TYPE_CHECKING:
    from funnel.compose.source import Library

SAMPLE = TOP / "emails"
FILES = ("layout.html", "mail.css")


def logo(width: int, height: int, size: int = 100) -> bytes:
    """Return what the beginning of a PNG says about itself."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4)
    return head.ljust(size, b"\0")


@pytest.fixture
def emails(tmp_path: Path) -> Path:
    """Give a copy of the sample's mails, to be changed."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "emails"))


def themed(folder: Path, text: str) -> Library:
    (folder / "theme.toml").write_text(text, "utf-8")
    return load_library(folder)


def page(library: Library) -> str:
    return compile_mail(library.mail("series", "guide"), library).html


# --- the sample --------------------------------------------------------------------------------


def test_the_sample_says_every_value_and_says_what_is_built_in() -> None:
    table = tomllib.loads((SAMPLE / "theme.toml").read_text("utf-8"))

    assert table == asdict(Theme())
    assert load_theme(SAMPLE) == Theme()


def test_the_sample_s_styles_have_no_colour_or_font_of_their_own() -> None:
    for name in FILES:
        source = re.sub(
            r"<!--\[if mso\]>.*?<!\[endif\]-->", "", (SAMPLE / "_layout" / name).read_text(), flags=re.DOTALL
        )
        assert re.findall(r"#[0-9a-f]{3,6}\b|Georgia|Roboto|Menlo", source) == []


def test_every_value_is_used_by_the_sample() -> None:
    used = {found[1] for name in FILES for found in PLACE.finditer((SAMPLE / "_layout" / name).read_text())}
    known = {f"{table}.{f.name}" for table in ("light", "dark") for f in fields(Colours)}

    assert known | {"fonts.text", "fonts.headings", "fonts.code", "shape.width", "shape.radius", "logo"} <= used


def test_the_sample_can_be_read_by_day_and_by_night() -> None:
    weak = [(one, on) for one, on, words, ground in Theme().pairs() if contrast(words, ground) < LEAST]

    assert weak == []
    assert {pair[:2] for pair in Theme().pairs()} >= {
        ("light.button_text", "light.button"), ("dark.button_text", "dark.button"),
        ("light.link", "light.card"), ("dark.link", "dark.card"),
        ("light.text", "light.card"), ("dark.text", "dark.card"),
    }  # fmt: skip


# --- a look of one's own -----------------------------------------------------------------------


def test_a_theme_reaches_every_mail(emails: Path) -> None:
    library = themed(
        emails,
        "[light]\nbutton = '#123abc'\n[dark]\nbutton = '#abc123'\n[fonts]\nheadings = \"'Gill Sans', serif\"\n"
        "[shape]\nwidth = 520\nradius = 0\n[logo]\ntext = 'Mill & Co'",
    )
    html = page(library)

    for value in ("#123abc", "#abc123", "'Gill Sans', serif", "max-width:520px", 'width="520"', "Mill &amp; Co"):
        assert value in html
    assert re.search(r'class="clinic"[^>]*>Mill &amp; Co</p>', html)
    assert "${" not in html


def test_a_new_look_is_a_new_version_of_every_mail(emails: Path) -> None:
    """Else a mail would go out in the look of the day it was first compiled."""
    before = load_library(emails)
    after = themed(emails, "[light]\nlink = '#0f5258'")

    for key, mail in before.mails.items():
        assert compile_mail(mail, before).version != compile_mail(after.mails[key], after).version


def test_without_a_theme_a_mail_looks_as_the_sample(emails: Path) -> None:
    before = page(load_library(emails))
    (emails / "theme.toml").unlink()

    assert page(load_library(emails)) == before


def test_a_layout_without_places_is_left_as_it_is() -> None:
    for source in ("", "<p>$5, {{ clinic.name }} ${{ gift_name }} $ {x}</p>", "a { color: red }"):
        assert dress(source, Theme(), SAMPLE, "here") == source


def test_a_place_nobody_fills_is_named_with_its_line(emails: Path) -> None:
    with (emails / "_layout" / "mail.css").open("a") as file:
        file.write("a { color: ${light.buton}; }\n")
    line = (emails / "_layout" / "mail.css").read_text().count("\n")

    with pytest.raises(
        ContentError, match=rf"mail\.css line {line}: theme.toml has no \$\{{light\.buton\}}; there are: light"
    ):
        load_library(emails)


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[light", "emails/theme.toml cannot be read"),
        ("[light]\nbuton = '#ffffff'", "light.buton is no setting of ours; did you mean button"),
        ("[colours]\n", "colours is no setting of ours"),
        ("[light]\ntext = 'red'", "light.text must be a colour like #0f5257"),
        ("[dark]\ntext = '#fff'", "dark.text must be a colour"),
        ("[dark]\ntext = '#ffffff; } body { display: none'", "dark.text must be a colour"),
        ("[dark]\ntext = 7", "dark.text must be text in quotes"),
        ("[fonts]\ntext = 'Arial'", "fonts.text must be fonts with commas between"),
        ("[fonts]\ntext = 'A\"rial, serif'", "fonts.text must be fonts"),
        ("[fonts]\ntext = 'url(x), serif'", "fonts.text must be fonts"),
        ("[logo]\ntext = '{{ name }}'", "logo.text must be one line"),
        ('[logo]\ntext = "a\\nb"', "logo.text must be one line"),
        ("[logo]\npicture = '../funnel.secret'", 'logo.picture must be "logo.png"'),
        ("[logo]\npicture = 'logo.png'", "there is no logo.png beside theme.toml"),
        ("[shape]\nwidth = 900", "shape.width must be 480 to 680"),
        ("[shape]\nradius = -1", "shape.radius must be 0 to 24"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(emails: Path, text: str, says: str) -> None:
    with pytest.raises(ContentError, match=re.escape(says)) as refused:
        themed(emails, text)

    assert str(refused.value).startswith("emails/theme.toml")
    assert "\n" not in str(refused.value)


@given(st.text(alphabet="#0123456789abcdefABCDEFg;}\n", max_size=9) | st.from_regex("#[0-9a-fA-F]{6}", fullmatch=True))
def test_only_six_digits_are_a_colour(colour: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "theme.toml").write_text(f"[dark]\nground = {json.dumps(colour)}\n")
        try:
            found = load_theme(Path(folder)).dark.ground
        except ContentError:
            found = ""

    assert found == (colour if re.fullmatch("#[0-9a-fA-F]{6}", colour) else "")


# --- the logo ----------------------------------------------------------------------------------


def test_a_logo_is_shown_at_half_its_size_and_named_for_those_who_do_not_see_it(emails: Path) -> None:
    (emails / "logo.png").write_bytes(logo(400, 120))
    html = page(themed(emails, "[logo]\npicture = 'logo.png'"))
    shown = re.search(r"<img[^>]*logo\.png[^>]*>", html)

    assert shown
    assert 'src="{{ home_url }}f/logo.png"' in shown[0]
    assert 'alt="{{ clinic.name }}"' in shown[0]
    assert (' width="200"' in shown[0], ' height="60"' in shown[0]) == (True, True)


@pytest.mark.parametrize("png", [b"", b"GIF89a" + bytes(40), logo(2000, 100), logo(0, 0), logo(100, 100, 70_000)])
def test_a_logo_that_no_mail_can_carry_is_refused(emails: Path, png: bytes) -> None:
    (emails / "logo.png").write_bytes(png)

    with pytest.raises(ContentError, match=r"draw logo\.png smaller"):
        themed(emails, "[logo]\npicture = 'logo.png'")


# --- the check ---------------------------------------------------------------------------------


def test_the_check_names_words_that_cannot_be_read(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    (tmp_path / "emails" / "theme.toml").write_text("[light]\nbutton = '#9ad5d0'\n[dark]\npanel_text = '#604030'\n")
    found = {f.where: str(f) for f in check(funnel, NOW, guide=False) if "theme" in f.where}

    assert set(found) == {"emails/theme.toml: light.button_text", "emails/theme.toml: dark.panel_text"}
    assert "#ffffff on light.button #9ad5d0 has a contrast of 1.6 to 1" in found["emails/theme.toml: light.button_text"]


def test_the_check_has_nothing_to_say_about_the_sample_s_look(tmp_path: Path) -> None:
    assert [f for f in check(make_funnel(tmp_path), NOW, guide=False) if "theme" in f.where] == []
