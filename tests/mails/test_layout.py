"""What each mail looks like, measured in Chromium: it fits, can be read and hit, and loses nothing on the way."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from funnel.profile import LOCALE
from tests.compose.kit import message_of, parts, sample
from tests.mails.looks import (
    NAMES,
    badly_built,
    clinic,
    clipped_alternatives,
    double_the_text,
    hard_to_hit,
    html_of,
    seen,
    too_small,
    too_wide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from funnel.app import Funnel

#: The smallest phone, a usual one, and a window on a desk.
WIDTHS = (320, 375, 640)
RIGHT_TO_LEFT = {"ar", "fa", "he", "ur"}
ARABIC = {"locale": "ar-EG", "name": "عيادة الصحة", "from_name": "مها من عيادة الصحة"}
STYLES = re.compile(r"<style\b.*?</style>", re.DOTALL)

each_mail = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    return clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="module")
def arabic(tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    return clinic(tmp_path_factory.mktemp("arabic"), clinic=ARABIC)


@pytest.fixture(scope="module")
def phone(browser: Browser) -> Iterator[Page]:
    """Give a window by day that no test changes but in width."""
    context = browser.new_context(viewport={"width": 375, "height": 700}, color_scheme="light")
    yield context.new_page()
    context.close()


def show(page: Page, html: str, width: int = 375) -> Page:
    page.set_viewport_size({"width": width, "height": 700})
    page.set_content(html)
    return page


def at_each_width(page: Page, measure: Callable[[Page], list[str]]) -> dict[int, list[str]]:
    """Return what is found wrong at each width, if anything is."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 700})
        found[width] = measure(page)
    return {width: faults for width, faults in found.items() if faults}


@contextmanager
def media(page: Page, **kind: Any) -> Iterator[None]:
    """Let the reader's machine be of another kind for a while."""
    page.emulate_media(**kind)
    try:
        yield
    finally:
        page.emulate_media(color_scheme="light", forced_colors="none")


def style(page: Page, where: str, *names: str) -> list[str]:
    """Return computed styles of the first element of a kind."""
    found: list[str] = page.eval_on_selector(
        where, "(e, names) => names.map(name => getComputedStyle(e)[name])", list(names)
    )
    return found


def lightness(colour: str) -> float:
    """Return how light a computed colour is, from 0 to 1."""
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (0.3 * red + 0.59 * green + 0.11 * blue) / 255


# --- every mail --------------------------------------------------------------------------------


@pytest.mark.browser
@each_mail
def test_it_fits_the_smallest_phone_and_a_desk(phone: Page, funnel: Funnel, name: str) -> None:
    show(phone, html_of(funnel, name))

    assert at_each_width(phone, too_wide) == {}
    assert at_each_width(phone, too_small) == {}
    assert at_each_width(phone, hard_to_hit) == {}


@pytest.mark.browser
@each_mail
def test_it_fits_with_text_twice_as_large(phone: Page, funnel: Funnel, name: str) -> None:
    show(phone, html_of(funnel, name))
    double_the_text(phone)

    assert style(phone, "h1", "fontSize") == ["52px"]
    assert at_each_width(phone, too_wide) == {}


@pytest.mark.browser
@each_mail
def test_it_is_well_built(phone: Page, funnel: Funnel, name: str) -> None:
    show(phone, html_of(funnel, name))

    assert badly_built(phone) == []


@pytest.mark.browser
@each_mail
def test_the_line_for_the_inbox_is_not_in_the_mail(phone: Page, funnel: Funnel, name: str) -> None:
    """Also where a mail program drops the style block."""
    html = html_of(funnel, name)
    (line,) = re.findall(r'<div class="preheader"[^>]*>([^<]+)<', html)

    assert line.strip()
    for page in (html, STYLES.sub("", html)):
        show(phone, page)
        assert phone.locator(".preheader").count() == 1
        assert not phone.locator(".preheader").is_visible()
        assert line not in phone.inner_text("body")
        assert "‌" not in phone.inner_text("body")


@pytest.mark.browser
@each_mail
def test_it_stands_without_its_style_block(phone: Page, funnel: Funnel, name: str) -> None:
    """Gmail drops it for mail of other providers, and so do some apps."""
    words = seen(show(phone, html_of(funnel, name)))
    show(phone, STYLES.sub("", html_of(funnel, name)), 320)

    assert too_wide(phone) == []
    assert too_small(phone) == []
    assert hard_to_hit(phone) == []
    assert seen(phone) == words


@pytest.mark.browser
@each_mail
def test_without_pictures_every_word_is_there(phone: Page, funnel: Funnel, name: str) -> None:
    words = seen(show(phone, html_of(funnel, name)))
    pictures = phone.evaluate("[...document.images].map(p => p.complete && p.naturalWidth)")
    phone.route("**/*", lambda route: route.abort())
    show(phone, html_of(funnel, name, pictures=False), 320)
    blocked = phone.evaluate("[...document.images].map(p => p.naturalWidth)")
    phone.unroute("**/*")

    assert all(pictures)
    assert blocked == [0] * len(pictures)
    assert seen(phone) == words
    assert clipped_alternatives(phone) == []
    assert too_wide(phone) == []


