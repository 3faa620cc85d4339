"""What a mail may say about a person: every field is text, and empty where it does not apply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from funnel import gifts, report, signup
from funnel.model import PERSONAL, Crowd, Kind, of_one
from funnel.profile import direction
from funnel.schedule import QUARTER, zone
from funnel.store.database import maybe_seconds, moment, seconds

if TYPE_CHECKING:
    from datetime import date, datetime

    from funnel.compose.source import Library
    from funnel.context import Context
    from funnel.links import Links
    from funnel.model import Column, Due, Link, Step, Subscriber
    from funnel.store.database import Database

#: Mail without links that act for a person: whoever reads it may not be who it is about.
CLOSED = frozenset({Kind.CONFIRM, Kind.DIGEST})
GIFT = frozenset({"gift_code", "gift_expires"})

Maker = Callable[["Crowd", "datetime"], "Column"]


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
        way, step = due.enrollment, due.step
        alike, columns = self.columns(db, crowd_of(due), way.sequence, step, now=now, wanted=wanted)
        return alike, {name: of_one(column, 0) for name, column in columns.items()}

    def columns(
        self, db: Database, crowd: Crowd, sequence: str, step: Step, *, now: datetime, wanted: frozenset[str]
    ) -> tuple[Mapping[str, object], dict[str, Column]]:
        """Return the fields that are alike for all who get a mail, as ``apart`` does, and each personal one of all.

        A mail to staff tells everybody of the same days: those of the first.
        """
        place = (sequence, step.name, step.kind, wanted)
        recipe = self._recipes.get(place)
        if recipe is None:
            recipe = self._recipes[place] = self._recipe(*place)
        own = {name: make(crowd, now) for name, make in recipe.makers}
        if recipe.gift:
            own.update(self._gifts(db, crowd))
        if step.kind is Kind.DIGEST:
            return {**recipe.alike, **self._digest(db, crowd)}, own
        return recipe.alike, own

    def _recipe(self, sequence: str, name: str, kind: Kind, wanted: frozenset[str]) -> Recipe:
        """Return how the personal fields of a mail are made."""
        page = self.pages.get(self.library.mail(sequence, name).guide_page)
        of_kind = self._makers(page, kind, moving=sequence == signup.MOVE)
        named = wanted | {"unsubscribe_url"}
        if kind in CLOSED:
            named &= {"why", "confirm_url"} if kind is Kind.CONFIRM else {"why"}
        else:
            named -= {"confirm_url"}
        if (sequence, name) not in self._alike:
            self._alike[sequence, name] = self._made_for_all() | self._made_for_mail(sequence, name)
        makers = tuple((name, of_kind[name]) for name in sorted(named & of_kind.keys()))
        return Recipe(makers, self._alike[sequence, name], gift=bool(named & GIFT))

    def _makers(self, page: int | None, kind: Kind, *, moving: bool) -> dict[str, Maker]:
        """Return what makes each personal field, but those of a gift."""
        links = self.links
        return {
            "name": lambda crowd, _: crowd.names,
            "why": lambda crowd, _: self._whys(crowd, kind, moving=moving),
            "unsubscribe_url": lambda crowd, _: links.unsubscribes(crowd.people),
            "preferences_url": lambda crowd, _: links.choices(crowd.people),
            "guide_url": lambda crowd, now: links.downloads(crowd.people, now),
            "guide_page_url": lambda crowd, now: links.guides(crowd.people, now, page),
            "confirm_url": lambda crowd, _: links.confirms(crowd.ways, crowd.anchors),
        }

    def _gifts(self, db: Database, crowd: Crowd) -> dict[str, Column]:
        found = [gifts.of_person(db, self.ctx, person) for person in crowd.people]
        return {
            "gift_code": [gift.code if gift else "" for gift in found],
            "gift_expires": [self.day(gift.expires_at) if gift else "" for gift in found],
        }

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

    def _digest(self, db: Database, crowd: Crowd) -> dict[str, object]:
        """Return what the mail to staff tells of the seven days before it."""
        until = moment(crowd.anchors[0])
        lines = report.week(db, until - timedelta(days=7), until)
        return {"digest": lines, "digest_until": day_in(crowd.zones[0], until)}

    def _whys(self, crowd: Crowd, kind: Kind, *, moving: bool) -> list[str]:
        """Return why each of them gets a mail; a local day begins at a whole quarter of an hour in UTC everywhere."""
        why = self._why
        return [
            why(kind, moving, source.startswith("import "), where, None if at is None else at // QUARTER)
            for source, where, at in zip(crowd.sources, crowd.zones, crowd.confirmed, strict=True)
        ]

    @cached_property
    def _why(self) -> Callable[[Kind, bool, bool, str, int | None], str]:
        return lru_cache(maxsize=1024)(self._why_you)

    def _why_you(self, kind: Kind, moving: bool, imported: bool, where: str, quarter: int | None) -> str:
        """Return why somebody gets a mail, in one sentence; ``quarter`` is when they confirmed."""
        if kind is Kind.DIGEST:
            return "This goes to the address in [alerts] of funnel.toml, each Monday. To stop it, empty that setting."
        site = self._site
        if moving:
            return f"Somebody, we think you, asked at {site} to have our emails come to this address."
        if kind is Kind.CONFIRM:
            return f"Somebody, we think you, typed this address at {site} to get our guide."
        if imported:
            return f"You get this because you told {self.ctx.config.clinic.name} that you would like to."
        since = "" if quarter is None else f" on {day_in(where, moment(quarter * QUARTER))}"
        return f"You get this because you asked for our guide at {site} and confirmed it{since}."

    def day(self, moment: datetime, person: Subscriber | None = None) -> str:
        """Return a day as a person reads it, on their own calendar."""
        return day_in(person.zone if person else self.ctx.config.clinic.time_zone, moment)


def crowd_of(due: Due) -> Crowd:
    """Return one person as those who get a mail."""
    way, person = due.enrollment, due.subscriber
    return Crowd(
        (person.id,), (way.id,), (seconds(way.anchor_at),), (person.name,), (person.source,), (person.zone,),
        (maybe_seconds(person.confirmed_at),),
    )  # fmt: skip


def day_in(zone_name: str, moment: datetime) -> str:
    """Return the day a moment falls on in a time zone, in words: ``3 May 2027``."""
    return _in_words(moment.astimezone(zone(zone_name)).date())


@cache
def _in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
