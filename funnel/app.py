"""``Funnel``: settings, store, composer, transport and clock wired together; what the doors and the tests hold."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

from funnel import feedback, gifts, outbox, signup
from funnel.address import mask, parse_address
from funnel.config import find_config, load_config, load_keys, read_secret
from funnel.context import Context
from funnel.errors import GuideError, NotFoundError, TokenError
from funnel.fields import Fields, day_in
from funnel.links import Links
from funnel.model import Gift, MailingStatus, Receipt, Status, Subscriber
from funnel.store import enrollments, mailings, runs, subscribers
from funnel.store.database import Database, open_database
from funnel.store.pace import Pace
from funnel.tokens import ExpiredTokenError, Purpose, sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from funnel.compose.letters import Composer
    from funnel.compose.source import Library
    from funnel.config import Config
    from funnel.guide import Built, GuideSettings
    from funnel.sender import Sender
    from funnel.store.together import Together
    from funnel.tokens import Keys
    from funnel.transport import Transport

#: A page's button works from one second after the page was shown, for a day (BOT-2).
PAGE_MIN = timedelta(seconds=1)
PAGE_LIFE = timedelta(days=1)
#: The only pictures we hand out: figures of the guide, and the logo.
PICTURE = re.compile(r"(?:fig-[a-z0-9-]{1,40}|logo)\.png")


def utc_now() -> datetime:
    """Return this moment; the only place outside the doors where a clock is read."""
    return datetime.now(UTC)


class Funnel:
    """One funnel: everything a command or a page may do, in the program's own words.

    Each thread opens its own database connection by ``session``; nothing else is shared but settings.
    """

    def __init__(
        self, config: Config, *, clock: Callable[[], datetime] = utc_now, transport: Transport | None = None
    ) -> None:
        self.config = config
        self.clock = clock
        self._transport = transport
        self._keys_fit = False
        #: Set by the server: then sign-ups that arrive together share one commit.
        self.writer: Together | None = None

    @classmethod
    def load(cls, given: str | None = None) -> Funnel:
        """Return the funnel of a settings file, found as the settings module says; raises ConfigError."""
        return cls(load_config(find_config(given)))

    # --- parts, made when first needed ---------------------------------------------------------

    @cached_property
    def library(self) -> Library:
        """Return the clinic's mails and sequences; raises ContentError."""
        from funnel.compose.source import load_library

        return load_library(self.config.path(self.config.content.emails), self.figures)

    @cached_property
    def context(self) -> Context:
        """Return what the use cases need to know."""
        return Context(self.config, self.keys, self.library.sequences, self.config.calendar)

    @cached_property
    def keys(self) -> Keys:
        """Return the keys of its links and hashes; raises ConfigError."""
        return load_keys(self.config)

    @cached_property
    def links(self) -> Links:
        """Return the maker of our pages' addresses."""
        return Links(self.config, self.context.keys)

    @cached_property
    def composer(self) -> Composer:
        """Return the composer, with its cache of compiled mails beside the settings."""
        from funnel.compose.letters import Composer, Sender

        c = self.config.clinic
        label = self.config.domain.split(".", maxsplit=1)[0]
        sender = Sender(
            c.from_name, c.from_address, self.config.reply_to,
            list_id=f"news.{self.config.domain}", feedback_id=f"series:funnel:{label[:15].ljust(5, '0')}",
        )  # fmt: skip
        return Composer(self.library, sender, self.context.keys.pepper, self.config.path(".funnel/mails"))

    @cached_property
    def transport(self) -> Transport:
        """Return the way out that the settings name."""
        from funnel.transport import make_transport

        keeper = Pace(self.session, self.clock)
        return self._transport or make_transport(self.config, read_secret("FUNNEL_SMTP_PASSWORD"), keeper)

    @property
    def database_path(self) -> Path:
        """Return where the database is."""
        return self.config.path(self.config.store.path)

    @contextmanager
    def session(self, *, readonly: bool = False) -> Iterator[Database]:
        """Open the database for a block; raises StoreError when it cannot be used, KeysError with keys not its own."""
        db = open_database(self.database_path, readonly=readonly)
        try:
            if not (readonly or self._keys_fit):
                self._check_keys(db)
            yield db
        finally:
            db.close()

    def _check_keys(self, db: Database) -> None:
        """Ask once whether these are the database's own keys."""
        from funnel.keeping import check_keys

        check_keys(db, self.keys)
        self._keys_fit = True

    # --- what a mail may say about a person ----------------------------------------------------

    @cached_property
    def guide_pages(self) -> dict[str, int]:
        """Return the page of every chapter, figure and worksheet of the guide as built; empty before that."""
        file = self.config.path(self.config.guide.output) / "pages.json"
        try:
            pages = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): int(v) for k, v in pages.get("anchors", pages).items() if isinstance(v, int)}

    @cached_property
    def figures(self) -> dict[str, tuple[int, int]]:
        """Return how large each figure of the guide is shown in a mail; empty before the guide is built."""
        file = self.config.path(self.config.guide.output) / "figures.json"
        try:
            sizes = json.loads(file.read_text("utf-8"))
            return {str(name): (int(width), int(height)) for name, (width, height) in sizes.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def picture(self, name: str) -> bytes | None:
        """Return a picture that mails show, by its name in their links; None for every other name."""
        if not PICTURE.fullmatch(name):
            return None
        emails, guide = self.config.path(self.config.content.emails), self.config.path(self.config.guide.output)
        try:
            return ((emails if name == "logo.png" else guide / "figures") / name).read_bytes()
        except OSError:
            return None

    @cached_property
    def guide_length(self) -> int | None:
        """Return how many pages the guide has, as its plan says and its build keeps; None when there is no plan."""
        try:
            plan = tomllib.loads((self.config.path(self.config.content.guide) / "guide.toml").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        pages = plan.get("pages")
        return pages if isinstance(pages, int) else None

    @cached_property
    def fields(self) -> Fields:
        """Return the maker of what mails say about a person."""
        return Fields(self.context, self.links, self.library, self.guide_pages)

    def day(self, moment: datetime, person: Subscriber | None = None) -> str:
        """Return a day as a person reads it, on their own calendar: ``3 May 2027``."""
        return day_in(person.zone if person else self.config.clinic.time_zone, moment)

    # --- sending -------------------------------------------------------------------------------

    def sender(self, db: Database, clock: Callable[[], datetime] | None = None) -> Sender:
        """Return the sender over an open database."""
        from funnel.sender import Sender

        return Sender(
            db, self.context, self.composer, self.transport,
            fields_of=partial(self.fields.columns, db), clock=clock or self.clock,
        )  # fmt: skip

    # --- what the pages do ---------------------------------------------------------------------

    def ask(self, request: signup.Request) -> None:
        """Take in a sign-up; raises AddressError for text that is no address."""
        now, ctx = self.clock(), self.context
        if self.writer is not None:
            self.writer.run(lambda db: signup.ask(db, ctx, request, now))
            return
        with self.session() as db:
            signup.ask(db, ctx, request, now)

    def again(self, request: signup.Request) -> None:
        """Leave a mail with what somebody asked for before; raises AddressError or TooManyError like ``ask``."""
        with self.session() as db:
            signup.again(db, self.context, request, self.clock())

    def page_key(self, subject: int = 0) -> str:
        """Return a proof that a page was shown now, for the form on it."""
        return sign(self.context.keys, Purpose.FORM, _stamp(self.clock(), subject))

    def page_was_shown(self, key: str, subject: int = 0) -> bool:
        """True when ``key`` was made for this subject by ``page_key`` at least a second and at most a day ago."""
        now = self.clock()
        try:
            stamp = verify(self.context.keys, Purpose.FORM, key, now)
        except TokenError:
            return False
        shown = datetime.fromtimestamp((stamp >> 24) / 10, UTC)
        return stamp & 0xFFFFFF == subject & 0xFFFFFF and PAGE_MIN <= now - shown <= PAGE_LIFE

    def request_of(self, token: str) -> int:
        """Return the request a confirmation link is for; raises TokenError."""
        return verify(self.context.keys, Purpose.CONFIRM, token, self.clock())

    def asker_of(self, token: str) -> Subscriber:
        """Return who asked by the request of a link; raises TokenError, or NotFoundError for somebody forgotten."""
        request = self.request_of(token)
        with self.session(readonly=True) as db:
            enrollment = enrollments.by_id(db, request)
            person = subscribers.by_id(db, enrollment.subscriber_id) if enrollment else None
        if person is None or person.status is Status.ERASED:
            raise NotFoundError("This request is not there any more; please ask for the guide again.")
        return person

    def confirm(self, token: str, receipt: Receipt) -> signup.Confirmed:
        """Confirm the request of a link; raises TokenError or NotFoundError."""
        request = self.request_of(token)
        with self.session() as db:
            return signup.confirm(db, self.context, request, now=self.clock(), receipt=receipt)

    def person_of(self, token: str, purpose: Purpose) -> Subscriber:
        """Return whom a link is for; raises TokenError, or NotFoundError for somebody forgotten."""
        subscriber_id = verify(self.context.keys, purpose, token, self.clock())
        with self.session(readonly=True) as db:
            person = subscribers.by_id(db, subscriber_id)
        if person is None or person.status is Status.ERASED:
            raise NotFoundError("This address is not on our list.")
        return person

    def gift_of(self, person: Subscriber) -> Gift | None:
        """Return a person's gift, or None."""
        with self.session(readonly=True) as db:
            return gifts.of_person(db, self.context, person.id)

    def reveal(self, person: Subscriber, ip: str) -> Gift | None:
        """Return a person's gift for somebody who pressed the button; raises TooManyError."""
        with self.session() as db, db.transaction():
            signup.take(db, self.context, "gift", ip, self.clock())
            return gifts.of_person(db, self.context, person.id)

    def waits_for_gift(self, person: Subscriber) -> bool:
        """True while a person waits for a code of an empty pool."""
        with self.session(readonly=True) as db:
            return gifts.waits(db, person.id)

    def can_use(self, gift: Gift | None) -> bool:
        """True while a gift can still be redeemed."""
        return gifts.usable(gift, self.clock())

    def downloaded(self, person: Subscriber) -> None:
        """Record that a person pressed "Open the guide"."""
        with self.session() as db:
            signup.downloaded(db, person.id, self.clock())

    def unsubscribe(self, subscriber_id: int, receipt: Receipt) -> bool:
        """Stop all mail to a person at once; True when it was news."""
        with self.session() as db:
            return signup.unsubscribe(db, self.context, subscriber_id, now=self.clock(), receipt=receipt)

    def unsubscribe_by_token(self, token: str, receipt: Receipt) -> bool:
        """Stop all mail to the person of a link, however old it is; raises TokenError for a link not ours."""
        try:
            subscriber_id = verify(self.context.keys, Purpose.UNSUBSCRIBE, token, self.clock())
        except ExpiredTokenError as expired:
            subscriber_id = expired.subject
        return self.unsubscribe(subscriber_id, receipt)

    def pause(self, person: Subscriber, days: int, receipt: Receipt) -> bool:
        """Pause the series for so many days, or let it go on at 0; False when the person is not in it."""
        now = self.clock()
        until = now + timedelta(days=days) if days else None
        with self.session() as db:
            return feedback.pause(db, person.id, until=until, now=now, receipt=receipt)

    def choose(self, person: Subscriber, act: str, receipt: Receipt) -> bool:
        """Do what one button of the preferences says; True when that changed something."""
        with self.session() as db:
            return signup.choose(db, self.context, person, act, now=self.clock(), receipt=receipt)

    @property
    def can_move(self) -> bool:
        """True while the funnel has the mail that asks at a new address."""
        return signup.MOVE in self.context.sequences

    def is_move(self, token: str) -> bool:
        """True when a confirmation link is about a new address; raises TokenError."""
        with self.session(readonly=True) as db:
            way = enrollments.by_id(db, self.request_of(token))
        return way is not None and way.sequence == signup.MOVE

    def ask_to_move(self, person: Subscriber, email: str, receipt: Receipt) -> None:
        """Ask at a person's new address whether it is theirs; raises AddressError or TooManyError."""
        with self.session() as db:
            signup.ask_to_move(db, self.context, person, email, now=self.clock(), receipt=receipt)

    def series_of(self, person: Subscriber) -> signup.Series:
        """Return how a person's series stands."""
        with self.session(readonly=True) as db:
            return signup.series_of(db, person.id)

    def can_undo(self, person: Subscriber) -> bool:
        """True while a person who stopped the mails can take that back."""
        with self.session(readonly=True) as db:
            return signup.can_undo(db, person.id, self.clock())

    def silent_since(self) -> tuple[bool, datetime | None]:
        """Return whether sending has not run for longer than [alerts] allows, and when it last did."""
        with self.session(readonly=True) as db:
            last = runs.last_tick(db)
        limit = timedelta(minutes=self.config.alerts.cron_silent_minutes)
        return last is None or self.clock() - last > limit, last

    def last_tick(self) -> datetime | None:
        """Return when sending was last started; raises StoreError when nothing could be written now."""
        with self.session() as db, db.transaction():
            return runs.last_tick(db)

    # --- what staff do -------------------------------------------------------------------------

    def find_person(self, db: Database, email: str) -> Subscriber:
        """Return the person with an address; raises AddressError or NotFoundError."""
        address = parse_address(email, samples=self.config.sample)
        person = subscribers.by_key(db, address.key)
        if person is None:
            raise NotFoundError(f"Nobody with the address {mask(address.typed)} is here.")
        return person

    def erase(self, email: str, operator: str) -> None:
        """Forget a person, and rewrite the file so that no trace stays in it (LAW-5)."""
        with self.session() as db:
            person = self.find_person(db, email)
            signup.erase(db, self.context, person.id, now=self.clock(), operator=operator)
            db.rewrite()

    def shown_address(self, db: Database, subscriber_id: int) -> str:
        """Return a person's address as staff see it: as typed, with the domain as it is on the wire."""
        person = subscribers.by_id(db, subscriber_id)
        if person is None or not person.email:
            return "(erased)"
        wire = subscribers.key_of(db, subscriber_id).rpartition("@")[2]
        plain = person.email.rpartition("@")[2].lower() == wire
        return person.email if plain else f"{person.email} ({wire})"

    def open_mail(self, db: Database) -> list[dict[str, object]]:
        """Return every mail that is not settled, oldest first: what it is, to whom, since when, why, what to do."""
        states = (MailingStatus.UNCERTAIN, MailingStatus.HELD, MailingStatus.DEFERRED, MailingStatus.SENDING)
        rows: list[dict[str, object]] = []
        for mailing in (m for status in states for m in mailings.in_status(db, status)):
            enrollment = enrollments.by_id(db, mailing.enrollment_id)
            if enrollment is None:
                continue
            rows.append(
                {
                    "id": mailing.id,
                    "to": self.shown_address(db, enrollment.subscriber_id),
                    "mail": f"{enrollment.sequence}/{mailing.step}",
                    "status": str(mailing.status),
                    "since": f"{mailing.first_at:%Y-%m-%d %H:%M}",
                    "again": f"{mailing.retry_at:%Y-%m-%d %H:%M}" if mailing.retry_at else "",
                    "why": "; ".join(filter(None, (mailing.reason, mailing.reply))),
                    "do": outbox.can_do(mailing),
                }
            )
        return rows

    def take_in_bounce(self, raw: bytes) -> str:
        """Take in one bounce or complaint message and return, in words, what came of it."""
        from funnel.inbound import read_report

        found = read_report(raw, self.context.keys.pepper)
        if found is None:
            return "no report about mail of ours"
        with self.session() as db:
            return feedback.take_in(db, self.context, found, self.clock())

    @property
    def guide_settings(self) -> GuideSettings:
        """Return what the guide prints about the clinic."""
        from funnel.guide import GuideSettings

        c, g = self.config.clinic, self.config.guide
        return GuideSettings(
            title=g.title, edition=g.edition, reviewer=g.reviewer, clinic_name=c.name, address=c.postal_address,
            phone=c.phone, website=c.website, booking_url=c.booking_url, gift_name=self.config.gift.name,
            guide_url=self.config.site.base_url + "/",
        )  # fmt: skip

    def require_guide(self) -> None:
        """Raise GuideError unless the guide is there to be handed out: mail must not promise what nobody can open."""
        output = self.config.path(self.config.guide.output)
        if not (output / "guide.pdf").is_file() or not self.guide_pages:
            raise GuideError("The guide is not built, so links to it would lead nowhere; run “funnel guide build”.")

    def build_guide(self) -> Built:
        """Build the guide and the pictures for mails; raises GuideError, and then the last good ones stay."""
        from funnel.guide import build

        source = self.config.path(self.config.content.guide)
        built = build(source, self.guide_settings, self.config.path(self.config.guide.output))
        for stale in ("guide_pages", "fields", "figures", "library", "composer"):
            self.__dict__.pop(stale, None)
        return built


def _stamp(now: datetime, subject: int) -> int:
    """Return tenths of a second and the low bits of a subject as one number."""
    return int(now.timestamp() * 10) << 24 | subject & 0xFFFFFF
