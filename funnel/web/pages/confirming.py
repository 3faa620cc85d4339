"""Confirm the address, and the page with guide and gift that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funnel.address import mask
from funnel.errors import NotFoundError
from funnel.web.pages.desk import one

if TYPE_CHECKING:
    from flask import Response

    from funnel.model import Subscriber
    from funnel.web.pages.desk import Desk


class Confirming:
    """The pages behind the link of the confirmation mail."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.funnel = desk.funnel

    def routes(self) -> list[tuple[str, str, Any]]:
        """Return address, method and view of each page."""
        return [("/c/<token>", "GET", self.confirm), ("/c/<token>", "POST", self.confirmed)]

    def confirm(self, token: str) -> Response:
        """Show whose address it is and one button."""
        return self._confirm(token, self.funnel.asker_of(token))

    def _confirm(self, token: str, person: Subscriber, status: int = 200, *, haste: bool = False) -> Response:
        key = self.funnel.page_key(self.funnel.request_of(token))
        part = "move" if self.funnel.is_move(token) else "confirm"
        return self.desk.page("confirm", status, part=part, who=mask(person.email), key=key, haste=haste)

    def confirmed(self, token: str) -> Response:
        """Confirm, once the page was really shown before (BOT-2), and show guide and gift."""
        person = self.funnel.asker_of(token)
        if not self.funnel.page_was_shown(one("key"), self.funnel.request_of(token)):
            return self._confirm(token, person, 422, haste=True)
        moving = self.funnel.is_move(token)
        part = "move" if moving else "confirm"
        try:
            done = self.funnel.confirm(token, self.desk.receipt("confirmed", "/c", f"{part}.button"))
        except NotFoundError:
            over = "move_over" if moving else "stopped_since"
            return self.desk.page("message", 410, key=over, home=True, again=False)
        if done.moved:
            return self.desk.page("message", key="moved", home=False, again=False)
        links, now = self.funnel.links, self.funnel.clock()
        return self.desk.page(
            "thanks", script=True, again=done.again, guide_url=str(links.download(person.id, now)),
            pages=self.funnel.guide_length, preferences_url=str(links.preferences(person.id)),
            **self.desk.gift_fields(person, self.funnel.gift_of(person)),
        )  # fmt: skip
