"""A small library of mails, every field a mail may name, and readers of raw bytes that share nothing with our code."""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections import defaultdict
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

from funnel.compose.letters import Composer, Sender
from funnel.compose.source import Library, Mail, load_library
from funnel.model import Kind, Sequence, Step

SAMPLES = Path(__file__).parents[2] / "emails"
DATE = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
SECRET = b"s" * 32
SENDER = Sender("Ann at Mill", "ann@mill.example", "desk@mill.example", "news.mill.example", "series:funnel:mill0")
LAYOUT = (
    '<html lang="{{ lang }}"><head><title>{{ subject }}</title><style>/* styles */</style></head><body>'
    '<table class="column"><tr><td class="content">\n<!-- content -->\n</td></tr>'
    '{% if unsubscribe_url %}<tr><td><a href="{{ unsubscribe_url }}">Leave</a></td></tr>{% endif %}'
    "</table></body></html>"
)
LAYOUT_TEXT = "<!-- content -->\n{% if unsubscribe_url %}\nLeave: {{ unsubscribe_url }}{% endif %}\n"
STYLES = ".content p { color: #123456; }\n@media print { .content p { color: #000000 !important; } }\n"

#: Strings that break into headers, markup, templates or terminals, as a name or a subject.
NASTY = [
    "Kim\r\nBcc: eve@evil.example",
    "Kim\nBcc: eve@evil.example",
    "Kim\rBcc: eve@evil.example",
    "Kim\r\n\r\n<h1>body</h1>",
    "Kim\x0bBcc: eve@evil.example",
    "Kim\x0cBcc: eve@evil.example",
    "Kim\x85Bcc: eve@evil.example",
    "Kim\u2028Bcc: eve@evil.example",
    "Kim\u2029Bcc: eve@evil.example",
    "Kim\x1c\x1d\x1eBcc: eve@evil.example",
    "Kim\0Lee",
    "=?utf-8?q?hello=0D=0ABcc:_eve@evil.example?=",
    "=?utf-8?b?aGVsbG8NCkJjYzogZXZlQGV2aWwuZXhhbXBsZQ==?=",
    "=?iso-8859-1?Q?=0A?= =?us-ascii?q?Bcc:_eve?=",
    "a =?utf-8?q?=0D=0ABcc:_eve?= b",
    "=?=?utf-8?q?x?=?=",
    "=\r\n?utf-8?q?=0ABcc:_eve?=",
    "\u202egnp.exe",
    "Kim\u2066\u2067\u2069 Lee",
    "\u200fKim\u200e",
    "👩🏽‍⚕️ Kim 🏳️‍🌈",
    "é" * 300,
    "x" * 10_000,
    "漢字" * 5_000,
    "word " * 2_000,
    "{{ clinic.name }}",
    "{% for each_x in name %}{{ each_x }}{% endfor %}",
    "{{ 9**9**9 }}",
    "{# comment #}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]><!-- content --> /* styles */",
    "q9z0z9q q8z0z8q",
    ". \n.\r\n..",
    "From me\nFrom you",
    "--=_funnel_1",
    'Lee, Kim (Dr.) <kim@lee.example>; "K\\im"',
    "\ud800 lone",
    "-" * 998 + "=" * 998,
    " ",
    "",
]


def fields(**changes: object) -> dict[str, object]:
    """Return every field a mail may name."""
    made: dict[str, object] = {
        "name": "Kim",
        "clinic": {
            "name": "Mill Clinic",
            "postal_address": "1 Mill Lane",
            "from_name": "Ann",
            "from_address": "ann@mill.example",
            "phone": "(555) 010-0123",
            "website": "https://mill.example",
            "booking_url": "https://mill.example/book",
            "reply_to": "desk@mill.example",
            "time_zone": "Europe/London",
            "locale": "en-GB",
        },
        "lang": "en",
        "dir": "ltr",
        "guide_title": "The guide",
        "guide_url": "https://go.mill.example/g/abc",
        "guide_page": "12",
        "guide_page_url": "https://go.mill.example/g/abc/guide.pdf#page=12",
        "section_url": "https://mill.example/article?a=1&b=2#part",
        "gift_name": "a welcome gift",
        "gift_code": "7K3M-9QXA-P2VD-5",
        "gift_expires": "15 June 2026",
        "confirm_url": "https://go.mill.example/c/abc",
        "confirm_days": "7",
        "unsubscribe_url": "https://go.mill.example/u/" + "t" * 39,
        "preferences_url": "https://go.mill.example/p/abc",
        "privacy_url": "https://go.mill.example/privacy",
        "home_url": "https://go.mill.example/",
        "again_url": "https://go.mill.example/",
        "subject": "",
        "preheader": "",
        "why": "You asked for it.",
        "test_banner": "",
        "page": defaultdict(lambda: "7", ch09="44"),
        "digest": ["9 people asked."],
        "digest_until": "4 May 2026",
    }
    assert set(changes) <= set(made)
    return made | changes


