"""The guide itself: its plan, its pages, its figures and the numbers in them."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from funnel.guide.matter import svg_texts
from funnel.guide.palette import contrast
from funnel.guide.reading import words
from funnel.guide.source import load

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.guide import Built

OPENERS = {
    f"ch{number:02}": page for number, page in enumerate((10, 14, 18, 22, 26, 30, 34, 40, 44, 49, 54, 60, 63), 1)
}
PLAN = {"cover": 1, "help": 2, "title": 3, "about": 4, "contents": 5, "promise": 7, "how-to-use": 8, **OPENERS}
SHEETS = {"w0": 2, "w1": 21, "w2": 25, "w3": 48, "w4": 59, "w5": 62, "w6": 63, "w7": 64, "w8": 65, "w9": 66}
FIGURES = {1: 11, 2: 12, 3: 17, 4: 16, 5: 20, 6: 23, 7: 24, 8: 27, 9: 28, 10: 29, 11: 31, 12: 33, 13: 32, 14: 35}
FIGURES |= {15: 36, 16: 38, 17: 41, 18: 43, 19: 45, 20: 46, 21: 50, 22: 51, 23: 55, 24: 56, 25: 57, 26: 58, 27: 60}
DATA = ("fig-02", "fig-04", "fig-10", "fig-15", "fig-19")


def test_every_part_figure_and_worksheet_stands_on_its_page(real: Built) -> None:
    expected = PLAN | SHEETS | {f"fig-{number:02}": page for number, page in FIGURES.items()}
    expected |= {"glossary": 68, "references": 70, "index": 71, "back": 72}
    assert {name: real.anchors.get(name) for name in expected} == expected


def test_is_light_and_complete(real: Built) -> None:
    assert real.pages == 72
    assert real.pdf.stat().st_size < 2_000_000
    assert real.html.stat().st_size < 2_000_000


def test_the_glossary_has_its_terms(real_source: Path) -> None:
    terms = [term for term, _ in load(real_source).glossary]
    assert len(terms) == len(set(terms)) == 62


def test_pictures_are_drawn_for_everyone(real_source: Path) -> None:
    for path in sorted((real_source / "figures").glob("*.svg")):
        root = ET.parse(path).getroot()
        kinds = [child.tag.rpartition("}")[2] for child in root][:2]
        assert kinds == ["title", "desc"], path.name
        assert all("".join(child.itertext()).strip() for child in list(root)[:2]), path.name


def test_no_word_in_a_picture_is_too_small(real_source: Path) -> None:
    for path in sorted((real_source / "figures").glob("*.svg")):
        sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', path.read_text("utf-8"))]
        assert all(size >= 15 for size in sizes), path.name


def test_pictures_use_the_embedded_font(real_source: Path) -> None:
    for path in sorted((real_source / "figures").glob("*.svg")):
        families = set(re.findall(r'font-family="([^"]+)"', path.read_text("utf-8")))
        assert all(family.startswith("'Source S") for family in families), path.name


@pytest.mark.parametrize("name", DATA)
def test_a_data_figure_shows_the_numbers_of_its_data_file(real_source: Path, name: str) -> None:
    data = tomllib.loads((real_source / "data" / f"{name}.toml").read_text("utf-8"))
    path = real_source / "figures" / f"{name}.svg"
    desc = ET.parse(path).getroot().find("{http://www.w3.org/2000/svg}desc")
    assert desc is not None
    described = set(re.findall(r"\d+", "".join(desc.itertext()).replace(",", "")))
    printed = set(re.findall(r"\d+", " ".join(svg_texts(path)).replace(",", "")))
    expected = {str(value) for value in _numbers(data)}
    assert expected, name
    assert expected <= described, (name, expected - described)
    assert expected <= printed | described, (name, expected - printed)


def _numbers(value: object) -> list[int]:
    match value:
        case bool():
            return []
        case int():
            return [value]
        case dict():
            return [number for inner in value.values() for number in _numbers(inner)]
        case list():
            return [number for inner in value for number in _numbers(inner)]
        case _:
            return []


def test_every_data_file_names_a_source_that_was_read(real_source: Path) -> None:
    book = load(real_source)
    for name in DATA:
        data = tomllib.loads((real_source / "data" / f"{name}.toml").read_text("utf-8"))
        keys = re.findall(r"R\d+b?", str(data.get("source", data.get("sources", ""))))
        assert keys, name
        assert all(book.references[key].firm for key in keys), name


def test_alt_texts_say_something(real_source: Path) -> None:
    for name, (_, figure) in load(real_source).figures.items():
        alt = getattr(figure, "alt", "a table needs none and has its cells")
        assert len(words(alt)) >= 6, name


def test_the_red_and_the_amber_box_can_be_read() -> None:
    assert contrast("#9b1c1c", "#fbeceb") > 4.5
    assert contrast("#7a4a00", "#fdf3e0") > 4.5
