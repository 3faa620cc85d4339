"""A section keeps its id when its name, its place or some of its words change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.article import (
    Article,
    Remembered,
    SectionChange,
    diff_articles,
    memory_path,
    read_article,
    read_memory,
    remember,
    write_memory,
)
from funnel.errors import ArticleError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path

Parts = list[tuple[str, str]]
TEA: Parts = [
    ("Why Tea", "Tea is warm and slow. It asks for ten minutes and gives them back."),
    ("The Pot", "A pot of clay keeps the heat. Glass lets you see the leaves open, which children like."),
    ("The Water", "Soft water makes a clear cup. If yours is hard, let it boil a little longer."),
]


def article(parts: Parts, known: Mapping[str, Remembered] | None = None) -> Article:
    text = "# Tea\n\n" + "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts)
    return read_article(text, name="tea.md", remembered=known)


def ids(made: Article) -> list[str]:
    return [section.id for section in made.sections]


def test_a_renamed_section_keeps_its_id() -> None:
    known = remember(article(TEA))
    assert ids(article([("A Reason", TEA[0][1]), *TEA[1:]], known)) == ["why-tea", "the-pot", "the-water"]


def test_sections_that_swap_their_names_swap_nothing_else() -> None:
    known = remember(article(TEA))
    swapped = [(TEA[1][0], TEA[0][1]), (TEA[0][0], TEA[1][1]), TEA[2]]
    assert ids(article(swapped, known)) == ["why-tea", "the-pot", "the-water"]


def test_an_edited_section_is_known_by_its_heading() -> None:
    known = remember(article(TEA))
    assert ids(article([TEA[0], ("The Pot", "Quite another text, all of it."), TEA[2]], known))[1] == "the-pot"


def test_a_section_renamed_and_edited_is_known_by_the_words_it_shares() -> None:
    known = remember(article(TEA))
    edited = TEA[1][1].replace("children", "grown-ups")
    assert ids(article([TEA[0], ("Pottery", edited), TEA[2]], known))[1] == "the-pot"


def test_too_few_shared_words_make_a_new_section() -> None:
    known = remember(article(TEA))
    other = "A pot of clay is dear. Children break it, and the leaves do not mind tin at all, we found."
    assert ids(article([TEA[0], ("Pottery", other), TEA[2]], known))[1] == "pottery"


def test_a_slug_never_comes_to_mean_another_section() -> None:
    first = remember(article(TEA))
    second = remember(article([*TEA[:2], ("Rain", TEA[2][1])], first), first)
    assert "the-water" in second
    third = article([*TEA[:2], ("Rain", TEA[2][1]), ("The Water", "Where it comes from is another matter.")], second)
    assert ids(third)[2] == "the-water"
    assert ids(third)[3] == "the-water-2"


def test_a_removed_section_is_kept_in_mind_and_comes_back_as_itself() -> None:
    first = remember(article(TEA))
    second = remember(article(TEA[:2], first), first)
    assert second["the-water"].gone
    again = article([*TEA[:2], ("Wells", TEA[2][1])], second)
    assert ids(again)[2] == "the-water"
    assert not remember(again, second)["the-water"].gone


def test_an_id_written_into_the_article_wins() -> None:
    known = remember(article(TEA))
    assert ids(article([("Why Tea {#reason}", TEA[0][1]), *TEA[1:]], known))[0] == "reason"


def test_the_format_of_the_file_makes_no_difference() -> None:
    known = remember(article(TEA))
    text = "Tea\n\n" + "\n\n".join(f"{heading} Now\n\n{body}" for heading, body in TEA)
    assert ids(read_article(text, name="tea.txt", remembered=known)) == ["why-tea", "the-pot", "the-water"]


SENTENCES = st.lists(st.integers(0, 10**6), min_size=6, max_size=14)


def body_of(numbers: list[int]) -> str:
    return "It is " + " ".join(f"w{number}" for number in numbers) + " so."


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SENTENCES, min_size=2, max_size=7, unique_by=lambda numbers: numbers[0]),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_ids_survive_renaming_reordering_and_insertion(
    bodies: list[list[int]], chance: random.Random, data: st.DataObject
) -> None:
    parts = [(f"Part {n} of it", body_of(numbers)) for n, numbers in enumerate(bodies)]
    before = article(parts)
    known = remember(before)
    by_body = {section.plain: section.id for section in before.sections}
    renamed = [(f"Name {n}" if data.draw(st.booleans()) else h, body) for n, (h, body) in enumerate(parts)]
    chance.shuffle(renamed)
    place = data.draw(st.integers(0, len(renamed)))
    renamed.insert(place, ("Part 0 of it again", "Nothing of this was here before, not one of these words."))
    after = article(renamed, known)
    assert len(set(ids(after))) == len(renamed)
    for n, section in enumerate(after.sections):
        if n == place:
            assert section.id not in known
        else:
            assert section.id == by_body[section.plain]
    assert ids(article(renamed, remember(after, known))) == ids(after)


# --- the file


def test_the_memory_lies_beside_the_article_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "tea.md"
    assert read_memory(path) == {}
    written = write_memory(path, article(TEA))
    assert [file.name for file in tmp_path.iterdir()] == ["tea.sections.json"]
    assert read_memory(path) == written == remember(article(TEA))


def test_writing_again_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tea.md"
    write_memory(path, article(TEA))
    write_memory(path, article(TEA[1:], read_memory(path)))
    assert read_memory(path)["why-tea"].gone
    assert list(read_memory(path)) == ["the-pot", "the-water", "why-tea"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"sections": []}', '{"sections": {"a": {}}}', '{"sections": {"a": null}}', "\x00", "[" * 5000,
     '{"sections": {"a": {"heading": "A", "hash": "b", "words": 1, "shingles": "xyz"}}}'],
)  # fmt: skip
def test_a_damaged_memory_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tea.md"
    memory_path(path).write_text(text, encoding="utf-8")
    with pytest.raises(ArticleError, match=r"tea\.sections\.json: .* delete it"):
        read_memory(path)
    with pytest.raises(ArticleError):
        write_memory(path, article(TEA))
    assert memory_path(path).read_text(encoding="utf-8") == text


def test_a_memory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    memory_path(tmp_path / "gone" / "tea.md")
    with pytest.raises(ArticleError, match="cannot be written"):
        write_memory(tmp_path / "gone" / "tea.md", article(TEA))


def test_the_memory_does_not_hold_the_text(tmp_path: Path) -> None:
    path = tmp_path / "tea.md"
    write_memory(path, article(TEA))
    text = memory_path(path).read_text(encoding="utf-8")
    assert "children" not in text
    assert json.loads(text)["format"] == 1


# --- what an edit changed


def changes(before: Parts, after: Parts) -> dict[str, list[tuple[str, int]]]:
    known = remember(article(before))
    found: dict[str, list[tuple[str, int]]] = {}
    for change in diff_articles(known, article(after, known)):
        found.setdefault(change.id, []).append((change.kind, change.words))
    return found


def test_nothing_changed() -> None:
    assert changes(TEA, TEA) == {id_: [("unchanged", 0)] for id_ in ("why-tea", "the-pot", "the-water")}


def test_every_kind_of_change_is_named() -> None:
    after = [TEA[2], ("Why We Drink Tea", TEA[0][1].replace("ten minutes", "five")), ("Milk", "Never. Well, rarely.")]
    assert changes(TEA, after) == {
        "the-water": [("moved", 0)],
        "why-tea": [("renamed", 0), ("edited", 2)],
        "milk": [("added", 3)],
        "the-pot": [("removed", 17)],
    }


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [("ten minutes", "two minutes", 1), ("warm and slow", "slow", 2), ("Tea is", "Good tea is", 1),
     ("back.", "back to you.", 2), ("slow.", "slow,", 1), ("ten", "a good ten", 2)],
)  # fmt: skip
def test_changed_words_are_counted(old: str, new: str, count: int) -> None:
    edited = [(TEA[0][0], TEA[0][1].replace(old, new)), *TEA[1:]]
    assert changes(TEA, edited)["why-tea"] == [("edited", count)]


def test_only_the_section_that_moved_is_said_to_have_moved() -> None:
    many = [(f"Part {letter}", f"The text of {letter} is here and nowhere else.") for letter in "abcdef"]
    moved = [*many[1:], many[0]]
    assert [id_ for id_, found in changes(many, moved).items() if found == [("moved", 0)]] == ["part-a"]


def test_a_section_that_was_gone_already_is_not_removed_again() -> None:
    first = remember(article(TEA))
    second = remember(article(TEA[1:], first), first)
    assert all(change.kind == "unchanged" for change in diff_articles(second, article(TEA[1:], second)))
    assert SectionChange("removed", "why-tea", 14) in diff_articles(first, article(TEA[1:], first))
