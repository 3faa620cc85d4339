"""The bytes of one message: nobody adds a header, no line is too long, and what comes out is what went in."""

from __future__ import annotations

import re
import string
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from email.parser import BytesParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from funnel.compose import message as module
from funnel.compose.message import (
    LARGEST_HTML,
    LARGEST_MESSAGE,
    Letter,
    mailbox,
    message_bytes,
    one_line,
    unstructured,
)
from funnel.compose.quoted import quoted_printable
from funnel.errors import ContentError
from tests.compose.kit import DATE, NASTY, as_sent, byte_faults, decoded, header_lines, parsed, parts, raw_header

LETTER = Letter(
    message_id="1.abc@mill.example",
    date=DATE,
    from_name="Ann at Mill",
    from_address="ann@mill.example",
    to_address="kim@clinic.example",
    reply_to="desk@mill.example",
    subject="A tip",
    html="<p>Hello</p>",
    text="Hello",
    funnel_id="1.abc",
    list_id="news.mill.example",
    feedback_id="drip:series:funnel:mill0",
    unsubscribe_url="https://go.mill.example/u/token",
)
NAMES = [
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Funnel-Id", "Feedback-ID",
    "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
]  # fmt: skip
#: Headers whose words a person or the clinic writes; all others must be exactly what they are.
FREE = ("from_name", "subject")
STRICT = [
    "message_id", "from_address", "to_address", "reply_to", "funnel_id", "list_id", "feedback_id", "unsubscribe_url",
]  # fmt: skip
SEPARATORS = "".join(map(chr, [*range(33), *range(0x7F, 0xA1), 0x2028, 0x2029, 0x3000]))
nasty = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=300),
    st.text(alphabet="=?utf-8bqQ_ \r\n\t\0\x0b\x85\u2028:Bc@é😀", max_size=120),
)


def written(**changes: object) -> bytes:
    quoted = {part: quoted_printable(str(changes[part])) for part in ("html", "text") if part in changes}
    return message_bytes(replace(LETTER, **changes | quoted))  # type: ignore[arg-type]


def words_of(text: str) -> str:
    """Return what must be left of a header's text: no controls, no direction marks, single spaces."""
    kept = re.sub("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", " ", text)
    return " ".join(kept.encode("utf-8", "replace").decode().split())


def test_the_fields_of_a_letter_are_all_tried_here() -> None:
    assert {field.name for field in dataclass_fields(Letter)} == {*FREE, *STRICT, "date", "html", "text"}


# --- one of each header ------------------------------------------------------------------------


def test_a_letter_in_a_series_has_each_header_once() -> None:
    """MSG-2, AUT-1, LID-1, FBI-1."""
    message = written()

    assert [name for name, _ in header_lines(message)] == NAMES
    assert raw_header(message, "From") == b" Ann at Mill <ann@mill.example>"
    assert raw_header(message, "To") == b" kim@clinic.example"
    assert raw_header(message, "Auto-Submitted") == b" auto-generated"
    assert raw_header(message, "List-Id") == b" <news.mill.example>"
    assert raw_header(message, "Message-ID") == b" <1.abc@mill.example>"
    assert raw_header(message, "Date") == b" Mon, 04 May 2026 09:30:00 +0000"
    assert byte_faults(message) == []


def test_a_letter_outside_a_series_has_no_list_headers() -> None:
    """UNS-14."""
    names = [name for name, _ in header_lines(written(unsubscribe_url="", list_id=""))]

    assert names == [name for name in NAMES if not name.startswith("List-")]


@pytest.mark.parametrize("length", [20, 39, 60, 77, 78, 100, 200, 400, 800])
def test_one_click_headers_are_never_encoded_or_folded(length: int) -> None:
    """MSG-5, UNS-1, UNS-2."""
    message = written(unsubscribe_url="https://go.mill.example/u/" + "T" * length)

    assert re.search(rb"^List-Unsubscribe: <https://go\.mill\.example/u/T{%d}>\r$" % length, message, re.MULTILINE)
    assert re.search(rb"^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$", message, re.MULTILINE)
    assert byte_faults(message) == []


