"""Every sentence a page shows, from ``strings.toml`` and its translations, filled with the clinic's own names.

Text only, never markup. A language is there when its file is: ``strings.es.toml`` is Spanish.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FILE = Path(__file__).with_name("strings.toml")
DEFAULT = "en"


class Words:
    """The sentences in one language."""

    def __init__(self, fields: Mapping[str, object], file: Path = FILE) -> None:
        self.table: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
        self.fields = dict(fields)

    @property
    def language(self) -> str:
        """Return the language as pages declare it."""
        return self("lang")

    def __call__(self, key: str, **more: object) -> str:
        """Return one sentence, like ``form.title``; raises KeyError when it or one of its fields is missing."""
        found = self._find(key)
        if not isinstance(found, str):
            raise KeyError(key)
        return found.format_map({**self.fields, **more})

    def lines(self, key: str, **more: object) -> list[str]:
        """Return the sentences of a list; raises KeyError when it or one of its fields is missing."""
        found = self._find(key)
        if not isinstance(found, list):
            raise KeyError(key)
        return [line.format_map({**self.fields, **more}) for line in found]

    def day(self, local: datetime) -> str:
        """Return a day as a person reads it: ``3 May 2027``."""
        month = self.lines("dates.months")[local.month - 1]
        return self("dates.day", day=local.day, month=month, year=local.year)

    def __contains__(self, key: str) -> bool:
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    def _find(self, key: str) -> Any:
        found: Any = self.table
        for part in key.split("."):
            if not isinstance(found, dict):
                raise KeyError(key)
            found = found[part]
        return found


def translations(fields: Mapping[str, object]) -> dict[str, Words]:
    """Return the sentences in every language there is a file for, English first."""
    files = [FILE, *sorted(FILE.parent.glob("strings.*.toml"))]
    return {words.language: words for words in (Words(fields, file) for file in files)}
