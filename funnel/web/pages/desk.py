"""What all pages share: the words in the visitor's language, the look, who asks, and proof of what was shown."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from flask import Response, current_app, g, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from funnel.address import shorten
from funnel.errors import FunnelError
from funnel.model import Receipt
from funnel.schedule import zone
from funnel.signup import FORM
from funnel.web.headers import SCRIPT_POLICY
from funnel.web.wording import DEFAULT, Words, translations

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.model import Gift, Subscriber
    from funnel.web.visitor import Door

log = logging.getLogger("funnel.web")
HERE = Path(__file__).resolve().parents[1]


class Desk:
    """The front desk of one funnel: pages are made here, and visitors are understood."""

    def __init__(self, funnel: Funnel, door: Door) -> None:
        self.funnel = funnel
        self.door = door
        self.style = (HERE / "style.css").read_bytes()
        self.script = (HERE / "page.js").read_bytes()
        self.languages = translations(names(funnel))
        self.root = urlsplit(funnel.config.site.base_url).path
        self.templates = self._templates()
        self.warned = False

    # --- words ---------------------------------------------------------------------------------

    @property
    def words(self) -> Words:
        """Return the sentences in the language of this request."""
        if "language" not in g:
            g.language = self._asked() or self._preferred()
        return self.languages[g.language]

    def speak(self, language: str) -> None:
        """Answer this request in a language, when there is such a one."""
        if language in self.languages:
            g.language = language

    def _asked(self) -> str:
        """Return the language the address of the page names, or nothing."""
        asked = request.args.get("lang", "")
        return asked if asked in self.languages else ""

    def _preferred(self) -> str:
        """Return the language the browser prefers among ours, else the clinic's, else English."""
        clinic = self.funnel.config.clinic.locale.partition("-")[0].lower()
        fallback = clinic if clinic in self.languages else DEFAULT
        return request.accept_languages.best_match(list(self.languages), fallback) or fallback

    @property
    def query(self) -> str:
        """Return what keeps a language that was chosen by hand from page to page: ``?lang=es``, or nothing."""
        return f"?lang={self._asked()}" if self._asked() else ""

    def content_note(self) -> str:
        """Return in which language guide and mails are, for a page in another one; else nothing."""
        written = self.funnel.config.clinic.locale.partition("-")[0].lower()
        if written == self.words.language or f"languages.{written}" not in self.words:
            return ""
        return self.words("form.content_language", language=self.words(f"languages.{written}"))

    def day(self, moment: datetime, person: Subscriber | None = None) -> str:
        """Return a day on a person's own calendar, else on the clinic's, in the language of the page."""
        where = person.zone if person else self.funnel.config.clinic.time_zone
        return self.words.day(moment.astimezone(zone(where)))

    # --- pages ---------------------------------------------------------------------------------

    def page(self, template: str, status: int = 200, *, script: bool = False, **fields: object) -> Response:
        """Return a page made from a template; only one with ``script`` may run ours."""
        words = self.words
        html = self.templates.get_template(template + ".html").render(
            say=words, lines=words.lines, query=self.query, others=self._others(status), note=self._note(),
            script=script, **fields,
        )  # fmt: skip
        response = Response(html, status=status, mimetype="text/html")
        response.headers["Content-Language"] = words.language
        response.vary.add("Accept-Language")
        if script:
            response.headers["Content-Security-Policy"] = SCRIPT_POLICY
        return response

    def _others(self, status: int) -> list[tuple[str, str, str]]:
        """Return code, own name and address of this page in each other language; the form's where a GET cannot go.

        What is refused is refused alike, whatever its address was: that one is not repeated (SEC-5).
        """
        seen = status < 400 and current_app.url_map.bind("").test(request.path, "GET")
        here = quote(request.path) if seen else "/"
        mine = self.words.language
        return [
            (code, words("language"), f"{self.root}{here}?lang={code}")
            for code, words in self.languages.items()
            if code != mine
        ]

    def _note(self) -> str:
        """Return what only somebody at this very machine should read: that sending is silent (F-61); else nothing."""
        if not self.door.is_local(request.environ.get("REMOTE_ADDR"), request.headers):
            return ""
        try:
            silent, last = self.funnel.silent_since()
        except FunnelError:
            return ""
        if not silent:
            return ""
        return self.words("base.silent", since=f"{last:%Y-%m-%d %H:%M} UTC") if last else self.words("base.never")

    def problem(self, status: int, key: str) -> Response:
        """Return the page for an error."""
        known = key if f"errors.{key}.title" in self.words else "other"
        return self.page("message", status, key=f"errors.{known}", home=status < 500, again=False)

    def not_on_list(self) -> Response:
        """Return the page for somebody we do not know any more."""
        return self.page("message", key="not_on_list", home=True, again=False)

    def to(self, path: str) -> Response:
        """Return a 303 to a page of ours, byte for byte the same each time."""
        return Response("", status=303, headers={"Location": self.root + path}, mimetype="text/plain")

    # --- who asks ------------------------------------------------------------------------------

    def ip(self) -> str:
        """Return the visitor's address as far as it is known; says once when a proxy hides them all."""
        peer, forwarded = request.environ.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For")
        found = self.door.address(peer, forwarded)
        if forwarded and found == peer and not self.warned:
            self.warned = True
            log.warning("Visitors come through a proxy that site.trusted_proxies does not name: all look like one")
        return found

    def receipt(self, act: str, page: str, words: str) -> Receipt:
        """Return the proof of an act: the words of the button as they were shown, and in which language."""
        return Receipt(
            act=act, at=self.funnel.clock(), wording=self.words(words), form=FORM, page=page,
            locale=self.words.language, ip=self.ip(), agent=agent(),
        )  # fmt: skip

    def gift_fields(self, person: Subscriber, gift: Gift | None) -> dict[str, Any]:
        """Return what a page may say about a person's gift, or about waiting for one."""
        until = self.day(gift.expires_at) if gift else ""
        waits = gift is None and self.funnel.waits_for_gift(person)
        return {"gift": gift, "usable": self.funnel.can_use(gift), "until": until, "waits": waits}

    def _templates(self) -> Environment:
        """Return the templates, each with the clinic's names and the sentences at hand."""
        env = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        title, _, subtitle = self.funnel.config.guide.title.partition(":")
        env.globals.update(
            root=self.root, home_url=self.funnel.links.home, clinic=self.funnel.config.clinic,
            style_version=short_hash(self.style), script_version=short_hash(self.script),
            title=title, subtitle=subtitle.strip(),
        )  # fmt: skip
        return env


def one(name: str) -> str:
    """Return a field sent exactly once, else nothing (SEC-31)."""
    values = request.form.getlist(name)
    return values[0] if len(values) == 1 else ""


def agent() -> str:
    """Return what the browser calls itself, short enough to keep."""
    return shorten(request.headers.get("User-Agent", ""), 256)


def kept(data: bytes, mimetype: str) -> Response:
    """Return what anybody may keep for a day, or 304 when they have it."""
    response = Response(data, mimetype=mimetype)
    response.set_etag(short_hash(data))
    response.headers["Cache-Control"] = "public, max-age=86400"
    response.make_conditional(request)
    return response


def short_hash(data: bytes) -> str:
    """Return what tells one version of a file from the next."""
    return hashlib.sha256(data).hexdigest()[:16]


def names(funnel: Funnel) -> dict[str, object]:
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
        "raw_event_days": config.retention.raw_event_days,
    }
