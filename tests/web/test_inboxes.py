"""The way to the inbox, and the address somebody may have meant: offered, never forced, and the same for everybody."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.web.inboxes import BY_DOMAIN, INBOXES, OFTEN, REAL, inbox_of, meant, one_slip, search_url
from tests.web.shop import Shop, key_in

PEOPLE = "SELECT count(*) FROM subscriber"
NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ann@gmial.com", "gmail.com"),
        ("ann@gmai.com", "gmail.com"),
        ("ann@gmaill.com", "gmail.com"),
        ("ann@gamil.com", "gmail.com"),
        ("Ann@GMAIL.CON", "gmail.com"),
        ("ann@gmail.co.uk", "gmail.com"),
        ("ann@gmailcom", "gmail.com"),
        ("ann@hotmial.com", "hotmail.com"),
        ("ann@hotmail.cm", "hotmail.com"),
        ("ann@outlok.com", "outlook.com"),
        ("ann@yaho.com", "yahoo.com"),
        ("ann@yahoo.cmo", "yahoo.com"),
        ("ann@iclould.com", "icloud.com"),
        ("ann@icoud.con", "icloud.com"),
        ("ann@comcast.ner", "comcast.net"),
    ],
)
def test_a_slip_is_understood(typed: str, offered: str) -> None:
    assert meant(typed) == f"{typed.partition('@')[0]}@{offered}"


@pytest.mark.parametrize(
    "typed",
    ["ann@gmail.com", "ann@ymail.com", "ann@mail.com", "ann@email.com", "ann@gmx.de", "ann@yahoo.co.uk", "ann@yahoo.fr",
     "ann@hotmail.de", "ann@clinic.example", "ann@gmail.com.evil.example", "ann", "@gmial.com", "", "ann@",
     "ann@cloud.com", "ann@outlook.cl", "ann@g.com"],
)  # fmt: skip
def test_what_may_well_be_right_is_left_alone(typed: str) -> None:
    assert meant(typed) == ""


@given(NAMES, st.sampled_from(sorted(BY_DOMAIN)))
def test_a_known_domain_is_never_doubted(name: str, domain: str) -> None:
    assert meant(f"{name}@{domain}") == ""
    assert inbox_of(f"{name}@{domain.upper()}") == BY_DOMAIN[domain].id


@given(NAMES, st.sampled_from(sorted(OFTEN)), st.data())
def test_two_neighbours_changed_over_are_one_slip(name: str, known: str, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(known) - 2))
    slip = known[:i] + known[i + 1] + known[i] + known[i + 2 :]
    if slip != known and slip not in REAL:
        assert meant(f"{name}@{slip}.{OFTEN[known]}") == f"{name}@{known}.{OFTEN[known]}"


@given(st.text("ab", max_size=5), st.text("ab", max_size=5))
def test_a_slip_is_what_a_slow_and_plain_search_finds(a: str, b: str) -> None:
    """Against every string one edit away from ``a``."""
    cut = {a[:i] + a[i + 1 :] for i in range(len(a))}
    put = {a[:i] + c + a[i:] for i in range(len(a) + 1) for c in "ab"}
    changed = {a[:i] + c + a[i + 1 :] for i in range(len(a)) for c in "ab"}
    swapped = {a[:i] + a[i + 1] + a[i] + a[i + 2 :] for i in range(len(a) - 1)}
    assert one_slip(a, b) == (b in (cut | put | changed | swapped) - {a})


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    assert meant(text) in {"", f"{text.strip().rpartition('@')[0]}@{meant(text).rpartition('@')[2]}"}
    assert inbox_of(text) in {"", *INBOXES}


def test_gmail_is_asked_to_look_into_spam_too() -> None:
    url = search_url(INBOXES["gmail"], "hello+x@clinic.example")
    assert url == "https://mail.google.com/mail/u/0/#search/in%3Aanywhere%20from%3Ahello%2Bx%40clinic.example"
    assert search_url(INBOXES["yahoo"], "hello@clinic.example") == "https://mail.yahoo.com/"


# --- on the pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("inbox", INBOXES.values(), ids=lambda inbox: inbox.id)
def test_the_next_page_opens_the_right_inbox(shop: Shop, inbox: object) -> None:
    """The link follows the typed domain; the address is in no URL (SEC-17)."""
    found = next(each for each in INBOXES.values() if each == inbox)
    answer = shop.sign_up(f"ann.lee@{min(found.domains)}")
    assert answer.headers["Location"] == f"/check-inbox?at={found.id}"
    page = shop.client.get(answer.headers["Location"])
    assert f"Open {found.name}" in page.text
    (link,) = re.findall(r'<a class="button" href="([^"]+)" rel="noopener noreferrer">', page.text)
    assert link.startswith(found.url)
    assert "ann" not in link


@pytest.mark.parametrize("at", ["", "x", "gmail/", "<b>", "https://evil.example"])
def test_an_unknown_provider_is_no_link(shop: Shop, at: str) -> None:
    """SEC-7."""
    assert shop.client.get("/check-inbox", query_string={"at": at}).data == shop.client.get("/check-inbox").data


def test_known_and_unknown_people_of_one_provider_get_one_answer(shop: Shop) -> None:
    """SEC-1."""
    shop.join("known@gmail.com")
    known, new = shop.sign_up("known@gmail.com"), shop.sign_up("new@gmail.com")
    assert (known.status, known.data, sorted(known.headers)) == (new.status, new.data, sorted(new.headers))


def test_a_slip_is_asked_about_before_anybody_is_added(shop: Shop) -> None:
    page = shop.sign_up("ann@gmial.com")
    assert page.status_code == 422
    assert 'value="ann@gmial.com"' in page.text
    assert "Did you mean" in page.text
    assert "ann@gmail.com" in page.text
    assert shop.count(PEOPLE) == 0


@pytest.mark.parametrize(
    ("pressed", "kept"),
    [
        ({"email": "ann@gmial.com", "take": "ann@gmail.com", "typed": "ann@gmial.com"}, "ann@gmail.com"),
        ({"email": "ann@gmial.com", "keep": "ann@gmial.com", "typed": "ann@gmial.com"}, "ann@gmial.com"),
        ({"email": "eve@gmail.com", "take": "ann@gmail.com", "typed": "ann@gmial.com"}, "eve@gmail.com"),
    ],
)
def test_the_visitor_has_the_last_word(shop: Shop, pressed: dict[str, str], kept: str) -> None:
    """Taken, kept as typed, or corrected by hand: then what was offered no longer counts."""
    key = key_in(shop.sign_up("ann@gmial.com"))
    shop.clock.move(seconds=3)
    assert shop.client.post("/signup", data={"key": key, **pressed}).status_code == 303
    assert shop.count(PEOPLE) == 1
    assert shop.person(kept).email == kept


def test_another_slip_is_asked_about_anew(shop: Shop) -> None:
    key = key_in(shop.sign_up("ann@gmial.com"))
    shop.clock.move(seconds=3)
    data = {"key": key, "email": "ann@hotmial.com", "keep": "ann@gmial.com", "typed": "ann@gmial.com"}
    page = shop.client.post("/signup", data=data)
    assert page.status_code == 422
    assert "ann@hotmail.com" in page.text
    assert shop.count(PEOPLE) == 0


def test_what_is_offered_is_text(shop: Shop) -> None:
    """SEC-12."""
    page = shop.sign_up('"><script>x</script>@gmial.com')
    assert "<script" not in page.text
    assert shop.count(PEOPLE) == 0
