"""The same article gives the same sections as Markdown, as a saved page and as bare text."""

from __future__ import annotations

import re
import textwrap
import time
from html import escape as html_escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from funnel.article import Article, read_article
from funnel.article.levels import Heading, infer_levels
from funnel.article.parts import digest, normalise, slug
from funnel.errors import ArticleError

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).parent / "articles"
SAMPLE = ROOT / "emails" / "article.md"
NAMES = ("sample", "sourdough", "bike-questions", "letter", "cat-move", "habits")
FRONT = re.compile(r'\A---\ntitle: "(.*?)"\n.*?---\n', re.DOTALL)


def source(name: str) -> str:
    path = SAMPLE if name == "sample" else CORPUS / f"{name}.md"
    return path.read_text(encoding="utf-8")


def outline(name: str) -> list[tuple[int, str]]:
    lines = (CORPUS / f"{name}.outline").read_text(encoding="utf-8").splitlines()
    return [(int(line[0]), line[2:]) for line in lines]


def seen(article: Article) -> list[tuple[int, str]]:
    return [(section.level, section.heading) for section in article.sections]


def essence(article: Article) -> list[tuple[str, int, str, str, int]]:
    return [(s.id, s.level, normalise(s.heading), s.hash, s.words) for s in article.sections]


# --- the other two formats, made without the code under test


def inner_html(markdown: str) -> str:
    front = FRONT.match(markdown)
    text = f"# {front.group(1)}\n\n{markdown[front.end() :]}" if front else markdown
    return str(MarkdownIt("commonmark").enable("table").render(text))


def blog_page(inner: str, theme: str) -> str:
    """Return a page as a blog would serve it, with all that stands around an article."""
    title = re.sub(r"<[^>]+>", "", inner.partition("</h1>")[0]).strip()
    if theme == "bare":
        return f"<html><head><title>{title}</title></head><body>{inner}</body></html>"
    if theme == "unclosed":
        return f"<title>{title}</title>" + re.sub(r"</(?:p|li|td|tr|th)>", "", inner)
    body = f'<main><article class="post comments-open">{inner}</article></main>'
    if theme == "builder":
        head, _, rest = inner.partition("</h1>")
        parts = "".join(
            f'<div class="elementor-widget elementor-widget-text">{p}</div>' for p in re.split("(?=<h2)", rest)
        )
        body = f'<div class="hero-banner">{head}</h1></div><div class="post-content">{parts}</div>'
    page = (CORPUS / "furniture.html").read_text(encoding="utf-8")
    return page.replace("@TITLE@", title).replace("@CLASS@", "single has-sidebar").replace("@BODY@", body)


class Clipboard(HTMLParser):
    """What a browser copies: a line for each block, bullets drawn, headings like any other line."""

    BLOCKS = ("p", "h1", "h2", "h3", "h4", "li", "tr", "blockquote")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.text = ""
        self.lists: list[int] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in self.BLOCKS:
            self.end()
        if tag in ("ul", "ol"):
            self.lists.append(-1 if tag == "ul" else 0)
        if tag == "li":
            self.lists[-1] += self.lists[-1] >= 0
            mark = "•" if self.lists[-1] < 0 else f"{self.lists[-1]}."
            self.text = "  " * len(self.lists) + mark + " "
        if tag in ("td", "th") and self.text.strip():
            self.text += "\t"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("ul", "ol"):
            self.lists.pop()
        if tag in self.BLOCKS:
            self.end()

    def handle_data(self, data: str) -> None:
        self.text += re.sub(r"\s+", " ", data) if data.strip() or self.text.strip() else ""

    def end(self) -> None:
        if self.text.strip(" •\t"):
            self.lines.append(self.text.rstrip())
            self.text = ""


def curly(text: str) -> str:
    text = re.sub(r'(?<![\w.,!?])"(?=\S)', "“", text).replace('"', "”")
    return re.sub(r"(?<!\w)'(?=\w)", "‘", text).replace("'", "’")


def clipboard(inner: str, style: str) -> str:
    """Return the article as bare text: ``spaced``, ``dense`` (no empty lines) or ``wrapped`` at 72."""
    reader = Clipboard()
    reader.feed(inner)
    lines = [curly(line) for line in reader.lines]
    if style == "dense":
        return "\n".join(lines)
    out = ""
    for line in lines:
        item = re.match(r"\s+(?:•|\d+\.) ", line)
        out += "\n" if item else "\n\n"
        out += fill(line, "    " if item else "") if style == "wrapped" else line
    return out.strip("\n") + "\n"


