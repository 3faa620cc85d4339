"""What a returned message says about one mail of ours, and nothing else.

A report counts only when it brings back the mark we signed (SEC-38): the header ``X-Funnel-Id``, or
the Message-ID made of it. Whatever the bytes are, reading them ends soon and without an error (BNC-9).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.inbound import parts
from funnel.model import EventKind
from funnel.tokens import mailing_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

LARGEST = 2_000_000
RAW = 2_000

#: RFC 3464 section 2.3.3. A relayed or expanded mail went on to where nobody reports from.
ACTIONS = {
    "failed": EventKind.BOUNCED,
    "delayed": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "relayed": EventKind.DELIVERED,
    "expanded": EventKind.DELIVERED,
}
#: RFC 5965 section 7.3; "not-spam" and "auth-failure" are no complaints.
COMPLAINTS = {"abuse", "fraud"}
STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
#: A bounce in plain words is no answer of a person's mailbox.
DAEMON = re.compile(r"mailer-daemon|postmaster", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Report:
    """One report about one mail of ours."""

    mailing_id: int
    kind: EventKind  #: bounced, deferred, delivered, complained or autoresponded
    source: str  #: ``dsn``, ``arf`` or ``reply``
    event_id: str  #: the same for every copy of the report
    status: str = ""  #: ``5.1.1``
    diagnostic: str = ""  #: what the server said
    recipient: str = ""  #: whom the report is about, as it names them; may be empty in a complaint
    raw: str = ""


def read_report(raw: bytes, secret: bytes) -> Report | None:
    """Return what a returned message reports, or None when it is no report or about no mail of ours.

    Never raises, whatever the bytes are.
    """
    if len(raw) > LARGEST:
        return None
    message = parts.parse(raw)
    if message is None:
        return None
    try:
        return _delivery(message, secret) or _complaint(message, secret) or _answer(message, secret)
    except parts.UNREADABLE:
        return None


# --- delivery status notifications, RFC 3464 ---------------------------------------------------


def _delivery(message: Message, secret: bytes) -> Report | None:
    """Return what a delivery status notification says about our recipient."""
    status = parts.first(message, "message/delivery-status", "message/global-delivery-status")
    mailing_id = _returned(message, secret) if status is not None else None
    if status is None or mailing_id is None:
        return None
    told = _about(parts.blocks(status), parts.addressee(message))
    kind = ACTIONS.get(told.get("action", "").partition("(")[0].strip().lower())
    if kind is None:
        return None
    return Report(
        mailing_id=mailing_id,
        kind=kind,
        source="dsn",
        event_id=_event_id(message, mailing_id, *(told.get(key, "") for key in ("action", "final-recipient"))),
        status=next(iter(STATUS.findall(told.get("status", ""))), ""),
        diagnostic=_after_type(told.get("diagnostic-code", ""))[:500],
        recipient=_recipient(told),
        raw=parts.excerpt(status, RAW),
    )


def _about(blocks: list[Mapping[str, str]], addressee: str) -> Mapping[str, str]:
    """Return the fields about the person the mail was for: of several, the one it names, else the first."""
    people = [block for block in blocks if "action" in block]
    named = [block for block in people if addressee and _recipient(block).lower() == addressee.lower()]
    return next(iter([*named, *people]), {})


def _recipient(block: Mapping[str, str]) -> str:
    """Return the address a block is about: its final one, for only that one failed."""
    return _after_type(block.get("final-recipient") or block.get("original-recipient", "")).strip("<> ")[:320]


def _after_type(field: str) -> str:
    """Return ``a@b`` of ``rfc822; a@b``."""
    kind, semicolon, rest = field.partition(";")
    return rest.strip() if semicolon and " " not in kind.strip() else field.strip()


# --- complaints, RFC 5965 ----------------------------------------------------------------------


def _complaint(message: Message, secret: bytes) -> Report | None:
    """Return a complaint; a redacted one needs no address, for the mark tells whose mail it was."""
    feedback = parts.first(message, "message/feedback-report")
    if feedback is None:
        return None
    told = {key: value for block in parts.blocks(feedback) for key, value in block.items()}
    mailing_id = _returned(message, secret)
    if told.get("feedback-type", "").lower() not in COMPLAINTS or mailing_id is None:
        return None
    return Report(
        mailing_id=mailing_id,
        kind=EventKind.COMPLAINED,
        source="arf",
        event_id=_event_id(message, mailing_id, "complaint"),
        diagnostic=told["feedback-type"].lower(),
        recipient=told.get("original-rcpt-to", "").strip("<> ")[:320],
        raw=parts.excerpt(feedback, RAW),
    )


# --- automatic answers, RFC 3834 ---------------------------------------------------------------


def _answer(message: Message, secret: bytes) -> Report | None:
    """Return an out-of-office note; it says that a mail arrived and nothing about wanting no more (AUT-3)."""
    answered = parts.header(message, "Auto-Submitted").lower().startswith("auto-replied")
    if not answered or DAEMON.search(parts.header(message, "From")):
        return None
    mailing_id = _marked(secret, parts.mentioned(message))
    if mailing_id is None:
        return None
    return Report(
        mailing_id=mailing_id,
        kind=EventKind.AUTORESPONDED,
        source="reply",
        event_id=_event_id(message, mailing_id, "answer"),
        raw=parts.clean(parts.header(message, "Subject"), RAW),
    )


# --- whose mail it is --------------------------------------------------------------------------


def _returned(message: Message, secret: bytes) -> int | None:
    """Return the mailing whose mark stands in the returned part."""
    return _marked(secret, parts.marks(message))


def _marked(secret: bytes, marks: Iterator[str]) -> int | None:
    return next((found for mark in marks if (found := mailing_of(secret, mark)) is not None), None)


def _event_id(message: Message, mailing_id: int, *words: str) -> str:
    """Return a name by which a second copy of the report is known."""
    own = parts.header(message, "Message-ID") or parts.header(message, "Date")
    return hashlib.sha256("\0".join([own, str(mailing_id), *words]).encode(errors="replace")).hexdigest()[:32]
