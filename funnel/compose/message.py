"""Bytes of one MIME message: headers that nobody can inject into, two quoted-printable parts.

Headers are written here and not by ``email.message``: its policies fold and encode long URLs, which
breaks one-click unsubscribe, and decode encoded-words in values, which lets a name add a header
(CVE-2024-6923). Afterwards the bytes are parsed again and the header names compared with the list of
those allowed, so a mistake here stops the mail instead of sending it (MSG-4).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import format_datetime
from typing import TYPE_CHECKING

from funnel.errors import ContentError

if TYPE_CHECKING:
    from datetime import datetime

#: Gmail cuts a mail off at about 102 KB (MSG-8).
LARGEST_HTML = 90_000
LARGEST_MESSAGE = 150_000
ALLOWED_HEADERS = {
    "from", "to", "reply-to", "subject", "date", "message-id", "mime-version", "content-type", "list-unsubscribe",
    "list-unsubscribe-post", "list-id", "feedback-id", "auto-submitted", "x-funnel-id",
}  # fmt: skip
#: One bare address; one link, which RFC 2369 puts between angle brackets; one list name (RFC 2919).
ADDRESS = re.compile(r"[^\s@<>()\[\]\\,;:\"]+@[^\s@<>()\[\]\\,;:\"]+")
LINK = re.compile(r"https?://[^\s<>,\"]+")
LIST_ID = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: Octets in one encoded-word: with the longest name before it, a line stays within 76 (RFC 2047 section 2).
LONGEST_CHUNK = 39
#: Everything a header value must not carry: controls, line and paragraph separators, direction overrides.
UNSAFE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True)
class Letter:
    """All that goes into one message."""

    message_id: str
    date: datetime
    from_name: str
    from_address: str
    to_address: str
    reply_to: str
    subject: str
    html: str
    text: str
    funnel_id: str
    list_id: str = ""
    feedback_id: str = ""
    unsubscribe_url: str = ""  #: empty for mail that is no part of a series


def message_bytes(letter: Letter) -> bytes:
    """Return one complete message with CRLF line ends and no line over 998 octets.

    Raises ContentError when the mail is too large, or when its headers are not exactly those meant.
    """
    headers = _headers(letter)
    html, text = quoted_printable(letter.html), quoted_printable(letter.text)
    if len(html) > LARGEST_HTML:
        raise ContentError(f"The HTML part is {len(html):,} bytes; Gmail cuts mail off above {LARGEST_HTML:,}.")
    boundary = b"=_funnel_" + letter.funnel_id.encode("ascii")
    lines = [f"{name}: {value}".encode("ascii") for name, value in headers]
    lines += [b"MIME-Version: 1.0", b'Content-Type: multipart/alternative; boundary="' + boundary + b'"', b""]
    for kind, part in ((b"plain", text), (b"html", html)):
        lines += [b"--" + boundary, b"Content-Type: text/" + kind + b"; charset=utf-8"]
        lines += [b"Content-Transfer-Encoding: quoted-printable", b"", part]
    message = b"\r\n".join([*lines, b"--" + boundary + b"--", b""])
    _gate(message, [name.lower() for name, _ in headers])
    return message


def _headers(letter: Letter) -> list[tuple[str, str]]:
    headers = [
        ("From", mailbox(letter.from_name, letter.from_address)),
        ("To", addr_spec(letter.to_address)),
        ("Reply-To", addr_spec(letter.reply_to)),
        ("Subject", unstructured(letter.subject)),
        ("Date", format_datetime(letter.date)),
        ("Message-ID", f"<{addr_spec(letter.message_id)}>"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Funnel-Id", one_line(letter.funnel_id)),
    ]
    if letter.feedback_id:
        headers.append(("Feedback-ID", one_line(letter.feedback_id)))
    if letter.unsubscribe_url:
        headers += [
            ("List-Id", f"<{_fitting(LIST_ID, letter.list_id)}>"),
            ("List-Unsubscribe", f"<{_fitting(LINK, letter.unsubscribe_url)}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]
    return headers


def _gate(message: bytes, names: list[str]) -> None:
    """Raise ContentError unless the bytes parse back to exactly the headers that were meant."""
    head = BytesHeaderParser().parsebytes(message)
    parsed = sorted(name.lower() for name in head.keys())  # noqa: SIM118
    meant = sorted([*names, "mime-version", "content-type"])
    if head.defects or parsed != meant or not set(parsed) <= ALLOWED_HEADERS or len(set(parsed)) != len(parsed):
        raise ContentError("The message's headers are not the ones meant; it was not sent.")
    if len(message) > LARGEST_MESSAGE:
        raise ContentError(f"The message is {len(message):,} bytes; at most {LARGEST_MESSAGE:,} are sent.")


# --- values ------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Return text fit for a structured header: printable ASCII on one line; raises ContentError."""
    if not text or not text.isascii() or not text.isprintable() or "=?" in text or len(text) > 900:
        raise ContentError("A header value contains characters that no mail header may carry.")
    return text


def addr_spec(text: str) -> str:
    """Return text that is one bare address and nothing else; raises ContentError (MSG-2, SEC-8)."""
    return _fitting(ADDRESS, text)


def _fitting(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(one_line(text)):
        raise ContentError("A header value is not the one address, link or list name it must be.")
    return text


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


def mailbox(name: str, address: str) -> str:
    """Return ``"Name" <address>`` with the name quoted or encoded as it needs."""
    shown = unstructured(name)
    if "=?" in shown:
        return f"{shown}\r\n <{addr_spec(address)}>"
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*", shown):
        shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{shown} <{addr_spec(address)}>"


def quoted_printable(text: str) -> bytes:
    """Return text as quoted-printable with CRLF line ends and lines of at most 76 octets (RFC 2045 section 6.7)."""
    raw = "\n".join(line.rstrip("\r") for line in text.split("\n")).encode("utf-8", "replace")
    raw = raw.replace(b"\r", b"").replace(b"\x00", b"")
    return binascii.b2a_qp(raw, istext=True).replace(b"\n", b"\r\n")