def fill(line: str, indent: str) -> str:
    return textwrap.fill(
        line, 72, subsequent_indent=indent, break_on_hyphens=False, expand_tabs=False, replace_whitespace=False
    )


# --- the corpus


@pytest.mark.parametrize("name", NAMES)
def test_markdown_gives_the_sections_a_reader_sees(name: str) -> None:
    article = read_article(source(name), name=f"{name}.md")
    assert article.format == "markdown"
    assert seen(article) == outline(name)


@pytest.mark.parametrize("theme", ["blog", "bare", "unclosed", "builder"])
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_page_gives_the_same_sections(name: str, theme: str) -> None:
    expected = read_article(source(name), name="a.md")
    article = read_article(blog_page(inner_html(source(name)), theme), name="a.html")
    assert article.format == "html"
    assert article.title == expected.title
    assert essence(article) == essence(expected)
    assert [s.body for s in article.sections] == [s.body for s in expected.sections]
    assert article.asides == expected.asides


@pytest.mark.parametrize("style", ["spaced", "dense", "wrapped"])
@pytest.mark.parametrize("name", NAMES)
def test_bare_text_gives_the_same_sections(name: str, style: str) -> None:
    expected = read_article(source(name), name="a.md")
    article = read_article(clipboard(inner_html(source(name)), style), name="a.txt")
    assert article.format == "text"
    assert normalise(article.title) == normalise(expected.title)
    assert essence(article) == essence(expected)
    assert [aside.kind for aside in article.asides] == [aside.kind for aside in expected.asides]


@pytest.mark.parametrize("name", ["pasted.txt", "saved-page.html"])
def test_what_people_really_have(name: str) -> None:
    path = CORPUS / name
    article = read_article(path.read_text(encoding="utf-8"), name=name)
    assert seen(article) == outline(path.stem)


def test_asides_of_bare_text_are_kept_apart() -> None:
    article = read_article((CORPUS / "pasted.txt").read_text(encoding="utf-8"), name="pasted.txt")
    assert [(aside.kind, aside.text) for aside in article.asides] == [
        ("call-to-action", "Book Your Massage Today"),
        ("share", "Share:\nFacebook\nX (Twitter)\nCopy link"),
        ("disclaimer", "This page is for general information and does not replace a visit to your doctor."),
    ]
    assert "6 min read" not in article.sections[0].body


def test_a_saved_page_leaves_its_furniture_behind() -> None:
    article = read_article((CORPUS / "saved-page.html").read_text(encoding="utf-8"), name="page.html")
    everything = " ".join(section.body for section in article.sections)
    for junk in ("cookies", "Facebook", "Candles", "postman", "Archive", "mail address", "Posted by", "bzzz"):
        assert junk not in everything
    bodies = {section.id: section.body for section in article.sections}
    assert bodies["you-need"] == "- **A box:** Cardboard will do.\n- **A sheet:** White, so that you see the queen."
    assert "   - Not twice." in bodies["then"]
    assert bodies["is-it-dangerous"].endswith("> A swarm in May is worth a load of hay.")


def test_bare_bullets_get_their_term_in_bold() -> None:
    article = read_article((CORPUS / "pasted.txt").read_text(encoding="utf-8"), name="pasted.txt")
    assert "- **Skipped meals:** A low tank makes a grumpy head." in article.sections[1].body


def test_lines_point_into_the_file() -> None:
    for name in ("bike-questions.md", "saved-page.html", "pasted.txt"):
        text = (CORPUS / name).read_text(encoding="utf-8")
        lines = text.splitlines()
        for section in read_article(text, name=name).sections[1:]:
            assert section.heading in lines[section.line - 1]


# --- the sample


BANNED = r"""\b(cure|guarantee|miracle|breakthrough|proven|permanent|toxin|alignment|detox|regenerate|painless|always|
instantly|lasting\ relief|heal\ faster|safe\ for\ everyone)"""


def test_the_sample_keeps_the_editors_rules() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert re.findall(BANNED, text, re.IGNORECASE | re.VERBOSE) == []
    assert 1800 <= len(text.split()) <= 2400
    article = read_article(text, name="article.md")
    assert [(a.kind, a.text.split(".")[0]) for a in article.asides] == [
        ("call-to-action", "Start Your Care Today"),
        ("share", "Share this article"),
        ("disclaimer", "This article is general education"),
    ]
    assert max(grade(section.plain) for section in article.sections if section.words) <= 8


def syllables(word: str) -> int:
    letters = re.sub(r"[^a-z]", "", word.lower())
    silent = re.search(r"[^aeiouyl]e$|[^aeiouytd]ed$", letters) is not None
    return max(1, len(re.findall(r"[aeiouy]+", letters)) - silent)


