"""Bytes of one MIME message: headers that nobody can inject into, two quoted-printable parts.

Headers are written here and not by ``email.message``: its policies fold and encode long URLs, which
breaks one-click unsubscribe, and decode encoded-words in values, which lets a name add a header
(CVE-2024-6923). Afterwards the headers are read again, by rules stricter than any mail program's, and their
names compared with the list of those allowed, so a mistake here stops the mail instead of sending it (MSG-4). Of
copies made by one stencil one is read for all, as long as nothing in the others' headers can end a line.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from funnel.compose.quoted import SOFT_BREAK
from funnel.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Gmail cuts a mail off at about 102 KB (MSG-8).
LARGEST_HTML = 90_000
LARGEST_MESSAGE = 150_000
#: Every header there may be, in the order they stand in.
ORDER = (
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Funnel-Id", "Feedback-ID",
    "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
)  # fmt: skip
#: The headers that say what the message is made of.
FRAME = frozenset({"MIME-Version", "Content-Type"})
QUOTED = "Content-Transfer-Encoding: quoted-printable"
PLAIN = ("Content-Type: text/plain; charset=utf-8", QUOTED, "")
HTML = ("Content-Type: text/html; charset=utf-8", QUOTED, "")
#: A header's value as it is written here: plain ASCII, something on each line, and no line over 998 octets.
VALUE = r"[ -~]{0,930}"
#: Words may be folded; the one link a mail program follows without asking is one link between angle brackets.
FOLDED = rf"{VALUE}(?:\r\n [!-~][ -~]{{0,930}})*"
VALUES = {"From": FOLDED, "Subject": FOLDED, "List-Unsubscribe": r"<https?://[!#-+\--;=?-~]{1,900}>"}
NOT_MEANT = "The message's headers are not the ones meant; it was not sent."
#: One bare address; one link, which RFC 2369 puts between angle brackets; one list name (RFC 2919).
ADDRESS = re.compile(r"[^\s@<>()\[\]\\,;:\"]+@[^\s@<>()\[\]\\,;:\"]+")
#: One that most people have, known at one look to be fit for a header.
PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,255}")
LINK = re.compile(r"https?://[^\s<>,\"]+")
LIST_ID = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: Octets in one encoded-word: with the longest name before it, a line stays within 76 (RFC 2047 section 2).
LONGEST_CHUNK = 39
#: Everything a header value must not carry: controls, line and paragraph separators, direction overrides.
UNSAFE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


#: Finds the headers that were meant at the start of a message, or nothing.
Head = Callable[[bytes], object]


@dataclass(slots=True)
class Letter:
    """All that goes into one message; not frozen, because that makes it three times as slow to fill."""

    message_id: str
    date: datetime
    from_name: str
    from_address: str
    to_address: str
    reply_to: str
    subject: str
    html: str  #: both parts are quoted-printable already
    text: str
    funnel_id: str
    list_id: str = ""
    feedback_id: str = ""
    unsubscribe_url: str = ""  #: empty for mail that is no part of a series


def message_bytes(letter: Letter) -> bytes:
    """Return one complete message with CRLF line ends and no line over 998 octets.

    Raises ContentError when the mail is too large, or when its headers are not exactly those meant.
    """
    if len(letter.html) > LARGEST_HTML:
        raise ContentError(f"The HTML part is {len(letter.html):,} bytes; Gmail cuts mail off above {LARGEST_HTML:,}.")
    headers = fixed_headers(letter) | personal_headers(letter)
    message = assembled(headers, letter.text, letter.html)
    if not message.isascii():
        raise ContentError(NOT_MEANT)
    return gated(message.encode("ascii"), head_of(names_of(headers)))


def names_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of all headers of a message, in the one order they stand in."""
    return tuple(name for name in ORDER if name in headers or name in FRAME)


def assembled(headers: Mapping[str, str], text: str, html: str) -> str:
    """Return a message of these headers and two parts, which may have marks in them."""
    boundary = f"=_funnel_{headers['X-Funnel-Id']}"  # quoted-printable never says =_
    shown = {**headers, "MIME-Version": "1.0", "Content-Type": f'multipart/alternative; boundary="{boundary}"'}
    lines = [f"{name}: {shown[name]}" for name in names_of(headers)]
    html, text = html.removesuffix(SOFT_BREAK), text.removesuffix(SOFT_BREAK)
    lines += ["", f"--{boundary}", *PLAIN, text, f"--{boundary}", *HTML, html, f"--{boundary}--", ""]
    return "\r\n".join(lines)


