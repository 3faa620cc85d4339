"""What is recognised in HTML and CSS, and where it is found again in a source."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks.features import css_features, features, pattern_of


@pytest.mark.parametrize(
    ("css", "mark"),
    [
        ("a { display: grid }", "display:grid"),
        ("a{position:absolute;top:0}", "position:"),
        ("a { width: calc(1px + 2vw) }", "calc()"),
        ("a { width: calc(1px + 2vw) }", "1vw"),
        ("a { width: 50% }", "1%"),
        ("a { color: red !important }", "!important"),
        ("a { background: url( 'x/paper.svg?1' ) }", "*.svg"),
        ("a { background: url(data:image/png;base64,iVBO;R==) }", "data:"),
        ("a { width: min-content }", "min-content"),
        ("a { color: var(--ink) }", "var()"),
        ("@media (prefers-color-scheme: dark) { a { color: red } }", "@media (prefers-color-scheme)"),
        ("@media print { a { color: red } }", "@media"),
        ("@font-face { font-family: X }", "@font-face"),
        ("a:hover { color: red }", ":hover"),
        ("a::before { content: 'x' }", "::before"),
        ("li:nth-child(2) { color: red }", ":nth-child"),
        ("a > b { color: red }", ">"),
        ("a + b { color: red }", "+"),
        ("a ~ b { color: red }", "~"),
        ("a b { color: red }", " "),
        ("a[href] { color: red }", "[]"),
        ("#top { color: red }", "#"),
        ("* { color: red }", "*"),
        (".a.b { color: red }", ".a.b"),
    ],
)
def test_css_is_recognised(css: str, mark: str) -> None:
    assert mark in css_features(css)


@pytest.mark.parametrize(
    ("css", "mark"),
    [
        ("/* a { position: fixed } */ a { color: red }", "position:"),
        ("a { background-position: 0 0 }", "position:"),
        ("a { font-family: 'grid' ; display: block }", "display:grid"),
        ("a { mso-padding-alt: 3vh }", "1vh"),
        ("a { color: #12in34 }", "1in"),
        ("a[title='x > y'] { color: red }", ">"),
        ("a { content: 'b; position: fixed' }", "position:"),
        ("a { color: red !important }", "color:important"),
    ],
)
def test_what_only_looks_like_it_is_not(css: str, mark: str) -> None:
    assert mark not in css_features(css)


@pytest.mark.parametrize(
    ("html", "mark"),
    [
        ("<video src=x></video>", "<video>"),
        ("<img srcset='a 2x' src=a.webp alt=''>", "[srcset]"),
        ("<img src='a.webp' alt=''>", "*.webp"),
        ("<img src='data:image/png;base64,AA' alt=''>", "data:"),
        ("<input type=checkbox>", "<input type=checkbox>"),
        ("<a href='#top'>x</a>", "[href=#]"),
        ("<a href='mailto:a@b.c'>x</a>", "[href=mailto]"),
        ("<p style='float: left'>x</p>", "float:"),
        ("<style>p { float: left }</style>", "float:"),
    ],
)
def test_html_is_recognised(html: str, mark: str) -> None:
    assert mark in features(html)


@pytest.mark.parametrize(
    "html",
    [
        "<!--[if mso]><style>p { position: fixed }</style><video></video><![endif]--><p>x</p>",
        "<p>position: fixed; &lt;video&gt;</p>",
        "<title>video { position: fixed }</title>",
    ],
)
def test_comments_and_words_are_no_features(html: str) -> None:
    assert features(html).isdisjoint({"position:", "<video>"})


NAMES = st.sampled_from(["position", "float", "gap", "transform", "box-shadow", "grid-template-columns"])
VALUES = st.sampled_from(["0", "left", "calc(1px * 2)", "red !important", "url(x.png)", "1.5em auto", "'a;b{c}'"])
SELECTORS = st.sampled_from(["a", ".b", "a:hover", "td > p", "[dir=rtl] li", "a, b"])


@given(st.lists(st.tuples(SELECTORS, NAMES, VALUES), min_size=1, max_size=8), st.booleans())
def test_every_property_is_seen_however_it_is_written(rules: list[tuple[str, str, str]], nested: bool) -> None:
    """Inlined, in a sheet and within @media the same properties are found, and no others."""
    sheet = "".join(f"{selector} {{ {name}: {value}; }}\n" for selector, name, value in rules)
    inline = "".join(f'<p style="{name}: {value}">x</p>' for _, name, value in rules)
    expected = {f"{name}:" for _, name, _ in rules}

    page = f"<style>@media print {{ {sheet} }}</style>" if nested else f"<style>{sheet}</style>"

    for html in (page, inline):
        assert {mark for mark in features(html) if mark.endswith(":")} == expected


@given(st.text(alphabet="{};:@()[]<>'\"/*#.ab1% \n-!", max_size=80))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert isinstance(css_features(text), set)
    assert isinstance(features(f"<style>{text}</style><p style='{text}'>{text}"), set)


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ("position:", "  POSITION : absolute;"),
        ("display:grid", "a { display: grid }"),
        ("<video>", '<video src="x">'),
        ("<input type=checkbox>", "<input type=checkbox>"),
        ("[srcset]", '<img srcset="x">'),
        ("@media (hover)", "@media screen and (hover: none) {"),
        ("@font-face", "@font-face {"),
        (":hover", "a:hover {"),
        ("calc()", "width: calc(1px)"),
        ("1vh", "height: 10vh;"),
        ("1%", "height: 10%;"),
        ("*.svg", 'src="x.svg"'),
        (">", "a > b {"),
        ("!important", "color: red !important"),
    ],
)
def test_a_mark_is_found_in_its_source(mark: str, line: str) -> None:
    assert pattern_of(mark).search(line)


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ("position:", "background-position: 0"),
        ("<a>", "<article>"),
        ("1vh", "1vhx"),
        ("@media (hover)", "@media print"),
    ],
)
def test_and_not_elsewhere(mark: str, line: str) -> None:
    assert not pattern_of(mark).search(line)


@given(st.sampled_from(["a { %s: 0 }", "%s:0", "x{color:red;%s : 1px}"]), NAMES)
def test_what_is_recognised_is_found_again(form: str, name: str) -> None:
    css = form % name

    assert f"{name}:" in css_features(css)
    assert re.search(pattern_of(f"{name}:"), css)
