"""Every page in every state, light and dark, narrow and wide, in both languages: nothing that axe finds fault with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.web.gallery import views
from tests.web.shop import make_shop
from tests.web.test_server import at_home, opened, press

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

EXTRA = "[signup]\nname_field = true\nmarketing_checkbox = true\n"


#: What colour and width can change; the rest of the rules do not depend on them.
SEEN = {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size", "link-in-text-block"]}}


def faults(page: Page, options: dict[str, Any] | None = None) -> list[tuple[str, list[str]]]:
    """Return what axe finds fault with: the rule, and the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=options).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def in_other_looks(page: Page) -> dict[str, object]:
    """Return what axe finds fault with in the dark and on a wide screen."""
    found: dict[str, object] = {}
    looks: tuple[tuple[Literal["dark", "light"], int], ...] = (("dark", 320), ("dark", 1280), ("light", 1280))
    for scheme, width in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        found[f"{scheme} at {width}"] = faults(page, SEEN)
    return found


@pytest.mark.browser
@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("es-MX", "es")])
def test_every_page_is_fit_for_everybody(tmp_path: Path, browser: Browser, locale: str, language: str) -> None:
    """POP-40: axe finds nothing, light or dark, narrow or wide; no page is too wide, too heavy or without a title."""
    shop = make_shop(tmp_path, EXTRA)
    found: dict[str, object] = {}
    with at_home(shop) as base, opened(browser, locale=locale) as (page, notes):
        for view in views(shop):
            page.set_viewport_size({"width": 320, "height": 700})
            page.emulate_media(color_scheme="light")
            view.open(shop, page, base)
            found[view.name] = faults(page)
            assert page.evaluate("document.documentElement.lang") == language, view.name
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, view.name
            assert len(page.content().encode()) <= 15_000, view.name
            assert page.title(), view.name
            if language == "en":  # colours are the same in every language
                found |= {f"{view.name}, {look}": wrong for look, wrong in in_other_looks(page).items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert [note for note in notes if "Content Security" in note or "Refused" in note] == []
    assert {note for note in notes if " " not in note} == {base.partition("//")[2]}


@pytest.mark.browser
def test_the_code_can_be_copied_with_a_script_and_selected_without(tmp_path: Path, browser: Browser) -> None:
    shop = make_shop(tmp_path)
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}"
    gift = shop.funnel.gift_of(shop.person("ann@example.com"))
    assert gift is not None
    with at_home(shop) as base:
        allowed = ["clipboard-read", "clipboard-write"]
        with opened(browser, permissions=allowed) as (page, _):
            page.goto(base + path)
            press(page, "button[value=gift]")
            page.click("[data-copy]")
            page.wait_for_function("document.getElementById('said').textContent !== ''")
            assert page.inner_text("#said") == "Copied."
            assert page.evaluate("navigator.clipboard.readText()") == gift.code
            assert page.locator("[data-print]").is_visible()
        with opened(browser, java_script_enabled=False) as (page, _):
            page.goto(base + path)
            press(page, "button[value=gift]")
            assert page.locator("#code").is_visible()
            assert page.locator("[data-copy]:visible, [data-print]:visible").count() == 0


@pytest.mark.browser
def test_the_code_prints_and_the_buttons_do_not(tmp_path: Path, browser: Browser) -> None:
    """POP-40: black on white, also for somebody whose screen is dark."""
    shop = make_shop(tmp_path)
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}"
    with at_home(shop) as base, opened(browser, color_scheme="dark") as (page, _):
        page.goto(base + path)
        press(page, "button[value=gift]")
        page.emulate_media(media="print")
        assert page.locator("#code").is_visible()
        assert page.locator("button:visible, .no-print:visible").count() == 0
        script = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
        assert page.locator("main").evaluate(script) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        code = page.locator("#code").evaluate(script)
        assert code == ["rgb(255, 255, 255)", "rgb(31, 42, 46)"]