def mail_of(body: str, *, kind: Kind = Kind.DRIP, subjects: tuple[str, ...] = ("A tip",), preheader: str = "") -> Mail:
    """Return a mail with this body, which starts at line 10 of its file."""
    return Mail("series", "tip", kind, subjects, preheader, "", "", body, "emails/series/tip.md", 10)


def library_of(mail: Mail, **layout: str) -> Library:
    """Return a library of one mail in a small layout."""
    sequences = {"series": Sequence("series", (Step("tip", mail.kind),))}
    parts = {"layout_html": LAYOUT, "layout_text": LAYOUT_TEXT, "styles": STYLES} | layout
    return Library(sequences, {("series", "tip"): mail}, **parts)  # type: ignore[arg-type]


def small(body: str, cache: Path | None = None, **mail: object) -> Composer:
    """Return a composer of one mail."""
    return Composer(library_of(mail_of(body, **mail)), SENDER, SECRET, cache)  # type: ignore[arg-type]


def sample(cache: Path | None = None) -> Composer:
    """Return a composer of the sample clinic's mails."""
    return Composer(load_library(SAMPLES), SENDER, SECRET, cache)


def message_of(
    composer: Composer, sequence: str = "series", mail: str = "tip", /, *, mailing_id: int = 1, **changes: object
) -> bytes:
    """Return one message to Kim."""
    return composer.render(
        sequence, mail, fields(**changes), to="kim@clinic.example", mailing_id=mailing_id, date=DATE
    ).message


# --- reading bytes -----------------------------------------------------------------------------


def header_lines(message: bytes) -> list[tuple[str, bytes]]:
    """Return each header's name and raw value, folds kept, by RFC 5322 and nothing more."""
    head = message.partition(b"\r\n\r\n")[0]
    return [
        (line.partition(b":")[0].decode("ascii"), line.partition(b":")[2]) for line in re.split(rb"\r\n(?![ \t])", head)
    ]


def raw_header(message: bytes, name: str) -> bytes:
    """Return the one raw value of a header; fails when there is not exactly one."""
    (value,) = [value for found, value in header_lines(message) if found == name]
    return value


def decoded(message: bytes, name: str) -> str:
    """Return a header as a mail program shows it."""
    return str(make_header(decode_header(raw_header(message, name).decode("ascii").strip()))).replace("\r\n", "")


def parsed(message: bytes) -> EmailMessage:
    """Return the message as the standard library reads it."""
    found = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def parts(message: bytes) -> tuple[str, str]:
    """Return the plain text and the HTML of a message."""
    found = list(parsed(message).iter_parts())
    assert [part.get_content_type() for part in found] == ["text/plain", "text/html"]
    texts = [part.get_payload(decode=True) for part in found]
    return tuple(raw.decode("utf-8").replace("\r\n", "\n") for raw in texts if isinstance(raw, bytes))  # type: ignore[return-value]


def as_sent(text: str) -> str:
    """Return what arrives of a text: no CR, no NUL, nothing that UTF-8 cannot say."""
    return text.replace("\r", "").replace("\0", "").encode("utf-8", "replace").decode()


def byte_faults(message: bytes) -> list[str]:
    """Return what no message may hold: see MSG-1 and MSG-2."""
    head, _, body = message.partition(b"\r\n\r\n")
    names = [name.lower() for name, _ in header_lines(message)]
    rules = {
        "a bare LF": re.search(rb"(?<!\r)\n", message),
        "a bare CR": re.search(rb"\r(?!\n)", message),
        "a NUL": b"\0" in message,
        "8 bit": not message.isascii(),
        "a control": re.search(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", message),
        "a long header line": any(len(line) > 998 for line in head.split(b"\r\n")),
        "a long body line": any(len(line) > 76 for line in body.split(b"\r\n")),
        "a line that needs stuffing": re.search(rb"^(\.|From )", body, re.MULTILINE),
        "a blank at the end of a line": re.search(rb"[ \t]\r\n", body),
        "a header twice": len(set(names)) != len(names),
        "no end": not message.endswith(b"--\r\n"),
    }
    return [name for name, broken in rules.items() if broken]


def urls(text: str) -> set[str]:
    """Return the web addresses in plain text."""
    return {found.rstrip(".,)") for found in re.findall(r"https?://[^\s<>]+", text)}


def hrefs(page: str) -> set[str]:
    """Return the web addresses that a page links to."""
    return {html.unescape(found) for found in re.findall(r'href="(https?:[^"]*)"', page)}