@pytest.mark.parametrize("length", range(20, 120, 7))
def test_long_ids_are_never_encoded_or_folded(length: int) -> None:
    message = written(feedback_id="drip:series:funnel:" + "m" * length, message_id="i" * length + "@mill.example")

    assert raw_header(message, "Feedback-ID") == b" drip:series:funnel:" + b"m" * length
    assert raw_header(message, "Message-ID") == b" <" + b"i" * length + b"@mill.example>"


# --- nobody adds a header ----------------------------------------------------------------------


@settings(max_examples=200)
@given(st.sampled_from(FREE), nasty)
def test_no_name_or_subject_adds_a_header(field: str, text: str) -> None:
    """MSG-3, SEC-8: and a mail program shows it as it was written, less the controls."""
    message = written(**{field: text})
    header = "From" if field == "from_name" else "Subject"

    assert [name for name, _ in header_lines(message)] == NAMES
    assert byte_faults(message) == []
    assert sorted(parsed(message).keys()) == sorted(NAMES)
    shown = decoded(message, header)
    if field == "subject":
        assert shown == words_of(text)
    else:
        name = shown.removesuffix("<ann@mill.example>").strip()
        quoted = name.startswith('"') and name.endswith('"') and len(name) > 1
        bare = re.sub(r"\\(.)", r"\1", name[1:-1]) if quoted and words_of(text) != name else name
        assert bare == words_of(text)
        assert str(parsed(message)["From"].addresses[0].addr_spec) == "ann@mill.example"
        assert len(parsed(message)["From"].addresses) == 1


@pytest.mark.parametrize("field", STRICT)
@pytest.mark.parametrize(
    "text", [text for text in NASTY if text not in {"", "x" * 10_000}], ids=lambda t: ascii(t)[:24]
)
def test_a_structured_header_takes_nothing_odd(field: str, text: str) -> None:
    """SEC-8: an address, an id or a link that is not one stops the mail."""
    letter_or_digits = re.fullmatch(r"[A-Za-z0-9 .:;,{}%#<>()'\"=_/*!\[\]\\@?-]+", text)
    if field in {"feedback_id", "funnel_id"} and letter_or_digits and "=?" not in text:
        return
    with pytest.raises(ContentError):
        written(**{field: text})


@pytest.mark.parametrize("field", ["to_address", "reply_to", "from_address"])
@pytest.mark.parametrize(
    "text",
    [
        "kim@a.example, lee@b.example",
        "kim@a.example,lee@b.example",
        "Kim <kim@a.example>",
        "<kim@a.example>",
        "kim@a.example (Kim)",
        "kim@a.example;",
        '"kim lee"@a.example',
        "kim lee@a.example",
        "kim@@a.example",
        "kim",
        "@a.example",
        "",
        "josé@a.example",
        "kim@bücher.example",
        "k" * 1000 + "@a.example",
    ],
)
def test_an_address_header_holds_one_bare_address(field: str, text: str) -> None:
    """MSG-2, ADR-4."""
    with pytest.raises(ContentError):
        written(**{field: text})


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/>, <https://evil.example/",
        "https://a.example/ x",
        "https://a.example/,https://b.example",
        "javascript:alert(1)",
        "mailto:kim@a.example",
        "a.example/u/1",
        "https://a.example/ü",
        "https://a.example/" + "x" * 1000,
    ],
)
def test_the_unsubscribe_header_holds_one_link(url: str) -> None:
    """UNS-1."""
    with pytest.raises(ContentError):
        written(unsubscribe_url=url)


@pytest.mark.parametrize("list_id", ["", "news", "<news.mill.example>", "news mill.example", "back-pain.mülle.example"])
def test_the_list_id_is_a_plain_name(list_id: str) -> None:
    """LID-1."""
    with pytest.raises(ContentError):
        written(list_id=list_id)


