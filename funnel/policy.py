"""What may be done to whom, and what an answer means. Pure: values in, values out.

Three questions live here: may this mail go to this person now; what does this event do to their
status; what does this reply code say about address, message and sender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from funnel.model import Condition, Delivery, EventKind, Facts, Kind, MailingStatus, Status, Step

# --- may this mail go now ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Go:
    """Send it."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave this step out for this person, and go on with the next."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; look again at ``until``."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End this person's way through the sequence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep this one mail back until something else comes, and go on with the next."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Take this person off the list without another mail."""

    reason: str


Verdict = Go | Skip | Wait | Stop | Hold | Leave
GO = Go()


def may_send(
    step: Step,
    status: Status,
    *,
    suppressed: bool,
    paused_until: datetime | None,
    facts: Facts,
    now: datetime,
) -> Verdict:
    """Return what to do with a due step, given what is known about the person at ``now``."""
    if step.kind is Kind.CONFIRM:
        return Stop("already confirmed") if status.listening else _may_ask(status)
    if not status.listening:
        return Stop(str(status))
    if suppressed:
        return Stop("suppressed")
    if step.urgent:
        return GO
    if step.kind is Kind.SUNSET:
        return Leave(f"no answer to “{step.unanswered}”") if facts.unanswered else Skip("was not asked, or answered")
    if paused_until is not None and now < paused_until:
        return Wait(paused_until, "paused")
    return _applies(step.when, facts)


def _may_ask(status: Status) -> Verdict:
    """A confirmation may go to people who are not in, or who left and asked again."""
    return Stop(str(status)) if status is Status.ERASED else GO


def _applies(when: Condition, facts: Facts) -> Verdict:
    """Return Go when the step's condition holds, else Skip with the reason staff read."""
    if when is Condition.ALWAYS:
        return GO
    unmet = {
        Condition.GIFT_UNUSED: (not facts.gift_usable, "the gift is used, void or over"),
        Condition.NOT_DOWNLOADED: (facts.downloaded, "the guide was opened already"),
        Condition.ENGAGED: (not facts.engaged, "nothing done on our pages in 30 days"),
        Condition.NOT_ENGAGED: (facts.engaged, "was on our pages in the last 30 days"),
    }
    missing, reason = unmet.get(when, (False, ""))
    return Skip(reason) if missing else GO


#: How the reason of a mail ends that goes again by a person's decision, so that no rule holds it back once more.
BY_HAND = "somebody decided so"
#: Why a mail is held that would bring a gift code while none is left; told apart by these words.
NO_CODE = "no gift code is left; it goes when codes are imported"


def holds_for_code(kind: Kind, when_empty: str, *, waits: bool, held: bool) -> bool:
    """True when the mail that brings guide and gift is kept back because its person waits for a code (F-50).

    Only one is: whoever asks for the guide once more, while one is ``held``, gets it without the code.
    """
    return kind is Kind.GUIDE and when_empty == "hold" and waits and not held


# --- may this address be asked again -----------------------------------------------------------

#: How long after an address failed or complained a new sign-up may bring a confirmation mail.
COOL_DOWN = {"bounced": timedelta(days=30), "complained": timedelta(days=90)}
#: One confirmation per address in this time, whoever types it in and however often (SEC-2).
ASK_AGAIN_AFTER = timedelta(hours=24)
#: And at most so many in 30 days: nobody can be bombed through our form.
ASK_AT_MOST = 3


def may_ask_again(reason: str, at: datetime, now: datetime) -> bool:
    """True when a new sign-up may be answered with a confirmation mail despite a suppression.

    Who left, or was erased, may come back at once by a new confirmation; who bounced or complained,
    after a cool-down. An address the staff blocked never is.
    """
    if reason == "blocked":
        return False
    return now - at >= COOL_DOWN.get(reason, timedelta(0))


# --- what an event does to a status ------------------------------------------------------------

#: The strongest word wins, whatever order events come in (WH-7).
STRENGTH = {
    Status.PENDING: 0,
    Status.CONFIRMED: 1,
    Status.PAUSED: 1,
    Status.BOUNCED: 2,
    Status.UNSUBSCRIBED: 3,
    Status.COMPLAINED: 4,
    Status.ERASED: 5,
}
EFFECT = {
    EventKind.BOUNCED: Status.BOUNCED,
    EventKind.UNSUBSCRIBED: Status.UNSUBSCRIBED,
    EventKind.COMPLAINED: Status.COMPLAINED,
    EventKind.ERASED: Status.ERASED,
}


def status_after(status: Status, kind: EventKind) -> Status:
    """Return the status after an event that stops mail; other events change nothing here."""
    wanted = EFFECT.get(kind, status)
    return wanted if STRENGTH[wanted] > STRENGTH[status] else status


# --- what a reply means ------------------------------------------------------------------------


class Fault(StrEnum):
    """Whose fault a refusal is; decides who is suppressed, retried or alarmed."""

    ADDRESS = "address"  #: nobody there: stop mailing this person (BNC-2)
    MAILBOX = "mailbox"  #: full, busy, greylisted: try again or count as soft
    CONTENT = "content"  #: this message was refused
    SENDER = "sender"  #: we are refused: stop the run, suppress nobody (BNC-3)