def grade(text: str) -> float:
    """Return the Flesch-Kincaid grade."""
    spoken = [part for part in re.split(r"[.!?]+(?:\W|$)|\n", text) if re.search(r"\w", part)]
    words = re.findall(r"[A-Za-z0-9’'-]+", text)
    return 0.39 * len(words) / len(spoken) + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


# --- single rules


def read(text: str, name: str = "a.txt", **more: Any) -> Article:
    return read_article(textwrap.dedent(text).strip("\n") + "\n", name=name, **more)


LONG = "This is a paragraph that is long enough to be one, and it ends as a sentence does."


def test_ids_in_the_markdown_are_honoured() -> None:
    article = read(f"# T\n\n## One {{#first}}\n{LONG}\n\n## Two {{: #second .wide}}\n{LONG}\n\n## One\n{LONG}", "a.md")
    assert [(s.id, s.heading) for s in article.sections] == [("first", "One"), ("second", "Two"), ("one", "One")]


def test_equal_headings_get_different_ids() -> None:
    article = read(f"# T\n\n## Same\n{LONG}\n\n## Same\n{LONG}\n\n## Same {{#same}}\n{LONG}", "a.md")
    assert [s.id for s in article.sections] == ["same-2", "same-3", "same"]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Title\n\n1. One\n{p}\n\n1.1 Inner\n{p}\n\n2. Two\n{p}", [2, 3, 2]),
        ("Title\n\n\nOne\n\n{p}\n\nInner\n\n{p}\n\n\nTwo\n\n{p}", [2, 3, 2]),
        ("Title\n\nOne\n{p}\n\nTwo\n{p}\n\nThree\n{p}", [2, 2, 2]),
        ("Title\n\nAbout\n{p}\n\nCommon Questions\nWhat is it?\n{p}\nWhat does it cost?\n{p}\nThe End\n{p}",
         [2, 2, 3, 3, 2]),
        ("Title\n\nTwo ways to go\nAlpha\n{p}\nBeta\n{p}\nGamma\n{p}", [2, 3, 3, 2]),
        ("Title\n\nWays\nHere they are:\n1. Alpha\n{p}\n2. Beta\n{p}\nGamma\n{p}", [2, 3, 3, 2]),
    ],
    ids=["numbers", "gaps", "flat", "questions", "announced", "numbered group"],
)  # fmt: skip
def test_levels_that_nothing_marks(text: str, levels: list[int]) -> None:
    assert [s.level for s in read(text.format(p=LONG)).sections] == levels


@pytest.mark.parametrize("style", ["{}", "{}\n"], ids=["dense", "spaced"])
def test_advantages_stand_under_their_heading(style: str) -> None:
    lead = "There are several, and none is sure. Each of them is told below in a few words."
    names = [
        "Advantages of Tea for Sleep",
        "Quick Rest",
        "Calm Days",
        "Additional Advantages",
        "Other Drinks for Sleep",
    ]
    lines = ["Tea for Better Sleep", LONG, "About Tea for Sleep", LONG, names[0], lead]
    for name in names[1:]:
        lines += [name, f"{LONG} {LONG}"]
    article = read("\n".join(map(style.format, [*lines, "Milk and Honey", LONG])))
    assert [s.level for s in article.sections] == [2, 2, 2, 3, 3, 3, 2, 2]


def test_a_group_without_any_sign_of_its_end_is_no_group() -> None:
    lead, body = ("They are these, in short:",), (LONG,)
    heads = [Heading("Open", lead, has_list=False, gap=1)]
    heads += [Heading(name, body, has_list=False, gap=1) for name in ("A", "B", "C")]
    assert infer_levels(heads, "Some Title") == [2, 2, 2, 2]
    end = [Heading("Conclusion", body, has_list=False, gap=1)]
    assert infer_levels(heads + end, "Some Title") == [2, 3, 3, 3, 2]


@pytest.mark.parametrize(
    "line", ["Not a heading, for it goes on:", "It stops.", "and so small", "Call 555-0100 or write", "“Quoted words”",
             "Why?", "A line of many words which goes on and on and on and on and on for long"],
)  # fmt: skip
def test_lines_that_are_no_headings(line: str) -> None:
    article = read(f"Title\n\n{LONG}\n\n{line}\n\n{LONG}\n\nReal Heading\n\n{LONG}")
    assert [s.heading for s in article.sections] == ["Introduction", "Real Heading"]


