"""Many at the same button at the same moment: everybody is answered, and it happened once (UNS-8, P1)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from funnel.model import EventKind, Status
from funnel.store.together import Together
from tests.web.shop import Shop, key_in, make_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from werkzeug.test import TestResponse

CROWD = 100
#: So many at a time, as the server has threads; the others wait at the door.
THREADS = 16
EVENTS = "SELECT count(*) FROM event WHERE kind = ?"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(params=["alone", "together"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop where each sign-up commits by itself, and one where they share commits as in the server."""
    shop = make_shop(tmp_path)
    if request.param == "alone":
        yield shop
        return
    with closing(Together(shop.funnel.session, shop.funnel.database_path)) as writer:
        shop.funnel.writer = writer
        yield shop


def crowd(times: int, act: Callable[[int], TestResponse]) -> list[TestResponse]:
    """Do the same so many times; the first ones start together."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> TestResponse:
        if number < THREADS:
            start.wait(30)
        return act(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(times)))


def test_a_hundred_stops_are_one(shop: Shop) -> None:
    """UNS-8: 200 to all, one event, one receipt, and the first moment stays."""
    ann = shop.join("ann@example.com")
    path, stopped = f"/u/{shop.stop_token(ann)}", shop.clock.now
    answers = crowd(CROWD, lambda _: shop.client.post(path, data=ONE_CLICK))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert shop.count(EVENTS, EventKind.UNSUBSCRIBED) == 1
    assert shop.person("ann@example.com").stopped_at == stopped
    shop.clock.move(hours=1)
    assert shop.client.post(path, data=ONE_CLICK).status_code == 200
    assert shop.person("ann@example.com").stopped_at == stopped
    assert shop.count("SELECT count(*) FROM suppression") == 1
    assert shop.count("SELECT count(*) FROM consent WHERE act = 'withdrawn'") == 1
    assert shop.count("SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL") == 0


def test_a_hundred_confirmations_are_one(shop: Shop) -> None:
    """P1: one confirmation, one gift, one way through the series; the code is the same for all."""
    path = f"/c/{shop.confirm_token('ann@example.com')}"
    key = shop.key(path)
    answers = crowd(CROWD, lambda _: shop.client.post(path, data={"key": key}))
    assert {answer.status_code for answer in answers} == {200}
    with shop.funnel.session(readonly=True) as db:
        (code,) = {gift["code"] for gift in db.all("SELECT code FROM gift")}
    assert all(code in answer.text for answer in answers)
    assert shop.person("ann@example.com").status is Status.CONFIRMED
    assert shop.count(EVENTS, EventKind.CONFIRMED) == 1
    assert shop.count("SELECT count(*) FROM gift") == 1
    assert shop.count("SELECT count(*) FROM enrollment WHERE sequence = 'series'") == 1
    assert shop.count("SELECT count(*) FROM consent WHERE act = 'confirmed'") == 1


def test_fifty_sign_ups_of_one_address_are_one_person(shop: Shop) -> None:
    """P1, SEC-2: however it is written, one person is pending and one mail is due; each asking has its receipt."""
    key = shop.key()
    written = ["ann@example.com", "Ann@Example.com", "ANN@EXAMPLE.COM", " ann@example.com "]
    answers = crowd(50, lambda i: shop.client.post("/signup", data={"email": written[i % 4], "key": key}))
    assert {(answer.status_code, answer.location) for answer in answers} == {(303, answers[0].location)}
    assert shop.count("SELECT count(*) FROM subscriber") == 1
    assert shop.person("ann@example.com").status is Status.PENDING
    assert shop.count("SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL") == 1
    assert shop.count(EVENTS, EventKind.CAPTURED) == 1
    assert shop.count("SELECT count(*) FROM consent WHERE act = 'requested'") == 50


def test_fifty_visitors_are_fifty_people(shop: Shop) -> None:
    """P1: nobody who got an answer is missing, and a broken address among them hurts nobody else."""
    key = shop.key()
    wanted = [f"visitor{number}@example.com" if number % 10 else "no address" for number in range(50)]
    answers = crowd(50, lambda i: shop.client.post("/signup", data={"email": wanted[i], "key": key}))
    assert [answer.status_code for answer in answers] == [303 if number % 10 else 422 for number in range(50)]
    assert shop.count("SELECT count(*) FROM subscriber WHERE status = 'pending'") == 45
    assert shop.count("SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL") == 45


def test_pausing_and_stopping_at_once_ends_in_a_stop(shop: Shop) -> None:
    """P5: whatever comes in what order, who pressed stop gets nothing more."""
    ann = shop.join("ann@example.com")
    stop, prefer = f"/u/{shop.stop_token(ann)}", f"/p/{shop.preferences_token(ann)}"
    acts = ["pause-14", "resume", "pause-28"]

    def act(number: int) -> TestResponse:
        if number % 4 == 0:
            return shop.client.post(stop, data=ONE_CLICK)
        return shop.client.post(prefer, data={"act": acts[number % 3]})

    assert {answer.status_code for answer in crowd(60, act)} == {200}
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED
    assert shop.count(EVENTS, EventKind.UNSUBSCRIBED) == 1
    assert shop.count("SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL") == 0


def test_a_stop_is_answered_while_a_crowd_signs_up(shop: Shop) -> None:
    """SEC-28: the stop is not starved, and holds."""
    ann = shop.join("ann@example.com")
    stop, key = f"/u/{shop.stop_token(ann)}", shop.key()

    def act(number: int) -> TestResponse:
        if number == 30:
            return shop.client.post(stop, data=ONE_CLICK)
        return shop.client.post("/signup", data={"email": f"v{number}@example.com", "key": key})

    answers = crowd(60, act)
    assert answers.pop(30).status_code == 200
    assert {answer.status_code for answer in answers} == {303}
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_the_key_of_a_page_serves_all_who_see_it(shop: Shop) -> None:
    """A page kept by a browser or opened twice is no reason to refuse anybody."""
    keys = {key_in(shop.client.get("/")) for _ in range(3)}
    shop.clock.move(seconds=5)
    for key in keys:
        assert shop.client.post("/signup", data={"email": "ann@example.com", "key": key}).status_code == 303
