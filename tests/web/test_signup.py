"""The form: one answer for everybody, proof of what was shown, and nothing kept from programs."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import feedback
from funnel.errors import AddressError
from funnel.model import Event, EventKind, Receipt
from funnel.store import consents
from tests.web.shop import Shop, key_in, make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.test import TestResponse

PEOPLE = "SELECT count(*) FROM subscriber"


def shape(response: TestResponse) -> tuple[str, list[tuple[str, str]], bytes]:
    return response.status, sorted(response.headers), response.data


def receipts(shop: Shop, email: str) -> tuple[Receipt, ...]:
    with shop.funnel.session(readonly=True) as db:
        return consents.of(db, shop.person(email).id)


def text_of(response: TestResponse) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def test_every_address_gets_the_same_answer(shop: Shop) -> None:
    """SEC-1."""
    shop.ask("pending@example.com")
    shop.join("confirmed@example.com")
    shop.stop("stopped@example.com")
    gone, bounced = shop.join("gone@example.com"), shop.join("bounced@example.com")
    shop.funnel.erase("gone@example.com", "test")
    with shop.funnel.session() as db:
        event = Event("test", "1", EventKind.BOUNCED, shop.clock.now, bounced.id)
        feedback.apply(db, shop.funnel.context, event, shop.clock.now)
    assert shop.person("bounced@example.com").status == "bounced"
    assert gone.status == "confirmed"
    names = ("new", "pending", "confirmed", "stopped", "gone", "bounced")
    answers = [shape(shop.sign_up(f"{name}@example.com")) for name in names]
    answers.append(shape(shop.sign_up("trapped@example.com", subject="x")))
    assert answers[0][0] == "303 SEE OTHER"
    assert dict(answers[0][1])["Location"] == "/check-inbox"
    assert all(answer == answers[0] for answer in answers)


def test_the_next_page_says_nothing_about_anybody(shop: Shop) -> None:
    page = shop.client.get("/check-inbox")
    assert page.status_code == 200
    assert "hello@clinic.example" in page.text
    assert "@" not in page.text.replace("hello@clinic.example", "")


def test_the_receipt_holds_the_very_words_of_the_page(shop: Shop) -> None:
    """LAW-1."""
    page = shop.client.get("/")
    shop.clock.move(seconds=5)
    data = {"email": "a@example.com", "key": key_in(page), "zone": "Asia/Tokyo", "locale": "ja", "page": "/blog/backs"}
    shop.client.post("/signup", data=data, headers={"User-Agent": "Browser/1"})
    [receipt] = receipts(shop, "a@example.com")
    assert receipt.wording in text_of(page)
    assert "72-page guide" in receipt.wording
    assert (receipt.act, receipt.page, receipt.locale) == ("requested", "/blog/backs", "ja")
    assert (receipt.ip, receipt.agent, receipt.marketing) == ("127.0.0.1", "Browser/1", None)
    assert shop.person("a@example.com").zone == "Asia/Tokyo"


def test_nothing_odd_is_kept_from_the_hidden_fields(shop: Shop) -> None:
    """HLT-1."""
    shop.sign_up("a@example.com", zone="Mars/Base", locale="<script>", page="/x?illness=flu", name="Ann")
    person = shop.person("a@example.com")
    assert (person.zone, person.locale, person.source, person.name) == ("Europe/Berlin", "en-US", "", "")
    assert "illness" not in shop.dump()


def test_the_marketing_box_is_separate_and_unticked(tmp_path: Path) -> None:
    """LAW-4, POP-10."""
    shop = make_shop(tmp_path, "[signup]\nmarketing_checkbox = true\nname_field = true\n")
    page = shop.client.get("/").text
    assert 'name="marketing"' in page
    assert "checked" not in page
    shop.sign_up("no@example.com", name="Ann")
    shop.sign_up("yes@example.com", marketing="yes")
    assert receipts(shop, "no@example.com")[0].marketing is False
    assert receipts(shop, "yes@example.com")[0].marketing is True
    assert "news and offers" in receipts(shop, "yes@example.com")[0].wording
    assert shop.person("no@example.com").name == "Ann"


def test_the_plain_form_asks_for_the_address_only(shop: Shop) -> None:
    """HLT-1, POP-6."""
    page = shop.client.get("/").text
    shown = [tag for tag in re.findall(r"<input[^>]*>", page) if 'type="hidden"' not in tag]
    assert len(shown) == 2  # the address, and the trap no person sees
    assert 'type="email" autocomplete="email" inputmode="email"' in shown[0]
    assert 'tabindex="-1" autocomplete="off"' in shown[1]
    assert '<label for="email">' in page
    assert "<script" not in page


@pytest.mark.parametrize("typed", ["nobody", "a@b", "a b@example.com", "", "<b>x</b>@", "a@example.com\0", "é" * 400])
def test_a_mistyped_address_comes_back_with_a_sentence(shop: Shop, typed: str) -> None:
    page = shop.sign_up(typed)
    assert page.status_code == 422
    assert 'aria-invalid="true" aria-describedby="problem"' in page.text
    assert re.search(r'id="problem">[^<]{10,}<', page.text)
    assert "<b>x" not in page.text
    assert shop.count(PEOPLE) == 0


def test_the_mistyped_text_is_kept(shop: Shop) -> None:
    assert 'value="ann.example.com"' in shop.sign_up("ann.example.com").text


def test_the_trap_catches_without_a_word(shop: Shop) -> None:
    assert shop.sign_up("a@example.com", subject="cheap pills").status_code == 303
    assert shop.count(PEOPLE) == 0


@pytest.mark.parametrize("seconds", [0, 0.5, 24 * 3600 + 60])
def test_a_form_too_fast_or_too_old_asks_once_more(shop: Shop, seconds: float) -> None:
    """BOT-2."""
    key = key_in(shop.client.get("/"))
    shop.clock.move(seconds=seconds)
    page = shop.client.post("/signup", data={"email": "a@example.com", "key": key})
    assert page.status_code == 422
    assert "once more" in page.text
    assert 'value="a@example.com"' in page.text
    assert shop.count(PEOPLE) == 0
    shop.clock.move(seconds=2)
    again = shop.client.post("/signup", data={"email": "a@example.com", "key": key_in(page)})
    assert again.status_code == 303
    assert shop.count(PEOPLE) == 1


@pytest.mark.parametrize("key", ["", "x", "é", "A" * 39])
def test_a_made_up_key_is_no_key(shop: Shop, key: str) -> None:
    assert shop.client.post("/signup", data={"email": "a@example.com", "key": key}).status_code == 422
    assert shop.count(PEOPLE) == 0


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        (None, None, 303),
        ("https://go.clinic.example", None, 303),
        ("https://clinic.example", "cross-site", 303),
        ("null", "same-origin", 303),
        ("null", None, 403),
        ("null", "cross-site", 403),
        ("http://go.clinic.example", None, 403),
        ("http://clinic.example", None, 403),
        ("https://clinic.example.evil.example", None, 403),
        ("https://evil.example", "cross-site", 403),
        ("https://clinic.example:444", None, 403),
        ("HTTPS://CLINIC.EXAMPLE/", None, 403),
        ("", None, 403),
    ],
)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_known_pages_may_send_the_form(
    shop: Shop, origin: str | None, site: str | None, status: int, kind: str
) -> None:
    """SEC-4."""
    headers = {name: value for name, value in (("Origin", origin), ("Sec-Fetch-Site", site)) if value is not None}
    data = {"email": "a@example.com", "key": shop.key()}
    answer = shop.client.post("/signup", data=data, headers=headers, content_type=kind)
    assert answer.status_code == status
    assert shop.count(PEOPLE) == (1 if status == 303 else 0)
    assert "Origin" in answer.headers["Vary"]
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    assert allowed == (origin if origin == "https://clinic.example" else None)
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_an_allowed_page_may_read_the_refusal_too(shop: Shop) -> None:
    data = {"email": "no address", "key": shop.key()}
    answer = shop.client.post("/signup", data=data, headers={"Origin": "https://clinic.example"})
    assert answer.status_code == 422
    assert answer.headers["Access-Control-Allow-Origin"] == "https://clinic.example"


@pytest.mark.parametrize(
    ("peer", "forwarded", "kept"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.7", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.7", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.7", "6.6.6.6, 198.51.100.1, 10.0.0.8", "198.51.100.1"),
        ("10.0.0.7", "garbage", "10.0.0.7"),
        ("10.0.0.7", None, "10.0.0.7"),
        ("2001:db8::1", "2001:db8:1::5", "2001:db8:1::5"),
        ("2001:db8::2", "2001:db8:1::5", "2001:db8::2"),
    ],
)
def test_the_address_in_the_proof_is_the_real_one(shop: Shop, peer: str, forwarded: str | None, kept: str) -> None:
    """LAW-2."""
    headers = {"X-Forwarded-For": forwarded, "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    shop.client.post(
        "/signup",
        data={"email": "a@example.com", "key": shop.key()},
        headers={name: value for name, value in headers.items() if value},
        environ_base={"REMOTE_ADDR": peer},
    )
    assert receipts(shop, "a@example.com")[0].ip == kept


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/xml", "x"])
def test_other_kinds_of_body_are_refused(shop: Shop, kind: str) -> None:
    """SEC-31."""
    body = f'{{"email": "a@example.com", "key": "{shop.key()}"}}'
    assert shop.client.post("/signup", data=body, content_type=kind).status_code == 415
    assert shop.count(PEOPLE) == 0


def test_a_field_sent_twice_counts_as_none(shop: Shop) -> None:
    """SEC-31."""
    body = f"key={shop.key()}&email=a@example.com&email=b@example.com"
    answer = shop.client.post("/signup", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 422
    assert shop.count(PEOPLE) == 0


def test_a_form_larger_than_ours_is_refused(shop: Shop) -> None:
    """SEC-28."""
    data = {"email": "a@example.com", "key": shop.key(), "page": "x" * 17_000}
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        assert shop.client.post("/signup", data=data, content_type=kind).status_code == 413
    assert shop.count(PEOPLE) == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.text("email=&;%\0a@b.c\ufffd", max_size=100).map(str.encode),
        st.lists(st.binary(max_size=8), max_size=300).map(b"&".join),
    ),
    kind=st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-7",
            "multipart/form-data",
            "multipart/form-data; boundary=a@b.c",
            "",
        ]
    ),
)
def test_no_body_breaks_the_form(shop: Shop, body: bytes, kind: str) -> None:
    """SEC-31."""
    before = shop.dump()
    assert 400 <= shop.client.post("/signup", data=body, content_type=kind).status_code < 500
    assert shop.dump() == before


def test_a_bad_address_is_told_by_the_funnel_itself(shop: Shop) -> None:
    with pytest.raises(AddressError):
        shop.ask("nobody")


def test_the_button_works_for_a_day(shop: Shop) -> None:
    key = key_in(shop.client.get("/"))
    shop.clock.now += timedelta(hours=23, minutes=59)
    assert shop.client.post("/signup", data={"email": "a@example.com", "key": key}).status_code == 303
