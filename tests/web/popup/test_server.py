"""What the server hands to the popup and takes from it: the script, a key for each opening, an address."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel.store import consents
from funnel.web import create_app
from funnel.web.popup import REMEMBERED, Popup, lean, squeezed, tight
from tests.web.shop import Shop, make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.test import TestResponse

HERE = {"Origin": "https://clinic.example"}
OPENING = "0123456789abcdef" * 2
PEOPLE = "SELECT count(*) FROM subscriber"
RECEIPTS = "SELECT count(*) FROM consent"
MAILS = "SELECT count(*) FROM enrollment"
WORST = '[popup]\ntitle = "</script>\'\\"`${1}\\\\ é … \u2028"\n'


def changed(shop: Shop, **popup: object) -> Shop:
    """Return the same funnel with other settings of the popup."""
    config = shop.funnel.config
    settings: dict[str, Any] = popup
    shop.funnel.config = replace(config, popup=replace(config.popup, **settings))
    return Shop(shop.funnel, create_app(shop.funnel), shop.clock)


def opened(shop: Shop) -> dict[str, str]:
    """Open the popup, wait as long as a person types, and return what its form would send."""
    told = shop.client.get("/popup.json", headers=HERE).json
    shop.clock.move(seconds=5)
    assert told is not None
    return {"key": told["key"], "version": Popup(shop.funnel).version, "opening": OPENING, "seconds": "5"}


def send(shop: Shop, email: str, form: dict[str, str] | None = None, **more: str) -> TestResponse:
    return shop.client.post("/popup/signup", data={**(form or opened(shop)), "email": email, **more}, headers=HERE)


def setup_of(shop: Shop) -> dict[str, Any]:
    """Return what stands in the script for this funnel."""
    found = re.search(r"SETUP=({.*});$", shop.client.get("/popup.js").text, re.MULTILINE)
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told


def test_the_script_is_small(shop: Shop) -> None:
    """POP-30: 8 kB with style and texts."""
    everything = replace(shop.funnel.config.signup, name_field=True, marketing_checkbox=True)
    shop.funnel.config = replace(shop.funnel.config, signup=everything)
    assert len(gzip.compress(Popup(shop.funnel).script, 9)) <= 8192


def test_the_script_may_be_pinned_cached_and_packed(shop: Shop) -> None:
    """POP-27, POP-30."""
    plain = shop.client.get("/popup.js")
    packed = shop.client.get("/popup.js", headers={"Accept-Encoding": "gzip"})
    digest = base64.b64encode(hashlib.sha384(plain.data).digest()).decode()
    assert gzip.decompress(packed.data) == plain.data
    assert f'integrity="sha384-{digest}"' in Popup(shop.funnel).snippet()
    assert (plain.mimetype, packed.headers["Content-Encoding"]) == ("text/javascript", "gzip")
    assert plain.headers["Cache-Control"] == "public, max-age=300"
    assert plain.headers["Access-Control-Allow-Origin"] == "*"
    assert plain.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert shop.client.get("/popup.js", headers={"If-None-Match": plain.headers["ETag"]}).status_code == 304


def test_the_same_settings_give_the_same_bytes_and_others_do_not(shop: Shop, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    first = Popup(shop.funnel).script
    assert Popup(make_shop(twin).funnel).script == first
    assert Popup(changed(shop, title="Stay?").funnel).script != first


def test_the_switch_is_not_in_the_script(shop: Shop) -> None:
    """POP-27: off and on again without a new line on every page."""
    before = shop.client.get("/popup.js").data
    assert changed(shop, enabled=False).client.get("/popup.js").data == before


def test_the_switch_is_told_at_every_opening(shop: Shop) -> None:
    """POP-27."""
    assert shop.client.get("/popup.json", headers=HERE).json["enabled"] is True  # type: ignore[index]
    off = changed(shop, enabled=False).client.get("/popup.json", headers=HERE)
    assert off.json == {"enabled": False}
    assert off.headers["Cache-Control"] == "no-store"


def test_the_script_is_es2018_and_ascii(shop: Shop) -> None:
    """POP-39, POP-33: none of the newer signs, and nothing that a strict policy forbids."""
    script = shop.client.get("/popup.js").data.decode("ascii")
    code = re.sub(r"SETUP={.*};", "", script)
    for newer in ("?.", "??", "||=", "&&=", "catch {", "catch{", "#", "BigInt", "replaceChildren", "matchAll", ".at("):
        text = re.sub(r'"#\w+"|/\^#\[/!\]/|"#[0-9a-f]{6}"', "", code)
        assert newer not in text, newer
    for forbidden in (
        "innerHTML",
        "eval(",
        "new Function",
        "document.write",
        "cookie",
        ".style",
        'setAttribute("style',
    ):
        assert forbidden not in code, forbidden


def test_the_script_never_touches_history(shop: Shop) -> None:
    """POP-22."""
    script = shop.client.get("/popup.js").text
    for word in ("pushState", "replaceState", "popstate", "beforeunload", "unload", "history."):
        assert word not in script


def test_odd_texts_cannot_break_out(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, WORST)
    assert setup_of(shop)["words"]["title"] == "</script>'\"`${1}\\ é … \u2028"
    assert b"\xe2" not in shop.client.get("/popup.js").data


def test_the_texts_say_what_one_gets(shop: Shop) -> None:
    words = setup_of(shop)["words"]
    assert words["title"] == "Wait—Before You Go..."
    assert "stay in touch" in words["body"]
    assert "72-page guide “Finding Relief: Dry Needling for Chronic Pain and Injuries” at no cost" in words["body"]
    assert words["gift"].startswith("And a gift as a thank-you for downloading")
    assert (words["decline"], words["name"], words["marketing"]) == ("No, thanks", "", "")


def test_a_guide_of_unknown_length_is_not_given_one(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    (tmp_path / "guide" / "guide.toml").unlink()
    assert "-page" not in setup_of(shop)["words"]["body"]


def test_the_settings_say_it_otherwise(shop: Shop) -> None:
    own = {"title": "Stay?", "body": "B {x}", "gift": "G", "button": "S", "decline": "Later"}
    words = setup_of(changed(shop, **own))["words"]
    assert {key: words[key] for key in own} == own


def test_the_receipt_holds_the_words_that_were_shown(tmp_path: Path) -> None:
    """LAW-4, POP-10, HLT-1: wording, form, page, language, and nothing that was not asked for."""
    shop = make_shop(tmp_path, "[signup]\nmarketing_checkbox = true\n")
    more: dict[str, Any] = {"zone": "Asia/Tokyo", "locale": "ja", "page": "/blog/backs", "name": "Ann", "mood": "sad"}
    assert send(shop, "ann@example.com", **more).json == {"ok": True}
    person = shop.person("ann@example.com")
    with shop.funnel.session(readonly=True) as db:
        receipt = consents.of(db, person.id)[0]
    words = setup_of(shop)["words"]
    for key in ("title", "body", "gift", "wording", "marketing", "button"):
        assert words[key] in receipt.wording, key
    assert receipt.form == f"popup-{Popup(shop.funnel).version}, 5 s"
    assert (receipt.page, receipt.locale, receipt.marketing) == ("/blog/backs", "ja", False)
    assert (person.zone, person.source, person.name) == ("Asia/Tokyo", "/blog/backs", "")
    assert "sad" not in shop.dump()


@pytest.mark.parametrize("page", ["/blog?illness=flu", "/a b", "https://clinic.example/", "x"])
def test_a_page_with_a_query_is_not_kept(shop: Shop, page: str) -> None:
    """HLT-1."""
    assert send(shop, "ann@example.com", page=page).status_code == 200
    assert shop.person("ann@example.com").source == ""


@pytest.mark.parametrize("seconds", ["", "-1", "1e9", "9999999", "<b>"])
def test_an_odd_filling_time_is_left_out(shop: Shop, seconds: str) -> None:
    assert send(shop, "ann@example.com", seconds=seconds).status_code == 200
    with shop.funnel.session(readonly=True) as db:
        assert consents.of(db, shop.person("ann@example.com").id)[0].form == f"popup-{Popup(shop.funnel).version}"


def test_words_that_have_changed_since_are_not_taken_as_agreed(shop: Shop) -> None:
    form = opened(shop)
    answer = send(changed(shop, title="Other words"), "ann@example.com", form)
    assert answer.status_code == 422
    assert answer.json["form"] is True  # type: ignore[index]
    assert shop.count(PEOPLE) == 0


@pytest.mark.parametrize("typed", ["", "nobody", "a@b", "a b@example.com", "é" * 400])
def test_a_mistyped_address_comes_back_with_a_sentence(shop: Shop, typed: str) -> None:
    """POP-6."""
    answer = send(shop, typed)
    assert answer.status_code == 422
    assert answer.json["field"] == "email"  # type: ignore[index]
    assert len(answer.json["problem"]) > 10  # type: ignore[index]
    assert shop.count(PEOPLE) == 0


def test_a_slip_is_asked_about_once(shop: Shop) -> None:
    asked = send(shop, "ann@gmial.com").json
    assert asked is not None
    assert "ann@gmail.com" in asked["problem"]
    assert shop.count(PEOPLE) == 0
    assert send(shop, "ann@gmial.com", keep=asked["keep"]).json == {"ok": True}


def test_a_form_too_fast_gets_a_fresh_key(shop: Shop) -> None:
    """BOT-2."""
    form = opened(shop) | {"key": str(shop.client.get("/popup.json", headers=HERE).json["key"])}  # type: ignore[index]
    answer = send(shop, "ann@example.com", form)
    assert answer.status_code == 422
    shop.clock.move(seconds=2)
    assert send(shop, "ann@example.com", form | {"key": answer.json["key"]}).status_code == 200  # type: ignore[index]


def test_a_second_click_is_the_first_one_again(shop: Shop) -> None:
    """POP-36: one opening and one address leave one receipt and one mail."""
    form = opened(shop)
    answers = [send(shop, "ann@example.com", form).json for _ in range(3)]
    assert answers == [{"ok": True}] * 3
    assert (shop.count(PEOPLE), shop.count(RECEIPTS), shop.count(MAILS)) == (1, 1, 1)


def test_a_corrected_address_is_a_new_one(shop: Shop) -> None:
    form = opened(shop)
    for email in ("ann@example.com", "anne@example.com"):
        assert send(shop, email, form).status_code == 200
    assert shop.count(PEOPLE) == 2


def test_an_opening_of_no_form_is_not_remembered(shop: Shop) -> None:
    form = opened(shop) | {"opening": "x"}
    for _ in range(2):
        assert send(shop, "ann@example.com", form).status_code == 200
    assert shop.count(RECEIPTS) == 2


def test_what_is_remembered_has_an_end() -> None:
    assert REMEMBERED <= 10_000


def test_a_full_memory_forgets_the_oldest(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funnel.web.popup.REMEMBERED", 1)
    form = opened(shop)
    for email in ("a@example.com", "b@example.com", "a@example.com"):
        assert send(shop, email, form).status_code == 200
    assert shop.count(RECEIPTS) == 3


def test_too_many_from_one_connection_are_told_so(shop: Shop) -> None:
    statuses = []
    for n in range(60):
        answer = shop.client.post(
            "/popup/signup", data=opened(shop) | {"email": f"a{n}@example.com"}, headers=HERE,
            environ_base={"REMOTE_ADDR": "203.0.113.9"},
        )  # fmt: skip
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            break
    assert statuses[-1] == 429
    assert "wait" in answer.json["problem"]  # type: ignore[index]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://clinic.example", "null", "https://clinic.example:444"]
)
@pytest.mark.parametrize("path", ["/popup.json", "/popup/signup"])
def test_other_sites_get_nothing_and_change_nothing(shop: Shop, origin: str, path: str) -> None:
    """POP-34."""
    form, before = opened(shop), shop.dump()
    headers = {"Origin": origin}
    data = form | {"email": "ann@example.com"}
    ask = shop.client
    answer = ask.get(path, headers=headers) if path.endswith("json") else ask.post(path, data=data, headers=headers)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    assert "key" not in answer.text.partition("<body")[0]
    assert shop.dump() == before


def test_our_own_site_reads_every_answer(shop: Shop) -> None:
    """POP-34: refusals too, and never with credentials."""
    told = [shop.client.get("/popup.json", headers=HERE), send(shop, "nobody"), send(shop, "ann@example.com")]
    told.append(shop.client.post("/popup/signup", data="{}", content_type="application/json", headers=HERE))
    assert [answer.status_code for answer in told] == [200, 422, 200, 415]
    for answer in told:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://clinic.example"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Origin" in answer.headers["Vary"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=st.one_of(st.binary(max_size=200), st.text("email=&;%\0a@b.c\ufffd", max_size=80).map(str.encode)))
def test_no_body_breaks_the_counter(shop: Shop, body: bytes) -> None:
    """SEC-31."""
    before = shop.dump()
    answer = shop.client.post("/popup/signup", data=body, content_type="application/x-www-form-urlencoded")
    assert 400 <= answer.status_code < 500
    assert shop.dump() == before


def test_the_clinic_chooses_the_language_where_there_is_one(shop: Shop) -> None:
    config = shop.funnel.config
    for locale in ("de-DE", "es-US", "en-GB"):
        shop.funnel.config = replace(config, clinic=replace(config.clinic, locale=locale))
        popup = Popup(shop.funnel)
        assert popup.asides["lang"] in {"en", locale[:2]}
        assert popup.words["body"]


def test_the_link_without_script_leads_to_the_form(shop: Shop) -> None:
    """POP-35."""
    line = Popup(shop.funnel).snippet(integrity=False)
    assert '<noscript><a href="https://go.clinic.example/">' in line
    assert "integrity" not in line
    assert " async " in line


def test_what_is_taken_out_of_the_source_says_nothing() -> None:
    assert lean("  // why\n  a = 1; // b\n\n/* x\n y */\n  c;\n") == "a = 1; // b\nc;\n"
    assert squeezed("a:hover, b {\n  c: d(1px - 2px);\n}\n") == "a:hover,b{c:d(1px - 2px)}"
    assert tight('const a = b ? "x = y" : c;\nreturn / x /;\n') == 'const a=b?"x = y":c;\nreturn/x/;\n'
    assert tight("if (/a = b/.test(c)) d = e;\n") == "if (/a = b/.test(c)) d = e;\n"


@given(st.text('ab "=?:(){}<>,', max_size=40))
def test_texts_in_code_stay_whole(text: str) -> None:
    plain = text.replace('"', "")
    assert f'"{plain}"' in tight(f'a = "{plain}" + b;\n')
