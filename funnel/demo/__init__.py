"""The whole funnel on a sample clinic: real pages, a real SMTP conversation, a virtual clock. Touches no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.demo.story import Story

#: How many days the clock of the demo runs.
DAYS = 45

__all__ = ["DAYS", "play", "write_page"]


def play(tick: Callable[[], object] | None = None) -> Story:
    """Live through 45 days with thirty visitors and return what happened; ``tick`` is called once a day."""
    from funnel.demo.stage import play as run

    return run(DAYS, tick or (lambda: None))


def write_page(story: Story, out: Path) -> Path:
    """Write one self-contained page that shows the story and return it."""
    from funnel.demo.page import write_page as write

    return write(story, out)
