"""What is said about the words of a mail: subjects, promises, spam, length, how hard it reads."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks.wording import HARDEST, WORDS, check_reading, check_words, own_text, paragraphs, pictured
from funnel.model import Kind, Level
from tests.checks.kit import letter


def said(subject: str = "Hello", body: str = "Hello") -> list[tuple[Level, str]]:
    """Return level and text of each finding about a subject and a body."""
    lines = ["+++", f'subject = "{subject}"', "", "", "+++", *body.split("\n")]
    return [(finding.level, str(finding)) for finding in check_words(letter(body, subjects=(subject,)), lines)]


@pytest.mark.parametrize(
    ("subject", "level", "sentence"),
    [
        ("Re: your visit", Level.ERROR, "pretends to answer"),
        ("FWD: your visit", Level.ERROR, "pretends to answer"),
        ("Fw : your visit", Level.ERROR, "pretends to answer"),
        ("READ THIS TODAY", Level.WARNING, "all in capitals"),
        ("You are a winner", Level.WARNING, "“winner”, as spam does"),
        ("Hurry!!!", Level.WARNING, "“!!”, as spam does"),
        ("Click here", Level.WARNING, "“Click here”, as spam does"),
        ("x" * 71, Level.WARNING, "has 71 characters"),
    ],
)
def test_a_subject_that_harms_is_found_with_its_line(subject: str, level: Level, sentence: str) -> None:
    """MSG-10."""
    ((found, text),) = said(subject)

    assert found is level
    assert text.startswith("emails/series/guide.md line 2: ")
    assert sentence in text


@pytest.mark.parametrize(
    "subject",
    [
        "Regarding your visit",
        "Two maps: same tool",
        "Ready?",
        "OK",
        "Freedom to move",
        "x" * 70,
        "Is it? Really!",
        "A 5 %",
    ],
)
def test_an_honest_subject_is_left_alone(subject: str) -> None:
    assert said(subject) == []


@pytest.mark.parametrize(
    "body",
    [
        "click here to read",
        "It is 100% free.",
        "A limited-time offer",
        "Dear friend,",
        "Come now!!",
        "you’ve won".replace("’", "'"),
    ],
)
def test_spam_is_named_with_its_line(body: str) -> None:
    ((level, text),) = said(body=f"Hello\n\n{body}")

    assert level is Level.WARNING
    assert text.startswith("emails/series/guide.md line 8: ")


@pytest.mark.parametrize(
    "body", ["We won't pick a winner.", "It is free of charge.", "Click the button.", "Order of service"]
)
def test_words_that_only_sound_like_it_are_left_alone(body: str) -> None:
    assert said(body=body) == []


def test_a_promise_is_an_error_with_its_line() -> None:
    ((level, text),) = said(body="One.\nIt cures.")

    assert (level, text.partition(":")[0]) == (Level.ERROR, "emails/series/guide.md line 7")


@pytest.mark.parametrize(
    ("words", "level", "sentence"),
    [
        ("What it does for your spine", Level.ERROR, "the preheader says “spine”"),
        ("A miracle", Level.ERROR, "“miracle” promises what nobody can"),
        ("Act now", Level.ERROR, "“Act now” promises"),
        ("Click here", Level.WARNING, "“Click here” sounds like spam"),
    ],
)
def test_a_preheader_is_read_on_locked_phones_too(words: str, level: Level, sentence: str) -> None:
    """HLT-2."""
    lines = ["+++", 'subject = "Hello"', f'preheader = "{words}"']
    (finding,) = check_words(letter(preheader=words), lines)

    assert (finding.level, finding.where) == (level, "emails/series/guide.md line 3")
    assert sentence in finding.says


def test_a_promise_in_a_subject_is_an_error() -> None:
    ((level, text),) = said("Gone instantly")

    assert level is Level.ERROR
    assert "line 2: “instantly” promises" in text


@pytest.mark.parametrize(("name", "sign"), [("Maya ✔", "✔"), ("🌿 Maya", "🌿"), ("Maya™ & Söhne", ""), ("Maya", "")])
def test_a_picture_in_a_name_is_seen(name: str, sign: str) -> None:
    """MSG-10."""
    assert pictured(name) == sign


# --- how it reads ------------------------------------------------------------------------------

EASY = "We are here. You can come in. It is warm and calm. "
HARD = "Physiological considerations necessitate comprehensive interdisciplinary rehabilitation methodologies."


def reading(text: str, kind: Kind = Kind.DRIP, body: str = "") -> list[str]:
    """Return what is found about a text."""
    return [str(finding) for finding in check_reading(letter(body or text, kind=kind), text)]


def test_a_hard_mail_is_named_with_its_hardest_sentence() -> None:
    body = f"{EASY}\n\nMore. {HARD} {HARD.replace('Physio', 'Bio')}\n\n{'word ' * 130}"

    (text,) = reading(body)

    assert text.startswith("emails/series/guide.md line 8: it reads at school grade ")
    assert f"above {HARDEST:.0f}; the hardest sentence is “Physiological considerations" in text


def test_an_easy_mail_is_left_alone() -> None:
    assert reading(EASY * 12) == []


@pytest.mark.parametrize(
    ("count", "good"), [(WORDS[0] - 1, False), (WORDS[0], True), (WORDS[1], True), (WORDS[1] + 1, False)]
)
def test_a_mail_of_the_series_has_its_length(count: int, *, good: bool) -> None:
    text = "word " * count

    assert (reading(text) == []) is good
    assert reading(text, Kind.GUIDE) == []


def test_links_pictures_and_list_marks_are_no_words() -> None:
    text = "One two (https://a.example/b).\n\n[What the picture\nshows]\n\n- three\n\n1. four\n\n* * *\n\nRead:\nhttps://a.example"

    assert paragraphs(text) == ["One two.", "three", "four", "Read:"]


@given(st.lists(st.text(alphabet="abc ", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=6))
def test_paragraphs_stay_in_order_and_none_is_lost(pieces: list[str]) -> None:
    expected = [" ".join(piece.split()) for piece in pieces]

    assert paragraphs("\n\n".join(pieces)) == expected
    assert all(one and two for one, two in pairwise(expected))


def test_the_frame_is_no_part_of_a_mail_s_own_text() -> None:
    layout = "{% if test_banner %}x{% endif %}<!-- content -->\n\n-----\n\n{{ why }} Unsubscribe: {{ unsubscribe_url }}"

    assert (
        own_text("Words.\r\n\r\nWarmly,\r\nMaya\r\n\r\n-----\r\n\r\nBecause.", layout, "Warmly,\nMaya").strip()
        == "Words."
    )
    assert own_text("Words.", "<!-- content -->{{ why }}", "-") == "Words."
