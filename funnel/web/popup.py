"""The popup on the clinic's own site: its script, what it asks for when it opens, and what it sends in.

``popup.js`` and ``popup.css`` become one script that is the same, byte for byte, for the same settings, so
that a page can pin it by its hash. It holds no key: each opening fetches a fresh one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING, Any

from flask import Response, abort, request
from markupsafe import escape

from funnel.address import shorten
from funnel.errors import AddressError
from funnel.links import Links
from funnel.signup import Request, TooManyError
from funnel.tokens import Keys
from funnel.web import work
from funnel.web.inboxes import meant
from funnel.web.pages.asking import FORM_TYPES
from funnel.web.pages.desk import agent, names, one
from funnel.web.visitor import Door
from funnel.web.wording import DEFAULT, Words, translations

if TYPE_CHECKING:
    from flask import Flask

    from funnel.app import Funnel

HERE = Path(__file__).parent
PLACE = '"SETUP"'
WORK_PLACE = "// WORK\n"
#: Settings that may say it otherwise than strings.toml.
OWN = ("title", "body", "gift", "button", "decline")
#: How long a browser may keep the script: a change of texts or the switch reaches every page within it (POP-27).
KEPT = 300
SHARED = {"/popup.json", "/popup/signup"}
#: A pattern of JavaScript, and a text or a sign with the spaces around it.
PATTERN = re.compile(r"[(=&] ?/[^/ ]")
SPACED = re.compile(r"""("[^"]*"|'[^']*')| *([=<>?:{},*/&|()!]+|(?<=\w) [+-](?= \w)) *""")
OPENING = re.compile(r"[0-9a-f]{32}")
#: How many answered openings are remembered; a second click comes within seconds.
REMEMBERED = 1000


class Popup:
    """The texts of one funnel's popup, and the script made of them."""

    def __init__(self, funnel: Funnel) -> None:
        self.funnel = funnel
        self.settings = funnel.config.popup
        self.links = Links(funnel.config, Keys(signing=(), pepper=b""))  # those used here are not signed
        languages = translations(names(funnel))
        spoken = languages.get(funnel.config.clinic.locale.partition("-")[0].lower())
        self.say: Words = spoken if spoken and "popup.body" in spoken else languages[DEFAULT]

    @cached_property
    def words(self) -> dict[str, str]:
        """Return every text the popup shows; what is switched off is empty."""
        say, pages = self.say, self.funnel.guide_length
        guide = say("form.guide", pages=pages) if pages else say("form.guide_short")
        signup = self.funnel.config.signup
        texts = {
            "title": self.settings.title,
            "body": say("popup.body", guide=guide),
            "gift": say("popup.gift"),
            "email": say("form.email"),
            "name": say("form.name") if signup.name_field else "",
            "wording": say("popup.wording"),
            "marketing": say("form.marketing") if signup.marketing_checkbox else "",
            "privacy": say("form.privacy"),
            "button": say("popup.button"),
            "decline": say("popup.decline"),
        }
        return texts | {key: getattr(self.settings, key) for key in OWN if getattr(self.settings, key)}

    @cached_property
    def asides(self) -> dict[str, str]:
        """Return what the popup says before, beside and after its question."""
        say = self.say
        return {
            "lang": say("lang"),
            "dir": say("dir"),
            "close": say("popup.close"),
            "sending": say("popup.sending"),
            "banner": say("popup.banner"),
            "banner_text": say("popup.banner_text"),
            "banner_button": say("popup.banner_button"),
            "invalid": say("popup.invalid"),
            "offline": say("popup.offline"),
            "unreachable": say("popup.unreachable"),
            "form": say("popup.form"),
            "done_title": say("check_inbox.title"),
            "done": say("check_inbox.lead"),
            "done_more": say("check_inbox.life"),
        }

    @property
    def wording(self) -> str:
        """Return the exact words of the question, as the receipt keeps them."""
        words = self.words
        box = f"[ ] {words['marketing']}" if words["marketing"] else ""
        said = (words["title"], words["body"], words["gift"], words["wording"], box, f"[{words['button']}]")
        return "\n".join(filter(None, said))

    @property
    def version(self) -> str:
        """Return what names these words: a form that shows others is not taken in."""
        return hashlib.sha256(self.wording.encode()).hexdigest()[:8]

    @cached_property
    def script(self) -> bytes:
        """Return the script as it is served."""
        config = self.funnel.config
        setup: dict[str, Any] = {
            "base": config.site.base_url,
            "form": self.links.home,
            "privacy": self.links.privacy,
            "delay": self.settings.delay_seconds,
            "storage": self.settings.storage,
            "days": self.settings.per_days,
            "most": self.settings.most,
            "cover": config.guide.title.partition(":")[0],
            "version": self.version,
            "words": self.words | self.asides,
            "css": squeezed(lean((HERE / "popup.css").read_text("utf-8"))),
        }
        # ASCII only, so that the page's own character set cannot spoil it.
        text = json.dumps(setup, sort_keys=True, separators=(",", ":"))
        return tight(lean(self._source())).replace(PLACE, text, 1).encode("ascii")

    def _source(self) -> str:
        """Return the JavaScript of this funnel's popup: with proof of work only where that is wanted."""
        source = (HERE / "popup.js").read_text("utf-8")
        wanted = self.funnel.config.signup.proof_of_work
        return source.replace(WORK_PLACE, work.script("work-popup.js"), 1) if wanted else source

    @property
    def integrity(self) -> str:
        """Return the hash that pins the script."""
        return "sha384-" + b64encode(hashlib.sha384(self.script).digest()).decode()

    def snippet(self, *, integrity: bool = True) -> str:
        """Return the line for a page: the script, and a plain link for browsers without scripts."""
        source = escape(self.funnel.config.site.base_url + "/popup.js")
        pinned = f' integrity="{self.integrity}"' if integrity else ""
        link = f'<a href="{escape(self.links.home)}">{escape(self.asides["banner_button"])}</a>'
        return f'<script async src="{source}"{pinned} crossorigin="anonymous"></script>\n<noscript>{link}</noscript>'