HARD_CODES = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}
#: Gmail's codes for mail that proves nothing about its sender, and Outlook's.
SENDER_CODES = re.compile(r"[45]\.7\.(2[3-9]|3[0-2]|515)")
#: The enhanced code of a reply, not a piece of an IP address or a version in it.
ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
#: Addresses and links quoted back: what stands in them says nothing.
QUOTED = re.compile(r"<[^<>]*>|\S+@\S+|https?://\S+", re.IGNORECASE)
#: The reply is about who we are, even when it says that something does not exist.
ABOUT_US = re.compile(
    r"\b(sender (address|domain|host|verif\w+|id|rejected|denied|unknown)|envelope sender|mail ?from"
    r"|return[ -]?path|helo|ehlo|client host|your (ip|host|server|mail ?server|network|domain)\b)",
    re.IGNORECASE,
)
SENDER_TEXT = re.compile(
    r"\b(spf|dkim|dmarc|ptr|rp-00\d|reverse dns|black ?list\w*|block ?list\w*|blocked|reputation|authenticat\w+"
    r"|unauthenticated|banned|rate limit\w*|unsolicited|complaints?)\b",
    re.IGNORECASE,
)
GONE_TEXT = re.compile(
    r"\b(user unknown|host (unknown|not found)|unknown host|no mailbox|unrouteable address|has moved"
    r"|(no such|unknown|invalid|non-?existent) (local |e-?mail )?"
    r"(user|recipient|mailbox|person|address|account|local.part)"
    r"|(mailbox|user|recipient|account|address)( is| was| has been)? "
    r"(not found|unavailable|unknown|disabled|deactivated)"
    r"|not a (valid|known) (user|mailbox|recipient|address)"
    r"|does ?n[o'’]t exist|does not exist)",
    re.IGNORECASE,
)
GREYLISTED = re.compile(r"gr[ea]y.?list", re.IGNORECASE)
FULL_TEXT = re.compile(
    r"\bfull\b|quota|insufficient (system )?storage|exceeded storage|too many|try again|at a rate|temporar",
    re.IGNORECASE,
)
NOT_FOR_US = re.compile(r"polic(y|ies)\b|access denied|relay", re.IGNORECASE)
CONTENT_TEXT = re.compile(r"(spam|content|virus|line too long|8bit|smtputf8)", re.IGNORECASE)
SIZE_TEXT = re.compile(r"\b(message|mail)\b.{0,20}(too (large|big)|size|length)", re.IGNORECASE)


def fault_of(code: int, text: str, stage: str) -> Fault:
    """Return whose fault a 4yz or 5yz reply is, from enhanced code, words and stage of the conversation.

    A 5yz alone never means that the address is dead (BNC-2).
    """
    enhanced = (ENHANCED.search(text) or [""])[0]
    words = QUOTED.sub(" ", text)
    if code >= 500 and (enhanced in {"5.2.3", "5.3.4"} or SIZE_TEXT.search(words)):
        return Fault.CONTENT
    if stage in {"connect", "hello", "tls", "auth", "mail"} or _refuses_us(enhanced, words):
        return Fault.SENDER
    if code < 500:
        return Fault.MAILBOX
    if _nobody_there(enhanced, words, stage):
        return Fault.ADDRESS
    if FULL_TEXT.search(words) or enhanced.startswith(("5.2.2", "5.3", "5.4", "4.")):
        return Fault.MAILBOX
    of_content = enhanced.startswith("5.6") or CONTENT_TEXT.search(words)
    return Fault.CONTENT if of_content or stage == "data" else Fault.MAILBOX


#: So many refusals in one run that may be our fault stop it (BNC-3).
SUSPECTS = 3


def names_us(text: str, stage: str) -> bool:
    """True when a refusal says in so many words or codes that it is us who are refused, not this one mail."""
    words = QUOTED.sub(" ", text)
    code = (ENHANCED.search(text) or [""])[0]
    early = stage in {"connect", "hello", "tls", "auth", "mail"}
    return bool(early or SENDER_CODES.fullmatch(code) or ABOUT_US.search(words) or SENDER_TEXT.search(words))


def _refuses_us(enhanced: str, words: str) -> bool:
    """True when a reply is about the sender, whoever the recipient is (BNC-3)."""
    if GREYLISTED.search(words):
        return False
    if ABOUT_US.search(words) or SENDER_CODES.fullmatch(enhanced):
        return True
    gone = GONE_TEXT.search(words)
    if SENDER_TEXT.search(words):
        return not (gone and enhanced in HARD_CODES)
    return enhanced.startswith("5.7.") and not gone


def _nobody_there(enhanced: str, words: str, stage: str) -> bool:
    """True when a 5yz reply says that the address is dead, by its code or in so many words (BNC-2)."""
    gone = bool(GONE_TEXT.search(words))
    if enhanced in HARD_CODES:
        return gone or not FULL_TEXT.search(words)
    elsewhere = enhanced.startswith(("5.2.2", "5.3", "5.4", "5.6", "4."))
    doubtful = elsewhere or FULL_TEXT.search(words) or NOT_FOR_US.search(words)
    return gone and stage == "rcpt" and not doubtful


