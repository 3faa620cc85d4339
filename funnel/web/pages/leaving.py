"""Stop the mails, take that back, and choose what comes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from funnel.address import mask, shorten
from funnel.errors import AddressError, NotFoundError
from funnel.model import Status
from funnel.tokens import Purpose
from funnel.web.inboxes import meant
from funnel.web.pages.desk import one

if TYPE_CHECKING:
    from flask import Response

    from funnel.model import Subscriber
    from funnel.web.pages.desk import Desk

#: The buttons of the preferences, and the act each one is a receipt for.
ACTS = {
    "keep": "kept",
    "slower": "slower",
    "faster": "faster",
    "pause-14": "paused",
    "pause-28": "paused",
    "resume": "resumed",
    "guide-only": "guide-only",
    "series-again": "series-again",
    "stop": "withdrawn",
    "undo": "restored",
}


class Leaving:
    """The pages behind the links at the foot of every mail."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.funnel = desk.funnel

    def routes(self) -> list[tuple[str, str, Any]]:
        """Return address, method and view of each page."""
        return [
            ("/u/<token>", "GET", self.unsubscribe),
            ("/u/<token>", "POST", self.unsubscribed),
            ("/u/<token>/undo", "GET", self.undo),
            ("/u/<token>/undo", "POST", self.undone),
            ("/p/<token>", "GET", self.preferences),
            ("/p/<token>", "POST", self.preferences_act),
        ]

    # --- stopping ------------------------------------------------------------------------------

    def unsubscribe(self, token: str) -> Response:
        """Show one button (UNS-6)."""
        try:
            person = self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        except NotFoundError:
            return self.desk.not_on_list()
        if person.status.listening or person.status is Status.PENDING:
            stop_url = f"{self.desk.root}/u/{token}{self.desk.query}"
            other = str(self.funnel.links.preferences(person.id))
            return self.desk.page("unsubscribe", who=mask(person.email), stop_url=stop_url, preferences_url=other)
        return self._goodbye(token, person, "already_stopped")

    def unsubscribed(self, token: str) -> Response:
        """Stop all mail, whatever the body says: it is not even read (UNS-4, UNS-5)."""
        self.funnel.unsubscribe_by_token(token, self.desk.receipt("withdrawn", "/u", "unsubscribe.button"))
        try:
            person = self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        except NotFoundError:
            return self.desk.not_on_list()
        return self._goodbye(token, person, "stopped")

    def _goodbye(self, token: str, person: Subscriber, key: str) -> Response:
        """Return the last page, with a way back while there is one (UNS-15)."""
        undo_url = f"{self.desk.root}/u/{token}/undo{self.desk.query}" if self.funnel.can_undo(person) else ""
        return self.desk.page("goodbye", key=key, undo_url=undo_url)

    def undo(self, token: str) -> Response:
        """Show what the stop page shows: its form is the one that is sent here."""
        return self.unsubscribe(token)

    def undone(self, token: str) -> Response:
        """Take a stop of the last half hour back; the link in the mail is the proof of who presses."""
        try:
            person = self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        except NotFoundError:
            return self.desk.not_on_list()
        if self.funnel.choose(person, "undo", self.desk.receipt("restored", "/u", "undo.button")):
            return self.desk.page("restored", preferences_url=str(self.funnel.links.preferences(person.id)))
        person = self.funnel.person_of(token, Purpose.UNSUBSCRIBE)
        if person.status.listening:
            return self.desk.page("restored", preferences_url=str(self.funnel.links.preferences(person.id)))
        return self.desk.page("message", 410, key="undo_over", home=True, again=False)

    # --- choosing ------------------------------------------------------------------------------

    def preferences(self, token: str) -> Response:
        """Show what is set and what can be."""
        try:
            person = self.funnel.person_of(token, Purpose.PREFERENCES)
        except NotFoundError:
            return self.desk.not_on_list()
        return self._preferences(person)

    def _preferences(self, person: Subscriber, status: int = 200, *, changed: str = "", **notes: str) -> Response:
        until = self.desk.day(person.paused_until, person) if person.paused_until else ""
        undo = self.funnel.can_undo(person)
        said: dict[str, Any] = {"problem": "", "meant": ""} | notes
        return self.desk.page(
            "preferences", status, person=person, series=self.funnel.series_of(person), who=mask(person.email),
            until=until, changed=changed, undo=undo, can_move=self.funnel.can_move,
            email=shorten(one("email"), 320) if notes else "", **said,
        )  # fmt: skip

    def preferences_act(self, token: str) -> Response:
        """Do what one button says, then show what is set now."""
        person = self.funnel.person_of(token, Purpose.PREFERENCES)
        act = one("act")
        if act == "move" and self.funnel.can_move:
            return self._move(person)
        if act not in ACTS:
            return self._preferences(person, 400)
        changed = self._set(person, act)
        said = ("kept" if act == "keep" else "changed") if changed else ""
        return self._preferences(self.funnel.person_of(token, Purpose.PREFERENCES), changed=said)

    def _move(self, person: Subscriber) -> Response:
        """Ask at the new address whether it is theirs; the answer is the same for every address."""
        receipt = replace(self.desk.receipt("requested", "/p", "preferences.move"), detail="a new address")
        typed = one("email").strip()
        email = one("take") if one("take") and one("typed") == typed else typed
        likely = meant(email)
        if likely and one("keep") != email:
            return self._preferences(person, 422, meant=shorten(likely, 320))
        try:
            self.funnel.ask_to_move(person, email, receipt)
        except AddressError as error:
            return self._preferences(person, 422, problem=self.desk.words("form.problem", reason=str(error)))
        return self._preferences(person, changed="asked")

    def _set(self, person: Subscriber, act: str) -> bool:
        """Do what a button of the preferences says; True when that changed something."""
        words = "undo.button" if act == "undo" else f"preferences.{act}"
        return self.funnel.choose(person, act, self.desk.receipt(ACTS[act], "/p", words))
