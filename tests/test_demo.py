"""The demo: thirty visitors over real HTTP and SMTP. One play serves all these tests; it takes some seconds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from funnel.demo import play, write_page
from funnel.demo.cast import CAST

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from funnel.demo.story import Life, Story


@pytest.fixture(scope="module")
def story() -> Story:
    return play()


def life(story: Story, name: str) -> Life:
    return next(found for found in story.lives if found.visitor.name == name)


def test_the_books_agree_with_what_the_mail_server_took(story: Story) -> None:
    """P2, P4."""
    assert story.adds_up
    assert story.report.adds_up
    assert story.sent <= len(story.mails) <= story.sent + story.uncertain
    assert len(story.lives) == len(CAST) == 30


def test_a_scanner_confirms_nobody_and_stops_nobody(story: Story) -> None:
    """BOT-1: Ella's gateway fetched every link twice, and she is still unconfirmed; Dev still gets his mail."""
    assert life(story, "Ella").status == "forgotten, unconfirmed"
    assert life(story, "Dev").status == "confirmed"
    assert life(story, "Dev").counts["sent"] == life(story, "Ana").counts["sent"]


@pytest.mark.parametrize(
    ("name", "status"),
    [("Ines", "unsubscribed"), ("Jon", "unsubscribed"), ("Kay", "bounced"), ("Lou", "bounced"), ("Bea", "complained")],
)
def test_who_stops_gets_nothing_more(story: Story, name: str, status: str) -> None:
    """P5: no mail arrives after the moment the person was stopped."""
    found = life(story, name)
    assert found.status == status
    assert found.answer is not None
    stopped = found.answer.person.stopped_at
    assert stopped is not None
    assert all(moment.at <= stopped for moment in found.moments if moment.kind == "mail")


def test_mail_comes_in_the_readers_own_morning(story: Story) -> None:
    from funnel.schedule import zone

    for name in ("Yuki", "Prem", "Quinn", "Rosa", "Sven", "Tara", "Ugo"):
        found = life(story, name)
        here = zone(found.visitor.zone)
        drips = [m.at.astimezone(here) for m in found.moments if m.kind == "mail"][3:]
        assert drips
        assert all(9 <= at.hour < 17 for at in drips), name


def test_nothing_goes_out_on_the_closed_day(story: Story) -> None:
    from funnel.schedule import zone

    days = {(m.at.astimezone(zone(found.visitor.zone)).date().isoformat(), m.what) for found in story.lives
            for m in found.moments if m.kind == "mail"}  # fmt: skip
    closed = [what for day, what in days if day == "2026-11-26"]
    assert all("guide" in what.lower() or "confirm" in what.lower() for what in closed), closed


def test_each_special_case_ended_as_it_should(story: Story) -> None:
    assert life(story, "Noah").answer.gift.endswith("(redeemed)")  # type: ignore[union-attr]
    assert life(story, "Cy").counts["uncertain"] == 1
    assert life(story, "Vera").status == life(story, "Will").status == "confirmed"
    assert life(story, "Xia").status == "confirmed"
    assert life(story, "Abe").status == "forgotten, unconfirmed"
    assert life(story, "Ana").counts["skipped"] == 2  # opened the guide, so neither reminded nor asked to decide


def test_the_page_is_one_file_that_asks_nobody_for_anything(story: Story, tmp_path: Path) -> None:
    page = write_page(story, tmp_path)
    html = page.read_text("utf-8")

    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert not re.search(r"<(script|link)\b", html)
    assert not re.search(r"""<(?:img|iframe|source)[^>]+src=["']https?://""", html)
    assert html.count("<details") >= 30 + 19


#: How far the cells of what a visitor lived through stand out of its frame, in pixels.
STANDS_OUT = """() => Math.max(...[...document.querySelectorAll("details:has(td.when)")].map(frame => {
    frame.open = true
    const end = frame.getBoundingClientRect().right
    return Math.max(...[...frame.querySelectorAll("td, th")].map(cell => cell.getBoundingClientRect().right - end))
}))"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_each_life_fits_its_frame(story: Story, tmp_path: Path, browser: Browser, width: int) -> None:
    file = write_page(story, tmp_path)
    context = browser.new_context(viewport={"width": width, "height": 800})
    try:
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.locator("td.when").count() >= len(story.lives)
        assert page.evaluate(STANDS_OUT) <= 0
    finally:
        context.close()
