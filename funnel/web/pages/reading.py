"""The guide's own page: the PDF, the edition for the screen, the gift code after a press, a date for the calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, abort, request

from funnel.address import mask
from funnel.errors import GuideError
from funnel.tokens import Purpose
from funnel.web.dates import last_day
from funnel.web.files import Book, answer
from funnel.web.headers import EDITION_POLICY
from funnel.web.pages.desk import one

if TYPE_CHECKING:
    from funnel.model import Gift, Subscriber
    from funnel.web.pages.desk import Desk


class Reading:
    """The pages behind the link to the guide."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.funnel = desk.funnel
        output = self.funnel.config.path(self.funnel.config.guide.output)
        self.pdf = Book(output / "guide.pdf", "application/pdf", b"%PDF-", b"%%EOF")
        self.html = Book(output / "guide.html", "text/html", b"<!doctype html", b"</html>")

    def routes(self) -> list[tuple[str, str, Any]]:
        """Return address, method and view of each page."""
        return [
            ("/g/<token>", "GET", self.guide),
            ("/g/<token>", "POST", self.guide_act),
            ("/g/<token>/guide.pdf", "GET", self.guide_pdf),
            ("/g/<token>/guide.html", "GET", self.guide_html),
            ("/g/<token>/gift.ics", "GET", self.gift_date),
        ]

    def guide(self, token: str) -> Response:
        """Show the guide's page."""
        person = self.funnel.person_of(token, Purpose.DOWNLOAD)
        return self._guide(token, person, self.funnel.gift_of(person))

    def _guide(
        self, token: str, person: Subscriber, gift: Gift | None, status: int = 200, *, reveal: bool = False
    ) -> Response:
        size = self.pdf.size
        return self.desk.page(
            "guide", status, script=reveal, guide_url=f"{self.desk.root}/g/{token}", who=mask(person.email),
            pages=self.funnel.guide_length, megabytes=f"{size / 1_000_000:.1f}" if size else "", reveal=reveal,
            **self.desk.gift_fields(person, gift),
        )  # fmt: skip

    def guide_act(self, token: str) -> Response:
        """Open the guide for a person who pressed the button, or show their gift code."""
        person = self.funnel.person_of(token, Purpose.DOWNLOAD)
        act = one("act")
        if act == "open":
            self.funnel.downloaded(person)
            return self.desk.to(f"/g/{token}/guide.pdf")
        if act == "gift":
            return self._guide(token, person, self.funnel.reveal(person, self.desk.ip()), reveal=True)
        return self._guide(token, person, self.funnel.gift_of(person), 400)

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
            response = self.desk.problem(503, "guide")
            response.headers["Retry-After"] = "300"
            return response

    def gift_date(self, token: str) -> Response:
        """Hand out the last day of the gift for the person's own calendar; the code is not in it (SEC-19)."""
        person = self.funnel.person_of(token, Purpose.DOWNLOAD)
        gift = self.funnel.gift_of(person)
        if gift is None or not self.funnel.can_use(gift):
            abort(404)
        words, until = self.desk.words, self.desk.day(gift.expires_at)
        text = last_day(
            gift.expires_at, self.funnel.config.clinic.time_zone, key=token, domain=self.funnel.config.domain,
            title=words("gift.calendar_title"), note=words("gift.calendar_note", until=until),
        )  # fmt: skip
        response = Response(text, mimetype="text/calendar")
        response.headers["Content-Disposition"] = 'attachment; filename="gift.ics"'
        return response
