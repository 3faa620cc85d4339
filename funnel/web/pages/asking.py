"""The form, "send it again", and the page that says to look in the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, request

from funnel.address import shorten
from funnel.errors import AddressError
from funnel.signup import Request
from funnel.web import work
from funnel.web.headers import SCRIPT_POLICY
from funnel.web.inboxes import INBOXES, inbox_of, meant, search_url
from funnel.web.pages.desk import agent, kept, one, short_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.web.pages.desk import Desk

FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", ""}
#: A field no person sees; whoever fills it in is a program.
TRAP = "subject"


class Asking:
    """The pages before a person is known."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.funnel = desk.funnel
        self.wants_work = desk.funnel.config.signup.proof_of_work
        self.script = work.script("work-form.js").encode() if self.wants_work else b""

    def routes(self) -> list[tuple[str, str, Any]]:
        """Return address, method and view of each page."""
        more: list[tuple[str, str, Any]] = [("/work.js", "GET", self.work_script)] if self.wants_work else []
        return [
            *more,
            ("/", "GET", self.form),
            ("/signup", "POST", self.signup),
            ("/again", "GET", self.again),
            ("/again", "POST", self.again_act),
            ("/check-inbox", "GET", self.check_inbox),
        ]

    # --- the form ------------------------------------------------------------------------------

    def form(self) -> Response:
        """Show the form."""
        return self._form()

    def _form(self, status: int = 200, **notes: str) -> Response:
        response = self.desk.page(
            "form", status, name=shorten(one("name")), marketing=bool(one("marketing")),
            wording=self._said(), signup=self.funnel.config.signup, pages=self.funnel.guide_length,
            privacy_url=self._privacy_url(), work=self._work_version(), **self._typed(**notes),
        )  # fmt: skip
        if self.wants_work:
            response.headers["Content-Security-Policy"] = SCRIPT_POLICY
        return response

    def _work_version(self) -> str:
        """Return which version of the script for proof of work the form needs; nothing when it needs none."""
        return short_hash(self.script) if self.wants_work else ""

    def work_script(self) -> Response:
        """Hand out the script that does the work for the form; it is there only when that is wanted."""
        return kept(self.script, "text/javascript")

    def _typed(self, **notes: str) -> dict[str, Any]:
        """Return what both forms show: what was typed, a fresh key, and what is to be said about it."""
        said = {"problem": "", "haste": "", "meant": "", "unproved": ""} | notes
        return {"email": shorten(one("email"), 320), "key": self.funnel.page_key(), "trap": TRAP, **said}

    def _privacy_url(self) -> str:
        links = self.funnel.links
        return links.privacy if self.funnel.config.site.privacy_url else links.privacy + self.desk.query

    def _said(self) -> str:
        """Return the sentences beside the button."""
        said = self.desk.words("form.wording", guide=self._guide_words())
        return " ".join(filter(None, (said, self.desk.content_note())))

    def wording(self) -> str:
        """Return the exact words beside the button, as the receipt keeps them."""
        box = self.funnel.config.signup.marketing_checkbox
        return f"{self._said()}\n[ ] {self.desk.words('form.marketing')}" if box else self._said()

    def _guide_words(self) -> str:
        """Return the guide by its title, with its length when that is known."""
        pages, words = self.funnel.guide_length, self.desk.words
        return words("form.guide", pages=pages) if pages else words("form.guide_short")

    def signup(self) -> Response:
        """Take the form in; the answer is the same for every address (SEC-1)."""
        return self._take_in(self._ask, self._form)

    def _ask(self, asked: Request) -> None:
        work.ask(self.funnel, asked, one("key"), one("work"))

    # --- send it again -------------------------------------------------------------------------

    def again(self) -> Response:
        """Show the form of those who have asked before."""
        return self._again()

    def _again(self, status: int = 200, **notes: str) -> Response:
        return self.desk.page("again", status, **self._typed(**notes))

    def again_act(self) -> Response:
        """Leave the mail that is due to this address, if any; the answer is the same for every address."""
        return self._take_in(self.funnel.again, self._again)

    # --- both ----------------------------------------------------------------------------------

    def _take_in(self, act: Callable[[Request], None], form: Callable[..., Response]) -> Response:
        if not self.desk.door.allows_origin(request.headers):
            abort(403)
        if request.mimetype not in FORM_TYPES:
            abort(415)
        self.desk.speak(one("lang"))
        email = self._email()
        if one(TRAP):
            return self._to_inbox(email)
        if not self.funnel.page_was_shown(one("key")):
            return form(422, haste="yes")
        suggestion = meant(email)
        if suggestion and one("keep") != email:
            return form(422, meant=shorten(suggestion, 320))
        try:
            act(self._asked(email))
        except AddressError as error:
            return form(422, problem=self.desk.words("form.problem", reason=str(error)))
        except work.WorkError:
            return form(422, unproved="yes")
        return self._to_inbox(email)

    def _email(self) -> str:
        """Return what was typed, or what was offered instead and taken, unless the field was changed after that."""
        typed = one("email").strip()
        return one("take") if one("take") and one("typed") == typed else typed

    def _asked(self, email: str) -> Request:
        box = self.funnel.config.signup.marketing_checkbox
        return Request(
            email=email, wording=self.wording(), zone=one("zone"), locale=one("locale"),
            page=one("page") or "/", ip=self.desk.ip(), agent=agent(), name=one("name"),
            marketing=bool(one("marketing")) if box else None, language=self.desk.words.language,
        )  # fmt: skip

    def _to_inbox(self, email: str) -> Response:
        """Lead on to the next page, with the provider's id and never the address."""
        at = inbox_of(email)
        asked = [f"at={at}" if at else "", self.desk.query.lstrip("?")]
        query = "&".join(filter(None, asked))
        return self.desk.to("/check-inbox" + (f"?{query}" if query else ""))

    def check_inbox(self) -> Response:
        """Show what happens next, and the way to the inbox of a provider we know."""
        inbox = INBOXES.get(request.args.get("at", ""))
        url = search_url(inbox, self.funnel.config.clinic.from_address) if inbox else ""
        return self.desk.page("check-inbox", inbox=inbox, inbox_url=url)
