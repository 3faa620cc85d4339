"""A new address, page by page: asked from the preferences, answered from the new inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from funnel.model import Status
from funnel.signup import MOVE
from funnel.store import enrollments
from tests.web.shop import make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.shop import Shop


def new_link(shop: Shop, email: str) -> str:
    with shop.funnel.session(readonly=True) as db:
        way = enrollments.latest(db, shop.person(email).id, MOVE)
    assert way is not None
    return f"/c/{shop.funnel.links.confirm(way.id, way.anchor_at).token}"


def test_the_whole_way(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/p/{shop.preferences_token(ann)}"
    assert 'value="move"' in shop.client.get(path).text
    asked = shop.client.post(path, data={"act": "move", "email": "new@example.com"})
    assert asked.status_code == 200
    assert "If that address can be used" in asked.text
    assert "new@example.com" not in asked.text

    link = new_link(shop, "new@example.com")
    page = shop.client.get(link)
    assert "Is this your new address?" in page.text
    assert shop.person("ann@example.com").id == ann.id  # looking changes nothing
    done = shop.client.post(link, data={"key": shop.key(link)})

    assert "We write to you here" in done.text
    assert shop.person("new@example.com").id == ann.id
    assert "We write to you here" in shop.client.post(link, data={"key": shop.key(link)}).text  # twice is once
    assert shop.client.get(path).status_code == 200  # the old link of the mails is still ours


def test_every_address_gets_the_same_answer(shop: Shop) -> None:
    """SEC-1."""
    ann = shop.join("ann@example.com")
    shop.join("ben@example.com")
    shop.stop("gone@example.com")
    path = f"/p/{shop.preferences_token(ann)}"
    answers = {
        shop.client.post(path, data={"act": "move", "email": email}).data
        for email in ("new@example.com", "ben@example.com", "gone@example.com", "ann@example.com")
    }
    assert len(answers) == 1


def test_what_is_no_address_is_told_and_kept(shop: Shop) -> None:
    path = f"/p/{shop.preferences_token(shop.join('ann@example.com'))}"
    answer = shop.client.post(path, data={"act": "move", "email": "new@clinic"})
    assert answer.status_code == 422
    assert 'value="new@clinic"' in answer.text
    assert 'aria-describedby="problem"' in answer.text


def test_after_a_stop_the_link_says_that_it_is_over(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    shop.client.post(f"/p/{shop.preferences_token(ann)}", data={"act": "move", "email": "new@example.com"})
    link = new_link(shop, "new@example.com")
    key = shop.key(link)
    shop.client.post(f"/u/{shop.stop_token(ann)}")
    answer = shop.client.post(link, data={"key": key})

    assert (answer.status_code, "This request is over" in answer.text) == (410, True)
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_a_likely_slip_is_asked_about(shop: Shop) -> None:
    path = f"/p/{shop.preferences_token(shop.join('ann@example.com'))}"
    slip = {"act": "move", "email": "ann@gmial.com"}
    answer = shop.client.post(path, data=slip)
    assert answer.status_code == 422
    assert "Did you mean" in answer.text
    assert 'name="take" value="ann@gmail.com"' in answer.text

    taken = shop.client.post(path, data=slip | {"typed": "ann@gmial.com", "take": "ann@gmail.com"})
    assert taken.status_code == 200
    assert shop.person("ann@gmail.com").status is Status.PENDING
    assert shop.client.post(path, data=slip | {"keep": "ann@gmial.com"}).status_code == 200
    assert shop.person("ann@gmial.com").status is Status.PENDING


@pytest.mark.parametrize("act", ["form", "post"])
def test_without_its_mail_there_is_no_such_choice(tmp_path: Path, act: str) -> None:
    shop = make_shop(tmp_path, moves=False)
    path = f"/p/{shop.preferences_token(shop.join('ann@example.com'))}"
    if act == "form":
        assert 'value="move"' not in shop.client.get(path).text
    else:
        assert shop.client.post(path, data={"act": "move", "email": "new@example.com"}).status_code == 400
