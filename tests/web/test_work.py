"""Proof of work: off it is not there at all, on it asks nothing of people and a little of every program (POP-7)."""

from __future__ import annotations

import gzip
import hashlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funnel.web
from funnel.errors import AddressError
from funnel.model import Status
from funnel.signup import Request
from funnel.store import quotas
from funnel.web import work
from funnel.web.popup import Popup
from tests.web.popup.kit import HAND, open_place
from tests.web.shop import TOML, Shop, key_in, make_shop
from tests.web.test_axe import faults
from tests.web.test_server import at_home, opened, press

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route
    from werkzeug.test import TestResponse

ON = "[signup]\nproof_of_work = true\nname_field = true\nmarketing_checkbox = true\n"
HERE = {"Origin": "https://clinic.example"}
PEOPLE = "SELECT count(*) FROM subscriber"
CODE = (Path(funnel.web.__file__).parent / "work.js").read_text("utf-8")
KEYS = st.text("abcXYZ019-_", min_size=1, max_size=39)
EVERY_KIND = {"email": "ann@example.com", "name": "Ann", "marketing": "yes"}


@pytest.fixture
def strict(tmp_path: Path) -> Shop:
    return make_shop(tmp_path, ON)


def right(key: str, number: int, bits: int = work.BITS) -> bool:
    """Return whether a number solves a key, written the plain way."""
    digest = hashlib.sha256(f"{key}:{number}".encode()).hexdigest()
    return f"{int(digest, 16):0256b}".startswith("0" * bits)


def solve(key: str, bits: int = work.BITS) -> int:
    """Return the first number that solves a key."""
    return next(number for number in count() if right(key, number, bits))


def unsolved(key: str) -> str:
    return next(str(n) for n in count() if not work.solved(key, str(n)))


def post(shop: Shop, key: str, answer: object, **more: str) -> TestResponse:
    return shop.client.post("/signup", data={**EVERY_KIND, "key": key, "work": str(answer), **more})


def opening(shop: Shop) -> dict[str, str]:
    """Open the popup, wait as long as a person types, and return what its form would send, less the work."""
    told = shop.client.get("/popup.json", headers=HERE).json
    shop.clock.move(seconds=5)
    assert told is not None
    return {"key": told["key"], "version": Popup(shop.funnel).version, "opening": secrets.token_hex(16)}


def send(shop: Shop, form: dict[str, str], answer: object, email: str = "ann@example.com") -> TestResponse:
    return shop.client.post("/popup/signup", data={**form, "email": email, "work": str(answer)}, headers=HERE)


# --- the rule ------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(KEYS, KEYS)
def test_the_answer_to_one_key_is_right_for_that_key_only(key: str, other: str) -> None:
    answer = solve(key)
    assert work.solved(key, str(answer))
    assert work.solved(other, str(answer)) == right(other, answer)
    assert not any(work.solved(key, str(n)) for n in range(answer))


@given(st.text(max_size=20).filter(lambda text: not re.fullmatch("[0-9]{1,12}", text)))
def test_what_is_no_plain_number_is_never_right(text: str) -> None:
    assert not work.solved("key", text)


def test_other_ways_to_write_the_right_number_are_wrong() -> None:
    answer = solve("key")
    arabic = str(answer).translate({ord(str(n)): 0x660 + n for n in range(10)})
    for other in (f" {answer}", f"+{answer}", f"0{answer}", f"{answer}.0", f"{answer}\n", hex(answer), arabic):
        assert not work.solved("key", other), other


# --- the form ------------------------------------------------------------------------------------


def test_the_work_opens_the_form(strict: Shop) -> None:
    key = strict.key()
    answer = post(strict, key, solve(key))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/check-inbox")
    assert strict.person("ann@example.com").name == "Ann"