def fixed_headers(letter: Letter) -> dict[str, str]:
    """Return the headers that are alike in every copy of one mail; raises ContentError."""
    headers = {
        "From": mailbox(letter.from_name, letter.from_address),
        "Reply-To": _known_address(letter.reply_to),
        "Auto-Submitted": "auto-generated",
    }
    if letter.feedback_id:
        headers["Feedback-ID"] = one_line(letter.feedback_id)
    if letter.unsubscribe_url:
        headers["List-Id"] = _known_list(letter.list_id)
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def personal_headers(letter: Letter) -> dict[str, str]:
    """Return the headers that are of one person and one mailing; raises ContentError."""
    headers = {
        "To": addr_spec(letter.to_address),
        "Subject": unstructured(letter.subject),
        "Date": date_header(letter.date),
        "Message-ID": f"<{addr_spec(letter.message_id)}>",
        "X-Funnel-Id": one_line(letter.funnel_id),
    }
    if letter.unsubscribe_url:
        headers["List-Unsubscribe"] = f"<{_fitting(LINK, letter.unsubscribe_url)}>"
    return headers


@lru_cache(maxsize=16)
def date_header(moment: datetime) -> str:
    """Return a moment as the header says it: whole seconds in UTC."""
    return format_datetime(moment.astimezone(UTC))


def gated(message: bytes, head: Head) -> bytes:
    """Return a message, made of pieces of plain ASCII, as it is.

    Raises ContentError unless it is not too large and begins with exactly the headers that were meant.
    """
    if not head(message):
        raise ContentError(NOT_MEANT)
    if len(message) > LARGEST_MESSAGE:
        raise ContentError(f"The message is {len(message):,} bytes; at most {LARGEST_MESSAGE:,} are sent.")
    return message


@lru_cache(maxsize=16)
def head_of(names: tuple[str, ...]) -> Head:
    """Return a parser of all that stands before the body: these headers, once each and no others."""
    if len(set(ORDER).intersection(names)) != len(names):
        raise ContentError("The message's headers are not among those allowed; it was not sent.")
    lines = [f"{name}: {VALUES.get(name, VALUE)}\r\n" for name in names]
    return re.compile("".join([*lines, "\r\n"]).encode("ascii")).match


# --- values ------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Return text fit for a structured header: printable ASCII on one line; raises ContentError."""
    if not text or not text.isascii() or not text.isprintable() or "=?" in text or len(text) > 900:
        raise ContentError("A header value contains characters that no mail header may carry.")
    return text


def addr_spec(text: str) -> str:
    """Return text that is one bare address and nothing else; raises ContentError (MSG-2, SEC-8)."""
    return text if PLAIN_ADDRESS.fullmatch(text) else _fitting(ADDRESS, text)


@lru_cache(maxsize=16)
def _known_address(text: str) -> str:
    return addr_spec(text)


@lru_cache(maxsize=16)
def _known_list(text: str) -> str:
    return f"<{_fitting(LIST_ID, text)}>"


def _fitting(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(one_line(text)):
        raise ContentError("A header value is not the one address, link or list name it must be.")
    return text


@lru_cache(maxsize=64)
def unstructured(text: str) -> str:
    """Return text for Subject and names: plain when that is safe, else encoded-words (RFC 2047).

    Text that looks like an encoded-word is encoded itself, so that no reader decodes it (MSG-3).
    """
    clean = " ".join(UNSAFE.sub(" ", text).split())
    if clean.isascii() and "=?" not in clean and len(clean) <= 200:
        return clean
    return "\r\n ".join(_encoded_words(clean))


def _encoded_words(text: str) -> list[str]:
    """Return RFC 2047 encoded-words, none splitting a character, short enough for a line with ``Subject: ``."""
    words: list[str] = []
    chunk = b""
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(chunk) + len(raw) > LONGEST_CHUNK:
            words.append(_encoded_word(chunk))
            chunk = b""
        chunk += raw
    return [*words, _encoded_word(chunk)]


def _encoded_word(raw: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(raw).decode()}?="


@lru_cache(maxsize=16)
def mailbox(name: str, address: str) -> str:
    """Return ``"Name" <address>`` with the name quoted or encoded as it needs."""
    shown = unstructured(name)
    if "=?" in shown:
        return f"{shown}\r\n <{addr_spec(address)}>"
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*", shown):
        shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{shown} <{addr_spec(address)}>"
