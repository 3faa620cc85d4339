"""The colours of the guide and the contrast between them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.errors import GuideError

if TYPE_CHECKING:
    from pathlib import Path

#: WCAG 2.2 AA for text.
LEAST = 4.5


@dataclass(frozen=True, slots=True)
class Palette:
    """Each colour by name: its hex value and the grounds it must be readable on."""

    colours: dict[str, tuple[str, tuple[str, ...]]]

    def hexes(self) -> dict[str, str]:
        """Return the hex value of each colour."""
        return {name: value for name, (value, _) in self.colours.items()}

    def weak(self) -> list[tuple[str, str, float]]:
        """Return each pair of colour and ground whose contrast is below 4.5 to 1."""
        pairs = ((name, ground) for name, (_, grounds) in self.colours.items() for ground in grounds)
        found = ((name, ground, contrast(self.hexes()[name], self.hexes()[ground])) for name, ground in pairs)
        return [row for row in found if row[2] < LEAST]


def load_palette(root: Path) -> Palette:
    """Return the palette of the guide in ``root``. Raises GuideError when it cannot be read."""
    try:
        rows = tomllib.loads((root / "template" / "palette.toml").read_text("utf-8"))
        return Palette({name: (row["hex"], tuple(row.get("on", ()))) for name, row in rows.items()})
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise GuideError(f"template/palette.toml cannot be read ({error}); put the original back") from None


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast of two ``#rrggbb`` colours, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb``, from 0 for black to 1 for white."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
