"""Callouts and figures: written without HTML, said in both parts, refused with file and line when they are wrong."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks import check
from funnel.compose.source import load_library, read_mail
from funnel.compose.words import figures_in, refuse_unknown, to_html, to_text, with_sizes
from funnel.errors import ContentError
from funnel.guide.pictures import LARGEST, SCALE, TALLEST, WIDEST, mail_pictures
from funnel.preview import parts_of, render_sample, write_preview
from tests.compose.kit import SAMPLES, small
from tests.compose.kit import message_of as message
from tests.compose.kit import parts as both_parts
from tests.kit import NOW, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.guide.pictures import Picture

GUIDE = SAMPLES.parent / "guide"
CALLOUT = "Before.\n\n::: callout Know **this**\nOne & two.\n\n- a\n- b\n:::\n\nAfter."
FIGURE = "[[figure: fig-04 | Bars that <grow> with age]]"
PLAIN = st.text(alphabet="abc é&<>'\"", min_size=1, max_size=200).filter(lambda text: text.strip())


# --- callout -----------------------------------------------------------------------------------


def test_a_callout_is_a_box_in_html_and_an_indented_block_in_text() -> None:
    page = to_html(CALLOUT, "here")
    box = re.search(r'<table role="presentation" class="callout".*?</table>', page, re.DOTALL)

    assert box
    assert '<p class="callout-title">Know <strong>this</strong></p>' in box[0]
    assert "<p>One &amp; two.</p>" in box[0]
    assert "Before" not in box[0]
    assert "After" not in box[0]
    assert to_text(CALLOUT, "here") == ("Before.\n\n    Know this\n\n    One & two.\n\n    - a\n\n    - b\n\nAfter.")


def test_a_callout_needs_no_title() -> None:
    assert "callout-title" not in to_html("::: callout\nWords.\n:::", "here")
    assert to_text("::: callout\nWords.\n:::", "here") == "    Words."


def test_a_component_in_a_callout_is_moved_in_whole() -> None:
    inside = "::: callout Yours\n[[button: Go | https://b.example]]\n\n[[gift]]\n:::"

    assert to_text(inside, "here").split("\n") == [
        "    Yours", "", "    Go:", "    https://b.example", "", "    {{ gift_name }}",
        "    Your code: {{ gift_code }}", "    Show it at the front desk by {{ gift_expires }}.",
    ]  # fmt: skip
    assert to_html(inside, "here").index('class="gift"') < to_html(inside, "here").rindex("</td></tr></table>")


@given(st.lists(PLAIN, min_size=1, max_size=4))
def test_the_text_of_a_callout_is_indented_and_short_enough_to_read(paragraphs: list[str]) -> None:
    text = to_text("::: callout\n" + "\n\n".join(f"x{p}" for p in paragraphs) + "\n:::", "here")

    for line in filter(None, text.split("\n")):
        assert line.startswith("    ")
        assert len(line) <= 72 or " " not in line.strip()


def test_fields_and_conditions_work_in_a_callout() -> None:
    body = "::: callout For {{ clinic.name }}\n{% if name %}\n\nDear {{ name }}.\n\n{% endif %}\n\nAll.\n:::"
    text, page = both_parts(message(small(body), name="Kim"))
    _, without = both_parts(message(small(body), name=""))

    for part in (text, page):
        assert "For Mill Clinic" in part
        assert "Dear Kim." in part
    assert "Dear" not in without
    assert "All." in without


# --- figure ------------------------------------------------------------------------------------


def test_a_figure_is_a_picture_with_words_for_who_does_not_see_it() -> None:
    page = to_html(with_sizes(FIGURE, {"fig-04": (536, 300)}, 536), "here")

    assert '<img class="figure-image" src="{{ home_url }}f/fig-04.png" width="536" height="300"' in page
    assert 'alt="Bars that &lt;grow&gt; with age"' in page
    assert to_text(FIGURE, "here") == "[Bars that <grow> with age]"


def test_its_address_is_ours_and_holds_nothing_of_a_person() -> None:
    _, page = both_parts(message(small(FIGURE)))

    assert re.findall(r'<img[^>]*src="([^"]*)"', page) == ["https://go.mill.example/f/fig-04.png"]


@given(PLAIN)
def test_what_a_figure_shows_cannot_become_markup(alt: str) -> None:
    page = to_html(f"[[figure: fig-04 | {alt}]]", "here")
    shown = re.search(r'alt="([^"]*)"', page)

    assert page.count("<img") == page.count("<table") == 1
    assert shown
    assert html.unescape(shown[1]) == alt.strip()


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(100, 600))
def test_a_size_keeps_its_shape_within_the_column(width: int, height: int, widest: int) -> None:
    sized = with_sizes(f"Hello\n\n{FIGURE}\n\nBye", {"fig-04": (width, height)}, widest)
    found = re.search(r"\| (\d+)x(\d+)\]\]", sized)

    assert found
    shown, high = int(found[1]), int(found[2])
    assert shown == min(width, widest)
    assert abs(high - height * shown / width) <= 0.5
    assert sized.count("\n") == 4, "lines keep their numbers"


def test_a_figure_of_no_known_size_is_left_as_written() -> None:
    assert with_sizes(FIGURE, {"fig-05": (1, 1)}, 536) == FIGURE
    assert "width=" not in to_html(FIGURE, "here").partition("<img")[2]
    assert figures_in(f"{FIGURE}\n\n[[figure: fig-5x | x]]\n\n[[gift]]") == ["fig-04", "fig-5x"]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[[baloon]]", r"\[\[baloon\]\] is no component; there are: button, divider, figure, gift, signature"),
        ("[[Gift]]", r"\[\[Gift\]\] is no component"),
        ("[[figure fig-04]]", "is no component"),
        ("[[figure: fig-04]]", r"write a figure as \[\[figure: fig-04 \| What it shows, in words\]\]"),
        ("[[figure: fig-04 |  ]]", "write a figure as"),
        ("[[figure: ../fig-04 | A chart]]", "write a figure as"),
        ("[[figure: cover | A chart]]", "write a figure as"),
        ("[[figure: fig-04 | A | chart]]", "write a figure as"),
        ("[[button: Go]]", "write a button as"),
        ("::: warning Mind", "there is no block “::: warning”; write ::: callout Its title"),
        ("::: callout Mind", "this callout has no end; put a line of ::: after it"),
        ("::: callout A\n::: callout B\n:::", "a callout inside a callout; close the one of line 7"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "emails" / "series" / "tip.md"
    file.parent.mkdir(parents=True)
    file.write_text(f'+++\nsubject = "S"\nkind = "drip"\n+++\nHello\n\n{line}\n\nBye\n')
    number = 8 if line.startswith("::: callout A") else 7

    with pytest.raises(ContentError, match=rf"emails/series/tip\.md line {number}: .*{says}"):
        read_mail(file)


@pytest.mark.parametrize(
    "line", ["[[1]](https://b.example)", "see [[gift]] there", "a ::: b", ":: x", "[a]: https://b"]
)
def test_what_only_looks_like_one_is_left_alone(line: str) -> None:
    refuse_unknown(line, "here", 1)


def test_every_mail_of_the_sample_is_whole() -> None:
    shown = {name for mail in load_library(SAMPLES).mails.values() for name in figures_in(mail.body)}

    assert 4 <= len(shown) <= 6
    assert all((GUIDE / "figures" / f"{name}.svg").is_file() for name in shown)


# --- the pictures ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Picture]:
    """Draw three of the guide's figures: a chart, the tallest, and one with an odd shape."""
    root = tmp_path_factory.mktemp("guide")
    (root / "figures").mkdir()
    shutil.copytree(GUIDE / "fonts", root / "fonts")
    for name in ("fig-04", "fig-23", "cover"):
        shutil.copy(GUIDE / "figures" / f"{name}.svg", root / "figures")
    return mail_pictures(root)


