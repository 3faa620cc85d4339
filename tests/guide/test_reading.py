"""The reading grade, against known words and against textstat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import textstat
from hypothesis import given
from hypothesis import strategies as st

from funnel.guide.checks import HARDEST, prose
from funnel.guide.reading import grade, sentences, syllables, words
from funnel.guide.source import load

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {
    "pain": 1, "needle": 2, "dry": 1, "muscle": 2, "clinician": 3, "acupuncture": 4, "healed": 1, "treated": 2,
    "makes": 1, "places": 2, "exercise": 3, "area": 3, "back": 1, "sometimes": 2, "the": 1, "use": 1, "used": 1,
    "needed": 2, "walk": 1, "moderate": 3, "evidence": 3, "science": 2, "radio": 3, "72": 1,
}  # fmt: skip


def test_syllables_of_common_words() -> None:
    wrong = {word: syllables(word) for word, count in COUNTS.items() if syllables(word) != count}
    assert len(wrong) <= 2, wrong


def test_sentences_keep_their_keys_and_split_at_stops_only() -> None:
    assert sentences("It was 1.5 points.⟦R7⟧ “Then?” Yes.⟦R1⟧⟦R2⟧ End") == [
        "It was 1.5 points.⟦R7⟧", "“Then?”", "Yes.⟦R1⟧⟦R2⟧", "End",
    ]  # fmt: skip


def test_a_hyphen_and_an_apostrophe_stay_in_the_word() -> None:
    assert words("Don't stop: 12-week plan, 30%") == ["Don't", "stop", "12-week", "plan", "30"]


def test_nothing_has_grade_zero() -> None:
    assert grade("… !") == 0.0


@pytest.fixture
def no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let textstat count by its hyphenation patterns: its dictionary would be fetched from the network."""
    monkeypatch.setattr("textstat.backend.counts._count_syllables.get_cmudict", lambda _: None)


@pytest.mark.usefixtures("no_dictionary")
def test_every_chapter_is_easy_enough_by_both_counts(real_source: Path) -> None:
    for part in load(real_source).parts:
        if part.pages:
            text = prose(part)
            ours, theirs = grade(text), textstat.flesch_kincaid_grade(text)
            assert ours <= HARDEST, part.file
            assert theirs <= HARDEST, part.file
            if len(text.split()) > 250:  # a title page is too short to be counted alike
                assert abs(ours - theirs) < 1.6, (part.file, ours, theirs)


@given(st.lists(st.sampled_from(sorted(COUNTS)), min_size=1, max_size=30))
def test_longer_sentences_are_never_easier(chosen: list[str]) -> None:
    apart = ". ".join(chosen) + "."
    together = " ".join(chosen) + "."
    assert grade(together) >= grade(apart) - 1e-9


@given(st.text())
def test_every_word_has_a_syllable(text: str) -> None:
    assert syllables(text) >= 1
    assert all(syllables(word) >= 1 for word in words(text))
