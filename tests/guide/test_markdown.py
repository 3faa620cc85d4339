"""From Markdown to the tree."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.markdown import parse, parse_inline
from funnel.guide.typeset import quoted

WORD = st.text("abcdefghij ", min_size=1).map(str.strip).filter(bool)


def para(text: str) -> tuple[n.Inline, ...]:
    blocks = parse(text, "f.md")
    assert len(blocks) == 1
    assert isinstance(blocks[0], n.Para)
    return blocks[0].body


def test_a_key_moves_behind_the_stop_and_loses_its_space() -> None:
    assert para("Twelve weeks [R14]. Then") == (n.Text("Twelve weeks"), n.Text("."), n.Cite("R14"), n.Text(" Then"))


def test_several_keys_stay_together() -> None:
    expected = (n.Text("Yes"), n.Text("."), n.Cite("R1"), n.Cite("R48", memory=True))
    assert para("Yes [R1][R48 M].") == expected


def test_a_lone_doubt_is_kept_for_the_check_and_prints_nothing() -> None:
    body = para("Heat may help. [M]")
    assert n.Cite("", memory=True) in body
    assert n.plain(body) == "Heat may help."


def test_quotes_become_typographic() -> None:
    assert n.plain(para("\"It's\" 'so'")) == "“It’s” ‘so’"


def test_marks_inside_bold_words_are_read() -> None:
    (bold,) = para('**Page {page:ch11} and [knots]{.idx key="trigger point"}**')
    assert isinstance(bold, n.Styled)
    assert bold.body == (
        n.Text("Page "),
        n.PageOf("ch11"),
        n.Text(" and "),
        n.Term("trigger point", (n.Text("knots"),)),
    )


def test_an_icon_is_read() -> None:
    assert para("{icon:leaf} Leaf") == (n.Icon("leaf"), n.Text(" Leaf"))


def test_a_heading_gives_its_id_away() -> None:
    assert parse('## The "spine" {#ch01-spine}', "f.md") == (n.Heading(2, "ch01-spine", (n.Text("The “spine”"),), 1),)


@pytest.mark.parametrize(("text", "count"), [("____", 1), ("________", 1), ("____ 3", 3)])
def test_underscores_are_lines_to_write_on(text: str, count: int) -> None:
    (lines,) = parse(text, "f.md")
    assert lines == n.Lines(count, 1)


def test_a_label_with_a_line() -> None:
    assert para("Goal: ____ Date: ____") == (n.Text("Goal: "), n.Blank(), n.Text(" Date: "), n.Blank())


def test_a_worksheet_holds_ticks_tables_and_empty_cells() -> None:
    (box,) = parse("::: worksheet w4 Flare-up plan\n- [ ] one\n- two\n\n| a | b |\n|---|---|\n| x | |\n:::", "f.md")
    assert isinstance(box, n.Box)
    assert (box.anchor, box.title) == ("w4", "Flare-up plan")
    items, table = box.body
    assert isinstance(items, n.Items)
    assert items.items == ((n.Tick(), n.Text("one")), (n.Text("two"),))
    assert isinstance(table, n.Table)
    assert table.rows == (((n.Text("x"),), ()),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x\n\n<b>y</b>", "line 3: a raw HTML tag"),
        ("<script>1</script>", "a raw HTML tag"),
        ("# Title", "use ## or ###"),
        ("`code`", "code cannot be used"),
        ("```\nx\n```", "a block of code"),
        ("> said", "a quotation"),
        ("- a\n  - b", "a list has one level"),
        ("::: note\n***\n:::", "starts a page"),
        ("::: poem\nx\n:::", "there is no box 'poem'"),
        ("see {page:}", "is not a mark"),
        ("see {dots:5}", "is not a mark"),
        ("so [R12", "is not a mark"),
        ("see {icon:star}", "is not a mark"),
        ("[CLINIC_NAMES]", r"there is no setting \[CLINIC_NAMES\]"),
        ("[x]{.bold}", "unknown mark"),
        ("a ![b](c) d", "a picture inside a sentence"),
    ],
)
def test_what_the_format_does_not_know_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(GuideError, match=says):
        parse(text, "f.md")


@pytest.mark.parametrize("text", ["## a heading", "one\n\ntwo", ""])
def test_a_title_is_one_line_of_words(text: str) -> None:
    with pytest.raises(GuideError, match="one line of plain words"):
        parse_inline(text, "a title")


@given(st.lists(WORD, min_size=1, max_size=5))
def test_plain_words_come_through_unchanged(words: list[str]) -> None:
    text = " and ".join(words)
    assert n.plain(para(text)) == text


@given(st.text())
def test_a_typst_string_ends_where_it_should(text: str) -> None:
    literal = quoted(text)
    inner = literal[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    assert "\\" not in inner
    assert "\n" not in literal


@given(st.text("abc *_[]{}()#<>!|:-`~\\\n\"'0123456789R.", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(GuideError):
        parse(text, "f.md")