def test_a_list_that_lost_its_bullets_is_a_list() -> None:
    article = read(f"Title\n\nSigns\nStiff in the morning\nTired at noon\nSore at night\nWhat Helps\n{LONG}")
    assert [s.heading for s in article.sections] == ["Signs", "What Helps"]
    assert article.sections[0].body == "- Stiff in the morning\n- Tired at noon\n- Sore at night"


def test_a_call_to_action_in_the_middle_is_lifted_out() -> None:
    article = read(f"Title\n\nOne\n{LONG}\nBook Your Appointment Today\nTwo\n{LONG}\nMake Your Own Tea\n{LONG} {LONG}")
    assert [s.heading for s in article.sections] == ["One", "Two", "Make Your Own Tea"]
    assert [a.text for a in article.asides] == ["Book Your Appointment Today"]


def test_a_table_of_contents_is_no_section() -> None:
    article = read(f"# T\n\n## Contents\n\n- [One](#one)\n- [Two](#two)\n\n## One\n{LONG}\n\n## Two\n{LONG}", "a.md")
    assert [s.heading for s in article.sections] == ["One", "Two"]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.md", "Title\n\n  • Term: words\n  • Other: words", "text"),
        ("a.txt", f"# Title\n\n## One\n{LONG}", "markdown"),
        ("a.txt", f"<!DOCTYPE html><p>{LONG}", "html"),
        ("a.html", f"Title\n\n{LONG}", "text"),
        ("-", f"Title\n\n{LONG}", "text"),
    ],
)
def test_the_look_decides_where_the_name_is_wrong(name: str, text: str, form: str) -> None:
    assert read_article(text, name=name).format == form


# --- generated articles


WORDS = st.sampled_from(["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "jetty"])
ODD = st.sampled_from(["5 * 3", "a_b_c", "x < y & z", "[sic]", "`tick`", "#tag", "50%", "“so”", "naïve", "**", "a|b"])
HEADINGS = st.lists(WORDS, min_size=1, max_size=5).map(lambda w: " ".join(w).capitalize())
SENTENCE = st.lists(WORDS | ODD, min_size=5, max_size=30).map(lambda w: "The " + " ".join(w) + " end.")
ITEMS = st.lists(SENTENCE, min_size=2, max_size=4)
BODY = st.tuples(st.lists(SENTENCE, min_size=1, max_size=3), st.just([]) | ITEMS)
SECTIONS = st.lists(st.tuples(HEADINGS, BODY), min_size=1, max_size=6)
Made = list[tuple[str, tuple[list[str], list[str]]]]


def as_markdown(made: Made) -> str:
    def safe(text: str) -> str:
        return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)

    parts = ["# The Title of It"]
    for heading, (paragraphs, items) in made:
        parts += [f"## {heading}", *map(safe, paragraphs)]
        parts += ["\n".join(f"- {safe(item)}" for item in items)] if items else []
    return "\n\n".join(parts)


def as_html(made: Made) -> str:
    parts = ["<h1>The Title of It</h1>"]
    for heading, (paragraphs, items) in made:
        parts += [f"<h2>{heading}</h2>", *(f"<p>{html_escape(p)}</p>" for p in paragraphs)]
        parts += ["<ul>", *(f"<li>{html_escape(i)}</li>" for i in items), "</ul>"] if items else []
    return blog_page("".join(parts), "blog")


def as_text(made: Made) -> str:
    parts = ["The Title of It"]
    for heading, (paragraphs, items) in made:
        parts += [heading, *paragraphs]
        parts += ["\n".join(f"  • {item}" for item in items)] if items else []
    return "\n\n".join(parts)


@settings(max_examples=60, deadline=None)
@given(SECTIONS)
@example([("Amber", (["The 1. 2) - + > # end."], ["The - one; two end.", "The 3. end."]))])
def test_a_made_article_is_read_back_from_each_format(made: Made) -> None:
    expected = [(heading, digest("\n".join(paragraphs + items))) for heading, (paragraphs, items) in made]
    articles = [read_article(as_markdown(made), name="a.md"), read_article(as_html(made), name="a.html"),
                read_article(as_text(made), name="a.txt")]  # fmt: skip
    for article in articles:
        assert article.title == "The Title of It"
        assert [(s.heading, s.hash) for s in article.sections] == expected
        assert len({s.id for s in article.sections}) == len(article.sections)
    bodies = [[s.body for s in article.sections] for article in articles]
    assert bodies[0] == bodies[1] == bodies[2]


@settings(max_examples=40, deadline=None)
@given(SECTIONS)
def test_reading_a_body_again_changes_nothing(made: Made) -> None:
    first = read_article(as_html(made), name="a.html")
    again = "# The Title of It\n\n" + "\n\n".join(f"## {s.heading}\n\n{s.body}" for s in first.sections)
    second = read_article(again, name="a.md")
    assert [(s.heading, s.body, s.hash) for s in second.sections] == [
        (s.heading, s.body, s.hash) for s in first.sections
    ]


@given(st.text())
@example("℠")
@example("1. 2. x")
def test_a_slug_is_a_name(text: str) -> None:
    name = slug(text)
    assert re.fullmatch(r"[^\W_]+(?:-[^\W_]+)*", name)
    assert slug(name) == name
    assert len(name) <= 60


# --- what is no article


SCRAPS = r"<p>|<div>|</p>|<h2>|#|##|-|1.|*|[|](|)|~|~~|`|>|&|<!--|![|{#a}|:|Share|Disclaimer:|\0|\ufeff|word.|Word"
SCRAP = st.sampled_from([scrap.replace("~", "\n") for scrap in (*SCRAPS.split("|"), "\x00", "\ufeff", "|", "|-|")])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(max_size=300) | st.lists(SCRAP, max_size=60).map(" ".join),
    st.sampled_from(["a.md", "a.html", "a.txt", "a"]),
)
def test_anything_is_an_article_or_one_sentence(text: str, name: str) -> None:
    article, refused = attempt(text, name)
    if article is None:
        assert refused.startswith(name)
        assert "\n" not in refused
    else:
        assert article.title
        assert article.sections
        assert all(s.level in (2, 3) and s.id and s.line >= 1 for s in article.sections)


