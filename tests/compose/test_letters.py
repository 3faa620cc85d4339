"""A mail for one person: whoever they say they are, the message is whole, safe, and the same at every try."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.compose.letters import LARGEST_FIELD, NO_WAY_OUT, Composer
from funnel.compose.source import MAIL_KINDS
from funnel.errors import ContentError
from funnel.model import Kind
from tests.compose.kit import (
    DATE,
    NASTY,
    SAMPLES,
    SECRET,
    SENDER,
    byte_faults,
    decoded,
    fields,
    header_lines,
    hrefs,
    library_of,
    mail_of,
    message_of,
    parsed,
    parts,
    raw_header,
    sample,
    small,
    urls,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY = [
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Funnel-Id", "Feedback-ID",
    "MIME-Version", "Content-Type",
]  # fmt: skip
OF_A_SERIES = ["List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"]
#: Fields that hold what somebody outside typed, or what staff wrote in the settings.
WORDS = ("name", "gift_name", "guide_title", "why", "gift_code", "test_banner", "preheader")
GREETING = (
    "Hello{% if name %} {{ name }}{% endif %}, [the guide]({{ guide_url }}). {{ why }}\n\n[[gift]]\n\n[[signature]]"
)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    return sample(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="module")
def greeting() -> Composer:
    return small(GREETING, subjects=("{{ name }}, a tip", "Another for {{ name }}"), preheader="For {{ name }}")


def mails(composer: Composer) -> Iterator[tuple[str, str, Kind]]:
    for (sequence, name), mail in composer.library.mails.items():
        yield sequence, name, mail.kind


def names_of(message: bytes) -> list[str]:
    return sorted(name for name, _ in header_lines(message))


# --- two thousand messages ---------------------------------------------------------------------


def test_every_sample_mail_to_every_odd_name_is_a_message_without_fault(clinic: Composer) -> None:
    """MSG-1, MSG-2, MSG-3, SEC-8: a scan of the bytes of two thousand messages and more."""
    scanned = 0
    for sequence, name, kind in mails(clinic):
        expected = sorted(EVERY if kind in NO_WAY_OUT else EVERY + OF_A_SERIES)
        for number, odd in enumerate(odd_names()):
            message = message_of(clinic, sequence, name, mailing_id=number, name=odd)
            assert byte_faults(message) == [], (sequence, name, odd[:40])
            assert names_of(message) == expected, (sequence, name, odd[:40])
            scanned += 1

    assert scanned >= 2_000


def odd_names() -> list[str]:
    """Return the nasty strings alone, in a name, and in each other: more than a hundred."""
    shorter = [odd for odd in NASTY if len(odd) < 100]
    pairs = [f"{one}{other}" for one, other in pairwise(shorter)]
    return [*NASTY, *(f"Kim {odd} Lee" for odd in shorter), *pairs]


@settings(max_examples=150)
@given(
    st.sampled_from(WORDS),
    st.one_of(
        st.sampled_from(NASTY),
        st.text(max_size=200),
        st.text(alphabet="\r\n\0{}%#<>&'\"=?\u202e\u2028😀é", max_size=80),
    ),
)
def test_no_words_of_anybody_change_the_shape_of_a_message(greeting: Composer, field: str, words: str) -> None:
    message = message_of(greeting, **{field: words})  # type: ignore[arg-type]
    text, page = parts(message)

    assert byte_faults(message) == []
    assert names_of(message) == sorted(EVERY + OF_A_SERIES)
    assert parsed(message).get_content_type() == "multipart/alternative"
    assert re.findall(r"<[a-z]+", page) == re.findall(r"<[a-z]+", parts(message_of(greeting))[1])
    assert "https://go.mill.example/g/abc" in text


@settings(max_examples=150)
@given(st.one_of(st.sampled_from(NASTY), st.text(max_size=100)))
def test_a_name_is_shown_as_it_was_typed_and_never_run(name: str) -> None:
    """SEC-11: what a subscriber typed is data in both parts, never Jinja and never HTML."""
    text, page = parts(message_of(small("[{{ name }}]"), name=name))
    shown = name[:LARGEST_FIELD].replace("\r", "").replace("\0", "").encode("utf-8", "replace").decode()

    assert text.startswith(f"[{shown}]")
    assert f">[{shown}]</p>" in unescape(page)
    assert "<script" not in page
    assert "387420489" not in text + page


def test_the_mail_arrives_as_it_was_filled_in(clinic: Composer) -> None:
    """The bytes parse back to the very text and page that the templates gave."""
    values = fields(name="Zoë 😀 — “quoted”", subject="", preheader="", dir="ltr")
    made = clinic.compiled(clinic.library.mail("series", "guide"))
    message = message_of(clinic, "series", "guide", mailing_id=2, name="Zoë 😀 — “quoted”")
    from funnel.compose.template import environment

    env = environment()
    plain = env.overlay(autoescape=False)
    subject = plain.from_string(made.subjects[2 % len(made.subjects)]).render(values)
    values |= {"subject": subject, "preheader": plain.from_string(made.preheader).render(values)}

    assert decoded(message, "Subject") == subject
    assert parts(message) == (plain.from_string(made.text).render(values), env.from_string(made.html).render(values))


# --- what each kind of mail carries ------------------------------------------------------------


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_only_what_is_no_series_has_no_list_headers(kind: Kind) -> None:
    """UNS-14, UNS-2, AUT-1, FBI-1, LID-1."""
    message = message_of(small("Hello", kind=kind))

    assert names_of(message) == sorted(EVERY if kind in NO_WAY_OUT else EVERY + OF_A_SERIES)
    assert raw_header(message, "Auto-Submitted") == b" auto-generated"
    assert raw_header(message, "Feedback-ID").decode() == f" {kind}:series:funnel:mill0"
    assert len(raw_header(message, "Feedback-ID").split(b":")) == 4
    assert 5 <= len(raw_header(message, "Feedback-ID").rsplit(b":")[-1]) <= 15
    if kind not in NO_WAY_OUT:
        assert raw_header(message, "List-Unsubscribe-Post") == b" List-Unsubscribe=One-Click"
        assert raw_header(message, "List-Id") == b" <news.mill.example>"


@pytest.mark.parametrize("length", [20, 39, 76, 77, 78, 200, 400])
def test_the_one_click_link_is_one_raw_line(greeting: Composer, length: int) -> None:
    """UNS-1, MSG-5."""
    url = "https://go.mill.example/u/" + "T" * length
    message = message_of(greeting, unsubscribe_url=url)

    assert raw_header(message, "List-Unsubscribe") == f" <{url}>".encode()
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in message


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in NO_WAY_OUT])
def test_nothing_but_a_confirmation_goes_without_a_way_out(kind: Kind) -> None:
    composer = small("Hello", kind=kind)
    with pytest.raises(ContentError, match="cannot be sent without an unsubscribe link"):
        message_of(composer, unsubscribe_url="")
    values = fields()
    del values["unsubscribe_url"]
    with pytest.raises(ContentError, match=r"emails/series/tip\.md: it cannot be sent without"):
        composer.render("series", "tip", values, to="kim@clinic.example", mailing_id=1, date=DATE)


def test_the_way_out_is_in_the_body_of_every_mail_but_the_confirmation(clinic: Composer) -> None:
    for sequence, name, kind in mails(clinic):
        empty = {"unsubscribe_url": "", "preferences_url": ""} if kind is Kind.CONFIRM else {}
        text, page = parts(message_of(clinic, sequence, name, **empty))  # type: ignore[arg-type]
        leave = str(fields()["unsubscribe_url"])
        assert (leave in text) == (leave in page) == (kind is not Kind.CONFIRM), name


def test_both_parts_of_every_sample_mail_carry_the_same_links(clinic: Composer) -> None:
    """MSG-7."""
    for sequence, name, _ in mails(clinic):
        text, page = parts(message_of(clinic, sequence, name))
        assert hrefs(page) == urls(text), name
        assert text.strip()


def test_the_page_says_its_language(clinic: Composer) -> None:
    assert '<html lang="en"' in parts(message_of(clinic, "series", "guide"))[1]


# --- the same at every try ---------------------------------------------------------------------


def test_the_same_mailing_is_the_same_bytes_from_another_composer(clinic: Composer, tmp_path: Path) -> None:
    """MSG-6: a retry sends what the first try sent, whether the mail was on the shelf or not."""
    other = sample(tmp_path)
    for sequence, name, _ in mails(clinic):
        assert (
            message_of(clinic, sequence, name) == message_of(other, sequence, name) == message_of(other, sequence, name)
        )


SCRIPT = """
import hashlib
from tests.compose.kit import message_of, sample
print(hashlib.sha256(message_of(sample(), "series", "guide")).hexdigest())
"""


def test_the_same_mailing_is_the_same_bytes_from_another_process(clinic: Composer) -> None:
    here = hashlib.sha256(message_of(clinic, "series", "guide")).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=SAMPLES.parent,
        env={"PYTHONHASHSEED": "1", "TZ": "Pacific/Apia", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert there.strip() == here


def test_ids_are_of_one_mailing_and_cannot_be_guessed(greeting: Composer) -> None:
    ids = [raw_header(message_of(greeting, mailing_id=n), "Message-ID") for n in range(200)]
    other = Composer(greeting.library, SENDER, b"another secret")

    assert len(set(ids)) == 200
    assert all(re.fullmatch(rb" <[0-9a-f]+\.[0-9a-f]{20}@mill\.example>", found) for found in ids)
    assert raw_header(message_of(other, mailing_id=7), "Message-ID") != ids[7]


def test_the_date_is_the_one_that_was_given(greeting: Composer) -> None:
    early = datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    made = greeting.render("series", "tip", fields(), to="kim@clinic.example", mailing_id=1, date=early)

    assert raw_header(made.message, "Date") == b" Fri, 31 Dec 1999 23:59:59 +0000"


def test_two_subjects_share_the_readers_evenly(greeting: Composer) -> None:
    subjects = [decoded(message_of(greeting, mailing_id=n), "Subject") for n in range(10)]

    assert subjects == ["Kim, a tip", "Another for Kim"] * 5


def test_a_prefix_stands_before_the_subject(greeting: Composer) -> None:
    made = greeting.render(
        "series", "tip", fields(), to="kim@clinic.example", mailing_id=2, date=DATE, prefix="[TEST] "
    )

    assert decoded(made.message, "Subject") == made.subject == "[TEST] Kim, a tip"


# --- what cannot be sent -----------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "guide_url", "why", "clinic"])
def test_a_missing_field_stops_the_mail_and_is_named(greeting: Composer, field: str) -> None:
    values = fields()
    del values[field]

    with pytest.raises(ContentError, match=f"emails/series/tip.md: it cannot be filled in: .*{field}"):
        greeting.render("series", "tip", values, to="kim@clinic.example", mailing_id=1, date=DATE)


@pytest.mark.parametrize(
    "to", ["", "kim", "kim@a.example, lee@b.example", "kim@a.example\r\nBcc: eve@evil.example", "josé@a.example"]
)
def test_a_mail_goes_to_one_plain_address(greeting: Composer, to: str) -> None:
    with pytest.raises(ContentError):
        greeting.render("series", "tip", fields(), to=to, mailing_id=1, date=DATE)


@pytest.mark.parametrize("field", ["from_address", "reply_to", "list_id", "feedback_id"])
@pytest.mark.parametrize(
    "planted", ["a@b.example\r\nBcc: eve@evil.example", "=?utf-8?q?a=0D=0ABcc:_eve?=", "é@b.example"]
)
def test_a_sender_that_is_not_plain_stops_the_mail(field: str, planted: str) -> None:
    change: dict[str, Any] = {field: planted}
    composer = Composer(library_of(mail_of("Hello")), replace(SENDER, **change), SECRET)

    with pytest.raises(ContentError):
        message_of(composer)


@pytest.mark.parametrize("name", NASTY[:20])
def test_a_sender_s_name_is_only_a_name(name: str) -> None:
    composer = Composer(library_of(mail_of("Hello")), replace(SENDER, from_name=name), SECRET)
    message = message_of(composer)

    assert names_of(message) == sorted(EVERY + OF_A_SERIES)
    assert byte_faults(message) == []


def test_a_mail_that_gmail_would_cut_is_refused() -> None:
    """MSG-8: counted as sent, after fields and encoding."""
    long = "é" * 40 + "\n\n"

    assert message_of(small(long * 250))
    with pytest.raises(ContentError, match="Gmail cuts mail off above 90,000"):
        message_of(small(long * 450))


def test_a_field_is_no_longer_than_any_honest_one() -> None:
    text, _ = parts(message_of(small("[{{ name }}]"), name="x" * 10_000))

    assert text.startswith("[" + "x" * LARGEST_FIELD + "]")


def test_a_mail_nobody_wrote_is_named(clinic: Composer) -> None:
    with pytest.raises(ContentError, match=r"emails/series/gone\.md is missing"):
        message_of(clinic, "series", "gone")
