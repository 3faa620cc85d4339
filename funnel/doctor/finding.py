"""What the doctor says about one matter: how it stands, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How one matter stands."""

    ERROR = "error"  #: mend this
    WARNING = "warning"  #: somebody should look
    UNKNOWN = "unknown"  #: it could not be looked at
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One matter: what it is about, how it stands, what to do."""

    state: State
    about: str
    says: str
    fix: str = ""


def ok(about: str, says: str) -> Finding:
    """Return that a matter is well."""
    return Finding(State.OK, about, says)


def warning(about: str, says: str, fix: str) -> Finding:
    """Return that somebody should look at a matter."""
    return Finding(State.WARNING, about, says, fix)


def error(about: str, says: str, fix: str) -> Finding:
    """Return that a matter must be mended."""
    return Finding(State.ERROR, about, says, fix)


def unknown(about: str, says: str, fix: str = "") -> Finding:
    """Return that a matter could not be looked at."""
    return Finding(State.UNKNOWN, about, says, fix)
