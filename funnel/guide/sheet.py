"""Pages of the guide side by side in one picture, to look at the whole book at once."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide.builder import Compiled
from funnel.guide.settings import refuse_unusable
from funnel.guide.source import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from funnel.guide.settings import GuideSettings

GAP = 12
GROUND = (0x8A, 0x92, 0x94)


def sheet(
    source: Path, settings: GuideSettings, *, pages: Sequence[int] = (), columns: int = 12, ppi: int = 40
) -> bytes:
    """Return a PNG with these pages, or with all, in rows of ``columns``; raises GuideError."""
    refuse_unusable(settings)
    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        pictures = Compiled(load(source), settings, Path(folder)).pictures(ppi)
    wanted = list(pages) or list(range(1, len(pictures) + 1))
    unknown = [page for page in wanted if not 1 <= page <= len(pictures)]
    if unknown:
        raise GuideError(f"the guide has no page {unknown[0]}; it has {len(pictures)}")
    return _side_by_side([pictures[page - 1] for page in wanted], columns)


def _side_by_side(pictures: list[bytes], columns: int) -> bytes:
    from PIL import Image

    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    wide, high = images[0].size
    across = min(columns, len(images))
    rows = -(-len(images) // across)
    ground = Image.new("RGB", (across * (wide + GAP) + GAP, rows * (high + GAP) + GAP), GROUND)
    for place, image in enumerate(images):
        row, column = divmod(place, across)
        ground.paste(image, (GAP + column * (wide + GAP), GAP + row * (high + GAP)))
    out = io.BytesIO()
    ground.quantize(colors=128).save(out, "PNG", optimize=True)
    return out.getvalue()
