"""One source, two parts: the plain text says what the page says, with every link written out."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.compose.words import KNOWN, to_html, to_text
from funnel.errors import ContentError
from tests.compose.kit import hrefs, urls

WORDS = st.sampled_from(
    ["needle", "rest", "walk", "“often”", "5 % – 10 %", "it's", "a*b", "*now*", "**never**", "`code`", "&", "<b>"]
)
LINKS = st.sampled_from(
    [
        "[the page](https://mill.example/a)",
        "[two](https://mill.example/b?x=1&y=2)",
        "<https://mill.example/c>",
        "[*soft* words](https://mill.example/d#part)",
        "[titled](https://mill.example/e 'a title')",
        "[ü](https://mill.example/f/ü)",
        "![picture](https://mill.example/g.png)",
    ]
)
SENTENCE = st.lists(WORDS | LINKS, min_size=1, max_size=12).map(" ".join)
BLOCK = st.one_of(
    SENTENCE,
    SENTENCE.map("# {}".format),
    SENTENCE.map("> {}".format),
    st.lists(SENTENCE, min_size=1, max_size=3).map(lambda items: "\n".join(f"- {item}" for item in items)),
    st.lists(SENTENCE, min_size=1, max_size=3).map(
        lambda items: "\n".join(f"{n}. {item}" for n, item in enumerate(items, 3))
    ),
    st.just("- outer\n  - inner\n\n  more"),
    st.just("[[button: Open the guide | https://mill.example/button?a=1&b=2]]"),
    st.just("[[divider]]"),
    st.just("[[gift]]"),
    st.just("[[signature]]"),
    st.just("```\nkept as it is\n```"),
)
MAIL = st.lists(BLOCK, min_size=1, max_size=6).map("\n\n".join)

TAGS = {"p", "em", "strong", "code", "pre", "a", "ul", "ol", "li", "hr", "br", "img", "blockquote"} | {
    f"h{n}" for n in range(1, 7)
}


def visible(page: str) -> list[str]:
    """Return the words a page shows, in order."""
    bare = re.sub(r"<[^>]+>", "", re.sub(r"<(/p|/li|/h\d|/td|br|/pre|hr)[^>]*>", " ", page))
    return re.findall(r"\w+", html.unescape(bare))


def written(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"\(?https?://[^\s<>]+", " ", text))


@settings(max_examples=200)
@given(MAIL)
def test_both_parts_carry_the_same_links_and_words(markdown: str) -> None:
    """MSG-7."""
    page, text = to_html(markdown, "here"), to_text(markdown, "here")
    said = [word for word in written(text) if word not in {"Your", "code", "Show", "it", "at", "picture"}]

    assert hrefs(page) == {url for url in urls(text) if not url.endswith("g.png")}
    numbers = {str(n) for n in range(3, 99)}
    shown = visible(re.sub("<a [^>]*>https?:[^<]*</a>", " ", page))
    assert set(shown) - {"Show", "this", "code", "at"} <= set(written(text)), "what the page says, the text says"
    assert set(said) - numbers <= set(shown) | {"picture"}, "and nothing else"
    assert "q8z" not in page + text


@given(MAIL)
def test_lines_are_short_enough_to_read_and_links_are_whole(markdown: str) -> None:
    for line in to_text(markdown, "here").split("\n"):
        assert len(line) <= 72 or "https://" in line or "kept" in line
        assert line == line.rstrip()


@settings(max_examples=300)
@given(st.text(alphabet="ab *_[]()<>!#`-\n\t\\&;:/|>12.{}%\"'{h}", max_size=80) | st.text(max_size=80))
def test_no_markdown_crashes_and_no_html_comes_through(markdown: str) -> None:
    try:
        page, text = to_html(markdown, "here"), to_text(markdown, "here")
    except ContentError as error:
        assert "[[" in str(error)  # noqa: PT017
        return
    assert isinstance(text, str)
    assert set(re.findall(r"<([a-z0-9]+)", page)) <= TAGS
    assert "javascript:" not in " ".join(re.findall(r'(?:href|src)="([^"]*)"', page)).lower()


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("- one\n- two", "- one\n\n- two"),
        ("3. one\n4. two", "3. one\n\n4. two"),
        ("a  \nb", "a\nb"),
        ("a\nb", "a b"),
        ("# Title\n\nwords", "Title\n\nwords"),
        ("[a](https://b.example)", "a (https://b.example)"),
        ("<https://b.example>", "https://b.example"),
        ("<kim@b.example>", "kim@b.example"),
        ("[write](mailto:kim@b.example)", "write (mailto:kim@b.example)"),
        ("---", "* * *"),
        ("[[button: Go | https://b.example]]", "Go:\nhttps://b.example"),
        ("[[ button :  Go |  https://b.example  ]]  ", "Go:\nhttps://b.example"),
        ('He said "no" -- twice', "He said “no” – twice"),
        ("<b>bold</b>", "<b>bold</b>"),
    ],
)
def test_plain_text_reads_as_a_person_would_type_it(markdown: str, expected: str) -> None:
    assert to_text(markdown, "here") == expected


def test_typed_html_is_shown_and_never_run() -> None:
    assert to_html("<script>alert(1)</script>", "here") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"


@pytest.mark.parametrize("argument", ["", ": ", ": Go", ": | https://b.example", ": Go |", ": Go https://b.example"])
def test_a_button_needs_words_and_an_address(argument: str) -> None:
    for make in (to_html, to_text):
        with pytest.raises(ContentError, match=r"here: write a button as \[\[button: Its words \| its address\]\]"):
            make(f"[[button{argument}]]", "here")


def test_a_component_nobody_knows_is_named_with_those_there_are() -> None:
    for make in (to_html, to_text):
        with pytest.raises(ContentError, match=r"here: \[\[baloon\]\] is no component; there are: " + ", ".join(KNOWN)):
            make("[[baloon]]", "here")


@pytest.mark.parametrize("markdown", ["```\n[[gift]]\n```", "```\na\n\n[[divider]]\n```"])
def test_a_component_inside_code_is_refused(markdown: str) -> None:
    with pytest.raises(ContentError, match="must stand alone on its line, not inside code"):
        to_html(markdown, "here")


def test_many_components_keep_their_places() -> None:
    """Twelve of them: the second must not be taken for the twelfth."""
    markdown = "\n\n".join(f"[[button: Go {n} | https://b.example/{n}]]" for n in range(12))
    labels = re.findall(r">(Go \d+)<", to_html(markdown, "here"))

    assert labels == [f"Go {n}" for n in range(12)]
    assert to_text(markdown, "here").split("\n\n") == [f"Go {n}:\nhttps://b.example/{n}" for n in range(12)]


def test_a_button_s_words_cannot_become_markup() -> None:
    page = to_html('[[button: <b>"x" | https://b.example/"><script>]]', "here")

    assert "<b>" not in page
    assert "<script>" not in page