@pytest.mark.parametrize(
    "planted",
    [
        "x\r\nBcc: eve@evil.example",
        "x\r\nSubject: y",
        "x\r\n\r\nbody",
        "x\r\nX-Evil: 1",
        "x\nTo: eve@evil.example",
        "x\r\n:",
    ],
)
@pytest.mark.parametrize("broken", ["unstructured", "one_line"])
def test_the_last_gate_holds_when_a_cleaner_is_broken(
    monkeypatch: pytest.MonkeyPatch, planted: str, broken: str
) -> None:
    """MSG-4: plant the bug; the mail is stopped all the same."""
    monkeypatch.setattr(module, broken, lambda text: text.replace("@@", planted))

    with pytest.raises(ContentError, match="not the ones meant"):
        written(**({"subject": "@@"} if broken == "unstructured" else {"feedback_id": "@@"}))


heads = st.lists(
    st.sampled_from(
        [
            "From: a",
            "Subject: b",
            "Subject:",
            "To: c d",
            " more",
            " ",
            "\tmore",
            "Bcc: e",
            "x",
            ":",
            "",
            "é: f",
            "From : g",
        ]
    ),
    max_size=5,
)
ends = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\0"])


@settings(max_examples=400)
@given(st.lists(st.tuples(heads, ends), max_size=3))
@example([(["From: a", "Subject: b", " more", ""], "\r\n")])
def test_what_the_gate_lets_through_is_what_a_parser_reads(lines: list[tuple[list[str], str]]) -> None:
    """The standard library is the judge: no block of lines may hold another header than those named."""
    block = "".join(line + end for several, end in lines for line in several)
    names = ("From", "Subject")
    try:
        module.gated(block.encode(), module.head_of(names))
    except ContentError:
        return
    found = BytesParser().parsebytes(block.encode())
    assert tuple(found.keys()) == names
    assert found.defects == []
    assert not re.search(r"(?<!\r)\n|\r(?!\n)", block)


@pytest.mark.parametrize(
    "head",
    [
        "From: a\r\nSubject: b\r\n\r\n",
        "From: a\r\nSubject: b\r\n more\r\n\r\nbody",
        "From: \r\nSubject: " + "b" * 930 + "\r\n\r\n",
    ],
)
def test_the_gate_opens(head: str) -> None:
    module.gated(head.encode(), module.head_of(("From", "Subject")))


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("From: a\r\n\r\n", ("From", "Subject")),
        ("Subject: b\r\nFrom: a\r\n\r\n", ("From", "Subject")),
        ("From: a\r\nSubject: b\r\n", ("From", "Subject")),
        (" x\r\nFrom: a\r\nSubject: b\r\n\r\n", ("From", "Subject")),
        ("From: a\r\n \r\nSubject: b\r\n\r\n", ("From", "Subject")),
        ("From: a\r\nSubject: " + "b" * 998 + "\r\n\r\n", ("From", "Subject")),
        ("From: a\r\nSubject: é\r\n\r\n", ("From", "Subject")),
        ("From: a\r\nFrom: b\r\n\r\n", ("From", "From")),
        ("From: a\r\nBcc: b\r\n\r\n", ("From", "Bcc")),
    ],
)
def test_the_gate_stays_shut(head: str, names: tuple[str, ...]) -> None:
    """MSG-4: a header missing, moved, twice, not allowed, too long, or not plain."""
    with pytest.raises(ContentError, match="it was not sent"):
        module.gated(head.encode(), module.head_of(names))


@pytest.mark.parametrize("part", ["html", "text"])
def test_a_part_that_was_not_encoded_is_not_sent(part: str) -> None:
    """MSG-1: nothing leaves that is not plain ASCII."""
    with pytest.raises(ContentError, match="it was not sent"):
        message_bytes(replace(LETTER, **{part: "é"}))  # type: ignore[arg-type]


def test_the_gate_lets_the_right_message_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unstructured", lambda text: text)

    assert written() == message_bytes(LETTER)


# --- values ------------------------------------------------------------------------------------