@pytest.mark.parametrize("kind", ["none", "empty", "wrong", "another's", "words"])
def test_without_it_the_form_comes_back_with_everything_in_it(strict: Shop, kind: str) -> None:
    key, other = strict.key(), strict.key()
    answers = {"empty": "", "wrong": unsolved(key), "another's": str(solve(other)), "words": "please"}
    sent = {"work": answers[kind]} if kind in answers else {}
    answer = strict.client.post("/signup", data={**EVERY_KIND, "key": key, **sent})
    assert answer.status_code == 422
    assert strict.count(PEOPLE) == 0
    assert 'value="ann@example.com"' in answer.text
    assert 'value="Ann"' in answer.text
    assert re.search(r'name="marketing"[^>]* checked', answer.text)
    assert "write to hello@clinic.example" in answer.text
    fresh = key_in(answer)
    strict.clock.move(seconds=5)
    assert post(strict, fresh, solve(fresh)).status_code == 303


def test_work_counts_once_and_a_second_press_is_no_second_use(strict: Shop) -> None:
    key = strict.key()
    answer = solve(key)
    assert [post(strict, key, answer).status_code for _ in range(2)] == [303, 303]
    again = post(strict, key, answer, email="bob@example.com")
    assert again.status_code == 422
    assert "used before" in again.text
    assert strict.count(PEOPLE) == 1
    assert post(strict, key, answer, email="Ann@example.com").status_code == 303
    assert strict.count("SELECT count(*) FROM enrollment") == 1


def test_of_many_at_the_same_moment_one_gets_through(strict: Shop) -> None:
    key = strict.key()
    answer = solve(key)

    def attempt(n: int) -> int:
        return post(strict, key, answer, email=f"p{n}@example.com").status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [303] + [422] * 7
    assert strict.count(PEOPLE) == 1


def test_a_slip_costs_no_work(strict: Shop) -> None:
    key = strict.key()
    answer = str(solve(key))
    with pytest.raises(AddressError):
        work.ask(strict.funnel, Request("ann@", wording="w"), key, answer)
    work.ask(strict.funnel, Request("ann@example.com", wording="w"), key, answer)
    assert strict.count(PEOPLE) == 1


def test_what_is_remembered_says_nothing_and_goes(strict: Shop) -> None:
    key = strict.key()
    post(strict, key, solve(key))
    with strict.funnel.session() as db:
        rows = [str(row["key"]) for row in db.all("SELECT key FROM quota")]
        assert len(rows) >= 2
        assert not any(key in row or "ann" in row for row in rows)
        strict.clock.move(days=2)
        with db.transaction():
            quotas.purge(db, strict.clock.now)
        assert db.value("SELECT count(*) FROM quota") == 0


def test_an_old_key_is_refused_before_its_use_is_forgotten(strict: Shop) -> None:
    key = strict.key()
    answer = solve(key)
    post(strict, key, answer)
    strict.clock.move(days=1)
    late = post(strict, key, answer, email="bob@example.com")
    assert late.status_code == 422
    assert strict.count(PEOPLE) == 1


def test_again_asks_for_no_work(strict: Shop) -> None:
    """Who cannot do the work has asked before, and gets nothing but what they have a right to."""
    strict.join("ann@example.com")
    key = strict.key("/again")
    assert strict.client.post("/again", data={"email": "ann@example.com", "key": key}).status_code == 303


# --- the popup -----------------------------------------------------------------------------------


def test_the_popup_is_taken_in_with_its_work_only(strict: Shop) -> None:
    form = opening(strict)
    refused = send(strict, form, unsolved(form["key"]))
    assert refused.status_code == 422
    assert refused.json is not None
    assert refused.json["form"] is True
    assert strict.count(PEOPLE) == 0
    strict.clock.move(seconds=5)
    form["key"] = refused.json["key"]
    answer = solve(form["key"])
    assert send(strict, form, answer, "ann@").status_code == 422  # a slip costs nothing
    assert send(strict, form, answer).json == {"ok": True}
    assert send(strict, form, answer).json == {"ok": True}  # the same opening, a second click
    assert send(strict, form, answer, "bob@example.com").status_code == 422
    assert strict.count(PEOPLE) == 1


