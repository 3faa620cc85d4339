"""Plays the demo: opens a clinic in a temporary folder, lets visitors act over HTTP, and cron send by SMTP."""

from __future__ import annotations

import heapq
import itertools
import socket
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.app import Funnel
from funnel.config import Smtp, TransportSettings
from funnel.demo.browsing import SCANNER, fetch, link_to, links_in
from funnel.demo.cast import CAST, OPENING, Visitor
from funnel.demo.mailserver import TAKE_AND_HANG_UP, Accepted, MailServer
from funnel.demo.story import Life, Mail, Moment, Story
from funnel.errors import FunnelError
from funnel.founding import found
from funnel.model import MailingStatus
from funnel.preview import parts_of, with_pictures
from funnel.report import make_report, why
from funnel.store import enrollments, mailings
from funnel.tokens import mailing_of
from funnel.web import make_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.config import Config
    from funnel.store.database import Database

TICK = timedelta(minutes=15)
TROUBLE = {MailingStatus.DEFERRED, MailingStatus.FAILED, MailingStatus.UNCERTAIN}
#: How long a visitor looks at a page before pressing its button.
LOOKING = timedelta(seconds=20)


@dataclass(slots=True)
class Stage:
    """The demo while it runs."""

    funnel: Funnel
    server: MailServer
    now: datetime = OPENING
    lives: dict[str, Life] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    requests: int = 0
    _agenda: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    fresh: list[Accepted] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Return where the pages are."""
        return self.funnel.config.site.base_url

    # --- time ----------------------------------------------------------------------------------

    def plan(self, at: datetime, act: Callable[[], None]) -> None:
        """Let something happen at a moment."""
        heapq.heappush(self._agenda, (at, next(self._order), act))

    def live(self, days: int, tick: Callable[[], object]) -> None:
        """Let time pass: visitors act when they mean to, cron sends every quarter of an hour."""
        for visitor in CAST:
            self.lives[visitor.email] = Life(visitor)
            self.plan(visitor.arrival, lambda v=visitor: self.arrive(v))  # type: ignore[misc]
        end = OPENING + timedelta(days=days)
        at = OPENING
        with self.funnel.session() as db:
            while at < end:
                self._act_until(at)
                self.now = at
                self._closing_time(at)
                if enrollments.anything_due(db, at):
                    self._cron(db)
                at += TICK
                if (at - OPENING) % timedelta(days=1) < TICK:
                    tick()

    def _act_until(self, at: datetime) -> None:
        while self._agenda and self._agenda[0][0] <= at:
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    def _cron(self, db: Database) -> None:
        for outcome in self.funnel.sender(db).send_due():
            email = self.funnel.shown_address(db, outcome.subscriber_id)
            if outcome.status in TROUBLE and email in self.lives:
                self._note(email, f"a mail is {outcome.status}: {outcome.reason}", "trouble")
        while self.fresh:
            self._arrived(self.fresh.pop(0))

    def _closing_time(self, at: datetime) -> None:
        """Change the outside world on its days: a mailbox that closes, one that is full for a day, one lost answer."""
        day = (at - OPENING) / timedelta(days=1)
        self.server.always[("rcpt", "lou@closing.example")] = (
            "550 5.1.1 lou@closing.example: user unknown" if day >= 10 else "250 2.1.5 ok"
        )
        full = "452 4.2.2 mailbox full" if 3.5 <= day < 4.8 else "250 2.1.5 ok"
        self.server.always[("rcpt", "will@full.example")] = full

    # --- what visitors do ----------------------------------------------------------------------

    def _note(self, email: str, what: str, kind: str = "act") -> None:
        self.lives[email].moments.append(Moment(self.now, what, kind))

    def _press(self, url: str, extra: dict[str, str] | None = None, action: str = "") -> int:
        """Look at a page for a while, then send its form."""
        self.requests += 2
        page = fetch(url)
        form = page.form(action)
        self.now += LOOKING
        target = form.action if form.action.startswith("http") else self.base + form.action if form.action else url
        return fetch(target, {**form.fields, **(extra or {})}).status

    def arrive(self, visitor: Visitor) -> None:
        """Send the form, as this visitor does it."""
        extra = {"zone": visitor.zone, "locale": "en-US", "page": "/articles/dry-needling-for-back-pain"}
        status = self._press(self.base + "/", {"email": visitor.email, **extra}, "/signup")
        self._note(visitor.email, "types the address and sends the form" if status < 400 else "types a wrong address")
        if status >= 400:
            right = visitor.email.replace("..", ".")
            self.lives[right] = self.lives.pop(visitor.email)
            self.plan(self.now + timedelta(minutes=1), lambda: self._again(right, extra, "reads the hint, mends it"))
        if visitor.signs_up_again_after is not None:
            later = self.now + timedelta(hours=visitor.signs_up_again_after)
            self.plan(later, lambda: self._again(visitor.email, extra, "sends the form again"))

    def _again(self, email: str, extra: dict[str, str], what: str) -> None:
        self._press(self.base + "/", {"email": email, **extra}, "/signup")
        self._note(email, what)

    def _arrived(self, accepted: Accepted) -> None:
        """A mail is in a visitor's inbox: keep it, and plan what they do with it."""
        message = message_from_bytes(accepted.content, policy=policy.default)
        html, text = parts_of(accepted.content)
        name = self._name_of(str(message["X-Funnel-Id"]))
        subject = str(message["Subject"])
        self.mails.append(Mail(self.now, accepted.recipient, name, subject, html, text))
        if accepted.recipient not in self.lives:
            return  # the week's figures, to the clinic's own desk
        self._note(accepted.recipient, f"gets “{subject}”", "mail")
        visitor = self.lives[accepted.recipient].visitor
        if visitor.scanner:
            self.plan(self.now + timedelta(seconds=43), lambda: self._scan(accepted.recipient, text))
        if name == "confirm/confirm":
            self._plan_confirmation(accepted.recipient, visitor, text)
        elif name == "series/guide":
            self._plan_life(accepted.recipient, visitor, text, accepted.content)

    def _name_of(self, funnel_id: str) -> str:
        mailing_id = mailing_of(self.funnel.context.keys.pepper, funnel_id)
        with self.funnel.session(readonly=True) as db:
            mailing = mailings.by_id(db, mailing_id) if mailing_id is not None else None
            way = enrollments.by_id(db, mailing.enrollment_id) if mailing else None
        return f"{way.sequence}/{mailing.step}" if way and mailing else "?"

    def _scan(self, email: str, text: str) -> None:
        """Fetch every link twice, by GET and HEAD, as mail gateways do within a minute."""
        urls = [url.partition("#")[0] for url in links_in(text, self.base)]
        for url in urls * 2:
            self.requests += 2
            fetch(url, agent=SCANNER, method="HEAD")
            fetch(url, agent=SCANNER)
        self._note(email, f"a scanner fetches {len(urls)} links, each twice", "machine")

    def _plan_confirmation(self, email: str, visitor: Visitor, text: str) -> None:
        if visitor.confirms_after is None:
            return
        link = link_to(text, self.base, "c")

        def confirm() -> None:
            try:
                good = self._press(link, action="/c/") < 400
            except LookupError:
                good = False
            self._note(
                email, "confirms the address" if good else "finds the link expired", "act" if good else "trouble"
            )

        self.plan(self.now + timedelta(hours=visitor.confirms_after), confirm)

    def _plan_life(self, email: str, visitor: Visitor, text: str, raw: bytes) -> None:
        """Plan everything this visitor will do once the guide is there."""
        day = timedelta(days=1)
        if visitor.reads:
            self.plan(self.now + timedelta(hours=1), lambda: self._read(email, text))
        if visitor.unsubscribes_on_day is not None:
            self.plan(self.now + day * visitor.unsubscribes_on_day, lambda: self._unsubscribe(email, visitor, text))
        if visitor.pauses_on_day is not None:
            self.plan(self.now + day * visitor.pauses_on_day, lambda: self._pause(email, text))
        if visitor.redeems_on_day is not None:
            self.plan(self.now + day * visitor.redeems_on_day, lambda: self._redeem(email))
        if visitor.complains_on_day is not None:
            self.plan(self.now + day * visitor.complains_on_day, lambda: self._complain(email, raw))

    def _read(self, email: str, text: str) -> None:
        status = self._press(link_to(text, self.base, "g"), {"act": "open"}, "/g/")
        self._note(
            email, "opens the guide" if status < 400 else "cannot open the guide", "act" if status < 400 else "trouble"
        )

    def _unsubscribe(self, email: str, visitor: Visitor, text: str) -> None:
        link = link_to(text, self.base, "u")
        if visitor.one_click:
            self.requests += 1
            fetch(link, {"List-Unsubscribe": "One-Click"}, agent="a mail program")
            self._note(email, "presses the mail program's own “Unsubscribe”")
        else:
            self._press(link, action="/u/")
            self._note(email, "unsubscribes on our page")
        if visitor.returns_on_day is not None and visitor.unsubscribes_on_day is not None:
            back = self.now + timedelta(days=visitor.returns_on_day - visitor.unsubscribes_on_day)
            self.plan(back, lambda: self._again(email, {"zone": visitor.zone}, "comes back and asks again"))

    def _pause(self, email: str, text: str) -> None:
        url = link_to(text, self.base, "p")
        form = fetch(url).form("/p/")
        name, value = next(((n, v) for n, v in form.buttons if "14" in v or "2" in v), ("pause", "14"))
        self._press(url, {name: value}, "/p/")
        self._note(email, "pauses for two weeks")

    def _redeem(self, email: str) -> None:
        with self.funnel.session() as db:
            person = self.funnel.find_person(db, email)
            gift = gifts.of_person(db, self.funnel.context, person.id)
            if gift is None:
                return
            gifts.redeem(db, self.funnel.context, gift.code.lower().replace("-", " "), by="Anna", now=self.now)
        self._note(email, f"shows {gift.code} at the desk: good, and used")

    def _complain(self, email: str, raw: bytes) -> None:
        headers = raw.partition(b"\r\n\r\n")[0].decode("ascii")
        said = self.funnel.take_in_bounce(COMPLAINT.format(headers=headers, email=email).encode())
        self._note(email, f"calls it spam; the report says so: {said}", "trouble")