@given(nasty)
def test_encoded_words_are_short_and_whole(text: str) -> None:
    """RFC 2047 section 2: at most 75 characters each, no line of them over 76, no character cut in two."""
    message = written(subject=text, from_name=text)
    for name in ("Subject", "From"):
        value = raw_header(message, name).decode("ascii")
        words = re.findall(r"=\?utf-8\?b\?[A-Za-z0-9+/=]*\?=", value)
        assert value.count("=?utf-8?") == len(words)
        if words:
            assert all(len(line) <= 76 for line in (name + ":" + value).split("\r\n"))
            assert [word for word in value.split() if "=?" in word] == words


@pytest.mark.parametrize(
    "text", ["A tip", "100% sure? = yes!", "a" * 200, "Kim, Lee & Co.", "=", "?=", "x" * 199 + "?"]
)
def test_plain_words_stay_plain(text: str) -> None:
    assert unstructured(text) == text


def test_what_looks_encoded_is_encoded_itself() -> None:
    """CVE-2024-6923: no reader may decode what a visitor typed."""
    assert "0D=0A" not in unstructured("=?utf-8?q?hello=0D=0ABcc:_eve@evil.example?=")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ann", "Ann <a@b.example>"),
        ("Ann Lee, MD", '"Ann Lee, MD" <a@b.example>'),
        ('Ann "A" Lee', '"Ann \\"A\\" Lee" <a@b.example>'),
        ("Ann\\Lee", '"Ann\\\\Lee" <a@b.example>'),
        ("Ann <x@y.example>", '"Ann <x@y.example>" <a@b.example>'),
        ("Änn", "=?utf-8?b?w4Rubg==?=\r\n <a@b.example>"),
        ("", " <a@b.example>"),
    ],
)
def test_a_name_is_quoted_or_encoded_as_it_needs(name: str, expected: str) -> None:
    assert mailbox(name, "a@b.example") == expected


@given(st.text(alphabet=SEPARATORS + string.printable, min_size=1, max_size=40))
def test_one_line_passes_text_on_or_refuses_it(text: str) -> None:
    try:
        found = one_line(text)
    except ContentError:
        assert not text.isascii() or not text.isprintable() or "=?" in text
    else:
        assert found == text
        assert not set(text) & set(SEPARATORS.replace(" ", ""))


# --- the two parts -----------------------------------------------------------------------------

bodies = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="ab =.\n\r\t\0é😀-", max_size=600),
    st.lists(
        st.sampled_from([".", "", "From x", "--=_funnel_1.abc", "--=_funnel_1.abc--", " ", "=3D", "x" * 1200]),
        max_size=20,
    ).map("\n".join),
)


@settings(max_examples=120)
@given(bodies, bodies)
def test_both_parts_arrive_as_they_were_written(text: str, html: str) -> None:
    """MSG-1, MSG-7: plain text first, quoted-printable, and nothing lost."""
    message = written(text=text, html=html)

    assert byte_faults(message) == []
    assert parts(message) == (as_sent(text), as_sent(html))
    assert all(part["Content-Transfer-Encoding"] == "quoted-printable" for part in parsed(message).iter_parts())
    assert all(part.get_content_charset() == "utf-8" for part in parsed(message).iter_parts())
    assert parsed(message).defects == []


@given(bodies, st.sampled_from(FREE), nasty)
def test_the_same_letter_is_the_same_bytes(text: str, field: str, value: str) -> None:
    """MSG-6."""
    changes = {"text": text, field: value}

    assert written(**changes) == written(**changes)


def test_too_large_a_page_is_refused_after_encoding() -> None:
    """MSG-8: 30 000 letters of two octets each are 180 000 bytes on the wire."""
    fits = "x" * 72 + "\n"

    assert written(html=fits * (LARGEST_HTML // 74))
    for html in (fits * (LARGEST_HTML // 74 + 1), "é" * 30_000):
        with pytest.raises(ContentError, match="Gmail cuts mail off above 90,000"):
            written(html=html)


def test_too_large_a_message_is_refused() -> None:
    """MSG-9."""
    with pytest.raises(ContentError, match="at most 150,000 are sent"):
        written(text="x" * LARGEST_MESSAGE)