def test_form_and_popup_share_what_is_used(strict: Shop) -> None:
    form = opening(strict)
    answer = solve(form["key"])
    assert send(strict, form, answer).json == {"ok": True}
    assert post(strict, form["key"], answer, email="bob@example.com").status_code == 422


# --- switched off, and how much it weighs --------------------------------------------------------


def test_switched_off_nothing_of_it_is_there(shop: Shop) -> None:
    page, script = shop.client.get("/"), shop.client.get("/popup.js").text
    assert "script" not in page.text
    assert "work" not in page.text.lower().replace("works", "")
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert "workFor" not in script
    assert "WORK" not in script
    assert shop.client.get("/work.js").status_code == 404
    assert shop.sign_up("ann@example.com", work="junk").status_code == 303
    assert shop.count("SELECT count(*) FROM quota WHERE ends > ?", int(shop.clock.now.timestamp()) + 80_000) == 0


def test_switched_on_only_what_it_needs_is_added(strict: Shop, tmp_path: Path) -> None:
    (tmp_path / "off").mkdir()
    off = make_shop(tmp_path / "off", ON.replace("true", "false", 1))
    page = strict.client.get("/")
    assert page.headers["Content-Security-Policy"].startswith("script-src 'self'; default-src 'none'")
    bare = re.sub(r'<noscript>.*?</noscript>\n|<script[^>]*></script>|<input [^>]*name="work"[^>]*>\n', "", page.text)
    bare = re.sub(r'<p [^>]*id="wait"[^>]*></p>\n', "", bare)
    key = r'name="key" value="[^"]+"'
    assert re.sub(key, "", bare) == re.sub(key, "", off.client.get("/").text)


@pytest.mark.parametrize("locale", ["en-US", "es-MX"])
def test_popup_and_work_stay_small(tmp_path: Path, locale: str) -> None:
    """POP-30: 8 kB without the work in any language, and at most 1 kB more with it."""
    sizes = []
    for name, extra in (("off", ON.replace("true", "false", 1)), ("on", ON)):
        (tmp_path / name).mkdir()
        more = '[guide]\ntitle = "Finding Relief: Dry Needling for Chronic Pain and Injuries"\n' + extra
        shop = make_shop(tmp_path / name, more, TOML.replace("time_zone", f'locale = "{locale}"\ntime_zone'))
        sizes.append(len(gzip.compress(Popup(shop.funnel).script, 9)))
    assert sizes[0] <= 8192
    assert sizes[1] - sizes[0] <= 1000


def test_the_script_of_the_form_is_kept_by_version(strict: Shop) -> None:
    found = re.search(r'src="(/work\.js\?[0-9a-f]{16})"', strict.client.get("/").text)
    assert found
    script = strict.client.get(found[1])
    assert (script.mimetype, script.headers["Cache-Control"]) == ("text/javascript", "public, max-age=86400")
    assert f"BITS = {work.BITS};" in script.text


def test_the_popups_script_stays_plain_with_it(strict: Shop) -> None:
    """POP-33, POP-39: ASCII, ES2018, no eval; and the version of the words is the same, so that receipts are."""
    code = re.sub(r"SETUP={.*};", "", strict.client.get("/popup.js").data.decode("ascii"))
    assert code.count("workFor") == 2
    for newer in ("?.", "??", "||=", "&&=", "catch{", "BigInt", "eval(", "Worker", "subtle"):
        assert newer not in code, newer


# --- in a browser --------------------------------------------------------------------------------


@contextmanager
def at_form(shop: Shop, browser: Browser, *, slower: int = 1, **more: object) -> Iterator[Page]:
    """Open the form in a browser that may be slower than this machine, after as long as a person reads."""
    with at_home(shop) as base, opened(browser, **more) as (page, notes):
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.goto(base + "/")
        shop.clock.move(seconds=5)
        yield page
        assert [note for note in notes if "Content Security" in note or "Refused" in note] == []