COMPLAINT = """From: feedback@provider.example\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r
\r
--b\r
Content-Type: text/plain\r
\r
This is an abuse report.\r
--b\r
Content-Type: message/feedback-report\r
\r
Feedback-Type: abuse\r
User-Agent: Provider/1.0\r
Version: 1\r
Original-Rcpt-To: {email}\r
\r
--b\r
Content-Type: text/rfc822-headers\r
\r
{headers}\r
\r
--b--\r
"""


# --- opening and closing -----------------------------------------------------------------------


def play(days: int, tick: Callable[[], object]) -> Story:
    """Return the story of so many days; everything it needs is made in a temporary folder and removed again."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="funnel-demo-") as folder, MailServer() as server:
        funnel = Funnel(_settings(found(Path(folder, "clinic")), server.port))
        pages = funnel.build_guide().pages
        stage = _open(funnel, server)
        stage.live(days, tick)
        return _closing(stage, days, pages, time.monotonic() - started)


def _settings(config: Config, mail_port: int) -> Config:
    """Return the sample's settings with real addresses on loopback."""
    web = socket.create_server(("127.0.0.1", 0))
    listen = f"127.0.0.1:{web.getsockname()[1]}"
    web.close()
    smtp = Smtp(host="127.0.0.1", port=mail_port, security="none", timeout=5)
    return replace(
        config,
        site=replace(config.site, base_url=f"http://{listen}", listen=listen),
        transport=TransportSettings(kind="smtp", smtp=smtp),
    )


