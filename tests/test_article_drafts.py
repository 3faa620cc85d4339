"""One draft for each section, in order, with nothing in it that the article does not say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.article import Article, DraftMail, draft_mails, read_article
from funnel.article.drafts import LONG, sentences
from funnel.article.parts import words_of

SAMPLE = Path(__file__).parents[1] / "emails" / "article.md"
SITE = "https://clinic.example/blog/tea"


def article(*parts: tuple[str, str]) -> Article:
    text = "# A Title\n\n" + "\n\n".join(f"{heading}\n\n{body}" for heading, body in parts)
    return read_article(text, name="a.md")


def prose(words: int, *, paragraphs: int = 1) -> str:
    one = "Word " + "word " * (words // paragraphs - 2) + "end."
    return "\n\n".join([one] * paragraphs)


def drafts(*parts: tuple[str, str]) -> tuple[DraftMail, ...]:
    return draft_mails(article(*parts), link_base=SITE)


def test_a_draft_has_opening_points_and_a_button() -> None:
    body = (
        f"First things first. Then the second. And a third one. {prose(60)}\n\nYou need these:\n\n- **Pot:** of clay\n"
        "- **Water:** soft\n\nOne more thing. It is small.\n"
    )
    (mail,) = drafts(("## The Pot", body))
    assert mail.body == (
        "First things first. Then the second.\n\n- And a third one.\n\nYou need these:\n\n"
        "- **Pot:** of clay\n- **Water:** soft\n- One more thing.\n\n"
        f"[[button: Read this part | {SITE}#the-pot]]"
    )
    assert (mail.name, mail.section_ids, mail.subjects) == ("the-pot", ("the-pot",), ("The Pot",))
    assert mail.preheader == "First things first."


def test_the_file_of_a_draft_reads_back() -> None:
    (mail,) = drafts(('## Say "Yes" \\\\ to Tea', prose(80)))
    _, front, body = mail.source.split("+++\n")
    assert tomllib.loads(front) == mail.front_matter
    assert mail.front_matter["subject"] == 'Say "Yes" \\ to Tea'
    assert body.strip() == mail.body


def test_short_neighbours_share_a_mail_and_keep_their_order() -> None:
    mails = drafts(("## A", prose(20)), ("## B", prose(30)), ("## C", prose(100)), ("## D", prose(10)))
    assert [mail.section_ids for mail in mails] == [("a", "b", "c", "d")]
    assert mails[0].body.index("## A") < mails[0].body.index("## B") < mails[0].body.index("## C")


def test_what_is_left_over_joins_the_mail_before_it() -> None:
    assert [m.section_ids for m in drafts(("## A", prose(200)), ("## B", prose(20)))] == [("a", "b")]
    assert [m.section_ids for m in drafts(("## A", prose(340)), ("## B", prose(20)))] == [("a",), ("b",)]


def test_a_parent_without_text_goes_with_its_first_child() -> None:
    mails = drafts(("## Parent", ""), ("### Child", prose(90)), ("### Other", prose(90)), ("## Next", prose(90)))
    assert [mail.section_ids for mail in mails] == [("parent", "child"), ("other",), ("next",)]


def test_a_short_child_does_not_pull_in_the_next_chapter() -> None:
    mails = drafts(("## Parent", prose(70)), ("### Child", prose(20)), ("## Next", prose(90)))
    assert [mail.section_ids for mail in mails] == [("parent", "child"), ("next",)]


def test_a_long_section_is_split_between_its_paragraphs() -> None:
    mails = drafts(("## Long", prose(900, paragraphs=9)), ("## After", prose(90)))
    assert [mail.name for mail in mails] == ["long", "long-part-2", "long-part-3", "after"]
    assert [mail.subjects[0] for mail in mails[:3]] == ["Long (1 of 3)", "Long (2 of 3)", "Long (3 of 3)"]
    assert all(mail.body.endswith("#long]]") for mail in mails[:3])


def test_names_do_not_collide() -> None:
    mails = drafts(("## Long", prose(700, paragraphs=7)), ("## Long part 2", prose(90)))
    assert len({mail.name for mail in mails}) == len(mails)


def test_a_name_is_ascii_and_stays() -> None:
    mails = drafts(("## 日本語", prose(90)), ("## Über Öl {#Sec_A}", prose(90)))
    assert [mail.section_ids for mail in mails] == [("日本語",), ("Sec_A",)]
    assert [re.sub("[0-9a-f]{8}$", "…", mail.name) for mail in mails] == ["section-…", "sec-a"]
    assert [mail.name for mail in drafts(("## 日本語", prose(90)))] == [mails[0].name]


def test_braces_of_the_article_do_not_become_a_template() -> None:
    from jinja2 import Environment

    (mail,) = drafts(("## A", "Write {{ name }} or {% if %} or {# x #} here. " + prose(70)))
    shown = Environment(autoescape=False).from_string(mail.body).render()
    assert "Write {{ name }} or {% if %} or {# x #} here." in shown


def test_the_introduction_takes_the_title_of_the_article() -> None:
    mails = drafts(("Some words. " + prose(70), ""), ("## A", prose(80)))
    assert mails[0].subjects == ("A Title",)
    assert mails[0].body.endswith("#introduction]]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("Dr. Lee came. She left.", ["Dr. Lee came.", "She left."]),
        ("It costs 3.50 or so. “Fine.” He paid.", ["It costs 3.50 or so.", "“Fine.”", "He paid."]),
        ("**Bold.** Then more", ["**Bold.**", "Then more"]),
        ("e.g. Tea is fine. No.", ["e.g. Tea is fine.", "No."]),
        ("", [""]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_the_sample_becomes_a_series() -> None:
    made = read_article(SAMPLE.read_text(encoding="utf-8"), name="article.md")
    mails = draft_mails(made, link_base=SITE)
    assert [id_ for mail in mails for id_ in mail.section_ids] == [section.id for section in made.sections]
    spoken = re.sub(r"\W+", " ", made.title + " ".join(s.heading + " " + s.plain for s in made.sections))
    for mail in mails:
        assert len(mail.subjects[0]) <= 60
        assert len(mail.preheader) <= 91
        for line in mail.body.splitlines()[:-1]:
            assert re.sub(r"\W+", " ", line.removeprefix("1. ")).strip() in spoken
    warning = next(mail for mail in mails if mail.name.startswith("indicators"))
    assert "call 911" in warning.body


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 3), st.lists(st.integers(3, 200), max_size=6)), min_size=1, max_size=8))
def test_each_section_is_drafted_once_and_in_order(shape: list[tuple[int, list[int]]]) -> None:
    parts = [
        (f"{'#' * level} Head {n}", "\n\n".join(prose(max(3, words)) for words in sizes))
        for n, (level, sizes) in enumerate(shape)
    ]
    made = article(*parts, ("## Last", prose(70)))
    mails = draft_mails(made, link_base=SITE)
    flat = [id_ for mail in mails for id_ in mail.section_ids]
    assert list(dict.fromkeys(flat)) == [section.id for section in made.sections]
    assert len({mail.name for mail in mails}) == len(mails)
    words = {section.id: section.words for section in made.sections}
    for mail in mails:
        if len(mail.section_ids) > 1:
            assert sum(words[id_] for id_ in mail.section_ids) <= LONG
        assert len(words_of(mail.body.rpartition("[[")[0])) <= LONG + 20
        assert mail.body.count("[[button: ") == 1
