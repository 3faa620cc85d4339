"""The worksheets as forms: each place to write on is a named, tagged field in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pikepdf
import pytest

from funnel import guide
from funnel.guide.forms import Field, make_fillable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.guide import Built, GuideSettings
    from tests.guide.conftest import SmallGuide


@pytest.fixture(scope="module")
def opened(real: Built) -> Iterator[pikepdf.Pdf]:
    with pikepdf.open(real.pdf) as pdf:
        yield pdf


def fields(pdf: pikepdf.Pdf) -> list[Any]:
    return list(pdf.Root.AcroForm.Fields)


def test_the_small_guide_has_its_four_places_to_write_and_one_to_tick(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    built = guide.build(small.root, settings, tmp_path / "out")
    with pikepdf.open(built.pdf) as pdf:
        found = {str(field.T): (str(field.TU), str(field.FT)) for field in fields(pdf)}
    assert found == {
        "w1-1": ("My goal", "/Tx"),
        "w1-2": ("It aches", "/Btn"),
        "w1-3": ("Pain, Monday", "/Tx"),
        "w1-4": ("Body map, line 4", "/Tx"),
        "w1-5": ("Body map, line 5", "/Tx"),
    }


def test_names_are_unique_and_every_field_says_what_it_is(opened: pikepdf.Pdf) -> None:
    names = [str(field.T) for field in fields(opened)]
    assert len(names) == len(set(names)) > 100
    assert all(len(str(field.TU).strip()) > 1 for field in fields(opened))


def test_every_field_stands_on_a_page_inside_it_and_prints(opened: pikepdf.Pdf) -> None:
    placed = {note.objgen: page for page in opened.pages for note in page.get("/Annots", [])}
    for field in fields(opened):
        left, low, right, high = (float(value) for value in field.Rect)
        assert field.objgen in placed
        assert 0 < left < right < 612
        assert 0 < low < high < 792
        assert int(field.F) & 4
        assert placed[field.objgen].Tabs == pikepdf.Name.S


def test_lines_are_far_enough_apart_to_write_on(opened: pikepdf.Pdf) -> None:
    heights = [float(field.Rect[3] - field.Rect[1]) for field in fields(opened) if field.FT == "/Tx"]
    assert min(heights) >= 16.5


def test_every_field_is_tagged_as_a_form(opened: pikepdf.Pdf) -> None:
    tagged = {
        kid.Obj.objgen
        for one in opened.objects
        if isinstance(one, pikepdf.Dictionary) and one.get("/S") == "/Form"
        for kid in (one.K if isinstance(one.K, pikepdf.Array) else [one.K])
        if isinstance(kid, pikepdf.Dictionary) and "/Obj" in kid
    }
    assert tagged == {field.objgen for field in fields(opened)}


def test_no_field_is_left_as_a_link(opened: pikepdf.Pdf) -> None:
    actions = [one for one in opened.objects if isinstance(one, pikepdf.Dictionary) and "/URI" in one]
    assert not [one for one in actions if str(one.URI).startswith("field:")]
    assert b"field:" not in b"".join(note.unparse() for page in opened.pages for note in page.get("/Annots", []))


def test_a_tick_box_has_both_faces_and_starts_empty(opened: pikepdf.Pdf) -> None:
    boxes = [field for field in fields(opened) if field.FT == "/Btn"]
    assert len(boxes) >= 16
    for box in boxes:
        assert box.AS == box.V == pikepdf.Name.Off
        assert set(box.AP.N.keys()) == {"/Yes", "/Off"}
        assert b" S Q" in box.AP.N.Yes.read_bytes()
        assert box.AP.N.Off.read_bytes() == b""


def test_a_guide_without_worksheets_has_no_form() -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page()
    make_fillable(pdf, [Field("a", "A")])
    assert "/AcroForm" not in pdf.Root
