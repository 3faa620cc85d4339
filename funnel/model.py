"""The words of the field as types. Data only: no rule, no input or output lives here.

Every moment is an aware ``datetime`` in UTC; every length of time a ``timedelta``. What a run makes one of for every
mail is a named tuple, which is made five times as fast as a frozen dataclass.
"""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

#: The fields of a mail that differ from person to person; it may show them, or ask whether they are empty.
PERSONAL = frozenset(
    {
        "name", "why", "guide_url", "guide_page_url", "gift_code", "gift_expires", "confirm_url", "unsubscribe_url",
        "preferences_url", "subject", "preheader",
    }
)  # fmt: skip


class Word(StrEnum):
    """A word out of a fixed set. It has the hash of its text, to which it is equal: the usual one is slow."""

    __hash__ = str.__hash__


class Status(Word):
    """Where a subscriber stands."""

    PENDING = "pending"  #: asked for the guide, has not confirmed the address
    CONFIRMED = "confirmed"  #: confirmed; gets the guide and the series
    PAUSED = "paused"  #: confirmed, asked for quiet until a date
    UNSUBSCRIBED = "unsubscribed"  #: told us to stop
    BOUNCED = "bounced"  #: the address does not exist
    COMPLAINED = "complained"  #: called our mail spam
    ERASED = "erased"  #: asked to be forgotten; only a keyed hash is left

    @property
    def listening(self) -> bool:
        """True while the person wants the series."""
        return self in LISTENING

    @property
    def stopped(self) -> bool:
        """True once the person may get no mail any more."""
        return self in STOPPED


#: Tuples, because an enum takes long to be looked up in a set, and these are asked for every mail.
LISTENING = (Status.CONFIRMED, Status.PAUSED)
STOPPED = (Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED, Status.ERASED)


class MailingStatus(Word):
    """What became of one mail to one person."""

    SENDING = "sending"  #: claimed by a run that is at work
    SENT = "sent"  #: the server answered 2yz
    DEFERRED = "deferred"  #: refused for now; goes again at ``retry_at``
    FAILED = "failed"  #: refused for good, or never could be written
    UNCERTAIN = "uncertain"  #: may have been accepted; nobody can know yet
    HELD = "held"  #: waits for a person to decide
    SKIPPED = "skipped"  #: left out on purpose, with the reason


class GiftStatus(Word):
    """What became of one gift code."""

    ISSUED = "issued"  #: belongs to a person, not yet in a mail
    SENT = "sent"  #: a mail with it was accepted
    REDEEMED = "redeemed"  #: used at the desk
    VOID = "void"  #: cancelled by staff
    EXPIRED = "expired"  #: its last day has passed


class EventKind(Word):
    """What happened. The first ten are the words mail providers use."""

    QUEUED = "queued"
    SENT = "sent"
    REJECTED = "rejected"
    BOUNCED = "bounced"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    AUTORESPONDED = "autoresponded"
    CAPTURED = "captured"  #: the form was sent in
    CONFIRMED = "confirmed"
    DOWNLOADED = "downloaded"  #: a person pressed "Open the guide"
    REDEEMED = "redeemed"
    PAUSED = "paused"
    RESUMED = "resumed"
    RESUBSCRIBED = "resubscribed"
    IMPORTED = "imported"
    ERASED = "erased"


class Kind(Word):
    """What a mail is for; decides who may get it and what is done when its fate is unknown."""

    CONFIRM = "confirm"  #: asks a person to confirm the address
    GUIDE = "guide"  #: what the person asked for: the guide and the gift
    DRIP = "drip"  #: one mail of the series
    REMINDER = "reminder"  #: tied to a date, worthless after it
    BROADCAST = "broadcast"
    DIGEST = "digest"  #: to staff
    SUNSET = "sunset"  #: no mail: takes a person off the list who was asked and did not answer


URGENT = (Kind.CONFIRM, Kind.GUIDE)


class Condition(Word):
    """When a step applies to a person; judged at the moment the step is due."""

    ALWAYS = "always"
    GIFT_UNUSED = "gift-unused"  #: the gift can still be used
    NOT_DOWNLOADED = "not-downloaded"  #: the guide was never opened from its page
    ENGAGED = "engaged"  #: did something on our pages in the last 30 days
    NOT_ENGAGED = "not-engaged"


class Delivery(Word):
    """A transport's one answer about one message."""

    ACCEPTED = "accepted"  #: 2yz after the final dot
    PERMANENT = "permanent"  #: refused for good
    TRANSIENT = "transient"  #: refused for now; certainly not accepted
    UNKNOWN = "unknown"  #: the answer got lost after the message may have been taken


class Level(Word):
    """How much a finding matters."""

    ERROR = "error"  #: nothing may go out before it is mended
    WARNING = "warning"  #: somebody should look


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found: where it is, what is wrong, what to do."""

    level: Level
    where: str
    says: str
    fix: str = ""

    def __str__(self) -> str:
        """Return the finding as one sentence: ``page 37: figure 15 has no alt text; add it in …``."""
        return f"{self.where}: {self.says}" + (f"; {self.fix}" if self.fix else "")


class Subscriber(NamedTuple):
    """One person. ``email`` is what they typed, empty once erased."""

    id: int
    email: str
    status: Status
    zone: str
    locale: str
    created_at: datetime
    name: str = ""
    source: str = ""
    confirmed_at: datetime | None = None
    stopped_at: datetime | None = None
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One mail of a sequence. Its name is its identity for ever."""

    name: str
    kind: Kind
    days: int = 0  #: whole calendar days after the anchor, in the subscriber's zone
    delay: timedelta = timedelta(0)  #: hours and minutes on top
    at: time | None = None  #: local time of day; None keeps the anchor's
    when: Condition = Condition.ALWAYS
    skip_if_stale: bool = False
    unanswered: str = ""  #: of a sunset: the mail that asked whether to stay

    @property
    def urgent(self) -> bool:
        """True for what a person waits for: it ignores send window and minimum gap."""
        return self.kind in URGENT


