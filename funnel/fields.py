"""What a mail may say about a person: every field is text, and empty where it does not apply."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING

from funnel import gifts, report, signup
from funnel.model import PERSONAL, Kind
from funnel.profile import direction
from funnel.schedule import zone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from funnel.compose.source import Library
    from funnel.context import Context
    from funnel.links import Links
    from funnel.model import Due, Subscriber
    from funnel.store.database import Database

#: Mail without links that act for a person: whoever reads it may not be who it is about.
CLOSED = frozenset({Kind.CONFIRM, Kind.DIGEST})
GIFT = frozenset({"gift_code", "gift_expires"})
#: The personal fields that are of one mail.
OF_MAIL = frozenset({"confirm_url", "guide_page_url", "why"})


class Fields:
    """Makes the fields of one funnel's mails.

    ``wanted`` are the personal ones a mail names: the others are left empty, because making them takes most of
    the time. Everything that is alike for everybody is made once.
    """

    def __init__(self, ctx: Context, links: Links, library: Library, pages: Mapping[str, int]) -> None:
        self.ctx = ctx
        self.links = links
        self.library = library
        self.pages = pages
        self._alike: dict[Kind, dict[str, object]] = {}
        self._of_one: dict[tuple[str, str], tuple[int | None, dict[str, object]]] = {}

    def of(self, db: Database, due: Due, now: datetime, wanted: frozenset[str] = PERSONAL) -> dict[str, object]:
        """Return every field a mail may name, for one person."""
        fields = self.of_person(db, due.subscriber, due.step.kind, now, wanted)
        fields.update(self.of_mail(db, due, now, wanted))
        return fields

    def of_person(
        self, db: Database, person: Subscriber, kind: Kind, now: datetime, wanted: frozenset[str] = PERSONAL
    ) -> dict[str, object]:
        """Return the fields that are alike in all mails of one kind to one person."""
        fields = self._alike_for_all(kind).copy()
        if kind in CLOSED:
            return fields
        fields["name"] = person.name
        fields["unsubscribe_url"] = self.links.unsubscribe(person.id)
        if "preferences_url" in wanted:
            fields["preferences_url"] = self.links.preferences(person.id)
        if "guide_url" in wanted:
            fields["guide_url"] = self.links.download(person.id, now)
        gift = gifts.of_person(db, self.ctx, person.id) if wanted & GIFT else None
        if gift:
            fields["gift_code"] = gift.code
            fields["gift_expires"] = self.day(gift.expires_at)
        return fields

    def _alike_for_all(self, kind: Kind) -> dict[str, object]:
        if kind not in self._alike:
            self._alike[kind] = self._made_for_all()
        return self._alike[kind]

    def _made_for_all(self) -> dict[str, object]:
        config = self.ctx.config
        return dict.fromkeys(sorted(PERSONAL - OF_MAIL), "") | {
            "clinic": {key: str(value) for key, value in asdict(config.clinic).items()},
            "lang": config.clinic.locale,  # of the words, which are the clinic's, not of the reader
            "dir": direction(config.clinic.locale),
            "home_url": self.links.home,
            "privacy_url": self.links.privacy,
            "confirm_days": str(config.signup.confirm_days),
            "again_url": config.site.base_url + "/again",
            "guide_title": config.guide.title,
            "page": self._page_numbers,
            "gift_name": config.gift.name,
            "test_banner": "",
        }

    @cached_property
    def _page_numbers(self) -> Mapping[str, str]:
        """Return each page of the guide under a name that a mail can write; every one empty before it is built."""
        found = {name.replace("-", "_"): str(number) for name, number in self.pages.items()}
        return found or defaultdict(str)

    def of_mail(self, db: Database, due: Due, now: datetime, wanted: frozenset[str] = PERSONAL) -> dict[str, object]:
        """Return the fields that are of one mail: what it points at in the guide and the article, and its moment."""
        person, kind, sequence = due.subscriber, due.step.kind, due.enrollment.sequence
        place = (sequence, due.step.name)
        if place not in self._of_one:
            self._of_one[place] = self._made_for_mail(*place)
        page, alike = self._of_one[place]
        fields = alike.copy()
        if kind is Kind.CONFIRM:
            fields["confirm_url"] = self.links.confirm(due.enrollment.id, due.enrollment.anchor_at)
        elif kind is Kind.DIGEST:
            fields["digest"] = self._digest(db, due)
            fields["digest_until"] = self.day(due.enrollment.anchor_at, person)
        elif "guide_page_url" in wanted:
            fields["guide_page_url"] = self.links.guide(person.id, now, page)
        if "why" in wanted:
            fields["why"] = self.why_you(person, kind, moving=sequence == signup.MOVE)
        return fields

    def _made_for_mail(self, sequence: str, name: str) -> tuple[int | None, dict[str, object]]:
        """Return the page of the guide a mail points at, and its fields that are alike for everybody."""
        mail = self.library.mail(sequence, name)
        page = self.pages.get(mail.guide_page)
        article, section = self.ctx.config.content.article_url, mail.section
        return page, dict.fromkeys(sorted(OF_MAIL), "") | {
            "guide_page": str(page or ""),
            "section_url": f"{article}#{section}" if article and section else article,
            "digest": [],
            "digest_until": "",
        }

    def _digest(self, db: Database, due: Due) -> list[str]:
        """Return what the mail to staff tells of the seven days before it."""
        until = due.enrollment.anchor_at
        return report.week(db, until - timedelta(days=7), until)

    def why_you(self, person: Subscriber, kind: Kind, *, moving: bool = False) -> str:
        """Return why somebody gets this mail, in one sentence."""
        if kind is Kind.DIGEST:
            return "This goes to the address in [alerts] of funnel.toml, each Monday. To stop it, empty that setting."
        site = self.ctx.config.site.base_url.partition("://")[2]
        if moving:
            return f"Somebody, we think you, asked at {site} to have our emails come to this address."
        if kind is Kind.CONFIRM:
            return f"Somebody, we think you, typed this address at {site} to get our guide."
        if person.source.startswith("import "):
            return f"You get this because you told {self.ctx.config.clinic.name} that you would like to."
        since = f" on {self.day(person.confirmed_at, person)}" if person.confirmed_at else ""
        return f"You get this because you asked for our guide at {site} and confirmed it{since}."

    def day(self, moment: datetime, person: Subscriber | None = None) -> str:
        """Return a day as a person reads it, on their own calendar."""
        return day_in(person.zone if person else self.ctx.config.clinic.time_zone, moment)


def day_in(zone_name: str, moment: datetime) -> str:
    """Return the day a moment falls on in a time zone, in words: ``3 May 2027``."""
    return _in_words(moment.astimezone(zone(zone_name)).date())


@cache
def _in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
