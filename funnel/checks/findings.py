"""Findings in the making: which level, which line, and words cut to a length people read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.model import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from funnel.errors import FunnelError

LONGEST = 90


def error(where: str, says: str, fix: str) -> Finding:
    """Return a finding that must be mended before anything goes out."""
    return Finding(Level.ERROR, where, says, fix)


def warning(where: str, says: str, fix: str) -> Finding:
    """Return a finding somebody should look at."""
    return Finding(Level.WARNING, where, says, fix)


def told(where: str, fault: FunnelError, fix: str) -> Finding:
    """Return an error as a finding; one that says itself where it is, says it once."""
    says = str(fault).removesuffix(".")
    if says.startswith(where):
        where, _, says = says.partition(": ")
    return error(where, says, fix)


def at(file: str, line: int) -> str:
    """Return where something is, as ``emails/series/guide.md line 8``; without the line when it is not known (0)."""
    return f"{file} line {line}" if line else file


def line_of(lines: Iterable[str], pattern: str | re.Pattern[str], first: int = 1) -> int:
    """Return the number of the first line that a pattern is found in, counted from ``first``; 0 for none."""
    wanted = re.compile(pattern) if isinstance(pattern, str) else pattern
    return next((number for number, line in enumerate(lines, first) if wanted.search(line)), 0)


def short(text: str, longest: int = LONGEST) -> str:
    """Return text on one line, cut with an ellipsis when it is longer."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