@dataclass(frozen=True, slots=True)
class Sequence:
    """An ordered series of steps; ``repeatable`` ones may be entered again and again."""

    name: str
    steps: tuple[Step, ...]
    title: str = ""
    repeatable: bool = False
    weekly: bool = False  #: starts anew each Monday; for the clinic's own staff

    def step(self, name: str) -> Step | None:
        """Return the step of that name, or None."""
        return next((step for step in self.steps if step.name == name), None)

    def after(self, name: str) -> Step | None:
        """Return the step that follows the one named, or None at the end or when there is none."""
        names = [step.name for step in self.steps]
        if name not in names:
            return None
        rest = self.steps[names.index(name) + 1 :]
        return rest[0] if rest else None


class Enrollment(NamedTuple):
    """One person's way through one sequence."""

    id: int
    subscriber_id: int
    sequence: str
    occasion: int
    anchor_at: datetime
    next_step: str | None
    next_at: datetime | None
    last_at: datetime | None = None
    ended: str = ""  #: why it ended: ``done`` or the word that stopped it


@dataclass(frozen=True, slots=True)
class Gift:
    """One gift code and its life."""

    id: int
    code: str
    status: GiftStatus
    subscriber_id: int | None
    issued_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None = None
    redeemed_by: str = ""
    note: str = ""


class Due(NamedTuple):
    """A step that is due for a person, with all a decision needs to know."""

    enrollment: Enrollment
    subscriber: Subscriber
    step: Step
    suppressed: bool
    mailing_id: int | None = None  #: set when a deferred mail goes again
    attempts: int = 0
    first_at: datetime | None = None  #: first attempt of a deferred mail
    key: str = ""  #: the person's canonical address
    gap_days: int = 0  #: the least number of days the person wants between two mails
    mailed_at: datetime | None = None  #: when the person was last mailed on any way
    had: frozenset[str] = frozenset()  #: the steps of this way that were dealt with


@dataclass(frozen=True, slots=True)
class Facts:
    """What a step's condition asks about a person."""

    gift_usable: bool = False
    downloaded: bool = False
    engaged: bool = False
    unanswered: bool = False  #: was asked whether to stay, and did nothing since


class Link(NamedTuple):
    """A signed link; what stands before and behind its token is alike for everybody."""

    before: str
    token: str
    behind: str = ""

    def __str__(self) -> str:
        """Return the link as one goes to it."""
        return self.before + self.token + self.behind


class LinkColumn(NamedTuple):
    """Signed links of many people, a token for each of them."""

    before: str
    tokens: list[bytes]
    behind: str = ""

    def link(self, place: int) -> Link:
        """Return the link of one of them."""
        return Link(self.before, self.tokens[place].decode("utf-8"), self.behind)


class Crowd(NamedTuple):
    """People who get the same mail, column by column; moments are UTC seconds since 1970."""

    people: abc.Sequence[int]
    ways: abc.Sequence[int]  #: the enrollment of each
    anchors: abc.Sequence[int]
    names: abc.Sequence[str]
    sources: abc.Sequence[str]
    zones: abc.Sequence[str]
    confirmed: abc.Sequence[int | None]


#: A field of many people, in the order of their crowd.
Column = abc.Sequence[str] | LinkColumn


def of_one(column: Column, place: int) -> str | Link:
    """Return the field of one of many people."""
    return column.link(place) if isinstance(column, LinkColumn) else column[place]


class Rendered(NamedTuple):
    """One complete message, ready for a transport."""

    subject: str
    message: bytes
    version: str = ""  #: fingerprint of the mail's source


class Outgoing(NamedTuple):
    """An envelope: one sender, one recipient, the bytes of one message."""

    mailing_id: int
    sender: str
    recipient: str
    message: bytes
    canonical: bool = False  #: known to be plain ASCII, with no bare CR or LF and no line that starts with a dot


class Reply(NamedTuple):
    """What a server said about one message. ``stage`` is where the conversation ended."""

    delivery: Delivery
    code: int = 0
    text: str = ""
    stage: str = ""

    def __str__(self) -> str:
        """Return the reply as staff read it."""
        return f"{self.code or ''} {self.text}".strip() or self.delivery.value


class Outcome(NamedTuple):
    """What became of one due step, for the ledger, the screen and the report."""

    subscriber_id: int
    sequence: str
    step: str
    status: MailingStatus
    reason: str = ""
    mailing_id: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One fact from one source; ``event_id`` makes a second copy of it harmless."""

    source: str
    event_id: str
    kind: EventKind
    at: datetime
    subscriber_id: int | None = None
    mailing_id: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of one act of consent: who saw which words, when, where."""

    act: str  #: requested, confirmed, withdrawn, restored, paused, resumed, kept, slower, faster, …
    at: datetime
    wording: str = ""  #: the exact words shown; stored once, by hash
    form: str = ""
    page: str = ""
    locale: str = ""
    ip: str = ""
    agent: str = ""
    operator: str = ""
    detail: str = ""
    marketing: bool | None = None  #: the separate box, when there is one
