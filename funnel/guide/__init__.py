"""The guide: from Markdown chapters to one PDF of exactly 72 pages and an accessible HTML edition.

Importing this package costs nothing; the typesetter is loaded by the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.guide.settings import Built, GuideSettings

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.model import Finding

__all__ = ["Built", "GuideSettings", "build", "check"]


def build(source: Path, settings: GuideSettings, out: Path) -> Built:
    """Build guide.pdf, guide.html, pages.json and the mails' pictures in ``out`` and return what was built.

    Files that are already there are replaced only when all are ready. The same source
    and settings give the same bytes on any machine. Raises GuideError.
    """
    from funnel.guide.builder import build as run

    return run(source, settings, out)


def check(source: Path, settings: GuideSettings, out: Path) -> list[Finding]:
    """Return what is wrong with the source and, when it is there, with the built PDF in ``out``."""
    from funnel.guide.checks import check as run

    return run(source, settings, out)