def attempt(text: str, name: str) -> tuple[Article | None, str]:
    try:
        return read_article(text, name=name), ""
    except ArticleError as error:
        return None, str(error)


NASTY = {
    "empty": "", "blank": " \n\t\n", "bom": "\ufeff", "nul": "\x00" * 1000, "title only": "# Title",
    "binary": bytes(range(256)).decode("latin-1") * 200, "png": "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\ufffd\ufffd" * 9,
    "headings only": "# T\n\n## A\n\n## B\n", "5 MB line": "word " * 1_000_000, "5 MB lines": "word word\n\n" * 450_000,
    "script page": "<html><script>" + "x" * 100_000 + "</script></html>", "many headings": "# a\n\nb\n\n" * 5_000,
    "one short line": "Only a title",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["md", "html", "txt"])
@pytest.mark.parametrize("kind", NASTY)
def test_what_is_no_article_is_refused_in_one_sentence(kind: str, suffix: str) -> None:
    began = time.process_time()
    with pytest.raises(ArticleError) as caught:
        read_article(NASTY[kind], name=f"a.{suffix}")
    assert str(caught.value).startswith(f"a.{suffix}")
    assert time.process_time() - began < 60


DEEP = {
    "unclosed": "<p>words and more words" * 60_000, "deep": "<div>" * 50_000 + "words",
    "5 MB page": f"<p>{LONG}</p>" * 60_000,
    "inline data": '<p>Words. <img src="data:image/png;base64,' + "A" * 4_000_000 + '"></p>',
    "deep spans": "<html><b>" * 20_000 + "words", "brackets": "# T\n\n" + ("![" * 4_000 + "\n\n") * 10,
    "calls": "T\n\n" + "Book now\n\n" * 20_000, "quotes": ">" * 50_000 + " x",
    "stars": "# T\n\n" + "*a **b " * 1_400, "long bullet": "T\n\n" + "  • a: b\n" * 20_000,
    "numbers": "T\n\n" + "1. a\n" * 20_000,
    "pipes": "# T\n\n" + "|a" * 2_000 + "\n" + "|-" * 2_000 + "\n", "short lines": "Title\n" + "Short Line\n" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["md", "html", "txt"])
@pytest.mark.parametrize("kind", DEEP)
def test_hard_input_ends_in_bounded_time(kind: str, suffix: str) -> None:
    began = time.process_time()
    article, refused = attempt(DEEP[kind], f"a.{suffix}")
    assert article is not None or refused.startswith(f"a.{suffix}")
    assert time.process_time() - began < 60


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\u2028"])
def test_line_ends_and_byte_order_marks_make_no_difference(ends: str) -> None:
    plain = read_article(source("cat-move"), name="a.md")
    other = read_article("\ufeff" + source("cat-move").replace("\n", ends), name="a.md")
    assert other == plain


def test_a_few_stray_nuls_are_dropped() -> None:
    text = source("letter")
    assert read_article(text.replace("pear", "pe\x00ar"), name="a.md") == read_article(text, name="a.md")
