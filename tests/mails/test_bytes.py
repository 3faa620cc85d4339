"""Ten thousand messages out of whatever breaks mail programs, read byte by byte.

Each field of each mail gets such a text one time in three: encoded-words with line breaks inside, markup, Jinja,
quoted-printable look-alikes, controls, direction marks, lone surrogates, texts of ten thousand characters. Nothing
here shares code with what wrote the bytes.
"""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from funnel.compose.letters import NO_WAY_OUT
from funnel.errors import ContentError
from funnel.preview import parts_of
from tests.mails.kit import ADDRESS, strange_composer, strange_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.app import Funnel
    from funnel.compose.letters import Composer
    from tests.mails.kit import Letter

MESSAGES = 10_000
SEED = int(os.environ.get("STRANGE_SEED", "1"))  #: another one gives other letters
ALWAYS = [
    b"auto-submitted", b"content-type", b"date", b"feedback-id", b"from", b"message-id", b"mime-version", b"reply-to",
    b"subject", b"to", b"x-funnel-id",
]  # fmt: skip
IN_A_SERIES = sorted([*ALWAYS, b"list-id", b"list-unsubscribe", b"list-unsubscribe-post"])
PRINTABLE = bytes([0x0D, 0x0A, *range(0x20, 0x7F)])
WORD = rb"=\?utf-8\?b\?([A-Za-z0-9+/]*=*)\?="
#: One mailbox: plain words, a quoted string or encoded-words, then one address.
FROM = re.compile(
    rb" (?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]* |\"(?:[^\"\\\r\n]|\\.)*\" |" + WORD + rb"(?:\r\n " + WORD + rb")*\r\n )"
    rb"<" + re.escape(ADDRESS.encode()) + rb">"
)
SUBJECT = re.compile(rb" (?:(?:(?!=\?)[ -~])*|" + WORD + rb"(?:\r\n " + WORD + rb")*)")
ONE_CLICK = re.compile(rb" <https://go\.thrivehealth\.example/u/t{20,400}>")
#: What may stop a letter that could break something: too large, or no address or link where one must be.
REFUSAL = re.compile(
    r"Gmail cuts mail off above|at most 150,000 are sent|not the one address|characters that no mail header"
)


def headers_of(message: bytes) -> list[tuple[bytes, bytes]]:
    """Return each header's name in small letters and its raw value, folds kept."""
    head = message.partition(b"\r\n\r\n")[0]
    lines = re.split(rb"\r\n(?![ \t])", head)
    return [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]


def hidden_controls(value: bytes) -> bool:
    """True when an encoded-word holds what no header may show, or is no encoded-word after all."""
    try:
        texts = [base64.b64decode(word, validate=True).decode("utf-8") for word in re.findall(WORD, value)]
    except ValueError:
        return True
    return any(re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text) for text in texts)