def lean(text: str) -> str:
    """Return JavaScript or CSS without comments that have lines of their own, and without indentation."""
    bare = re.sub(r"^\s*(?://.*|/\*(?:[^*]|\*(?!/))*\*/)\s*$", "", text, flags=re.MULTILINE)
    return "\n".join(line.strip() for line in bare.splitlines() if line.strip()) + "\n"


def squeezed(css: str) -> str:
    """Return a style sheet without the white space that says nothing; ours has none in strings."""
    return re.sub(r":\s+", ":", re.sub(r"\s*([{};,])\s*", r"\1", css)).replace(";}", "}")


def tight(code: str) -> str:
    """Return JavaScript without the spaces around its signs; texts, and lines with a pattern in them, stay whole."""
    lines = (line if PATTERN.search(line) else SPACED.sub(r"\1\2", line) for line in code.splitlines())
    return "\n".join(lines) + "\n"


class Counter:
    """Takes in what the popup sends. One opening with one address counts once (POP-36)."""

    def __init__(self, popup: Popup, door: Door) -> None:
        self.popup = popup
        self.funnel = popup.funnel
        self.door = door
        self.done: OrderedDict[bytes, None] = OrderedDict()
        self.busy: set[bytes] = set()
        self.turn = Condition()

    @cached_property
    def packed(self) -> bytes:
        """Return the script as most browsers take it."""
        return gzip.compress(self.popup.script, 9, mtime=0)

    def popup_script(self) -> Response:
        """Hand out the script to any page; it holds nothing that is not meant for everybody."""
        packed = request.accept_encodings.quality("gzip") > 0
        response = Response(self.packed if packed else self.popup.script, mimetype="text/javascript")
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
        response.set_etag(f"{self.popup.integrity[7:23]}{'-gz' if packed else ''}")
        response.headers["Cache-Control"] = f"public, max-age={KEPT}"
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.make_conditional(request)
        return response

    def popup_opening(self) -> Response:
        """Say whether the popup may open, and give the key that its form sends back."""
        if not self.door.allows_origin(request.headers):
            abort(403)
        if not self.popup.settings.enabled:
            return _json(enabled=False)
        return _json(enabled=True, key=self.funnel.page_key())

    def popup_signup(self) -> Response:
        """Take in what the popup's form holds; the answer is the same for every address (SEC-1)."""
        if not self.door.allows_origin(request.headers):
            abort(403)
        if request.mimetype not in FORM_TYPES:
            abort(415)
        say, email = self.popup.say, one("email").strip()
        if one("version") != self.popup.version:
            return _json(422, problem=say("popup.changed"), form=True)
        if not self.funnel.page_was_shown(one("key")):
            return _json(422, problem=say("popup.again"), key=self.funnel.page_key())
        suggestion = meant(email)
        if suggestion and one("keep") != email:
            return _json(422, problem=say("popup.meant", email=shorten(suggestion, 320)), field="email", keep=email)
        try:
            self._ask_once(email)
        except AddressError as error:
            return _json(422, problem=say("form.problem", reason=str(error)), field="email")
        except work.WorkError:
            return _json(422, problem=say("popup.work"), key=self.funnel.page_key(), form=True)
        except TooManyError as error:
            response = _json(429, problem=say("popup.many"))
            response.headers["Retry-After"] = str(error.wait)
            return response
        return _json(ok=True)

    def _ask_once(self, email: str) -> None:
        """Ask for the guide, unless this opening has done so: a double click or a retry leaves one receipt."""
        opening = one("opening")
        name = hashlib.sha256(f"{opening} {email}".encode()).digest()
        with self.turn:
            self.turn.wait_for(lambda: name not in self.busy)
            if name in self.done:
                return
            self.busy.add(name)
        try:  # others ask at the same time, and share a commit
            work.ask(self.funnel, self._asked(email), one("key"), one("work"))
            with self.turn:
                self._remember(name, opening)
        finally:
            with self.turn:
                self.busy.discard(name)
                self.turn.notify_all()

    def _remember(self, name: bytes, opening: str) -> None:
        if OPENING.fullmatch(opening):
            self.done[name] = None
        if len(self.done) > REMEMBERED:
            self.done.popitem(last=False)

    def _asked(self, email: str) -> Request:
        box = self.funnel.config.signup.marketing_checkbox
        seconds = one("seconds")
        filled = f", {seconds} s" if re.fullmatch(r"[0-9]{1,6}", seconds) else ""
        address = self.door.address(request.environ.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For"))
        return Request(
            email=email, wording=self.popup.wording, zone=one("zone"), locale=one("locale"), page=one("page") or "/",
            ip=address, agent=agent(), name=one("name"), form=f"popup-{self.popup.version}{filled}",
            marketing=bool(one("marketing")) if box else None, language=self.popup.say.language,
        )  # fmt: skip


def _json(status: int = 200, **told: object) -> Response:
    return Response(json.dumps(told) + "\n", status=status, mimetype="application/json")


def register(app: Flask, funnel: Funnel) -> None:
    """Add the popup's addresses to an application; only pages the settings allow can read the answers (POP-34)."""
    door = Door.of(funnel.config.site)
    counter = Counter(Popup(funnel), door)
    app.add_url_rule("/popup.js", view_func=counter.popup_script, methods=["GET"])
    app.add_url_rule("/popup.json", view_func=counter.popup_opening, methods=["GET"])
    app.add_url_rule("/popup/signup", view_func=counter.popup_signup, methods=["POST"])

    @app.after_request
    def share(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if request.path in SHARED:
            response.vary.add("Origin")
            if origin in door.origins:
                response.headers["Access-Control-Allow-Origin"] = origin
        return response