@pytest.mark.browser
def test_the_browsers_answer_is_the_first_right_one(browser: Browser) -> None:
    """SHA-256 in the page against the library's, for every length of key that fits."""
    keys = [secrets.token_urlsafe(60)[:length] for length in range(1, 50)]
    code = CODE.replace(work.PLACE, "7")
    with opened(browser) as (page, _):
        found = page.evaluate(f"(keys) => {{ {code}\n return Promise.all(keys.map(workFor)) }}", keys)
    assert found == [solve(key, 7) for key in keys]


@pytest.mark.browser
@pytest.mark.parametrize("slower", [1, 4])
def test_somebody_who_types_notices_nothing(strict: Shop, browser: Browser, slower: int) -> None:
    with at_form(strict, browser, slower=slower) as page:
        page.get_by_label("Your email address").press_sequentially("ann@example.com", delay=20)
        page.keyboard.press("Enter")
        page.wait_for_url("**/check-inbox")
    assert strict.person("ann@example.com").status is Status.PENDING


@pytest.mark.browser
def test_the_page_answers_while_it_works(browser: Browser) -> None:
    """A turn of the page's own comes within 50 ms, also on a slow phone."""
    code = CODE.replace(work.PLACE, "31")
    with opened(browser) as (page, _):
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        waits = page.evaluate(
            f"""async () => {{ {code}
              workFor("key");
              const waits = [];
              for (let n = 0; n < 41; n += 1) {{
                const from = performance.now();
                await new Promise((go) => setTimeout(go));
                waits.push(performance.now() - from);
              }}
              return waits }}"""
        )
    assert sorted(waits)[20] < 50


@pytest.mark.browser
def test_pressed_early_the_button_waits_and_says_so(strict: Shop, browser: Browser) -> None:
    """POP-7: nothing to solve, and nothing to press twice."""
    held = work.script("work-form.js").replace("return done(n)", "return (window.finish = done)")
    with at_form(strict, browser) as page:
        page.route("**/work.js*", lambda route: route.fulfill(body=held, content_type="text/javascript"))
        page.reload()
        key = page.locator("[name=key]").input_value()
        page.fill("#email", "ann@example.com")
        page.get_by_role("button", name="Send me the guide").click()
        page.keyboard.press("Enter")
        assert page.get_by_role("status").inner_text() == "One moment…"
        assert page.get_by_role("button").get_attribute("aria-disabled") == "true"
        assert page.evaluate("document.activeElement.tagName") == "BUTTON"
        assert faults(page) == []
        strict.clock.move(seconds=5)
        page.evaluate(f"finish({solve(key)})")
        page.wait_for_url("**/check-inbox")
    assert strict.person("ann@example.com").status is Status.PENDING


@pytest.mark.browser
def test_the_button_that_was_pressed_is_the_one_that_counts(strict: Shop, browser: Browser) -> None:
    """“Did you mean” has two buttons; the work must not choose between them."""
    with at_form(strict, browser) as page:
        page.fill("#email", "ann@gmial.com")
        page.keyboard.press("Enter")
        page.locator("button[name=keep]").wait_for()
        strict.clock.move(seconds=5)
        page.click("button[name=keep]")
        page.wait_for_url("**/check-inbox*")
    assert strict.person("ann@gmial.com").status is Status.PENDING


