"""The links in mails: what a GET may do (nothing), what a POST does, and whom a link is for."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from funnel.model import EventKind, GiftStatus, Status
from funnel.store import consents, events
from funnel.tokens import TOKEN_BYTES
from tests.web.shop import Shop, key_in, token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

#: Where forms of other pages are sent to.
POSTED = {"/signup", "/popup/signup"}
EVENTS = "SELECT count(*) FROM event WHERE kind = ?"


def addresses(shop: Shop) -> dict[str, str]:
    """Return a working address for every route, by its rule; a route that is new here must be given one."""
    ann = shop.join("ann.example.person@example.com")
    c, g = shop.confirm_token("bob@example.com"), shop.guide_token(ann)
    special = {
        "/c/<token>": f"/c/{c}",
        "/g/<token>": f"/g/{g}",
        "/g/<token>/guide.pdf": f"/g/{g}/guide.pdf",
        "/g/<token>/guide.html": f"/g/{g}/guide.html",
        "/g/<token>/gift.ics": f"/g/{g}/gift.ics",
        "/u/<token>": f"/u/{shop.stop_token(ann)}",
        "/u/<token>/undo": f"/u/{shop.stop_token(ann)}/undo",
        "/p/<token>": f"/p/{shop.preferences_token(ann)}",
        "/f/<name>": "/f/fig-01.png",
    }
    rules = {rule.rule for rule in shop.app.url_map.iter_rules()}
    return {rule: special.get(rule, rule) for rule in sorted(rules)}


def test_looking_changes_nothing(shop: Shop) -> None:
    """BOT-1, UNS-6, P6."""
    paths = addresses(shop)
    before = shop.dump()
    for rule, path in paths.items():
        for method in ("GET", "HEAD", "OPTIONS"):
            for headers in ({}, {"Sec-Purpose": "prefetch"}, {"X-HTTP-Method-Override": "POST"}):
                answer = shop.client.open(path, method=method, headers=headers)
                expected = 405 if rule in POSTED and method != "OPTIONS" else 200
                assert answer.status_code == expected, (method, path)
                assert shop.dump() == before, (method, path)


def test_head_is_get_without_the_body(shop: Shop) -> None:
    """SEC-31."""
    for rule, path in addresses(shop).items():
        get, head = shop.client.get(path), shop.client.head(path)
        assert head.data == b""
        assert head.status == get.status
        if rule not in {"/", "/again", "/c/<token>", "/popup.json"}:  # their key is of the moment
            assert sorted(head.headers) == sorted(get.headers), path


def test_a_wrong_method_is_told_the_right_ones(shop: Shop) -> None:
    """SEC-31."""
    paths = addresses(shop)
    before = shop.dump()
    for rule, path in paths.items():
        for method in ("PUT", "DELETE", "PATCH", "BREW"):
            answer = shop.client.open(path, method=method)
            assert answer.status_code == 405
            assert ("POST" if rule in POSTED else "GET") in answer.headers["Allow"]
    assert shop.dump() == before


@pytest.mark.parametrize("route", ["c", "g", "u", "p"])
def test_no_flipped_bit_opens_a_link(shop: Shop, route: str) -> None:
    """SEC-5."""
    paths = addresses(shop)
    token = token_of(paths[f"/{route}/<token>"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    before = shop.dump()
    unknown = shop.client.get(f"/{route}/x").data
    for bit in range(TOKEN_BYTES * 8):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        path = f"/{route}/{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}"
        answers = shop.client.get(path), shop.client.post(path, data={"act": "stop"})
        assert [(a.status_code, a.data) for a in answers] == [(404, unknown)] * 2, bit
    assert shop.dump() == before


@pytest.mark.parametrize("route", ["c", "g", "u", "p"])
def test_a_link_opens_its_own_door_only(shop: Shop, route: str) -> None:
    """SEC-5, SEC-16."""
    paths = addresses(shop)
    before = shop.dump()
    tokens = [token_of(path) for rule, path in paths.items() if rule.endswith("/<token>") and rule[1] != route]
    odd = ["é", "%00", "..%2f..%2ffunnel.toml", "%2e%2e", "a" * 5000, "%ff%fe", "-", tokens[0] + "=", tokens[0][:-1]]
    for token in tokens + odd:
        for method in ("GET", "POST"):
            assert shop.client.open(f"/{route}/{token}", method=method).status_code == 404, token
    assert shop.dump() == before


def test_no_path_reaches_another_file(shop: Shop) -> None:
    """SEC-16."""
    guide = addresses(shop)["/g/<token>"]
    for name in (
        "pages.json",
        "../guide.pdf",
        "..%2f..%2ffunnel.secret",
        "%2e%2e/guide.pdf",
        "guide.pdf/",
        "GUIDE.PDF",
    ):
        assert shop.client.get(f"{guide}/{name}").status_code == 404, name


def at_once(times: int, act: Callable[[], TestResponse]) -> list[int]:
    with ThreadPoolExecutor(times) as pool:
        return [done.status_code for done in pool.map(lambda _: act(), range(times))]


# --- confirming ----------------------------------------------------------------------------------


def test_confirming_takes_a_look_a_second_and_a_press(shop: Shop) -> None:
    """BOT-2, UNS-7."""
    token = shop.confirm_token("ann@example.com")
    page = shop.client.get(f"/c/{token}")
    assert "a•••@e•••.com" in page.text
    assert "ann@" not in page.text
    assert page.text.count("<button") == 1
    assert "<script" not in page.text
    assert "refresh" not in page.text
    for data in ({}, {"key": key_in(page)}, {"key": shop.funnel.page_key(999)}):
        early = shop.client.post(f"/c/{token}", data=data)
        assert early.status_code == 422
        assert "once more" in early.text
    assert shop.person("ann@example.com").status is Status.PENDING
    shop.clock.move(seconds=1.1)
    assert shop.client.post(f"/c/{token}", data={"key": key_in(page)}).status_code == 200
    assert shop.person("ann@example.com").status is Status.CONFIRMED


def test_a_key_shown_for_one_request_confirms_no_other(shop: Shop) -> None:
    """BOT-2."""
    mine, yours = shop.confirm_token("me@example.com"), shop.confirm_token("you@example.com")
    key = shop.key(f"/c/{mine}")
    assert shop.client.post(f"/c/{yours}", data={"key": key}).status_code == 422
    assert shop.client.post(f"/c/{yours}", data={"key": shop.key("/")}).status_code == 422
    assert shop.person("you@example.com").status is Status.PENDING


def test_the_thank_you_page_has_guide_gift_and_way_out(shop: Shop) -> None:
    """SEC-17, SEC-19: the code is on the page after a press only, and in no address."""
    page = shop.confirm(shop.confirm_token("ann@example.com"))
    ann = shop.person("ann@example.com")
    gift = shop.funnel.gift_of(ann)
    assert gift is not None
    assert gift.code in page.text
    assert "Good until 5 January 2027" in page.text
    assert str(shop.funnel.links.download(ann.id, shop.clock.now)) in page.text
    assert str(shop.funnel.links.preferences(ann.id)) in page.text
    assert "ann@" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    with shop.funnel.session(readonly=True) as db:
        receipt = consents.of(db, ann.id)[-1]
    assert (receipt.act, receipt.wording, receipt.page) == ("confirmed", "Yes, send me the guide", "/c")
    assert receipt.ip == "127.0.0.1"


def test_confirming_twice_is_confirming_once(shop: Shop) -> None:
    """F-51."""
    token = shop.confirm_token("ann@example.com")
    first = shop.confirm(token)
    before = shop.dump()
    second = shop.confirm(token)
    assert second.status_code == first.status_code == 200
    gift = shop.funnel.gift_of(shop.person("ann@example.com"))
    assert gift is not None
    assert gift.code in second.text
    assert shop.dump() == before


def test_many_confirm_at_the_same_moment(shop: Shop) -> None:
    """F-51."""
    token = shop.confirm_token("ann@example.com")
    key = shop.key(f"/c/{token}")
    assert at_once(16, lambda: shop.client.post(f"/c/{token}", data={"key": key})) == [200] * 16
    assert shop.count(EVENTS, EventKind.CONFIRMED) == 1
    assert shop.count("SELECT count(*) FROM gift") == 1
    assert shop.count("SELECT count(*) FROM enrollment WHERE sequence = 'series'") == 1


def test_an_expired_link_helps(shop: Shop) -> None:
    """F-51, SEC-6."""
    token = shop.confirm_token("ann@example.com")
    shop.clock.move(days=7, seconds=1)
    for method in ("GET", "POST"):
        page = shop.client.open(f"/c/{token}", method=method)
        assert page.status_code == 410
        assert 'href="https://go.clinic.example/"' in page.text
    assert shop.person("ann@example.com").status is Status.PENDING


def test_stopping_after_asking_needs_a_new_request(shop: Shop) -> None:
    """F-51, SEC-42."""
    token = shop.confirm_token("ann@example.com")
    shop.confirm(token)
    shop.client.post(f"/u/{shop.stop_token(shop.person('ann@example.com'))}")
    page = shop.confirm(token)
    assert page.status_code == 410
    assert "told us to stop" in page.text
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED


def test_somebody_forgotten_cannot_be_confirmed(shop: Shop) -> None:
    """F-51."""
    token = shop.confirm_token("ann@example.com")
    shop.funnel.erase("ann@example.com", "test")
    before = shop.dump()
    assert shop.client.get(f"/c/{token}").status_code == 410
    assert shop.client.post(f"/c/{token}", data={"key": shop.key()}).status_code == 410
    assert shop.dump() == before


# --- the guide's page ----------------------------------------------------------------------------


def test_the_guides_page_shows_neither_address_nor_code(shop: Shop) -> None:
    """SEC-17."""
    ann = shop.join("ann@example.com")
    gift = shop.funnel.gift_of(ann)
    assert gift is not None
    path = f"/g/{shop.guide_token(ann)}"
    page = shop.client.get(path)
    assert gift.code not in page.text
    assert "ann@" not in page.text
    assert "72 pages, PDF, 0.3 MB" in page.text
    shown = shop.client.post(path, data={"act": "gift"})
    assert gift.code in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert shop.count(EVENTS, EventKind.DOWNLOADED) == 0


def test_pressing_open_is_recorded_and_leads_to_the_file(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/g/{shop.guide_token(ann)}"
    for _ in range(3):
        answer = shop.client.post(path, data={"act": "open"})
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{path}/guide.pdf"
    assert shop.count(EVENTS, EventKind.DOWNLOADED) == 1
    shop.client.get(f"{path}/guide.pdf")
    assert shop.count(EVENTS, EventKind.DOWNLOADED) == 1


@pytest.mark.parametrize("act", ["", "OPEN", "x", "stop"])
def test_an_unknown_button_does_nothing(shop: Shop, act: str) -> None:
    ann = shop.join("ann@example.com")
    gift = shop.funnel.gift_of(ann)
    assert gift is not None
    before = shop.dump()
    page = shop.client.post(f"/g/{shop.guide_token(ann)}", data={"act": act})
    assert page.status_code == 400
    assert gift.code not in page.text
    if act != "stop":
        assert shop.client.post(f"/p/{shop.preferences_token(ann)}", data={"act": act}).status_code == 400
    assert shop.dump() == before


@pytest.mark.parametrize(
    ("status", "words"),
    [(GiftStatus.REDEEMED, "used already"), (GiftStatus.VOID, "no longer valid"), (GiftStatus.SENT, "Good until")],
)
def test_the_gift_says_what_became_of_it(shop: Shop, status: GiftStatus, words: str) -> None:
    ann = shop.join("ann@example.com")
    gift = shop.funnel.gift_of(ann)
    assert gift is not None
    with shop.funnel.session() as db, db.transaction():
        redeemed = 1 if status is GiftStatus.REDEEMED else None
        db.execute("UPDATE gift SET status = ?, redeemed_at = ?", (status.value, redeemed))
    page = shop.client.post(f"/g/{shop.guide_token(ann)}", data={"act": "gift"})
    assert words in page.text
    assert (gift.code in page.text) == (status is GiftStatus.SENT)


def test_an_old_guide_link_offers_a_new_one(shop: Shop) -> None:
    """SEC-6."""
    path = f"/g/{shop.guide_token(shop.join('ann@example.com'))}"
    shop.clock.move(days=91)
    for end in ("", "/guide.pdf", "/guide.html"):
        assert shop.client.get(path + end).status_code == 410


# --- stopping ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
         "multipart/form-data; boundary=b"),
        (b"List-Unsubscribe=One-Click&more=1&List-Unsubscribe=x", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
        (b"", ""),
        (b"{}", "application/json"),
        (b"\xff\xfe\0", "multipart/form-data"),
        (b"x" * 100_000, "text/plain"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("origin", [None, "https://mail.example", "null"])
def test_any_post_stops_the_mail(shop: Shop, body: bytes, kind: str, origin: str | None) -> None:
    """UNS-4, UNS-5."""
    ann = shop.join("ann@example.com")
    headers = {"Origin": origin, "Referer": "https://mail.example/inbox"} if origin else {}
    answer = shop.client.post(f"/u/{shop.stop_token(ann)}", data=body, content_type=kind, headers=headers)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED
    with shop.funnel.session(readonly=True) as db:
        receipt = consents.of(db, ann.id)[-1]
    assert (receipt.act, receipt.wording, receipt.page) == ("withdrawn", "Stop all emails", "/u")


def test_looking_at_the_stop_page_stops_nothing(shop: Shop) -> None:
    """UNS-6, UNS-11."""
    ann = shop.join("ann@example.com")
    page = shop.client.get(f"/u/{shop.stop_token(ann)}?confirm=1&List-Unsubscribe=One-Click")
    assert "a•••@e•••.com" in page.text
    assert (page.text.count("<button"), page.text.count("<input")) == (1, 0)
    assert shop.person("ann@example.com").status is Status.CONFIRMED


def test_many_stop_at_the_same_moment(shop: Shop) -> None:
    """UNS-8."""
    path = f"/u/{shop.stop_token(shop.join('ann@example.com'))}"
    assert at_once(16, lambda: shop.client.post(path)) == [200] * 16
    stopped = shop.person("ann@example.com").stopped_at
    assert shop.count(EVENTS, EventKind.UNSUBSCRIBED) == 1
    shop.clock.move(days=1)
    assert shop.client.post(path).status_code == 200
    assert shop.person("ann@example.com").stopped_at == stopped


def test_a_stop_link_works_for_ever(shop: Shop) -> None:
    """UNS-9."""
    path = f"/u/{shop.stop_token(shop.join('ann@example.com'))}"
    shop.clock.move(days=4000)
    assert shop.client.post(path).status_code == 200
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED
    assert "off the list already" in shop.client.get(path).text


def test_somebody_forgotten_is_not_on_the_list(shop: Shop) -> None:
    """UNS-9."""
    ann = shop.join("ann@example.com")
    shop.funnel.erase("ann@example.com", "test")
    before = shop.dump()
    for path in (f"/u/{shop.stop_token(ann)}", f"/p/{shop.preferences_token(ann)}"):
        page = shop.client.get(path)
        assert page.status_code == 200
        assert "not on our list" in page.text
    page = shop.client.post(f"/u/{shop.stop_token(ann)}", data={"List-Unsubscribe": "One-Click"})
    assert page.status_code == 200
    assert "not on our list" in page.text
    assert shop.dump() == before


# --- preferences ---------------------------------------------------------------------------------


def test_pausing_going_on_and_stopping(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    path = f"/p/{shop.preferences_token(ann)}"
    assert "every few days" in shop.client.get(path).text
    assert "after 8 December 2026" in shop.client.post(path, data={"act": "pause-14"}).text
    assert "after 22 December 2026" in shop.client.post(path, data={"act": "pause-28"}).text
    assert shop.person("ann@example.com").status is Status.PAUSED
    assert "every few days" in shop.client.post(path, data={"act": "resume"}).text
    assert shop.person("ann@example.com").status is Status.CONFIRMED
    assert "no emails from us" in shop.client.post(path, data={"act": "stop"}).text
    assert shop.person("ann@example.com").status is Status.UNSUBSCRIBED
    with shop.funnel.session(readonly=True) as db:
        acts = [(r.act, r.wording) for r in consents.of(db, ann.id)][2:]
    assert acts == [
        ("paused", "Pause for 2 weeks"),
        ("paused", "Pause for 4 weeks"),
        ("resumed", "Go on now"),
        ("withdrawn", "Stop all emails"),
    ]


@pytest.mark.parametrize("act", ["resume", "pause-14", "stop"])
def test_preferences_do_not_bring_back_who_stopped(shop: Shop, act: str) -> None:
    ann = shop.stop("ann@example.com")
    before = shop.dump()
    page = shop.client.post(f"/p/{shop.preferences_token(ann)}", data={"act": act})
    assert "no emails from us" in page.text
    assert "Saved" not in page.text
    assert shop.dump() == before


def test_going_on_when_nothing_was_paused_is_no_event(shop: Shop) -> None:
    ann = shop.join("ann@example.com")
    shop.client.post(f"/p/{shop.preferences_token(ann)}", data={"act": "resume"})
    with shop.funnel.session(readonly=True) as db:
        assert events.last(db, ann.id, (EventKind.RESUMED,)) is None
