"""Nobody learns from an answer who is on the list: the same bytes for every address, in about the same time (SEC-1)."""

from __future__ import annotations

import re
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from funnel import feedback
from funnel.model import Event, EventKind, Receipt, Status
from tests.web.shop import Shop, make_shop
from tests.web.test_server import raw, served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from werkzeug.test import TestResponse

#: Each form that takes an address, and what it needs besides that and a key.
DOORS = ("/signup", "/again", "/popup/signup")
TRIES = 20
PEOPLE = 5


def _nobody(_: Shop, __: str) -> None:
    return


def _pending(shop: Shop, email: str) -> None:
    shop.ask(email)


def _confirmed(shop: Shop, email: str) -> None:
    shop.join(email)


def _paused(shop: Shop, email: str) -> None:
    shop.funnel.pause(shop.join(email), 14, Receipt("paused", shop.clock.now))


def _unsubscribed(shop: Shop, email: str) -> None:
    shop.stop(email)


def _told(kind: EventKind) -> Callable[[Shop, str], None]:
    def make(shop: Shop, email: str) -> None:
        person = shop.join(email)
        with shop.funnel.session() as db:
            feedback.apply(db, shop.funnel.context, Event("t", email, kind, shop.clock.now, person.id), shop.clock.now)

    return make


def _erased(shop: Shop, email: str) -> None:
    shop.stop(email)
    shop.funnel.erase(email, "test")


#: How an address comes to stand where it stands, and what the store then says of it.
STANDINGS: dict[str, tuple[Callable[[Shop, str], None], Status | None]] = {
    "new": (_nobody, None),
    "pending": (_pending, Status.PENDING),
    "confirmed": (_confirmed, Status.CONFIRMED),
    "paused": (_paused, Status.PAUSED),
    "unsubscribed": (_unsubscribed, Status.UNSUBSCRIBED),
    "bounced": (_told(EventKind.BOUNCED), Status.BOUNCED),
    "complained": (_told(EventKind.COMPLAINED), Status.COMPLAINED),
    "suppressed": (_erased, None),
}


def address(standing: str, number: int = 0) -> str:
    """Return an address of the same length for each standing."""
    return f"{standing:x<12}{number}@example.com"


def settle(shop: Shop, people: int = 1) -> None:
    """Bring so many addresses of each standing to where they stand; a day passes after it."""
    for standing, (make, wanted) in STANDINGS.items():
        for number in range(people):
            email = address(standing, number)
            make(shop, email)
            known = shop.count("SELECT count(*) FROM subscriber WHERE email_key = ?", email)
            assert (shop.person(email).status if known else None) == wanted, standing
    shop.clock.move(days=2)


def fields(shop: Shop, door: str) -> dict[str, str]:
    """Return what a form holds when its page was shown a moment ago."""
    key = shop.funnel.page_key()
    shop.clock.move(seconds=3)
    script = shop.client.get("/popup.js").text if door.startswith("/popup") else ""
    version = re.search(r'"version":\s*"([^"]+)"', script)
    return {"key": key, "version": version[1] if version else ""}


def bytes_of(answer: TestResponse) -> bytes:
    """Return an answer as it is sent, header by header, without the moment."""
    lines = [f"{name}: {value}" for name, value in answer.headers if name != "Date"]
    return "\n".join([answer.status, *lines, ""]).encode() + bytes(answer.data)


def test_every_form_that_takes_an_address_is_here(shop: Shop) -> None:
    posts = {rule.rule for rule in shop.app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert {rule for rule in posts if "<" not in rule} == set(DOORS)


@pytest.mark.parametrize("door", DOORS)
def test_every_address_gets_the_same_bytes(shop: Shop, door: str) -> None:
    """SEC-1: headers too; twice in a row as well."""
    settle(shop)
    form = fields(shop, door)
    for _ in range(2):
        answers = {
            standing: bytes_of(shop.client.post(door, data={"email": address(standing), **form}))
            for standing in STANDINGS
        }
        assert set(answers.values()) == {answers["new"]}
        assert answers["new"][:3] in {b"303", b"200"}


@pytest.mark.parametrize("door", DOORS)
def test_every_address_gets_the_same_refusal(shop: Shop, door: str) -> None:
    """Whoever forgot to wait, or comes from a page of a stranger, learns nothing either."""
    settle(shop)
    form = fields(shop, door)
    for data, headers in (({"key": "stale"}, {}), ({}, {"Origin": "https://evil.example"})):
        answers = {
            standing: (answer.status, re.sub(rb"[A-Za-z0-9_-]{39,}", b"KEY", answer.data.replace(email.encode(), b"")))
            for standing in STANDINGS
            for email in [address(standing)]
            for answer in [shop.client.post(door, data={"email": email, **form, **data}, headers=headers)]
        }
        assert set(answers.values()) == {answers["new"]}
        assert answers["new"][0][0] == "4"


def test_the_real_server_sends_the_same_bytes_too(shop: Shop) -> None:
    """SEC-1: on the wire, with what the server adds."""
    settle(shop)
    key = fields(shop, "/signup")["key"]
    found = set()
    with served(shop) as port:
        for standing in STANDINGS:
            body = f"email={address(standing).replace('@', '%40')}&key={key}".encode()
            head = b"POST /signup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
            found.add(re.sub(rb"\r\nDate: [^\r]+", b"", raw(port, head + kind + body)))
    assert len(found) == 1
    assert found.pop().startswith(b"HTTP/1.1 303 ")


def test_what_an_address_is_costs_about_the_same_time(tmp_path: Path) -> None:
    """SEC-1: reported, not judged: a busy machine says nothing about one answer. 0.5 means that nothing is to be seen.

    Seen with ``-s``: the chance that an answer to an address of that standing takes longer than one to a new one.
    """
    shop = make_shop(tmp_path)
    settle(shop, PEOPLE)
    key, client = fields(shop, "/signup")["key"], shop.client
    times: dict[str, list[float]] = {standing: [] for standing in STANDINGS}
    for turn in range(TRIES):
        for standing in STANDINGS:
            # A new address is new only once; the others come round again.
            email = address(standing, 100 + turn if standing == "new" else turn % PEOPLE)
            start = time.perf_counter()
            answer = client.post("/signup", data={"email": email, "key": key})
            times[standing].append((time.perf_counter() - start) * 1000)
            assert answer.status_code == 303
    for standing, spent in times.items():
        chance = later(spent, times["new"])
        print(f"{standing:>12} {statistics.median(spent):6.2f} ms, later than new: {chance:.2f}")
        assert 0 <= chance <= 1


def later(these: list[float], those: list[float]) -> float:
    """Return how often one of these is more than one of those: Mann and Whitney's U over all pairs."""
    return sum((a > b) + (a == b) / 2 for a in these for b in those) / (len(these) * len(those))


def test_the_rank_figure_means_what_it_says() -> None:
    assert later([2, 3], [0, 1]) == 1
    assert later([0, 1], [2, 3]) == 0
    assert later([1, 2, 3], [1, 2, 3]) == 0.5
