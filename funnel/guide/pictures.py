"""Figures of the guide as small pictures for mails: PNG, at twice the size they are shown at."""

from __future__ import annotations

import io
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide.builder import spoken
from funnel.guide.typeset import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How large a picture is shown, in CSS pixels: the width of a mail's column, and no taller than a phone.
WIDEST = 536
TALLEST = 640
#: White around a figure, for readers whose mail is dark.
EDGE = 10
#: Dots for each CSS pixel, so that it is sharp on a phone.
SCALE = 2
#: A mail's reader waits for no more than this.
LARGEST = 60_000
COLOURS = (64, 32, 16, 8)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its bytes, and how large it is shown in CSS pixels."""

    png: bytes
    width: int
    height: int


def mail_pictures(root: Path) -> dict[str, Picture]:
    """Return a picture of every figure of the guide in ``root``, by its id. Raises GuideError."""
    names = sorted(path.stem for path in (root / "figures").glob("fig-*.svg"))
    return {name: _small(name, png) for name, png in zip(names, _drawn(root, names), strict=True)}


def _drawn(root: Path, names: Iterable[str]) -> list[bytes]:
    """Return each figure as a PNG, in order."""
    import typst

    pages = [f"#fitted({quoted(f'figures/{name}.svg')})" for name in names]
    if not pages:
        return []
    with tempfile.TemporaryDirectory(prefix="guide-") as made:
        folder = Path(made)
        shutil.copytree(root / "figures", folder / "figures")
        (folder / "main.typ").write_text("\n".join([PAGE, *pages]), "utf-8")
        fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(root / "fonts")])
        compiler = typst.Compiler(str(folder / "main.typ"), root=str(folder), font_paths=fonts)
        found = spoken(lambda: compiler.compile(format="png", ppi=72 * SCALE))
    return list(found) if isinstance(found, list) else [found]


#: One page a figure, a point for each CSS pixel.
PAGE = f"""#set page(width: auto, height: auto, margin: {EDGE}pt, fill: white)
#let fitted(path) = page(context {{
  let wide = {WIDEST - 2 * EDGE}pt
  let high = measure(image(path, width: wide)).height
  image(path, width: wide * calc.min(1, {TALLEST - 2 * EDGE}pt / high))
}})"""


def _small(name: str, drawn: bytes) -> Picture:
    """Return a picture in as many colours as fit into its bytes."""
    from PIL import Image

    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    for colours in COLOURS:
        out = io.BytesIO()
        few = image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(out, "PNG", compress_level=7)
        if out.tell() <= LARGEST:
            return Picture(out.getvalue(), round(image.width / SCALE), round(image.height / SCALE))
    raise GuideError(f"figures/{name}.svg gives a picture over {LARGEST // 1000} kB; draw it with fewer details")
