"""Taking a stop back, and every button of the preferences."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from funnel.model import Status
from funnel.store import consents, enrollments
from funnel.web.pages.leaving import ACTS
from tests.web.shop import Shop, make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.model import Receipt


def receipts(shop: Shop, email: str = "ann@example.com") -> tuple[Receipt, ...]:
    with shop.funnel.session(readonly=True) as db:
        return consents.of(db, shop.person(email).id)


def buttons(page: str) -> dict[str, str]:
    """Return the words of each button by what it sends."""
    found = re.findall(r'<button[^>]*name="act" value="([^"]+)"[^>]*>([^<]+)<', page)
    return {act: html.unescape(words) for act, words in found}


def undo_path(page: str) -> str:
    found = re.search(r'action="(/u/[^"]+/undo[^"]*)"', page)
    assert found, page
    return found[1]


def test_the_goodbye_page_offers_a_way_back(shop: Shop) -> None:
    """UNS-15."""
    ann = shop.join("ann@example.com")
    page = shop.client.post(f"/u/{shop.stop_token(ann)}")
    assert "I did not" not in page.text
    back = shop.client.post(undo_path(page.text))
    assert back.status_code == 200
    assert "All is as it was" in back.text
    assert shop.person("ann@example.com").status is Status.CONFIRMED
    assert [(r.act, r.wording) for r in receipts(shop)][-2:] == [
        ("withdrawn", "Stop all emails"),
        ("restored", "Undo, and go on as before"),
    ]
    with shop.funnel.session(readonly=True) as db:
        way = enrollments.latest(db, ann.id, "series")
    assert way is not None
    assert way.next_at is not None


def test_looking_once_more_shows_the_way_back_for_half_an_hour(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/u/{shop.stop_token(ann)}"
    shop.client.post(path)
    for address in (path, f"{path}/undo"):
        assert undo_path(shop.client.get(address).text) == f"{path}/undo"
    shop.clock.move(minutes=31)
    assert "/undo" not in shop.client.get(path).text
    late = shop.client.post(f"{path}/undo")
    assert late.status_code == 410
    assert "too late" in late.text
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_undoing_twice_and_undoing_nothing_is_harmless(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/u/{shop.stop_token(ann)}"
    before = shop.dump()
    assert "All is as it was" in shop.client.post(f"{path}/undo").text
    assert shop.dump() == before
    shop.client.post(path)
    shop.client.post(f"{path}/undo")
    before = shop.dump()
    assert "All is as it was" in shop.client.post(f"{path}/undo").text
    assert shop.dump() == before


def test_a_link_for_something_else_undoes_nothing(shop: Shop) -> None:
    """SEC-5."""
    ann = shop.join("ann@example.com")
    shop.client.post(f"/u/{shop.stop_token(ann)}")
    before = shop.dump()
    for token in (shop.preferences_token(ann), shop.guide_token(ann), "x", shop.stop_token(ann)[:-1]):
        assert shop.client.post(f"/u/{token}/undo").status_code == 404
        assert shop.client.get(f"/u/{token}/undo").status_code == 404
    assert shop.dump() == before


def test_somebody_forgotten_cannot_undo(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    shop.client.post(f"/u/{shop.stop_token(ann)}")
    shop.funnel.erase("ann@example.com", "test")
    page = shop.client.post(f"/u/{shop.stop_token(ann)}/undo")
    assert (page.status_code, "not on our list" in page.text) == (200, True)


# --- preferences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acts", "says", "status"),
    [
        (["keep"], "You stay on the list", Status.CONFIRMED),
        (["slower"], "one short email a week at most", Status.CONFIRMED),
        (["slower", "faster"], "every few days", Status.CONFIRMED),
        (["guide-only"], "You have the guide", Status.CONFIRMED),
        (["guide-only", "series-again"], "every few days", Status.CONFIRMED),
        (["stop", "undo"], "every few days", Status.CONFIRMED),
        (["pause-14", "stop", "undo"], "Paused", Status.PAUSED),
    ],
)
def test_each_button_does_what_it_says_and_is_on_record(shop: Shop, acts: list[str], says: str, status: Status) -> None:
    """LAW-1: the receipt holds the words of the very button."""
    ann = shop.join("ann@example.com")
    path = f"/p/{shop.preferences_token(ann)}"
    page = shop.client.get(path)
    for act in acts:
        shown = buttons(page.text)[act]
        page = shop.client.post(path, data={"act": act})
        assert page.status_code == 200
        last = receipts(shop)[-1]
        assert (last.act, last.wording, last.page) == (ACTS[act], shown, "/p")
    assert says in page.text
    assert shop.person("ann@example.com").status is status


def test_every_button_of_the_page_is_one_we_know(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/p/{shop.preferences_token(ann)}"
    seen: set[str] = set()
    for act in ("slower", "faster", "guide-only", "series-again", "pause-14", "resume", "stop", "undo"):
        seen |= buttons(shop.client.get(path).text).keys()
        shop.client.post(path, data={"act": act})
    assert seen == {*ACTS, "move"}


def test_a_series_that_is_over_says_so(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    with shop.funnel.session() as db, db.transaction():
        db.execute("UPDATE enrollment SET next_at = NULL, ended = 'done' WHERE sequence = 'series'")
    page = shop.client.get(f"/p/{shop.preferences_token(ann)}").text
    assert "come to its end" in page
    assert buttons(page).keys() == {"keep", "stop", "move"}


def test_who_has_not_confirmed_has_nothing_to_choose(shop: Shop) -> None:
    shop.ask("ann@example.com")
    page = shop.client.get(f"/p/{shop.preferences_token(shop.person('ann@example.com'))}").text
    assert "not confirmed yet" in page
    assert buttons(page) == {}


# --- thanks, gift and privacy --------------------------------------------------------------------


def test_the_last_day_goes_into_a_calendar_without_the_code(shop: Shop) -> None:
    """SEC-19, HLT-2."""
    ann = shop.join("ann@example.com")
    gift = shop.funnel.gift_of(ann)
    assert gift is not None
    path = f"/g/{shop.guide_token(ann)}"
    assert f'href="{path}/gift.ics"' in shop.client.post(path, data={"act": "gift"}).text
    answer = shop.client.get(f"{path}/gift.ics")
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="gift.ics"'
    assert "DTSTART;VALUE=DATE:20270105" in answer.text
    assert gift.code not in answer.text
    assert "ann" not in answer.text
    with shop.funnel.session() as db, db.transaction():
        db.execute("UPDATE gift SET status = 'void'")
    assert shop.client.get(f"{path}/gift.ics").status_code == 404


def test_the_page_with_the_code_brings_its_one_small_script(shop: Shop) -> None:
    """SEC-12: only where there is something to copy, from our own address, and nothing is missed without it."""
    ann = shop.join("ann@example.com")
    path = f"/g/{shop.guide_token(ann)}"
    shown = shop.client.post(path, data={"act": "gift"})
    (source,) = re.findall(r'<script src="(/page\.js\?\w+)" defer>', shown.text)
    assert shown.headers["Content-Security-Policy"].startswith("script-src 'self'; default-src 'none'")
    assert len(re.findall(r'<button[^>]* type="button"[^>]* hidden>', shown.text)) == 2
    script = shop.client.get(source)
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert len(script.data) <= 1024
    plain = shop.client.get(path)
    assert "<script" not in plain.text
    assert "script-src" not in plain.headers["Content-Security-Policy"]


def test_the_privacy_page_says_what_is_set(tmp_path: Path) -> None:
    """LAW-8: the numbers are those that the purge goes by."""
    shop = make_shop(tmp_path, "[retention]\npending_days = 21\nip_days = 77\nraw_event_days = 13\n")
    page = shop.client.get("/privacy").text
    for number in (21, 77, 13):
        assert f" {number} days" in page
    assert "hello@clinic.example" in page
    assert "first name" not in page
