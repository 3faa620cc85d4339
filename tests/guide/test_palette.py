"""Contrast, computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.errors import GuideError
from funnel.guide.palette import contrast, load_palette, luminance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.guide.conftest import SmallGuide

COLOUR = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


def test_known_contrasts() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@given(COLOUR, COLOUR)
def test_contrast_has_no_direction_and_stays_in_its_range(one: str, other: str) -> None:
    assert contrast(one, other) == contrast(other, one)
    assert 1 <= contrast(one, other) <= 21.0001


@given(COLOUR)
def test_luminance_lies_between_black_and_white(colour: str) -> None:
    assert 0 <= luminance(colour) <= 1


def test_the_palette_is_readable(real_source: Path) -> None:
    palette = load_palette(real_source)
    assert palette.weak() == []
    assert {"ink", "teal", "rust", "grey", "red", "amber"} <= {name for name, (_, on) in palette.colours.items() if on}


@pytest.mark.parametrize("text", ["[ink", "[ink]\nhax = '#000000'"])
def test_a_broken_palette_is_named(small: SmallGuide, text: str) -> None:
    small.write("template/palette.toml", text)
    with pytest.raises(GuideError, match=r"template/palette.toml cannot be read"):
        load_palette(small.root)
