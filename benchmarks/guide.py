"""Building the guide: the whole build against the typesetter alone on the same text, and how large it is."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from funnel.app import Funnel
from funnel.config import load_config
from funnel.guide import build
from funnel.guide.builder import Compiled
from funnel.guide.source import load


def run(rounds: int = 3) -> None:
    """Print medians of interleaved rounds."""
    funnel = Funnel(load_config(Path("funnel.toml")))
    source = Path("guide")
    alone, whole, size = [], [], 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            Compiled(load(source), funnel.guide_settings, Path(folder)).pdf()
            alone.append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            built = build(source, funnel.guide_settings, Path(folder))
            whole.append(built.seconds)
            size = built.pdf.stat().st_size
    ratio = statistics.median(w / a for w, a in zip(whole, alone, strict=True))
    print(f"guide: typesetter alone {statistics.median(alone):.2f} s, whole build {statistics.median(whole):.2f} s")
    print(f"       ratio {ratio:.2f}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    run()
