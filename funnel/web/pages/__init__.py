"""The pages themselves: each reads one request, makes one call of ``Funnel`` and shows what came of it.

No GET changes anything (P6); every act is a POST from a form that a GET shows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Response, abort

from funnel.errors import FunnelError
from funnel.web.pages.asking import FORM_TYPES, TRAP, Asking
from funnel.web.pages.confirming import Confirming
from funnel.web.pages.desk import Desk, agent, kept, one
from funnel.web.pages.leaving import ACTS, Leaving
from funnel.web.pages.reading import Reading

if TYPE_CHECKING:
    from flask import Flask

    from funnel.app import Funnel
    from funnel.web.visitor import Door

__all__ = ["ACTS", "FORM_TYPES", "TRAP", "Pages", "agent", "kept", "one"]


class Pages:
    """The pages of one funnel."""

    def __init__(self, funnel: Funnel, door: Door) -> None:
        self.funnel = funnel
        self.desk = Desk(funnel, door)
        self.asking = Asking(self.desk)
        self.rooms = (self.asking, Confirming(self.desk), Reading(self.desk), Leaving(self.desk))

    def register(self, app: Flask) -> None:
        """Add every route to an application."""
        routes: list[tuple[str, str, Any]] = [route for room in self.rooms for route in room.routes()]
        routes += [
            ("/privacy", "GET", self.privacy),
            ("/healthz", "GET", self.healthz),
            ("/style.css", "GET", self.stylesheet),
            ("/page.js", "GET", self.script),
            ("/f/<name>", "GET", self.picture),
        ]
        for rule, method, view in routes:
            app.add_url_rule(rule, endpoint=view.__name__, view_func=view, methods=[method])

    def privacy(self) -> Response:
        """Show what is kept, why, how long, and whom to ask."""
        return self.desk.page("privacy", signup=self.funnel.config.signup)

    def healthz(self) -> Response:
        """Say whether the store can be written and when sending last ran; 503 when the store cannot be used."""
        try:
            self.funnel.last_tick()  # takes the write lock for a moment: a store that can only be read is no store
            silent, tick = self.funnel.silent_since()
            store = True
        except FunnelError:
            silent, tick, store = True, None, False
        facts = {"ok": store, "store": store, "last_send": tick.isoformat() if tick else None, "silent": silent}
        return Response(json.dumps(facts) + "\n", status=200 if store else 503, mimetype="application/json")

    def stylesheet(self) -> Response:
        """Hand out the one style sheet."""
        return kept(self.desk.style, "text/css")

    def script(self) -> Response:
        """Hand out the one small script of the pages."""
        return kept(self.desk.script, "text/javascript")

    def picture(self, name: str) -> Response:
        """Hand out a picture that mails show, to anybody; 404 for every other name."""
        png = self.funnel.picture(name)
        if png is None:
            abort(404)
        response = kept(png, "image/png")
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # mail is read on other sites
        return response

    def link_failed(self, *, expired: bool) -> Response:
        """Return the page for a link that no longer works, or one that never was ours."""
        if expired:
            return self.desk.page("message", 410, key="expired", home=False, again=True)
        return self.problem(404, "404")

    def problem(self, status: int, key: str) -> Response:
        """Return the page for an error."""
        return self.desk.problem(status, key)