def _open(funnel: Funnel, server: MailServer) -> Stage:
    """Open the pages to visitors, with a clock that shows the stage's time."""
    stage = Stage(funnel, server)
    funnel.clock = lambda: stage.now
    server.on_accept = stage.fresh.append
    server.always[("rcpt", "nobody@gone.example")] = "550 5.1.1 nobody@gone.example: no such user here"
    server.answer("rcpt", "451 4.7.1 greylisted, try again later", to="vera@later.example")
    server.answer("dot", "250 ok", "250 ok", "250 ok", TAKE_AND_HANG_UP, to="cy@flaky.example")
    threading.Thread(target=make_server(funnel).run, daemon=True).start()
    return stage


def _with_pictures(funnel: Funnel, mails: list[Mail]) -> list[Mail]:
    """Put the pictures into the first mail of each name: those are the ones the page shows."""
    shown: set[str] = set()
    for place, mail in enumerate(mails):
        if mail.name not in shown:
            mails[place] = replace(mail, html=with_pictures(funnel, mail.html))
            shown.add(mail.name)
    return mails


def _closing(stage: Stage, days: int, pages: int, seconds: float) -> Story:
    """Ask the funnel itself what happened to everybody."""
    funnel = stage.funnel
    with funnel.session() as db:
        for email, life in stage.lives.items():
            life.counts = Counter()
            try:
                person = funnel.find_person(db, email)
            except FunnelError:
                life.counts["sent"] = sum(mail.to == email for mail in stage.mails)
                continue
            life.answer = why(db, funnel.context, funnel.sender(db), person, stage.now)
            life.counts.update(
                str(mailing.status) for way in enrollments.of(db, person.id)
                for mailing in mailings.of_enrollment(db, way.id) if mailing.status is not MailingStatus.SENDING
            )  # fmt: skip
        report = make_report(db, funnel.context, stage.now)
    guide = (funnel.config.path(funnel.config.guide.output) / "guide.pdf").read_bytes()
    return Story(
        lives=sorted(stage.lives.values(), key=lambda life: life.visitor.arrives),
        mails=_with_pictures(funnel, stage.mails), report=report, clinic=funnel.config.clinic.name,
        days=days, seconds=seconds, requests=stage.requests, guide=guide, guide_pages=pages,
    )  # fmt: skip