@pytest.mark.browser
@each_mail
def test_by_night_nothing_stays_bright(phone: Page, funnel: Funnel, name: str) -> None:
    show(phone, html_of(funnel, name))
    with media(phone, color_scheme="dark"):
        grounds = phone.eval_on_selector_all(
            "body, td:not(.button-cell), p, blockquote",
            "all => all.map(e => getComputedStyle(e).backgroundColor)",
        )
        words = [style(phone, where, "color")[0] for where in (".clinic", "h1", ".content p", ".small", ".choice")]
    painted = {ground for ground in grounds if ground != "rgba(0, 0, 0, 0)"}

    assert len(painted) > 1
    assert max(map(lightness, painted)) < 0.25
    assert min(map(lightness, words)) > 0.6


@pytest.mark.browser
@each_mail
def test_in_high_contrast_a_button_is_still_one(phone: Page, funnel: Funnel, name: str) -> None:
    """Forced colours take all grounds away; a border stays."""
    show(phone, html_of(funnel, name))
    with media(phone, forced_colors="active"):
        names = ["borderTopWidth", "borderTopStyle", "borderTopColor", "backgroundColor"]
        buttons = phone.eval_on_selector_all(
            ".button-link", "(all, names) => all.map(e => names.map(name => getComputedStyle(e)[name]))", names
        )

    assert [button[:2] for button in buttons] == [["2px", "solid"]] * len(buttons)
    assert all(abs(lightness(edge) - lightness(ground)) > 0.4 for *_, edge, ground in buttons)


@pytest.mark.browser
@each_mail
def test_from_right_to_left_it_fits_too(phone: Page, arabic: Funnel, name: str) -> None:
    show(phone, html_of(arabic, name))
    apart = phone.eval_on_selector_all(
        ".gift-code, .small [dir=ltr]", "all => all.map(e => getComputedStyle(e).direction)"
    )

    assert at_each_width(phone, too_wide) == {}
    assert style(phone, "html", "direction") == ["rtl"]
    assert style(phone, "h1", "direction", "textAlign") == ["rtl", "start"]
    assert set(apart) == {"ltr"}


@pytest.mark.browser
def test_from_right_to_left_lists_and_boxes_are_mirrored(phone: Page, arabic: Funnel) -> None:
    show(phone, html_of(arabic, "series/a-visit"))
    assert style(phone, ".callout-cell", "borderLeftWidth", "borderRightWidth") == ["0px", "4px"]

    show(phone, html_of(arabic, "series/guide"))
    assert style(phone, "ol", "marginLeft", "marginRight") == ["0px", "24px"]


# --- no browser needed -------------------------------------------------------------------------

SAMPLE = sample()


@given(st.from_regex(LOCALE, fullmatch=True) | st.sampled_from(sorted(RIGHT_TO_LEFT)))
@example("ar-EG")
@example("AR-eg")
@example("he-IL")
@example("ur-ZZ")
@example("fa-zzzzzzzz")
@example("es-AR")
@example("arn-CL")
@example("fas")
@example("fr-FR")
@example("hi-IN")
@example("mar")
def test_a_language_has_its_direction(tag: str) -> None:
    html = parts(message_of(SAMPLE, "series", "guide", lang=tag))[1]
    right = tag.partition("-")[0].lower() in RIGHT_TO_LEFT
    found = re.findall(rf'lang="{re.escape(tag)}"[^>]* dir="(ltr|rtl)"|lang="{re.escape(tag)}" dir="(ltr|rtl)"', html)

    assert ["".join(one) for one in found] == ["rtl" if right else "ltr"] * 2


@each_mail
def test_no_style_block_is_longer_than_gmail_reads(funnel: Funnel, name: str) -> None:
    """It used to drop blocks of more than 8,192 characters, and with them the night and the phone."""
    assert max(map(len, STYLES.findall(html_of(funnel, name)))) < 8_192


# --- what is measured would be found -----------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize(
    ("measure", "right", "wrong"),
    [
        (too_wide, "<h1 ", "<p style='width: 900px'>x</p><h1 "),
        (too_wide, "<h1 ", "<p style='margin-left: -60px'>x</p><h1 "),
        (too_wide, "Hello,", "x" * 90 + "<style>* { word-break: normal !important }</style>"),
        (too_small, "<h1 ", "<p style='font-size: 15px'>x</p><h1 "),
        (hard_to_hit, "padding:12px 28px", "padding:2px 28px"),
        (hard_to_hit, "padding:10px 0", "padding:9px 0"),
        (badly_built, "<h1 ", "<h1>x</h1><h1 "),
        (badly_built, " alt=", " data-alt="),
        (badly_built, ' height="300"', ""),
        (badly_built, 'role="presentation" class="figure"', 'class="figure"'),
        (clipped_alternatives, ' alt="', ' alt="' + "words " * 80),
    ],
)
def test_a_fault_would_be_found(
    phone: Page, funnel: Funnel, measure: Callable[[Page], list[str]], right: str, wrong: str
) -> None:
    html = html_of(funnel, "series/two-maps")
    assert right in html
    assert measure(show(phone, html)) == []
    assert measure(show(phone, html.replace(right, wrong, 1))) != []
