"""Let the wheel carry the sample ``emails/``, ``guide/`` and ``funnel.toml``; pyproject.toml says all the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from setuptools import setup
from setuptools.command.build_py import build_py

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parent
SAMPLES = ("emails", "guide", "funnel.toml")
#: Where they go inside the package; funnel/samples.py looks there.
TARGET = Path("funnel", "sample")


def sample_files() -> Iterator[Path]:
    """Yield each sample file, relative to the checkout; hidden files and what a build left behind are not samples."""
    for name in SAMPLES:
        top = TOP / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            inside = path.relative_to(TOP)
            if path.is_file() and not any(part.startswith((".", "__")) for part in inside.parts):
                yield inside


class BuildWithSamples(build_py):
    """The ordinary build, and then the samples; an editable install finds them in the checkout."""

    def run(self) -> None:
        """Build, then copy the samples into the package."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._samples():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target, preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Return what the source archive has to carry."""
        return [*super().get_source_files(), *map(str, sample_files())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what the build writes."""
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *(target for _, target in self._samples())]

    def _samples(self) -> Iterator[tuple[str, str]]:
        for path in sample_files():
            yield str(TOP / path), str(Path(self.build_lib) / TARGET / path)


setup(cmdclass={"build_py": BuildWithSamples})
