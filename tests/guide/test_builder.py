"""The build: what it makes, that it is the same each time, and that a failure leaves the last good one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pikepdf
import pytest

from funnel import guide
from funnel.errors import GuideError
from funnel.guide.builder import page_title
from funnel.guide.source import load

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.guide import GuideSettings
    from tests.guide.conftest import SmallGuide


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what every file under a folder holds, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_makes_the_files_and_tells_where_everything_stands(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    built = guide.build(small.root, settings, tmp_path / "out")
    with pikepdf.open(built.pdf) as pdf:
        assert len(pdf.pages) == built.pages == 11
        assert str(pdf.docinfo["/Title"]) == "Small: A Guide"
    assert built.anchors == json.loads((tmp_path / "out" / "pages.json").read_text())
    expected = {
        "help": 2,
        "contents": 3,
        "ch01": 5,
        "ch01-spine": 6,
        "fig-01": 6,
        "w1": 6,
        "references": 9,
        "index": 10,
    }
    assert expected.items() <= built.anchors.items()
    assert built.html.read_text("utf-8").startswith("<!doctype html>")
    assert built.seconds > 0


def test_the_same_source_gives_the_same_bytes_in_another_folder(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    one = guide.build(small.root, settings, tmp_path / "one")
    moved = small.root.rename(tmp_path / "elsewhere")
    two = guide.build(moved, settings, tmp_path / "two")
    assert one.pdf.read_bytes() == two.pdf.read_bytes()
    assert one.sha256 == two.sha256
    assert one.html.read_bytes() == two.html.read_bytes()


def test_another_clinic_gives_other_bytes(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    one = guide.build(small.root, settings, tmp_path / "one")
    two = guide.build(small.root, replace(settings, clinic_name="Other Clinic"), tmp_path / "two")
    assert one.sha256 != two.sha256


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chapters/05-ch01.md", ""),
        ("figures/fig-01.svg", ""),
        ("figures/cover.svg", "<svg"),
        ("references.toml", "[R41"),
        ("template/book.typ", "#let x = ("),
        ("template/palette.toml", "x"),
    ],
)
def test_a_failure_leaves_the_last_good_files(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path, name: str, text: str
) -> None:
    guide.build(small.root, settings, tmp_path / "out")
    before = files_of(tmp_path / "out")
    assert {"guide.pdf", "figures.json", "fig-01.png"} <= set(before)
    small.write(name, text)
    with pytest.raises(GuideError):
        guide.build(small.root, settings, tmp_path / "out")
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["figures/cover.svg", "template/edition.css", "template/palette.toml"])
def test_a_missing_file_is_named(small: SmallGuide, settings: GuideSettings, tmp_path: Path, name: str) -> None:
    (small.root / name).unlink()
    with pytest.raises(GuideError, match=name.partition("/")[2]):
        guide.build(small.root, settings, tmp_path / "out")


def test_a_page_that_runs_over_is_named_with_its_file_and_lines(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    small.body("\n\n".join(["A line of words that stands alone."] * 30) + "\n")
    with pytest.raises(GuideError) as caught:
        guide.build(small.root, settings, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("guide/chapters/05-ch01.md: page 5, 'Back pain is common', runs over onto page 6")
    assert "shorten it by about" in message
    assert ";" in message
    assert not (tmp_path / "out").exists()


def test_a_title_of_a_later_page_is_its_heading(small: SmallGuide) -> None:
    chapter = next(part for part in load(small.root).parts if part.id == "ch01")
    assert page_title(chapter, 5) == "Back pain is common"
    assert page_title(chapter, 6) == "The spine"


@pytest.mark.parametrize("name", ["X", "Center for Needling, Movement and Rehabilitation " * 6, "W" * 300])
def test_no_clinic_name_moves_a_page(small: SmallGuide, settings: GuideSettings, tmp_path: Path, name: str) -> None:
    usual = guide.build(small.root, settings, tmp_path / "usual")
    other = guide.build(small.root, replace(settings, clinic_name=name[:300].strip()), tmp_path / "other")
    assert other.anchors == usual.anchors
    assert other.pages == usual.pages


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"clinic_name": " "}, "needs clinic_name"),
        ({"clinic_name": "x" * 401}, "clinic_name has 401 characters"),
        ({"edition": "1\x07"}, "edition holds a character"),
        ({"clinic_name": "针灸"}, 'fonts have no letter for "针"; write it in Latin letters'),
        ({"guide_url": "https://x.example/" + "a" * 390}, "guide_url has"),
    ],
)
def test_unusable_settings_are_named(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    with pytest.raises(GuideError, match=says):
        guide.build(small.root, replace(settings, **change), tmp_path / "out")


def test_markup_in_a_setting_stays_text(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    odd = replace(settings, clinic_name='A "B" \\ #let x = 1 $ <b> [R41] *c* & _d_', address="x ; y\n{page:q}")
    built = guide.build(small.root, odd, tmp_path / "out")
    assert "A &quot;B&quot; \\ #let x = 1 $ &lt;b&gt; [R41] *c* &amp; _d_" in built.html.read_text("utf-8")


def test_without_addresses_there_is_no_code_and_no_dead_link(
    small: SmallGuide, settings: GuideSettings, tmp_path: Path
) -> None:
    bare = replace(settings, website="", guide_url="", booking_url="", phone="", address="", gift_name="")
    built = guide.build(small.root, bare, tmp_path / "out")
    assert 'href=""' not in built.html.read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_named(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands where the folder should be")
    with pytest.raises(GuideError, match=r"cannot be written to out/"):
        guide.build(small.root, settings, tmp_path / "out")
