"""The popup for everybody: keyboard, screen reader, large text, small screens, dark and forced colours, no motion."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.popup.kit import HAND, Place, Visitor, open_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

ROOT = "document.querySelector('funnel-popup').shadowRoot"
SPACING = """sheet => { const more = new CSSStyleSheet(); more.replaceSync(sheet);
  const root = document.querySelector('funnel-popup').shadowRoot;
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, more]; }"""
#: What the text-spacing rule of WCAG 1.4.12 asks a page to bear.
WIDE = "* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
    "narrow": {"viewport": {"width": 320, "height": 568}},
}


@contextmanager
def reader(place: Place, *, path: str = "/", **settings: Any) -> Iterator[Visitor]:
    """Open the popup for somebody, without motion so that pictures stand still."""
    with place.visitor(reduced_motion="reduce", **settings) as ann:
        ann.go(place.put(path))
        yield ann


def findings(visitor: Visitor) -> list[tuple[str, str]]:
    """Return what axe has to say about the page as it is."""
    from axe_playwright_python.sync_playwright import Axe

    with visitor.awake():
        found = Axe().run(visitor.page).response["violations"]
    return [(rule["id"], node["html"]) for rule in found for node in rule["nodes"]]


def inside(visitor: Visitor) -> str:
    """Return which part of the popup has the focus."""
    return str(
        visitor.page.evaluate(f"(e => e ? e.id || e.className || e.type || e.tagName : '')({ROOT}.activeElement)")
    )


def overflow(visitor: Visitor) -> int:
    """Return by how much anything in the popup is wider than its place."""
    script = f"""() => {{ const d = {ROOT}.querySelector('dialog'), edge = d.getBoundingClientRect();
      return Math.max(d.scrollWidth - d.clientWidth, ...[...d.querySelectorAll('*')].filter((e) => e.offsetParent)
        .map((e) => e.getBoundingClientRect()).map((r) => Math.max(r.right - edge.right, edge.left - r.left))) }}"""
    return int(visitor.page.evaluate(script))


# --- axe -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", LOOKS)
def test_pop_11_axe_finds_nothing_in_any_state(place: Place, look: str) -> None:
    """Closed, open, error, success; light, dark, forced colours, 320 px (POP-8)."""
    with reader(place, **LOOKS[look]) as ann:
        assert findings(ann) == []
        ann.open()
        assert findings(ann) == []
        ann.dialog.locator("button[type=submit]").click()
        ann.dialog.get_by_text("name@example.com").wait_for()
        assert findings(ann) == []
        ann.send(f"{look}@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
        assert findings(ann) == []


def test_axe_looks_into_the_popup(place: Place) -> None:
    with reader(place) as ann:
        ann.open()
        ann.page.evaluate(f"{ROOT}.querySelector('label').remove()")
        assert "label" in {rule for rule, _ in findings(ann)}


def test_pop_11_axe_finds_nothing_in_the_banner(place: Place) -> None:
    with reader(place, **HAND) as ann:
        ann.half_read()
        ann.back_to_tab()
        ann.banner.wait_for()
        assert findings(ann) == []


def test_pop_5_pop_11_with_text_twice_as_large(place: Place) -> None:
    with reader(place) as ann:
        tools = ann.context.new_cdp_session(ann.page)
        tools.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
        ann.open()
        size = ann.page.evaluate(f"parseFloat(getComputedStyle({ROOT}.querySelector('#text')).fontSize)")
        assert size >= 32
        assert overflow(ann) <= 0
        assert findings(ann) == []


# --- name, role, focus ---------------------------------------------------------------------------


def test_pop_1_it_is_a_dialog_with_a_name_and_a_description(place: Place) -> None:
    with reader(place) as ann:
        ann.open()
        dialog = ann.page.get_by_role("dialog", name="Wait—Before You Go...")
        assert dialog.get_attribute("aria-modal") == "true"
        assert ann.page.evaluate(f"{ROOT}.querySelector('dialog').matches(':modal')")
        described = dialog.get_attribute("aria-describedby")
        assert len(dialog.locator(f"#{described}").inner_text()) < 200
        assert (dialog.get_attribute("lang"), dialog.get_attribute("dir")) == ("en", "ltr")  # POP-9


def test_pop_2_by_keyboard_alone(place: Place) -> None:
    """In, round in both directions, out by Esc and by the button, and back to where it began."""
    with reader(place) as ann:
        ann.page.focus("#ask")
        ann.page.keyboard.press("Enter")
        ann.dialog.wait_for()
        assert inside(ann) == "title"
        order = []
        for _ in range(6):
            ann.page.keyboard.press("Tab")
            order.append(inside(ann))
        assert order == ["email", "A", "submit", "second", "close", "email"]
        ann.page.keyboard.press("Shift+Tab")
        assert inside(ann) == "close"
        ann.page.keyboard.press("Shift+Tab")
        assert inside(ann) == "second"
        ann.page.keyboard.press("Escape")
        ann.dialog.wait_for(state="detached")
        assert ann.page.evaluate("document.activeElement.id") == "ask"
        ann.page.keyboard.press("Enter")
        ann.dialog.wait_for()
        ann.page.keyboard.press("Shift+Tab")
        assert inside(ann) == "close"
        ann.page.keyboard.press("Enter")
        ann.dialog.wait_for(state="detached")
        assert ann.page.evaluate("document.activeElement.id") == "ask"


def test_pop_2_without_a_place_before_the_focus_is_on_the_page(place: Place) -> None:
    with reader(place) as ann:
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        ann.page.mouse.click(5, 700)  # beside the sheet
        ann.dialog.wait_for(state="detached")
        assert ann.page.evaluate("document.activeElement === document.body")


def test_pop_2_a_drag_that_ends_outside_closes_nothing(place: Place) -> None:
    with reader(place) as ann:
        ann.open()
        field = ann.dialog.locator("#email").bounding_box()
        assert field is not None
        ann.page.mouse.move(field["x"] + 20, field["y"] + 10)
        ann.page.mouse.down()
        ann.page.mouse.move(5, 700)
        ann.page.mouse.up()
        assert ann.dialog.is_visible()


def test_pop_2_what_is_typed_does_not_reach_the_page(place: Place) -> None:
    with reader(place) as ann:
        ann.page.evaluate("(window.heard = [], addEventListener('keydown', (e) => heard.push(e.key)))")
        ann.open()
        ann.dialog.locator("#email").press("a")
        assert ann.page.evaluate("heard") == []


def test_pop_6_the_field_and_what_is_said_about_it(place: Place) -> None:
    with reader(place) as ann:
        ann.open()
        field = ann.page.get_by_label("Your email address")
        for name, value in (("type", "email"), ("autocomplete", "email"), ("inputmode", "email")):
            assert field.get_attribute(name) == value
        assert field.get_attribute("placeholder") is None
        assert field.get_attribute("aria-invalid") is None
        ann.send("ann@")
        assert field.get_attribute("aria-invalid") == "true"
        described = field.get_attribute("aria-describedby")
        assert "name@example.com" in ann.dialog.locator(f"#{described}").inner_text()
        assert inside(ann) == "email"
        ann.send("ann@gmial.com")
        ann.dialog.get_by_text("Did you mean ann@gmail.com?").wait_for()
        ann.dialog.locator("button[type=submit]").click()
        ann.page.wait_for_selector("funnel-popup .done")
        assert "Please look in your inbox" in ann.dialog.inner_text()
        assert "is on its way" in ann.page.get_by_role("status").inner_text()
        assert inside(ann) == "title"


def test_pop_7_nothing_is_to_be_solved(place: Place) -> None:
    with reader(place) as ann:
        ann.open()
        assert ann.dialog.locator("input").count() == 1
        assert ann.dialog.locator("iframe, canvas, img").count() == 0


def test_pop_10_yes_and_no_weigh_the_same_and_the_box_is_empty(tmp_path: Path, browser: Browser) -> None:
    more = "[signup]\nmarketing_checkbox = true\nname_field = true\n"
    with open_place(tmp_path, browser, more) as place, reader(place) as ann:
        ann.open()
        yes, no = ann.dialog.locator(".acts button").all()
        a, b = yes.bounding_box(), no.bounding_box()
        assert a is not None
        assert b is not None
        assert (a["y"], a["height"]) == (b["y"], b["height"])
        assert a["width"] == pytest.approx(b["width"], rel=0.2)
        assert no.inner_text() == "No, thanks"
        box = ann.page.get_by_label("Also send me news")
        assert not box.is_checked()
        box.check()
        ann.page.get_by_label("Your first name").fill("Ann")
        assert findings(ann) == []
        ann.send("both@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
        assert place.receipts("both@example.com")[0].marketing is True
        assert place.shop.person("both@example.com").name == "Ann"


# --- size, colour, motion ------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(320, 256), (375, 667), (1280, 800)])
def test_pop_4_pop_5_everything_can_be_reached_and_hit(place: Place, width: int, height: int) -> None:
    with reader(place, viewport={"width": width, "height": height}) as ann:
        ann.open()
        assert overflow(ann) <= 0
        for target in ann.dialog.locator("button, input").all():
            target.scroll_into_view_if_needed()
            box = target.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 43.9
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
        ann.page.keyboard.press("Tab")
        focus = ann.page.evaluate(
            f"(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle({ROOT}.activeElement))"
        )
        assert focus[0] == "solid"
        assert focus[1] >= 2


def test_pop_5_pop_9_wide_spacing_long_words_and_the_other_direction(place: Place) -> None:
    with reader(place, viewport={"width": 320, "height": 568}) as ann:
        ann.open()
        ann.page.evaluate(SPACING, WIDE)
        assert overflow(ann) <= 0
        ann.page.evaluate(
            f"""for (const e of {ROOT}.querySelectorAll('p, h2, label, .acts button'))
              if (!e.children.length) e.textContent += ' Donaudampfschifffahrtsgesellschaftskapitän ' + e.textContent"""
        )
        assert overflow(ann) <= 0
        ann.page.evaluate(f"{ROOT}.querySelector('dialog').dir = 'rtl'")
        assert overflow(ann) <= 0
        close = ann.dialog.locator(".close").bounding_box()
        assert close is not None
        assert close["x"] < 100


def test_pop_8_nothing_moves_for_those_who_ask_for_that(place: Place) -> None:
    for wish, expected in (("reduce", "none"), ("no-preference", "fade")):
        with place.visitor(reduced_motion=wish) as ann:
            ann.go(place.put())
            ann.page.click("#ask")
            ann.dialog.wait_for()
            moving = f"getComputedStyle({ROOT}.querySelector('dialog')).animationName"
            assert ann.page.evaluate(moving) == expected


def test_pop_8_dark_and_light_are_two_looks(place: Place) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        with reader(place, color_scheme=scheme) as ann:
            ann.open()
            seen.add(ann.page.evaluate(f"getComputedStyle({ROOT}.querySelector('dialog')).backgroundColor"))
    assert len(seen) == 2