def faults(message: bytes, letter: Letter) -> list[str]:
    """Return what no message may hold, by the rule it breaks."""
    head, _, body = message.partition(b"\r\n\r\n")
    headers = headers_of(message)
    found = dict(headers)
    series = letter.mail.kind not in NO_WAY_OUT
    ends = message.count(b"\r\n")
    others = [value for name, value in headers if name not in {b"subject", b"from"}]
    broken = {
        "MSG-1 a bare CR or LF": ends != message.count(b"\n") or ends != message.count(b"\r"),
        "MSG-1 a NUL, a control or 8 bit": message.translate(None, PRINTABLE) != b"",
        "MSG-1 a header line over 998 octets": max(map(len, head.split(b"\r\n"))) > 998,
        "MSG-1 a body line over 76 octets": max(map(len, body.split(b"\r\n"))) > 76,
        "MSG-1 no end": not message.endswith(b"--\r\n"),
        "MSG-2, MSG-4 other headers than these": sorted(n for n, _ in headers) != (IN_A_SERIES if series else ALWAYS),
        "MSG-2 not one recipient": found.get(b"to") != b" " + letter.to.encode("ascii", "replace"),
        "MSG-2 not one sender": not FROM.fullmatch(found.get(b"from", b"")),
        "MSG-3 a strange subject": not SUBJECT.fullmatch(found.get(b"subject", b"")),
        "MSG-3 a control in an encoded-word": hidden_controls(head),
        "MSG-3 an encoded-word in an address or a link": any(b"=?" in value for value in others),
        "MSG-5 one-click broken": series and not ONE_CLICK.fullmatch(found.get(b"list-unsubscribe", b"")),
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def attempt(letter: Letter, composer: Composer) -> tuple[bytes, str]:
    """Return the message, or why there is none."""
    try:
        return letter.compose(composer).message, ""
    except ContentError as refusal:
        return b"", str(refusal)


def test_ten_thousand_strange_messages_break_no_rule(funnel: Funnel) -> None:
    """MSG-1 to MSG-5, SEC-8: what is composed is clean, and what is refused had a reason to be."""
    composer = strange_composer(funnel)
    letters = strange_letters(funnel, composer.library, SEED)
    count: Counter[str] = Counter()
    while count["composed"] < MESSAGES:
        letter = next(letters)
        message, refusal = attempt(letter, composer)
        if refusal:
            assert letter.broken or letter.large, (SEED, letter.number, refusal)
            assert REFUSAL.search(refusal), (SEED, letter.number, refusal)
        else:
            assert faults(message, letter) == [], (SEED, letter)
        count.update(["refused" if refusal else "composed", letter.mail.name])

    assert min(count[mail.name] for mail in composer.library.mails.values()) > MESSAGES / 100
    assert 0 < count["refused"] < MESSAGES / 2


@pytest.mark.parametrize("text", ["\udcff", "Kim \ud83d", "\ud800 \udc00", "a\udfffb"])
def test_half_a_character_is_replaced_and_stops_nothing(funnel: Funnel, text: str) -> None:
    composer = strange_composer(funnel)
    letter = next(letter for letter in strange_letters(funnel, composer.library, 1) if letter.mail.name == "everything")
    letter.fields["name"] = text
    message = letter.compose(composer).message

    assert faults(message, letter) == []
    assert all(text.encode("utf-8", "replace").decode() in part for part in parts_of(message))


# --- that it can fail --------------------------------------------------------------------------

PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "MSG-1 a bare CR or LF": lambda m: m.replace(b"\r\n\r\n", b"\r\n\r\na\nb", 1),
    "MSG-1 a NUL, a control or 8 bit": lambda m: m.replace(b"Subject: ", b"Subject: \x0b", 1),
    "MSG-1 a header line over 998 octets": lambda m: m.replace(b"Subject: ", b"Subject: " + b"x" * 998, 1),
    "MSG-1 a body line over 76 octets": lambda m: m.replace(b"\r\n\r\n", b"\r\n\r\n" + b"x" * 77 + b"\r\n", 1),
    "MSG-1 no end": lambda m: m.removesuffix(b"--\r\n"),
    "MSG-2, MSG-4 other headers than these": lambda m: b"Bcc: eve@evil.example\r\n" + m,
    "MSG-2 not one recipient": lambda m: m.replace(b"\r\nTo: ", b"\r\nTo: eve@evil.example, ", 1),
    "MSG-2 not one sender": lambda m: b"From: a@b.example, Maya <" + m.partition(b"<")[2],
    "MSG-3 a strange subject": lambda m: m.replace(b"Subject: ", b"Subject: =?utf-8?q?=0D=0ABcc:_eve?= ", 1),
    "MSG-3 a control in an encoded-word": lambda m: m.replace(b"Subject: ", b"Subject: =?utf-8?b?DQo=?=\r\n ", 1),
    "MSG-3 an encoded-word in an address or a link": lambda m: m.replace(b"Reply-To: ", b"Reply-To: =?utf-8?q?x?=", 1),
    "MSG-5 one-click broken": lambda m: m.replace(b"Unsubscribe: <https", b"Unsubscribe: =?utf-8?q?=3Chttps", 1),
}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found(funnel: Funnel, rule: str) -> None:
    composer = strange_composer(funnel)
    letters = islice(strange_letters(funnel, composer.library, 1), 500)
    letter = next(
        x for x in letters if x.mail.name == "how-fast" and not x.broken and not x.large and x.from_name == "Maya"
    )
    message = letter.compose(composer).message
    damaged = PLANTED[rule](message)

    assert faults(message, letter) == []
    assert damaged != message
    assert rule in faults(damaged, letter)


def test_every_rule_has_a_planted_fault(funnel: Funnel) -> None:
    letter = next(strange_letters(funnel, strange_composer(funnel).library, 1))

    assert set(faults(b"\n\x00" + b"x" * 999 + b"\r\n\r\n" + b"x" * 99, letter)) <= set(PLANTED)


def test_the_strange_texts_reach_readers_as_text(funnel: Funnel) -> None:
    """An encoded-word somebody typed, markup and Jinja stand in the page, and do nothing there."""
    composer = strange_composer(funnel)
    letters = [x for x in islice(strange_letters(funnel, composer.library, SEED), 400) if not x.broken and not x.large]
    pages = "".join(parts_of(letter.compose(composer).message)[0] for letter in letters)

    for text in (
        "=?utf-8?q?hello=0D=0A",
        "&lt;script&gt;alert(1)",
        "{{ clinic.name }}",
        "X-Evil: 1",
        "\u202e",
        "=E2=80",
    ):
        assert text in pages
    assert "<script" not in pages
    assert "onerror=alert(1)&gt;" in pages
