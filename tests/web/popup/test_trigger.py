"""When the popup shows, and when it leaves a visitor alone, in a real page on another address than the funnel's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from funnel.model import Status
from tests.conftest import BROWSER_ARGS, NO_BROWSER, browser_path
from tests.web.popup.kit import CHROME, HAND, PERSON, Place, Visitor, open_place

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

DAY = 24 * 3600
ENTRY = "funnel-popup"


def kept(visitor: Visitor, where: str = "localStorage") -> dict[str, Any] | None:
    """Return what the popup remembers in this browser."""
    text = visitor.page.evaluate(f"{where}.getItem('{ENTRY}')")
    return json.loads(text) if text else None


def back_after(visitor: Visitor, days: float, url: str) -> None:
    """Come back to the page some days later, read and leave."""
    visitor.later(days * DAY)
    visitor.go(url)
    visitor.read()
    visitor.leave()


# --- a mouse -------------------------------------------------------------------------------------


def test_pop_20_leaving_through_the_top_opens_it_and_the_address_arrives(place: Place) -> None:
    with place.visitor(timezone_id="Asia/Tokyo", locale="de-DE") as ann:
        ann.go(place.put("/blog/backs") + "?illness=flu")
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        ann.send("ann@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
        assert kept(ann) is not None
        assert ann.context.cookies() == []
        hosts = {url.split("/")[2] for url in ann.requests}
        assert hosts == {place.base.split("/")[2], place.site.origin.split("/")[2]}
        assert [url.partition("?")[0].removeprefix(place.base) for url in ann.requests if place.base in url] == [
            "/popup.js", "/popup.json", "/popup/signup",
        ]  # fmt: skip
        shown = ann.page.evaluate("notes.errors.concat(notes.csp)")
    receipt = place.receipts("ann@example.com")[0]
    person = place.shop.person("ann@example.com")
    assert shown == []
    assert (person.zone, person.source, receipt.locale) == ("Asia/Tokyo", "/blog/backs", "de-DE")
    assert "illness" not in place.shop.dump()


def test_pop_20_other_ways_out_do_not_open_it(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.read()
        left, right = ((300, 15), (-5, 12)), ((700, 15), (1290, 14))
        bottom, inside = ((600, 600), (610, 810)), ((600, 30), (600, 22))
        steep, flat = ((1270, 600), (1285, 300)), ((200, 100), (900, -3))
        for start, end in (left, right, bottom, inside, steep, flat):
            ann.page.mouse.move(*start)
            ann.page.mouse.move(*end)
            ann.later(0.11)
            assert ann.stays_closed()
        ann.leave()
        ann.dialog.wait_for()


def test_pop_20_a_slow_or_dragging_pointer_does_not_open_it(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.read()
        ann.page.mouse.move(600, 40)
        ann.later(0.15)
        ann.page.mouse.move(600, -3)
        ann.page.mouse.move(600, 300)
        ann.page.mouse.down()
        ann.leave()
        ann.page.mouse.up()
        assert ann.stays_closed()


def test_pop_20_into_a_frame_at_the_top_is_not_out(place: Place) -> None:
    frame = '<iframe title="f" srcdoc="x" style="position:fixed;inset:0 0 auto;width:100%;height:80px"></iframe>'
    with place.visitor() as ann:
        ann.go(place.put("/framed", body=frame))
        ann.read()
        ann.leave(y=12)
        assert ann.stays_closed()


def test_pop_3_pop_20_not_in_the_first_seconds_and_not_before_something_was_done(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.read(seconds=3)
        ann.leave()
        assert ann.stays_closed()
        ann.go(place.put())
        ann.later(60)
        ann.leave()
        assert ann.stays_closed()
        ann.read(seconds=0)
        ann.leave()
        ann.dialog.wait_for()


@pytest.mark.parametrize(
    ("doing", "since"),
    [
        ("document.getElementById('search').focus()", 9),
        ("document.body.insertAdjacentHTML('beforeend', '<div role=dialog>cookies?</div>')", 9),
        ("document.body.appendChild(document.createElement('dialog')).showModal()", 9),
        ("dispatchEvent(new KeyboardEvent('keydown', {key: 'a'}))", 1),
        ("document.getElementById('other').focus()", 1),
        ("(document.body.contentEditable = 'true', document.body.focus())", 9),
    ],
    ids=["field", "other dialog", "modal dialog", "typing", "focus moves", "editor"],
)
def test_pop_3_never_over_something_the_visitor_does(place: Place, doing: str, since: int) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.read()
        ann.page.evaluate(doing)
        ann.later(since)
        ann.leave()
        assert ann.stays_closed()


def test_pop_23_programs_are_left_alone(place: Place) -> None:
    for agent, script in ((CHROME.replace("Chrome", "HeadlessChrome"), ""), ("Googlebot/2.1", ""), (CHROME, "true")):
        with place.visitor(user_agent=agent) as robot:
            robot.context.add_init_script(PERSON.replace("false", script or "false"))
            robot.go(place.put())
            robot.read()
            robot.leave()
            assert robot.stays_closed()


# --- how often -----------------------------------------------------------------------------------


def test_pop_24_once_a_visit_once_a_week_three_times_in_all(place: Place) -> None:
    with place.visitor() as ann:
        url = place.put()
        for count in (1, 2, 3):
            back_after(ann, 7.1, url)
            ann.dialog.wait_for()
            ann.dialog.get_by_text("No, thanks").click()
            ann.dialog.wait_for(state="detached")
            assert (kept(ann) or {})["count"] == count
            if count == 1:
                ann.leave()
                assert ann.stays_closed()
                back_after(ann, 6.5, url)
                assert ann.stays_closed()
        back_after(ann, 100, url)
        assert ann.stays_closed()
        assert set(kept(ann) or {}) == {"last", "count", "state"}


def test_pop_24_never_in_the_year_after_the_sign_up(place: Place) -> None:
    with place.visitor() as ann:
        url = place.put()
        ann.go(url)
        ann.open()
        ann.send("year@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
        ann.page.keyboard.press("Escape")
        ann.dialog.wait_for(state="detached")
        back_after(ann, 360, url)
        assert ann.stays_closed()
        back_after(ann, 10, url)
        ann.dialog.wait_for()


@pytest.mark.parametrize(
    ("setting", "consent", "place_kept"),
    [
        ("session", None, "sessionStorage"),
        ("session", "true", "localStorage"),
        ("none", None, None),
        ("none", "() => true", "localStorage"),
        ("local", "false", None),
        ("local", "() => { throw 1 }", None),
    ],
)
def test_pop_25_nothing_is_kept_without_the_setting_or_the_consent(
    tmp_path: Path, browser: Browser, setting: str, consent: str | None, place_kept: str | None
) -> None:
    with open_place(tmp_path, browser, f'[popup]\nstorage = "{setting}"\n') as place, place.visitor() as ann:
        if consent:
            ann.context.add_init_script(f"window.clinicConsent = {consent}")
        ann.go(place.put())
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        ann.page.keyboard.press("Escape")
        ann.dialog.wait_for(state="detached")
        found = {where for where in ("localStorage", "sessionStorage") if kept(ann, where)}
        assert found == ({place_kept} if place_kept else set())
        assert ann.context.cookies() == []
        ann.leave()
        assert ann.stays_closed()  # in memory, if nowhere else
        ann.page.click("main")
        ann.page.evaluate(f"location.href = '{place.put('/second')}'")
        ann.page.wait_for_url("**/second")
        ann.page.wait_for_function("window.FunnelPopup")
        ann.read()
        ann.leave()
        assert ann.stays_closed()  # the same visit


def test_pop_25_a_withdrawn_consent_removes_what_was_kept(place: Place) -> None:
    with place.visitor() as ann:
        ann.context.add_init_script("window.clinicConsent = false")
        ann.go(place.put())
        ann.page.evaluate(f"localStorage.setItem('{ENTRY}', '{{}}')")
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        assert kept(ann) is None


@pytest.mark.parametrize("odd", ["not json", "[1]", '{"last":"x","count":null,"state":{}}', "null", '"yes"'])
def test_pop_25_odd_or_forbidden_storage_does_no_harm(place: Place, odd: str) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.page.evaluate("odd => localStorage.setItem('funnel-popup', odd)", odd)
        if odd == "null":
            ann.page.evaluate("Object.defineProperty(window, 'localStorage', {get: () => { throw new Error('no') }})")
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        assert ann.note("errors") == []


# --- a phone -------------------------------------------------------------------------------------


def test_pop_21_a_flick_up_after_reading_shows_a_small_banner(place: Place) -> None:
    with place.visitor(**HAND, reduced_motion="reduce") as ann:
        ann.go(place.put())
        ann.half_read()
        for _ in range(2):
            ann.scroll("scrollBy(0, -400)")
        ann.banner.wait_for()
        box = ann.banner.bounding_box()
        assert box is not None
        assert box["height"] <= 667 / 4
        assert box["y"] + box["height"] == pytest.approx(667, abs=1)
        assert ann.dialog.count() == 0
        assert ann.page.evaluate("document.activeElement === document.body")
        ann.banner.get_by_text("Get the guide").click()
        ann.dialog.wait_for()
        assert ann.banner.count() == 0


def test_pop_21_half_a_minute_of_nothing_and_a_return_to_the_tab_count_too(place: Place) -> None:
    with place.visitor(**HAND) as ann:
        ann.go(place.put())
        ann.half_read()
        ann.later(20)
        assert ann.stays_closed()
        ann.later(12)
        ann.banner.wait_for()
        ann.banner.get_by_text("No, thanks").click()
        assert ann.page.locator("funnel-popup").count() == 0
        assert (kept(ann) or {})["state"] == "no"
    with place.visitor(**HAND) as ben:
        ben.go(place.put())
        ben.half_read()
        ben.back_to_tab()
        ben.banner.wait_for()
        ben.back_to_tab()
        assert ben.banner.count() == 1


def test_pop_21_not_before_half_of_the_page_was_read(place: Place) -> None:
    with place.visitor(**HAND) as ann:
        ann.go(place.put())
        ann.half_read(0.2)
        ann.back_to_tab()
        ann.later(60)
        ann.page.evaluate("scrollBy(0, -400)")
        assert ann.stays_closed()


def test_pop_21_a_screen_too_low_gets_no_banner(place: Place) -> None:
    with place.visitor(**{**HAND, "viewport": {"width": 320, "height": 300}}) as ann:
        ann.go(place.put())
        ann.half_read()
        ann.back_to_tab()
        assert ann.stays_closed()


def test_pop_23_not_on_the_first_page_after_a_search_on_a_phone(place: Place) -> None:
    with place.visitor(**HAND) as ann:
        ann.go(place.put(), referer="https://www.google.com/")
        ann.half_read()
        ann.back_to_tab()
        assert ann.stays_closed()
        ann.page.evaluate(f"location.href = '{place.put('/second')}'")
        ann.page.wait_for_url("**/second")
        ann.page.wait_for_function("window.FunnelPopup")
        ann.half_read()
        ann.back_to_tab()
        ann.banner.wait_for()


# --- by hand, switched off, out of reach ---------------------------------------------------------


def test_pop_26_a_link_and_a_call_open_it_at_any_time(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.open()
        ann.page.keyboard.press("Escape")
        ann.dialog.wait_for(state="detached")
        ann.page.evaluate("FunnelPopup.open()")
        ann.dialog.wait_for()
        ann.page.evaluate("(FunnelPopup.open(), FunnelPopup.close())")
        ann.dialog.wait_for(state="detached")
        with ann.context.expect_page() as other:
            ann.page.click("#ask", modifiers=["ControlOrMeta"])
        other.value.wait_for_url(place.base + "/")
        assert ann.dialog.count() == 0


def test_pop_27_switched_off_it_stays_away_and_the_link_leads_to_the_form(tmp_path: Path, browser: Browser) -> None:
    with open_place(tmp_path, browser, "[popup]\nenabled = false\n") as place, place.visitor() as ann:
        ann.go(place.put())
        ann.read()
        ann.leave()
        assert ann.stays_closed()
        ann.page.click("#ask")
        ann.page.wait_for_url(place.base + "/")


@pytest.mark.parametrize("answer", ["down", "broken"])
def test_pop_27_a_server_that_is_down_changes_nothing_on_the_page(place: Place, answer: str) -> None:
    with place.visitor() as ann:
        ann.page.route("**/popup.json", lambda r: r.abort() if answer == "down" else r.fulfill(status=503, body="<p>"))
        ann.go(place.put())
        ann.read()
        ann.leave()
        assert ann.stays_closed()
        assert ann.note("errors") == []
        ann.page.click("#ask")
        ann.dialog.wait_for()  # whoever asks gets it all the same


def test_pop_27_a_script_that_does_not_load_leaves_a_plain_link(place: Place) -> None:
    with place.visitor() as ann:
        ann.page.route("**/popup.js", lambda route: route.abort())
        ann.page.goto(place.put())
        ann.page.click("#ask")
        ann.page.wait_for_url(place.base + "/")
        assert ann.note("errors") == []


def test_pop_27_a_late_no_takes_it_back_unless_somebody_types(place: Place) -> None:
    for typed in ("", "ann@"):
        with place.visitor() as ann:
            waiting = ann.hold("**/popup.json")
            ann.go(place.put())
            ann.read()
            with ann.page.expect_request("**/popup.json"):
                ann.leave()
            ann.later(0.5)
            ann.dialog.wait_for()
            ann.dialog.locator("#email").fill(typed)
            waiting[0].fulfill(json={"enabled": False}, headers={"Access-Control-Allow-Origin": "*"})
            ann.dialog.wait_for(state="visible" if typed else "detached")


def test_pop_35_without_scripts_there_is_a_link_to_a_form_that_works(place: Place) -> None:
    with place.visitor(still=False, java_script_enabled=False) as ann:
        ann.page.goto(place.put("/plain", body=f'<noscript><a href="{place.base}/">Guide</a></noscript>'))
        ann.page.click("text=Guide")
        ann.page.fill("#email", "plain@example.com")
        place.shop.clock.move(seconds=3)
        ann.page.click("form.panel button")
        ann.page.wait_for_url("**/check-inbox*")
    assert place.shop.person("plain@example.com").status is Status.PENDING


def test_pop_36_offline_the_text_stays_and_a_second_try_or_the_form_helps(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.open()
        ann.context.set_offline(True)
        ann.send("off@example.com")
        ann.dialog.get_by_text("did not get through").wait_for()
        assert ann.dialog.locator("#email").input_value() == "off@example.com"
        assert ann.dialog.get_by_role("link", name="the form on our own page").count() == 0
        ann.dialog.locator("button[type=submit]").click()
        assert ann.dialog.get_by_role("link", name="the form on our own page").get_attribute("href") == place.base + "/"
        ann.page.keyboard.press("Escape")
        ann.dialog.wait_for(state="detached")
        ann.context.set_offline(False)
        ann.open()
        assert ann.dialog.locator("#email").input_value() == "off@example.com"
        ann.send("off@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
    assert len(place.receipts("off@example.com")) == 1


def test_pop_36_eight_seconds_are_enough_to_wait(place: Place) -> None:
    with place.visitor() as ann:
        sent = ann.hold("**/popup/signup")
        ann.go(place.put())
        ann.open()
        with ann.page.expect_request("**/popup/signup"):
            ann.send("slow@example.com")
        ann.dialog.locator("#email").press("Enter")  # a double click is one
        ann.later(7.5)
        assert ann.dialog.get_by_text("did not get through").count() == 0
        assert ann.dialog.locator("button[type=submit]").get_attribute("aria-disabled") == "true"
        ann.later(1)
        ann.dialog.get_by_text("did not get through").wait_for()
        assert len(sent) == 1


def test_pop_34_the_form_is_sent_as_a_simple_request(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put("/simple") + "?secret=1")
        ann.open()
        with ann.page.expect_request("**/popup/signup") as sent:
            ann.send("simple@example.com")
        headers = sent.value.all_headers()
        body = sent.value.post_data or ""
        assert sent.value.method == "POST"
        assert headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert headers["origin"] == place.site.origin
        assert "referer" not in headers
        assert "cookie" not in headers
        assert not any(name.startswith("x-") for name in headers)
        assert "secret" not in body
        assert not [url for url in ann.requests if "secret" in url and place.base in url]
        fields = {pair.partition("=")[0] for pair in body.split("&")}
        assert fields == {"key", "opening", "keep", "email", "name", "marketing", "zone", "locale", "page", "version",
                          "seconds"}  # fmt: skip


def test_pop_34_a_site_that_is_not_named_cannot_sign_anybody_up(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put().replace("127.0.0.1", "localhost"))
        before = place.people()
        ann.page.click("#ask")
        ann.send("other@example.com")
        ann.dialog.get_by_text("did not get through").wait_for()
        assert place.people() == before


# --- the page's own life -------------------------------------------------------------------------

SPA = """<p><a href="#" id="next">Next</a></p><script>
let n = 0;
const next = () => {
  history.pushState({}, '', '/page-' + ++n);
  document.querySelector('h1').textContent = 'Page ' + n;
};
document.getElementById('next').onclick = (event) => { event.preventDefault(); next(); };
</script>"""


def test_pop_38_a_new_page_without_loading_starts_anew(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put("/spa", body=SPA))
        ann.read()
        ann.page.evaluate("next()")
        ann.scroll("scrollBy(0, 30)")
        ann.leave()
        assert ann.stays_closed()
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        ann.fill("spa@example.com")
        ann.page.keyboard.press("Enter")
        ann.page.wait_for_selector("funnel-popup .done")
    assert place.shop.person("spa@example.com").source == "/page-1"


def test_pop_38_a_hundred_pages_leave_nothing_behind(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put("/spa", body=SPA))
        tools = ann.context.new_cdp_session(ann.page)
        tools.send("Performance.enable")

        def counted() -> dict[str, float]:
            tools.send("HeapProfiler.collectGarbage")
            found = {m["name"]: m["value"] for m in tools.send("Performance.getMetrics")["metrics"]}
            return {name: found[name] for name in ("Nodes", "JSEventListeners", "JSHeapUsedSize")}

        look = """for (let i = 0; i < 10; i++) {
          next();
          dispatchEvent(new PointerEvent('pointerdown'));
          FunnelPopup.open();
          FunnelPopup.close();
        }"""
        ann.page.evaluate(look)
        before = counted()
        for _ in range(10):
            ann.page.evaluate(look)
            ann.page.wait_for_timeout(10)
        after = counted()
        assert after["Nodes"] <= before["Nodes"] + 100
        assert after["JSEventListeners"] <= before["JSEventListeners"] + 5
        assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] * 1.3 + 300_000


def test_pop_38_loaded_twice_or_late_it_is_there_once(place: Place) -> None:
    late = f"""<script>addEventListener('load', () => {{
      const script = document.createElement('script');
      script.src = '{place.base}/popup.js';
      document.body.append(script);
    }})</script>"""
    with place.visitor() as ann:
        ann.go(place.put("/twice", head=place.tag + place.tag.replace(" async", ""), body=late))
        ann.settle()
        ann.read()
        ann.leave()
        ann.dialog.wait_for()
        assert ann.page.locator("funnel-popup").count() == 1
        assert [url for url in ann.requests if url.endswith("popup.json")] == [place.base + "/popup.json"]
    with place.visitor() as ben:
        ben.go(place.put("/late", head="", body=late))
        ben.read()
        ben.leave()
        ben.dialog.wait_for()


def test_pop_38_a_page_that_throws_it_out_does_not_break_it(place: Place) -> None:
    with place.visitor() as ann:
        ann.go(place.put())
        ann.open()
        ann.page.evaluate("document.querySelector('funnel-popup').remove()")
        ann.open()
        ann.send("thrown@example.com")
        ann.page.wait_for_selector("funnel-popup .done")
        assert ann.note("errors") == []


@pytest.mark.parametrize("allowed", [False, True])
def test_pop_38_in_a_frame_it_is_silent_unless_told(place: Place, *, allowed: bool) -> None:
    tag = place.tag.replace("async", "async data-allow-iframe") if allowed else place.tag
    inner = place.put("/inner", head=tag)
    with place.visitor() as ann:
        ann.page.goto(place.put("/outer", head="", body=f'<iframe src="{inner}" width=900 height=600></iframe>'))
        frame = ann.page.frames[1]
        ann.settle()
        assert frame.evaluate("typeof FunnelPopup") == ("object" if allowed else "undefined")


def test_pop_39_a_browser_without_dialogs_keeps_its_page(place: Place) -> None:
    with place.visitor() as ann:
        ann.context.add_init_script("delete HTMLDialogElement.prototype.showModal")
        ann.page.goto(place.put())
        before = ann.page.content()
        ann.read()
        ann.leave()
        assert ann.page.evaluate("typeof FunnelPopup") == "undefined"
        assert ann.page.content() == before
        ann.page.click("#ask")
        ann.page.wait_for_url(place.base + "/")


def test_pop_22_the_page_still_comes_back_from_the_browsers_cache(place: Place, browser: Browser) -> None:
    """And is armed anew, and history has only what the visitor did."""
    path = browser_path(browser.browser_type.executable_path, windowless=False)
    if path is None:
        pytest.skip(NO_BROWSER)
    own = browser.browser_type.launch(
        executable_path=path, args=BROWSER_ARGS, ignore_default_args=["--disable-back-forward-cache"]
    )
    place_there = Place(place.shop, place.site, place.base, own)
    try:
        with place_there.visitor(still=False) as ann:
            ann.context.add_init_script("addEventListener('pageshow', (e) => window.cached = e.persisted)")
            ann.go(place.put())
            ann.open()
            ann.page.keyboard.press("Escape")
            ann.dialog.wait_for(state="detached")
            length = ann.page.evaluate("history.length")
            ann.page.goto(place.put("/second", head=""))
            ann.page.go_back(wait_until="commit")
            ann.page.wait_for_function("window.cached === true")
            assert ann.page.evaluate("history.length") == length + 1
            ann.open()
    finally:
        own.close()
