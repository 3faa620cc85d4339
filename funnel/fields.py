"""What a mail may say about a person: every field is text, and empty where it does not apply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from funnel import gifts, report, signup
from funnel.model import PERSONAL, Kind
from funnel.profile import direction
from funnel.schedule import zone

if TYPE_CHECKING:
    from datetime import date, datetime

    from funnel.compose.source import Library
    from funnel.context import Context
    from funnel.links import Links
    from funnel.model import Due, Link, Subscriber
    from funnel.store.database import Database

#: Mail without links that act for a person: whoever reads it may not be who it is about.
CLOSED = frozenset({Kind.CONFIRM, Kind.DIGEST})
GIFT = frozenset({"gift_code", "gift_expires"})
NO_GIFT = dict.fromkeys(GIFT, "")

Maker = Callable[["Due", "datetime"], "str | Link"]


class Recipe(NamedTuple):
    """How the fields of one mail are made."""

    makers: tuple[tuple[str, Maker], ...]  #: of each personal field it wants
    alike: Mapping[str, object]  #: the fields that are the same for everybody
    gift: bool  #: whether it says anything of a gift


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
        self._alike: dict[tuple[str, str], dict[str, object]] = {}
        self._recipes: dict[tuple[str, str, Kind, frozenset[str]], Recipe] = {}

    def of(self, db: Database, due: Due, now: datetime, wanted: frozenset[str] = PERSONAL) -> dict[str, object]:
        """Return every field a mail may name, for one person."""
        alike, own = self.apart(db, due, now, wanted)
        return {**alike, **own}

    def apart(
        self, db: Database, due: Due, now: datetime, wanted: frozenset[str] = PERSONAL
    ) -> tuple[Mapping[str, object], dict[str, str | Link]]:
        """Return the fields that are alike for everybody, the personal ones in them empty, and those of one person.

        The first are the same mapping for everybody who gets the same mail; nobody may change it.
        """
        sequence, step = due.enrollment.sequence, due.step
        place = (sequence, step.name, step.kind, wanted)
        recipe = self._recipes.get(place)
        if recipe is None:
            recipe = self._recipes[place] = self._recipe(*place)
        own = {name: make(due, now) for name, make in recipe.makers}
        if recipe.gift:
            own.update(self._gift(db, due))
        if step.kind is Kind.DIGEST:
            return {**recipe.alike, **self._digest(db, due)}, own
        return recipe.alike, own

    def _recipe(self, sequence: str, name: str, kind: Kind, wanted: frozenset[str]) -> Recipe:
        """Return how the personal fields of a mail are made."""
        page = self.pages.get(self.library.mail(sequence, name).guide_page)
        of_kind = self._makers(page, moving=sequence == signup.MOVE)
        named = wanted | {"unsubscribe_url"}
        if kind in CLOSED:
            named &= {"why", "confirm_url"} if kind is Kind.CONFIRM else {"why"}
        else:
            named -= {"confirm_url"}
        if (sequence, name) not in self._alike:
            self._alike[sequence, name] = self._made_for_all() | self._made_for_mail(sequence, name)
        makers = tuple((name, of_kind[name]) for name in sorted(named & of_kind.keys()))
        return Recipe(makers, self._alike[sequence, name], gift=bool(named & GIFT))

    def _makers(self, page: int | None, *, moving: bool) -> dict[str, Maker]:
        """Return what makes each personal field, but those of a gift."""
        links = self.links
        return {
            "name": lambda due, _: due.subscriber.name,
            "why": lambda due, _: self.why_you(due.subscriber, due.step.kind, moving=moving),
            "unsubscribe_url": lambda due, _: links.unsubscribe(due.subscriber.id),
            "preferences_url": lambda due, _: links.preferences(due.subscriber.id),
            "guide_url": lambda due, now: links.download(due.subscriber.id, now),
            "guide_page_url": lambda due, now: links.guide(due.subscriber.id, now, page),
            "confirm_url": lambda due, _: links.confirm(due.enrollment.id, due.enrollment.anchor_at),
        }

    def _gift(self, db: Database, due: Due) -> dict[str, str]:
        gift = gifts.of_person(db, self.ctx, due.subscriber.id)
        return {"gift_code": gift.code, "gift_expires": self.day(gift.expires_at)} if gift else NO_GIFT

    def _made_for_all(self) -> dict[str, object]:
        config = self.ctx.config
        return dict.fromkeys(sorted(PERSONAL), "") | {
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

    @cached_property
    def _site(self) -> str:
        return self.ctx.config.site.base_url.partition("://")[2]

    def _made_for_mail(self, sequence: str, name: str) -> dict[str, object]:
        """Return what a mail points at in the guide and the article."""
        mail = self.library.mail(sequence, name)
        article, section = self.ctx.config.content.article_url, mail.section
        return {
            "guide_page": str(self.pages.get(mail.guide_page) or ""),
            "section_url": f"{article}#{section}" if article and section else article,
            "digest": [],
            "digest_until": "",
        }

    def _digest(self, db: Database, due: Due) -> dict[str, object]:
        """Return what the mail to staff tells of the seven days before it."""
        until = due.enrollment.anchor_at
        lines = report.week(db, until - timedelta(days=7), until)
        return {"digest": lines, "digest_until": self.day(until, due.subscriber)}

    def why_you(self, person: Subscriber, kind: Kind, *, moving: bool = False) -> str:
        """Return why somebody gets this mail, in one sentence."""
        if kind is Kind.DIGEST:
            return "This goes to the address in [alerts] of funnel.toml, each Monday. To stop it, empty that setting."
        site = self._site
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
