"""The pages themselves: each reads one request, makes one call of ``Funnel`` and shows what came of it.

No GET changes anything (P6); every act is a POST from a form that the GET of the same address shows.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Response, abort, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from funnel.address import mask, shorten
from funnel.errors import AddressError, FunnelError, GuideError, NotFoundError
from funnel.model import Receipt, Status
from funnel.signup import FORM, Request
from funnel.tokens import Purpose
from funnel.web.files import Book, answer
from funnel.web.headers import EDITION_POLICY
from funnel.web.wording import Words

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

    from funnel.app import Funnel
    from funnel.model import Gift, Subscriber
    from funnel.web.visitor import Door

HERE = Path(__file__).parent
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", ""}
#: A field no person sees; whoever fills it in is a program.
TRAP = "subject"
#: The buttons of the preferences, and the act each one is a receipt for.
ACTS = {"pause-14": "paused", "pause-28": "paused", "resume": "resumed", "stop": "withdrawn"}
PAUSES = {"pause-14": 14, "pause-28": 28}


class Pages:
    """The pages of one funnel."""

    def __init__(self, funnel: Funnel, door: Door) -> None:
        self.funnel = funnel
        self.door = door
        self.style = (HERE / "style.css").read_bytes()
        output = funnel.config.path(funnel.config.guide.output)
        self.pdf = Book(output / "guide.pdf", "application/pdf", b"%PDF-", b"%%EOF")
        self.html = Book(output / "guide.html", "text/html", b"<!doctype html", b"</html>")
        self.words = Words(_fields(funnel))
        self.templates = _templates(funnel, self.words, self.style)

    def register(self, app: Flask) -> None:
        """Add every route to an application."""
        routes: list[tuple[str, str, Any]] = [
            ("/", "GET", self.form),
            ("/signup", "POST", self.signup),
            ("/check-inbox", "GET", self.check_inbox),
            ("/c/<token>", "GET", self.confirm),
            ("/c/<token>", "POST", self.confirmed),
            ("/g/<token>", "GET", self.guide),
            ("/g/<token>", "POST", self.guide_act),
            ("/g/<token>/guide.pdf", "GET", self.guide_pdf),
            ("/g/<token>/guide.html", "GET", self.guide_html),
            ("/u/<token>", "GET", self.unsubscribe),
            ("/u/<token>", "POST", self.unsubscribed),
            ("/p/<token>", "GET", self.preferences),
            ("/p/<token>", "POST", self.preferences_act),
            ("/privacy", "GET", self.privacy),
            ("/healthz", "GET", self.healthz),
            ("/style.css", "GET", self.stylesheet),
            ("/f/<name>", "GET", self.picture),
        ]
        for rule, method, view in routes:
            app.add_url_rule(rule, endpoint=view.__name__, view_func=view, methods=[method])

    def page(self, template: str, status: int = 200, **fields: object) -> Response:
        """Return a page made from a template."""
        html = self.templates.get_template(template + ".html").render(**fields)
        return Response(html, status=status, mimetype="text/html")

    # --- the form ------------------------------------------------------------------------------

    def form(self) -> Response:
        """Show the form."""
        return self._form()

    def _form(self, status: int = 200, *, problem: str = "", again: bool = False) -> Response:
        return self.page(
            "form", status, key=self.funnel.page_key(), trap=TRAP, problem=problem, again=again,
            email=shorten(_one("email"), 320), name=shorten(_one("name")), marketing=bool(_one("marketing")),
            wording=self.words("form.wording", guide=self._guide_words()), signup=self.funnel.config.signup,
            pages=self.funnel.guide_length, privacy_url=self.funnel.links.privacy,
        )  # fmt: skip

    def wording(self) -> str:
        """Return the exact words beside the button, as the receipt keeps them."""
        said = self.words("form.wording", guide=self._guide_words())
        box = self.funnel.config.signup.marketing_checkbox
        return f"{said}\n[ ] {self.words('form.marketing')}" if box else said

    def _guide_words(self) -> str:
        """Return the guide by its title, with its length when that is known."""
        pages = self.funnel.guide_length
        return self.words("form.guide", pages=pages) if pages else self.words("form.guide_short")

    def signup(self) -> Response:
        """Take the form in; the answer is the same for every address (SEC-1)."""
        if not self.door.allows_origin(request.headers):
            abort(403)
        if request.mimetype not in FORM_TYPES:
            abort(415)
        if _one(TRAP):
            return self._to("/check-inbox")
        if not self.funnel.page_was_shown(_one("key")):
            return self._form(422, again=True)
        try:
            self.funnel.ask(self._asked())
        except AddressError as error:
            return self._form(422, problem=str(error))
        return self._to("/check-inbox")

    def _asked(self) -> Request:
        box = self.funnel.config.signup.marketing_checkbox
        return Request(
            email=_one("email"), wording=self.wording(), zone=_one("zone"), locale=_one("locale"),
            page=_one("page") or "/", ip=self._ip(), agent=_agent(), name=_one("name"),
            marketing=bool(_one("marketing")) if box else None,
        )  # fmt: skip

    def check_inbox(self) -> Response:
        """Show what happens next."""
        return self.page("check-inbox")

    # --- confirming ----------------------------------------------------------------------------

    def confirm(self, token: str) -> Response:
        """Show whose address it is and one button."""
        return self._confirm(token, self.funnel.asker_of(token))

    def _confirm(self, token: str, person: Subscriber, status: int = 200, *, again: bool = False) -> Response:
        key = self.funnel.page_key(self.funnel.request_of(token))
        return self.page("confirm", status, who=mask(person.email), key=key, again=again)

    def confirmed(self, token: str) -> Response:
        """Confirm, once the page was really shown before (BOT-2), and show guide and gift."""
        person = self.funnel.asker_of(token)
        if not self.funnel.page_was_shown(_one("key"), self.funnel.request_of(token)):
            return self._confirm(token, person, 422, again=True)
        try:
            done = self.funnel.confirm(token, self._receipt("confirmed", "/c", "confirm.button"))
        except NotFoundError:
            return self.page("message", 410, key="stopped_since", home=True)
        links, now = self.funnel.links, self.funnel.clock()
        return self.page(
            "thanks", again=done.again, guide_url=links.download(person.id, now), pages=self.funnel.guide_length,
            preferences_url=links.preferences(person.id), **self._gift(person),
        )  # fmt: skip

    # --- the guide and the gift ----------------------------------------------------------------

    def guide(self, token: str) -> Response:
        """Show the guide's page."""
        return self._guide(token, self.funnel.person_of(token, Purpose.DOWNLOAD))

    def _guide(self, token: str, person: Subscriber, status: int = 200, *, reveal: bool = False) -> Response:
        gift, size = self._gift(person), self.pdf.size
        return self.page(
            "guide", status, token=token, who=mask(person.email), pages=self.funnel.guide_length,
            megabytes=f"{size / 1_000_000:.1f}" if size else "", reveal=reveal, **gift,
        )  # fmt: skip

    def guide_act(self, token: str) -> Response:
        """Open the guide for a person who pressed the button, or show their gift code."""
        person = self.funnel.person_of(token, Purpose.DOWNLOAD)
        act = _one("act")
        if act == "open":
            self.funnel.downloaded(person)
            return self._to(f"/g/{token}/guide.pdf")
        return self._guide(token, person, 200 if act == "gift" else 400, reveal=act == "gift")

    def _gift(self, person: Subscriber) -> dict[str, Any]:
        gift: Gift | None = self.funnel.gift_of(person)
        until = self.funnel.day(gift.expires_at, person) if gift else ""
        return {"gift": gift, "usable": self.funnel.can_use(gift), "until": until}

    def guide_pdf(self, token: str) -> Response:
        """Hand out the PDF to whoever holds the link, a scanner too (BOT-3)."""
        return self._file(token, self.pdf)

    def guide_html(self, token: str) -> Response:
        """Hand out the edition for the screen."""
        response = self._file(token, self.html)
        if response.mimetype == "text/html" and response.status_code != 503:
            response.headers["Content-Security-Policy"] = EDITION_POLICY
        return response

    def _file(self, token: str, book: Book) -> Response:
        self.funnel.person_of(token, Purpose.DOWNLOAD)
        try:
            return answer(request, book)
        except GuideError:
            response = self.problem(503, "guide")
            response.headers["Retry-After"] = "300"
            return response

    # --- stopping and pausing ------------------------------------------------------------------

    def unsubscribe(self, token: str) -> Response:
        """Show one button (UNS-6)."""
        try:
            person = self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        except NotFoundError:
            return self.page("message", key="not_on_list", home=True)
        going = person.status.listening or person.status is Status.PENDING
        if not going:
            return self.page("message", key="already_stopped", home=True)
        return self.page("unsubscribe", who=mask(person.email))

    def unsubscribed(self, token: str) -> Response:
        """Stop all mail, whatever the body says: it is not even read (UNS-4, UNS-5)."""
        self.funnel.unsubscribe_by_token(token, self._receipt("withdrawn", "/u", "unsubscribe.button"))
        try:
            self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        except NotFoundError:
            return self.page("message", key="not_on_list", home=True)
        return self.page("message", key="stopped", home=True)

    def preferences(self, token: str) -> Response:
        """Show what is set and what can be."""
        try:
            person = self.funnel.person_of(token, Purpose.PREFERENCES)
        except NotFoundError:
            return self.page("message", key="not_on_list", home=True)
        return self._preferences(person)

    def _preferences(self, person: Subscriber, status: int = 200, *, changed: bool = False) -> Response:
        until = self.funnel.day(person.paused_until, person) if person.paused_until else ""
        return self.page("preferences", status, person=person, who=mask(person.email), until=until, changed=changed)

    def preferences_act(self, token: str) -> Response:
        """Pause, go on or stop, then show what is set now."""
        person = self.funnel.person_of(token, Purpose.PREFERENCES)
        act = _one("act")
        if act not in ACTS:
            return self._preferences(person, 400)
        changed = self._set(person, act)
        return self._preferences(self.funnel.person_of(token, Purpose.PREFERENCES), changed=changed)

    def _set(self, person: Subscriber, act: str) -> bool:
        """Do what a button of the preferences says; True when that changed something."""
        receipt = self._receipt(ACTS[act], "/p", f"preferences.{act}")
        if act == "stop":
            return self.funnel.unsubscribe(person.id, receipt)
        if act == "resume" and person.status is not Status.PAUSED:
            return False
        return self.funnel.pause(person, PAUSES.get(act, 0), receipt)

    # --- the rest ------------------------------------------------------------------------------

    def privacy(self) -> Response:
        """Show what is kept, why, how long, and whom to ask."""
        return self.page("privacy", signup=self.funnel.config.signup)

    def healthz(self) -> Response:
        """Say whether the store can be written and when sending last ran; 503 when the store cannot be used."""
        try:
            tick, store = self.funnel.last_tick(), True
        except FunnelError:
            tick, store = None, False
        facts = {
            "ok": store,
            "store": store,
            "last_send": tick.isoformat() if tick else None,
            "silent": self._silent(tick),
        }
        return Response(json.dumps(facts) + "\n", status=200 if store else 503, mimetype="application/json")

    def _silent(self, tick: datetime | None) -> bool:
        limit = timedelta(minutes=self.funnel.config.alerts.cron_silent_minutes)
        return tick is None or self.funnel.clock() - tick > limit

    def stylesheet(self) -> Response:
        """Hand out the one style sheet."""
        return _kept(self.style, "text/css")

    def picture(self, name: str) -> Response:
        """Hand out a picture that mails show, to anybody; 404 for every other name."""
        png = self.funnel.picture(name)
        if png is None:
            abort(404)
        response = _kept(png, "image/png")
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # mail is read on other sites
        return response

    def link_failed(self, *, expired: bool) -> Response:
        """Return the page for a link that no longer works, or one that never was ours."""
        return self.page("message", 410, key="expired", home=True) if expired else self.problem(404, "404")

    def problem(self, status: int, key: str) -> Response:
        """Return the page for an error."""
        known = key if f"errors.{key}.title" in self.words else "other"
        return self.page("message", status, key=f"errors.{known}", home=status < 500)

    def _to(self, path: str) -> Response:
        """Return a 303 to a page of ours, byte for byte the same each time."""
        return Response("", status=303, headers={"Location": _root(self.funnel) + path}, mimetype="text/plain")

    def _ip(self) -> str:
        return self.door.address(request.environ.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For"))

    def _receipt(self, act: str, page: str, words: str) -> Receipt:
        return Receipt(
            act=act, at=self.funnel.clock(), wording=self.words(words), form=FORM, page=page,
            locale=self.words("lang"), ip=self._ip(), agent=_agent(),
        )  # fmt: skip


def _one(name: str) -> str:
    """Return a field sent exactly once, else nothing (SEC-31)."""
    values = request.form.getlist(name)
    return values[0] if len(values) == 1 else ""


def _agent() -> str:
    return shorten(request.headers.get("User-Agent", ""), 256)


def _root(funnel: Funnel) -> str:
    """Return the path our pages live under, empty for a site of their own."""
    return urlsplit(funnel.config.site.base_url).path


def _kept(data: bytes, mimetype: str) -> Response:
    """Return what anybody may keep for a day, or 304 when they have it."""
    response = Response(data, mimetype=mimetype)
    response.set_etag(_short_hash(data))
    response.headers["Cache-Control"] = "public, max-age=86400"
    response.make_conditional(request)
    return response


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _fields(funnel: Funnel) -> dict[str, object]:
    """Return what the sentences may name."""
    config = funnel.config
    return {
        "clinic": config.clinic.name,
        "address": config.clinic.postal_address,
        "phone": config.clinic.phone,
        "from_address": config.clinic.from_address,
        "reply_to": config.reply_to,
        "guide_title": config.guide.title,
        "gift_name": config.gift.name,
        "confirm_days": config.signup.confirm_days,
        "pending_days": config.retention.pending_days,
        "ip_days": config.retention.ip_days,
    }


def _templates(funnel: Funnel, words: Words, style: bytes) -> Environment:
    """Return the templates, each with the clinic's names and the sentences at hand."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    title, _, subtitle = funnel.config.guide.title.partition(":")
    env.globals.update(
        say=words, lines=words.lines, root=_root(funnel), home_url=funnel.links.home, clinic=funnel.config.clinic,
        style_version=_short_hash(style)[:8], title=title, subtitle=subtitle.strip(),
    )  # fmt: skip
    return env
