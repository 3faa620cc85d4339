"""``funnel popup``: the line to paste is the one the server answers to, and the preview shows each state."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from funnel.cli import group
from funnel.web import create_app
from tests.web.popup.kit import CHROME, PERSON
from tests.web.shop import Shop, make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Stand in the folder of a funnel with an article."""
    shop = make_shop(tmp_path)
    (tmp_path / "emails" / "article.md").write_text(
        "# About <backs>\n\n" + "Text.\n\n" * 80 + "[Start Your Care Today](https://outside.example/)\n"
    )
    monkeypatch.chdir(tmp_path)
    return shop


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert group.run(["popup", *words]) == 0
    return capsys.readouterr().out


def set_to(shop: Shop, old: str, new: str) -> None:
    file = shop.funnel.config.file
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_pop_33_the_line_names_what_is_served(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from base64 import b64decode
    from hashlib import sha384

    line = said(capsys, "snippet")
    script = (
        r'<script async src="https://go\.clinic\.example(/popup\.js)" integrity="sha384-(.*?)" crossorigin="anonymous">'
    )
    found = re.search(script + r'</script>\n<noscript><a href="https://go\.clinic\.example/">', line)
    assert found
    served = create_app(here.funnel).test_client().get(found[1]).data
    assert sha384(served).digest() == b64decode(found[2])
    assert "Paste it once" in line
    assert "Note:" not in line


def test_the_line_without_a_hash_stays_good(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    before = said(capsys, "snippet", "--no-integrity")
    assert "integrity=" not in before
    set_to(here, "[gift]", '[popup]\ntitle = "Stay?"\n[gift]')
    assert said(capsys, "snippet", "--no-integrity") == before


@pytest.mark.parametrize(
    ("option", "menu"),
    [("--wordpress", "Custom HTML"), ("--wix", "Settings → Custom Code"), ("--squarespace", "Code Injection")],
)
def test_pop_37_each_builder_has_its_menu(
    here: Shop, capsys: pytest.CaptureFixture[str], option: str, menu: str
) -> None:
    assert menu in said(capsys, "snippet", option)


def test_what_would_keep_it_from_working_is_said(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    set_to(here, 'allowed_origins = ["https://clinic.example"]', "")
    set_to(here, "https://go.clinic.example", "http://127.0.0.1:8040")
    set_to(here, "[gift]", "[popup]\nenabled = false\n[gift]")
    line = said(capsys, "snippet")
    for word in ("site.allowed_origins", "site.base_url", "popup.enabled"):
        assert word in line


def test_a_preview_needs_an_article(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    (here.funnel.config.path("emails/article.md")).unlink()
    assert group.run(["popup", "preview"]) == 1
    assert "article.md" in capsys.readouterr().err


def test_the_preview_is_the_article_and_leads_nowhere(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert "build/popup/index.html" in said(capsys, "preview")
    page = here.funnel.config.path("build/popup/page.html").read_text()
    assert "About &lt;backs&gt;" in page
    assert ">Start Your Care Today</a>" in page
    assert "outside.example" not in page
    assert set(re.findall(r'href="([^"]*)"', page)) == {"#", "data:,", "https://go.clinic.example/"}


@pytest.mark.browser
def test_the_preview_shows_every_state(here: Shop, capsys: pytest.CaptureFixture[str], browser: Browser) -> None:
    said(capsys, "preview", "--out", "look")
    context = browser.new_context(user_agent=CHROME)
    try:
        context.add_init_script(PERSON)
        page = context.new_page()
        page.set_default_timeout(25_000)
        errors: list[str] = []
        outside: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto((here.funnel.config.path("look/index.html")).as_uri())
        popup = page.frame_locator("iframe").locator("funnel-popup")
        expected = {
            "open": "Wait—Before You Go...",
            "error": "Is there a slip in it?",
            "success": "Please look in your inbox",
            "offline": "did not get through",
            "slow": "Sending…",
        }
        for state, words in expected.items():
            page.click(f"button:text-is('{state}')")
            popup.get_by_text(words).first.wait_for(state="attached")
        page.click("button:text-is('phone')")
        page.click("button:text-is('banner')")
        popup.locator("section").wait_for()
        page.click("button:text-is('closed')")
        popup.wait_for(state="detached")
        assert errors == []
        assert [url for url in outside if not url.startswith("file:") and not url.startswith("data:")] == []
    finally:
        context.close()


def test_the_preview_needs_no_keys(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    here.funnel.config.path("funnel.secret").unlink()
    said(capsys, "preview")
    assert json.dumps("Wait—Before You Go...")[1:-1] in here.funnel.config.path("build/popup/popup.js").read_text()