@pytest.mark.browser
def test_refused_work_loses_no_text_and_the_next_press_goes_through(strict: Shop, browser: Browser) -> None:
    broken = work.script("work-form.js").replace("return done(n)", "return done(1)")
    with at_form(strict, browser) as page:
        page.route("**/work.js*", lambda route: route.fulfill(body=broken, content_type="text/javascript"))
        page.reload()
        page.fill("#email", "ann@example.com")
        page.fill("#name", "Ann")
        page.check("#marketing")
        strict.clock.move(seconds=5)
        page.keyboard.press("Enter")
        page.get_by_text("Please press the button once more.").wait_for()
        assert faults(page) == []
        assert (page.input_value("#email"), page.input_value("#name")) == ("ann@example.com", "Ann")
        assert page.is_checked("#marketing")
        page.unroute("**/work.js*")
        page.evaluate(f"() => {{ {CODE.replace(work.PLACE, str(work.BITS))}\n window.workFor = workFor }}")
        strict.clock.move(seconds=5)
        page.click("main button")
        page.wait_for_url("**/check-inbox")
    assert strict.person("ann@example.com").name == "Ann"


@pytest.mark.browser
def test_without_scripts_the_page_says_what_to_do_instead(strict: Shop, browser: Browser) -> None:
    with at_form(strict, browser, java_script_enabled=False) as page:
        note = page.locator("form .note")
        assert note.is_visible()
        assert "please write to hello@clinic.example" in note.inner_text()
        page.fill("#email", "ann@example.com")
        press(page, "main button")
        assert page.input_value("#email") == "ann@example.com"
        assert "used before" in page.inner_text("main")
    assert strict.count(PEOPLE) == 0


@pytest.mark.browser
def test_axe_finds_nothing_in_the_form_with_its_notes(strict: Shop, browser: Browser) -> None:
    """WCAG 3.3.8; what only browsers without scripts show is looked at as part of the page."""

    def shown(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("noscript>", "div>"))

    for language in ("en", "es"):
        with at_form(strict, browser) as page:
            assert faults(page) == []
            page.route("**/?lang=*", shown)
            page.goto(page.url + f"?lang={language}")
            assert page.locator("form .note").is_visible()
            assert faults(page) == []


@pytest.mark.browser
@pytest.mark.parametrize("slower", [1, 4])
def test_the_popup_works_unseen(tmp_path: Path, browser: Browser, slower: int) -> None:
    with open_place(tmp_path, browser, ON) as place, place.visitor(still=False, **(HAND if slower > 1 else {})) as ann:
        ann.context.new_cdp_session(ann.page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
        ann.go(place.put())
        ann.open()
        assert ann.dialog.locator("input:visible").count() == 3  # address, name, box: nothing to solve
        ann.dialog.locator("#email").fill("ann@example.com")
        place.shop.clock.move(seconds=5)
        ann.dialog.locator("button[type=submit]").click()
        ann.page.wait_for_selector("funnel-popup .done", timeout=60_000)
        assert place.people() == 1
        assert ann.note("csp") == []
        assert ann.note("errors") == []


@pytest.mark.browser
def test_the_popup_keeps_the_text_and_tries_again_when_its_work_is_refused(tmp_path: Path, browser: Browser) -> None:
    def spoil(route: Route) -> None:
        sent = {name: found[0] for name, found in parse_qs(route.request.post_data or "").items()}
        route.continue_(post_data=urlencode({**sent, "work": unsolved(sent["key"])}))

    with open_place(tmp_path, browser, ON) as place, place.visitor(still=False) as ann:
        ann.go(place.put())
        ann.open()
        ann.page.route("**/popup/signup", spoil)
        ann.dialog.locator("#email").fill("ann@example.com")
        place.shop.clock.move(seconds=5)
        ann.dialog.locator("button[type=submit]").click()
        ann.dialog.get_by_text("Please press the button once more.").wait_for(timeout=60_000)
        assert faults(ann.page) == []
        assert ann.dialog.locator("#email").input_value() == "ann@example.com"
        ann.page.unroute("**/popup/signup")
        place.shop.clock.move(seconds=5)
        ann.dialog.locator("button[type=submit]").click()
        ann.page.wait_for_selector("funnel-popup .done", timeout=60_000)
        assert place.people() == 1
