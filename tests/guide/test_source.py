"""Reading the source folder: each thing an editor can get wrong is refused with file, line and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.source import known_anchors, load

if TYPE_CHECKING:
    from tests.guide.conftest import SmallGuide


def test_reads_parts_pages_and_ids(small: SmallGuide) -> None:
    book = load(small.root)
    assert [part.id for part in book.parts] == ["cover", "help", "contents", "ch01", "glossary", "references", "back"]
    assert known_anchors(book)["w1"] == 6
    assert set(book.figures) == {"fig-01"}
    assert list(book.worksheets) == ["w1"]


def test_sources_are_numbered_in_the_order_of_first_use(small: SmallGuide) -> None:
    assert load(small.root).cited == {"R48": 1, "R41": 2}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[R41]", "[R99]", r"05-ch01.md, line 9: source \[R99\] is not in references.toml"),
        ("{page:fig-01}", "{page:fig-77}", r"line 9: there is no chapter, heading, figure or worksheet 'fig-77'"),
        ("## The", "![x](fig-02)\n\n## The", "there is no picture figures/fig-02.svg; draw it"),
        ("\n---\n\n## The", "\n\n## The", r"pages = \[5, 6\] is 2 pages, but the text has 1"),
        ("w1 Body map", "Body map", "a worksheet needs id and title"),
        ("::: try", "::: tip", "there is no box 'tip'; use one of try, ask"),
        ("[CLINIC_NAME]", "[CLINIC_NAM]", r"there is no setting \[CLINIC_NAM\]"),
        ("My goal", "<b>My</b> goal", "a raw HTML tag cannot be used here"),
        ("{#ch01-spine}", "{#w1}", "the id 'w1' is used twice"),
        ("pages = [5, 6]", "pages = [6, 7]", "begins on page 6, but page 5 comes next"),
        ("pages = [5, 6]", "pages = 5", "pages must be the first and the last page"),
        ('id = "ch01"', "", "'id' is missing"),
        ("number = 1", "number = = 1", "settings between the lines"),
        ("number = 1", "number = 'one'", "number must be a number"),
        ('title = "Back pain is common"', "title = 7", "title must be one line of text"),
    ],
)
def test_a_mistake_in_a_chapter_is_named(small: SmallGuide, old: str, new: str, says: str) -> None:
    small.edit("chapters/05-ch01.md", old, new)
    with pytest.raises(GuideError, match=says):
        load(small.root)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("guide.toml", "pages = 11", "pages = 12", "the parts make 11 pages, but the guide has 12"),
        ("guide.toml", 'made = "glossary"', 'made = "poems"', "the builder cannot make 'poems'"),
        ("guide.toml", 'subtitle = "For tests"\n', "", "guide.toml: 'subtitle' is missing"),
        ("guide.toml", "02-help.md", "02-halp.md", "02-halp.md is missing, but guide.toml names it"),
        ("references.toml", 'status = "P"', 'status = "?"', r"references.toml \[R88\]: status is '\?'"),
        ("glossary.toml", "means", "meant", "glossary.toml: 'means' is missing"),
        ("chapters/02-help.md", "+++\nid", "id", "must begin with its settings"),
    ],
)
def test_a_mistake_in_the_data_is_named(small: SmallGuide, name: str, old: str, new: str, says: str) -> None:
    small.edit(name, old, new)
    with pytest.raises(GuideError, match=says):
        load(small.root)


def test_a_chapter_too_many_is_refused_before_anything_is_typeset(small: SmallGuide) -> None:
    small.edit(
        "guide.toml",
        '[[part]]\nfile = "chapters/11',
        '[[part]]\nmade = "glossary"\npages = [11, 11]\n[[part]]\nfile = "chapters/11',
    )
    with pytest.raises(GuideError, match="'Goodbye' begins on page 11, but page 12 comes next"):
        load(small.root)


def test_text_that_is_not_utf8_is_named(small: SmallGuide) -> None:
    (small.root / "chapters/02-help.md").write_bytes(b"+++\nid = '\xff'\n+++\n")
    with pytest.raises(GuideError, match="is not UTF-8"):
        load(small.root)


def test_windows_line_ends_and_a_mark_at_the_start_do_no_harm(small: SmallGuide) -> None:
    text = (small.root / "chapters/05-ch01.md").read_text("utf-8")
    (small.root / "chapters/05-ch01.md").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(load(small.root).parts) == 7


def test_a_worksheet_may_go_on_to_the_next_page(small: SmallGuide) -> None:
    small.body("::: worksheet w1 Body map\nHere.\n:::\n")
    book = load(small.root)
    assert known_anchors(book)["w1"] == 5


def test_the_same_worksheet_twice_on_one_page_is_refused(small: SmallGuide) -> None:
    small.edit("chapters/05-ch01.md", "::: try", "::: worksheet w1 Again\nHere.\n:::\n\n::: try")
    with pytest.raises(GuideError, match="'w1' is used twice"):
        load(small.root)


def test_a_table_with_a_bold_caption_is_a_figure(small: SmallGuide) -> None:
    small.body(
        "**Figure 16. What was found.**\n\n| A | B |\n|---|---|\n| c | d |\n\nSee page {page:fig-16}, {page:fig-01}.\n"
    )
    page, figure = load(small.root).figures["fig-16"]
    assert page.number == 5
    assert isinstance(figure, n.Caption)