#: Waits before the next try (F-25); after ``GIVE_UP`` a mailing has failed.
RETRY_DELAYS = (
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=24),
)
GIVE_UP = timedelta(hours=72)


def retry_at(attempts: int, first: datetime, now: datetime) -> datetime | None:
    """Return when a mail refused for now goes again, or None when three days of trying are over.

    ``attempts`` counts the tries made so far, this one included.
    """
    delay = RETRY_DELAYS[min(max(attempts, 1), len(RETRY_DELAYS)) - 1]
    return now + delay if now + delay - first <= GIVE_UP else None


# --- what becomes of a mailing -----------------------------------------------------------------


class Settled(NamedTuple):
    """How a mailing is recorded after a transport spoke."""

    status: MailingStatus
    reason: str = ""
    retry_at: datetime | None = None
    suppress: bool = False  #: the address is dead
    halt: bool = False  #: our fault: stop the run and tell the staff
    suspect: bool = False  #: perhaps our fault: several of these stop the run


TAKEN = Settled(MailingStatus.SENT)


def settle(
    delivery: Delivery, code: int, text: str, stage: str, *, attempts: int, first: datetime, now: datetime
) -> Settled:
    """Return what to record for one answer of a transport.

    Only 2yz is ``sent`` (P4); an answer that got lost is ``uncertain``, never guessed at.
    """
    if delivery is Delivery.ACCEPTED:
        return TAKEN
    if delivery is Delivery.UNKNOWN:
        return Settled(MailingStatus.UNCERTAIN, f"the answer got lost at {stage}; it may have arrived")
    fault = fault_of(code, text, stage)
    if fault is Fault.SENDER or delivery is Delivery.TRANSIENT:
        ours = fault is Fault.SENDER
        halt = ours and names_us(text, stage)
        again = retry_at(attempts, first, now)
        status = MailingStatus.DEFERRED if again else MailingStatus.FAILED
        reason = f"{fault} refused it for now" if again else "refused for three days"
        return Settled(status, reason, again, halt=halt, suspect=ours and not halt)
    if fault is Fault.ADDRESS:
        return Settled(MailingStatus.FAILED, "no such address", suppress=True)
    return Settled(MailingStatus.FAILED, f"refused for good ({fault})")


#: So many mails that cannot be written, being more than one in so many of a run, stop it (F-47).
UNWRITTEN, ONE_IN = 3, 20


def unwritten(why: str, *, attempts: int, first: datetime, now: datetime) -> Settled:
    """Return what to record for a mail that could not be written: it goes again when somebody has mended it."""
    again = retry_at(attempts, first, now)
    status = MailingStatus.DEFERRED if again else MailingStatus.FAILED
    return Settled(status, f"not written: {why}", again)


def too_many_unwritten(count: int, of: int) -> bool:
    """True when a run had better stop: the fault is in the mail, not in one person's words."""
    return count >= UNWRITTEN and count * ONE_IN > of


#: Kept back from the time a provider promises to know a key: its clock is not ours.
MARGIN = timedelta(hours=1)


def after_uncertainty(
    kind: Kind, on_uncertain: dict[str, str], remembers: timedelta = timedelta(0), age: timedelta = timedelta(0)
) -> str:
    """Return ``idempotent``, ``retry`` or ``hold`` for a mail whose fate is unknown (P3).

    ``idempotent`` may go again however often, because the provider ``remembers`` for that long which mails it
    took; ``age`` is the time since the first try. Without that, a lost guide is worse than two; for everything
    else twice is worse than late.
    """
    fallback = "retry" if kind in {Kind.CONFIRM, Kind.GUIDE} else "hold"
    wanted = on_uncertain.get(kind.value, "idempotent" if remembers else fallback)
    if wanted != "idempotent":
        return wanted
    return wanted if age < remembers - MARGIN else fallback


def again_after_doubt(
    kind: Kind,
    on_uncertain: dict[str, str],
    remembers: timedelta,
    *,
    doubts: int,
    attempts: int,
    first: datetime,
    now: datetime,
) -> datetime | None:
    """Return when a mail whose fate became unknown ``now`` goes again, or None when a person has to decide.

    ``doubts`` counts those before this one, ``attempts`` all tries, this one included.
    """
    at = now if doubts == 0 else retry_at(attempts, first, now)
    if at is None or not may_go_again(kind, on_uncertain, remembers, doubts=doubts + 1, age=at - first):
        return None
    return at


def may_go_again(
    kind: Kind, on_uncertain: dict[str, str], remembers: timedelta, *, doubts: int, age: timedelta
) -> bool:
    """True while a mail with so many doubts on record may go again; asked anew right before it does."""
    word = after_uncertainty(kind, on_uncertain, remembers, age)
    return word == "idempotent" or (word == "retry" and doubts <= 1)