def test_a_picture_is_twice_as_sharp_as_it_is_large_and_small_in_bytes(pictures: dict[str, Picture]) -> None:
    from PIL import Image

    assert set(pictures) == {"fig-04", "fig-23"}, "figures only"
    for name, picture in pictures.items():
        assert len(picture.png) <= LARGEST, name
        assert 280 <= picture.width <= WIDEST
        assert picture.height <= TALLEST
        with Image.open(io.BytesIO(picture.png)) as image:
            assert image.format == "PNG"
            assert abs(image.width - SCALE * picture.width) <= 1
            assert abs(image.height - SCALE * picture.height) <= 1
            assert len(image.convert("RGB").getcolors(99_999) or ()) > 4, "something is drawn"


def test_a_mail_and_its_preview_show_the_guide_s_picture(tmp_path: Path, pictures: dict[str, Picture]) -> None:
    funnel = make_funnel(tmp_path)
    made = tmp_path / "build" / "guide"
    (made / "figures").mkdir(parents=True)
    (made / "figures" / "fig-04.png").write_bytes(pictures["fig-04"].png)
    (made / "figures.json").write_text(json.dumps({"fig-04": [pictures["fig-04"].width, pictures["fig-04"].height]}))
    mail = funnel.library.mail("series", "many-reasons")
    page, text = parts_of(render_sample(funnel, mail, now=NOW).message)
    shown = re.search(r"<img[^>]*>", page)

    assert shown
    assert f'src="http://127.0.0.1/f/fig-04.png" width="{pictures["fig-04"].width}"' in shown[0]
    assert "[Bar chart." in text
    write_preview(funnel, [mail], tmp_path / "out")
    assert 'src="data:image/png;base64,' in (tmp_path / "out" / "series-many-reasons.html").read_text("utf-8")


def test_the_check_names_a_figure_the_guide_does_not_have(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    (tmp_path / "build" / "guide").mkdir(parents=True)
    (tmp_path / "build" / "guide" / "figures.json").write_text('{"fig-04": [536, 300]}')
    says = [str(f) for f in check(funnel, NOW, guide=False) if "no figure" in str(f)]

    expected = "the guide has no figure “fig-09”; name one that it has"
    assert any(line.startswith("emails/series/two-maps.md line ") and expected in line for line in says)
    assert not any("fig-04" in line for line in says)


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"fig-04": 7}', '{"fig-04": ["a", "b"]}'])
def test_sizes_that_cannot_be_read_are_none(tmp_path: Path, broken: str) -> None:
    funnel = make_funnel(tmp_path)
    (tmp_path / "build" / "guide").mkdir(parents=True)
    (tmp_path / "build" / "guide" / "figures.json").write_text(broken)

    assert funnel.figures == {}
