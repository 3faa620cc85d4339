""" "Send it again", and what happens to those who ask too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from funnel.store import consents, enrollments
from tests.web.shop import Shop, key_in

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


def again(shop: Shop, email: str, **more: str) -> TestResponse:
    return shop.client.post("/again", data={"email": email, "key": shop.key("/again"), **more})


def ways(shop: Shop, email: str, sequence: str) -> int:
    with shop.funnel.session(readonly=True) as db:
        return sum(way.sequence == sequence for way in enrollments.of(db, shop.person(email).id))


def test_a_confirmed_person_gets_the_guide_once_more(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    with shop.funnel.session(readonly=True) as db:
        receipts = consents.of(db, ann.id)
    assert again(shop, "Ann@Example.com").status_code == 303
    again(shop, "ann@example.com")
    assert (ways(shop, "ann@example.com", "again"), ways(shop, "ann@example.com", "series")) == (1, 1)
    with shop.funnel.session(readonly=True) as db:
        assert consents.of(db, ann.id) == receipts, "nothing new is agreed to"


def test_a_pending_person_is_asked_to_confirm_again_within_the_limits(shop: Shop) -> None:
    """SEC-2: once a day, three times in thirty."""
    shop.ask("ann@example.com")
    again(shop, "ann@example.com")
    assert ways(shop, "ann@example.com", "confirm") == 1
    for _ in range(5):
        shop.clock.move(days=1, minutes=1)
        again(shop, "ann@example.com")
    assert ways(shop, "ann@example.com", "confirm") == 3


def test_who_is_unknown_or_stopped_gets_nothing(shop: Shop) -> None:
    shop.stop("gone@example.com")
    shop.clock.move(days=2)
    before = shop.dump()
    again(shop, "nobody@example.com")
    again(shop, "gone@example.com")
    assert shop.dump() == before


def test_the_answer_is_the_same_for_everybody(shop: Shop) -> None:
    """SEC-1."""
    shop.ask("pending@example.com")
    shop.join("confirmed@example.com")
    shop.stop("stopped@example.com")
    answers = [again(shop, f"{name}@example.com") for name in ("new", "pending", "confirmed", "stopped")]
    answers += [again(shop, "trapped@example.com", subject="x")]
    shapes = {(answer.status, answer.data, tuple(sorted(answer.headers))) for answer in answers}
    assert len(shapes) == 1


def test_typing_errors_and_haste_are_told_here_too(shop: Shop) -> None:
    assert again(shop, "nobody").status_code == 422
    assert "Did you mean" in again(shop, "ann@gmial.com").text
    key = key_in(shop.client.get("/again"))
    page = shop.client.post("/again", data={"email": "ann@example.com", "key": key})
    assert page.status_code == 422
    assert "once more" in page.text
    assert 'value="ann@example.com"' in page.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_other_sites_may_not_send_it(shop: Shop, origin: str) -> None:
    """SEC-4."""
    data = {"email": "ann@example.com", "key": shop.key("/again")}
    assert shop.client.post("/again", data=data, headers={"Origin": origin}).status_code == 403


def test_old_links_lead_here(shop: Shop) -> None:
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}"
    shop.clock.move(days=91)
    assert 'href="/again"' in shop.client.get(path).text
    assert 'href="/again"' in shop.client.get("/").text


# --- too often -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/signup", "/again"])
def test_too_many_requests_are_told_so_kindly(shop: Shop, path: str) -> None:
    """SEC-2, SEC-28: 429, when to come back, and what was typed before is safe."""
    key = shop.key()
    for n in range(5):
        data = {"email": f"p{n}@example.com", "key": key}
        assert shop.client.post(path, data=data, environ_base=STRANGER).status_code == 303
    before = shop.dump()
    page = shop.client.post(path, data={"email": "p6@example.com", "key": key}, environ_base=STRANGER)
    assert page.status_code == 429
    assert 1 <= int(page.headers["Retry-After"]) <= 60
    assert "Too many requests" in page.text
    assert shop.dump() == before
    elsewhere = {"REMOTE_ADDR": "203.0.113.10"}
    assert (
        shop.client.post(path, data={"email": "p6@example.com", "key": key}, environ_base=elsewhere).status_code == 303
    )


def test_the_limit_counts_visitors_not_the_proxy(shop: Shop) -> None:
    """SEC-29, LAW-2."""
    key, proxy = shop.key(), {"REMOTE_ADDR": "10.0.0.7"}
    for n in range(8):
        headers = {"X-Forwarded-For": f"203.0.113.{n}"}
        data = {"email": f"p{n}@example.com", "key": key}
        assert shop.client.post("/signup", data=data, headers=headers, environ_base=proxy).status_code == 303


def test_the_code_is_not_shown_for_ever(shop: Shop) -> None:
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}"
    answers = [shop.client.post(path, data={"act": "gift"}, environ_base=STRANGER).status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]
    assert shop.client.get(path, environ_base=STRANGER).status_code == 200


def test_stopping_works_in_any_flood(shop: Shop) -> None:
    """SEC-28."""
    ann = shop.join("ann@example.com")
    key = shop.key()
    flood = [
        shop.client.post("/signup", data={"email": f"p{n}@example.com", "key": key}, environ_base=STRANGER).status_code
        for n in range(30)
    ]
    assert flood.count(429) == 25
    for _ in range(30):
        assert shop.client.post(f"/u/{shop.stop_token(ann)}", environ_base=STRANGER).status_code == 200
