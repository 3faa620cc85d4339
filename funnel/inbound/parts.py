"""The parts of a message that somebody else made: careful access, bounded in size, depth and time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

#: What the standard library's parser raises on bytes that are no message; found by feeding it such bytes.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
DEEPEST = 20
#: Each level of nesting costs a look at each line, so both are bounded.
MOST_LINES = 20_000
#: The standard library takes the square of their length for the parameters of a type.
TYPE = re.compile(rb"^content-type:.*(?:\n[ \t].*)*", re.IGNORECASE | re.MULTILINE)
LONGEST_TYPE = 2_000
MOST_PARTS = 200
MARK = re.compile(r"<?\s*([0-9a-f]{1,15}\.[0-9a-f]{20})\s*(?:@[^>\s]*)?>?", re.IGNORECASE)
WHOLE = ("message/rfc822", "message/global")
HEADERS_ONLY = ("text/rfc822-headers", "message/rfc822-headers", "message/global-headers")


def parse(raw: bytes) -> Message | None:
    """Return a message, or None when it cannot be read, or not in little time and memory."""
    from email import message_from_bytes

    types = [len(found[0]) for found in TYPE.finditer(raw)]
    if len(types) > MOST_PARTS or max(types, default=0) > LONGEST_TYPE or raw.lower().count(b"boundary") > 2 * DEEPEST:
        return None
    lines = raw.split(b"\n", MOST_LINES)[:MOST_LINES]
    try:
        message = message_from_bytes(b"\n".join(lines))
        return None if depth(message) > DEEPEST else message
    except UNREADABLE:
        return None


def depth(message: Message) -> int:
    """Return how deep parts lie in one another, counting no further than one too many."""
    level, deep = [message], 0
    while level and deep <= DEEPEST:
        level = [child for part in level for child in children(part)]
        deep += 1
    return deep


def children(part: Message) -> list[Message]:
    """Return the parts directly inside a part."""
    payload = part.get_payload()
    return cast("list[Message]", payload) if isinstance(payload, list) else []


def walk(message: Message) -> Iterator[Message]:
    """Yield a message and all parts in it, in order."""
    yield message
    for child in children(message):
        yield from walk(child)


def header(part: Message, name: str) -> str:
    """Return a header as one line of text, empty when it is missing."""
    value = part.get(name)
    return " ".join(str(value).split()) if value is not None else ""


def first(message: Message, *types: str) -> Message | None:
    """Return the first part of one of these types, outside of returned messages."""
    if message.get_content_type() in types:
        return message
    if message.get_content_maintype() == "message":
        return None
    return next((found for child in children(message) if (found := first(child, *types)) is not None), None)


def blocks(part: Message) -> list[Mapping[str, str]]:
    """Return the groups of fields in a status or feedback part, names in small letters."""
    from email import message_from_string

    found: list[Mapping[str, str]] = []
    for message in [part, *children(part)] if children(part) else [part]:
        found.append(_fields(message))
        payload = message.get_payload()
        if isinstance(payload, str) and payload.strip():
            texts = re.split(r"\n\s*\n", payload.replace("\r\n", "\n").strip("\n"))
            found += [_fields(message_from_string(text)) for text in texts[:50]]
    return found


def _fields(message: Message) -> dict[str, str]:
    return {name.lower(): header(message, name) for name in message.keys()}  # noqa: SIM118


def returned(message: Message) -> Iterator[Message]:
    """Yield the mails that a report brings back, whole or with their headers only."""
    from email import message_from_bytes

    for part in walk(message):
        kind = part.get_content_type()
        if kind in WHOLE or kind in HEADERS_ONLY:
            text = part.get_payload(decode=True)
            yield from children(part)[:1] or ([message_from_bytes(text)] if isinstance(text, bytes) else [])


def marks(message: Message) -> Iterator[str]:
    """Yield what may be our mark in the mails a report brings back: ``X-Funnel-Id`` first, then Message-ID."""
    for mail in returned(message):
        for name in ("X-Funnel-Id", "Message-ID"):
            yield from MARK.findall(header(mail, name))


def mentioned(message: Message) -> Iterator[str]:
    """Yield what may be our mark in the mails that a message answers."""
    for name in ("In-Reply-To", "References"):
        yield from MARK.findall(header(message, name)[:10_000])


def addressee(message: Message) -> str:
    """Return whom the returned mail was for, by its own header; empty when that cannot be seen."""
    from email.utils import parseaddr

    return next((parseaddr(header(mail, "To"))[1] for mail in returned(message)), "")


def excerpt(part: Message, longest: int) -> str:
    """Return the fields of a part as text that can be kept and shown."""
    lines = [f"{name}: {value}" for block in blocks(part) for name, value in block.items()]
    return clean("\n".join(lines), longest)


def clean(text: str, longest: int) -> str:
    """Return text without controls and broken characters, cut to a length."""
    shown = text.encode("utf-8", "replace").decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in shown)[:longest]
