"""Each gate of the check, and one mutation that turns it red."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from funnel import guide
from funnel.guide.checks import BANNED, keyed, word_count
from funnel.guide.markdown import parse_inline
from funnel.guide.source import load
from funnel.model import Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.guide import Built, GuideSettings
    from tests.guide.conftest import SmallGuide


def test_the_real_guide_has_no_error(real: Built, real_source: Path, sample: GuideSettings) -> None:
    found = guide.check(real_source, sample, real.pdf.parent)
    assert [str(one) for one in found if one.level is Level.ERROR] == []


def test_a_missing_reviewer_is_a_warning_that_goes_away(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    def says(reviewer: str) -> bool:
        found = guide.check(small.root, replace(settings, reviewer=reviewer), tmp_path)
        return any("no clinician is named" in one.says for one in found)

    assert says("")
    assert not says("Dana Example, PT")


def test_what_cannot_be_read_is_one_finding(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    small.edit("chapters/05-ch01.md", "::: try", "::: tip")
    (only,) = guide.check(small.root, settings, tmp_path)
    assert only.level is Level.ERROR
    assert "there is no box 'tip'" in only.says


@pytest.mark.parametrize("word", [*BANNED, "Cures", "cured", "GUARANTEED", "realignment", "unproven", "instant"])
def test_each_banned_word_is_found(finding: Callable[[str], list[str]], word: str) -> None:
    (only,) = finding(f"This has {word} in it.\n\nSee {{page:fig-01}}.\n")
    assert "promises too much" in only
    assert "page 5" in only


@pytest.mark.parametrize("text", ["A secure curtain.", "Accurate words.", "The instance.", "Be careful, sideways."])
def test_words_that_only_look_banned_pass(finding: Callable[[str], list[str]], text: str) -> None:
    assert finding(f"{text}\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "About 39 in 100 adults had it.",
        "It fell by 30%.",
        "It fell by 30 percent.",
        "Pain fell by 2 points.",
        "So 19 out of 100 felt it [M].",
        "Sourced [R41]. But 5 of 100 here are not.",
        "| A | B |\n|---|---|\n| c | 8 in 100 |",
        "::: note\nIt fell by 30%.\n:::",
        "- One thing\n- It fell by 30%",
    ],
)
def test_a_number_without_its_source_is_found(finding: Callable[[str], list[str]], text: str) -> None:
    found = finding(f"{text}\n")
    assert any("states a number without its source" in one for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "About 39 in 100 adults had it [R41].",
        "About 39 in 100 adults had it. [R41]",
        "Do 5 to 8 repeats. Walk 30 minutes. See page {page:fig-01}. Decide by week 6.",
        "| Effect | Survey [R41] |\n|---|---|\n| Bruise | 8 in 100 |",
        "Call 911 then [R48 M].",
        "Some signs need a check [R48 M].",
    ],
)
def test_sourced_numbers_and_plain_instructions_pass(finding: Callable[[str], list[str]], text: str) -> None:
    assert finding(f"{text}\n") == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("It took 12 trials [R41 M].", "R41"),
        ("It took 12 trials [R88].", "R88"),
        ("It took 12 trials [R24].", "R24"),
        ("It took 12 trials [M].", "M"),
        ("It took 1.5 mm [R41][R48 M].", "R48"),
    ],
)
def test_a_number_that_rests_on_memory_is_refused(finding: Callable[[str], list[str]], text: str, key: str) -> None:
    found = finding(f"{text}\n")
    assert any(f"rests on [{key}]" in one for one in found)


def test_a_hard_chapter_is_found(finding: Callable[[str], list[str]]) -> None:
    hard = "Multidisciplinary rehabilitation considerations necessitate individualized physiological interpretation"
    found = finding(f"{hard} and {hard.lower()} and {hard.lower()}.\n")
    assert any("reads at school grade" in one for one in found)


@pytest.mark.parametrize(("kind", "title"), [("try", "Try this today"), ("ask", "Ask your clinician")])
def test_a_chapter_without_its_closing_boxes_is_found(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path, kind: str, title: str
) -> None:
    small.edit("chapters/05-ch01.md", f"::: {kind}", "::: note")
    found = guide.check(small.root, settings, tmp_path)
    assert any(title in one.says for one in found)


def test_weak_contrast_is_found(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    small.edit("template/palette.toml", "#5b6670", "#9aa4ac")
    found = guide.check(small.root, settings, tmp_path)
    assert any(one.says.startswith("grey on white has a contrast of only 2.") for one in found)


def test_a_source_without_authors_is_a_warning(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    small.edit("references.toml", 'authors = "A and others"', 'authors = ""')
    found = guide.check(small.root, settings, tmp_path)
    assert [one.level for one in found if "[R41] is printed without its authors" in one.says] == [Level.WARNING]


@pytest.mark.parametrize(
    ("more", "warned"), [(0, True), (13_999, True), (14_000, False), (15_500, False), (15_501, True)]
)
def test_a_guide_of_another_length_than_planned_is_a_warning(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path, more: int, warned: bool
) -> None:
    missing = max(0, more - word_count(load(small.root)))
    small.edit("chapters/05-ch01.md", "| Ache |", f"| Ache{' pain' * missing} |")
    found = [one for one in guide.check(small.root, settings, tmp_path) if "are planned" in one.says]
    assert [one.level for one in found] == [Level.WARNING] * warned
    assert all(one.says.endswith("words of its own; 14000 to 15500 are planned") for one in found)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("chapters/05-ch01.md", "| Ache |", "| Ache or pain |"),
        ("chapters/05-ch01.md", 'short_answer = "It', 'short_answer = "We think it'),
        ("chapters/05-ch01.md", '"Ten of them."', '"Ten of them, no more."'),
        ("glossary.toml", "A cushion.", "A very firm cushion."),
    ],
)
def test_each_word_of_its_own_is_counted(small: SmallGuide, name: str, old: str, new: str) -> None:
    before = word_count(load(small.root))
    small.edit(name, old, new)
    assert word_count(load(small.root)) == before + 2


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("figures/fig-01.svg", ">10</text>", ">10 of all the people</text>"),
        ("chapters/05-ch01.md", "![A bar that", "![A tall and narrow bar that"),
        ("references.toml", "On it", "On it and on all the rest"),
        ("chapters/05-ch01.md", "had it [R41].", "had it [R41][R48 M]."),
    ],
)
def test_pictures_and_references_are_no_words_of_its_own(small: SmallGuide, name: str, old: str, new: str) -> None:
    before = word_count(load(small.root))
    small.edit(name, old, new)
    assert word_count(load(small.root)) == before


def test_keys_stay_with_their_sentence() -> None:
    assert keyed(parse_inline("So **it [R1]** is [R48 M]. Yes {dots:2} {page:x}", "x")) == "So it⟦R1⟧ is.⟦R48 M⟧ Yes  "


def test_a_finding_reads_as_a_sentence(finding: Callable[[str], list[str]]) -> None:
    (only,) = finding("It fell by 30%.\n")
    assert only == (
        "guide/chapters/05-ch01.md, page 5: 'It fell by 30%.' states a number without its source; "
        "add a source key such as [R41]"
    )
