"""What may be kept about a person besides the address: a name for greeting, a locale, a page. Pure (HLT-1, SEC-3)."""

from __future__ import annotations

import re
from functools import lru_cache

LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")
#: A path of a page without its query, so that nothing typed or tracked comes along.
PAGE = re.compile(r"/[A-Za-z0-9._~/-]{0,199}")
#: What no given name contains: links, addresses, markup.
LINK = re.compile(r"://|www\.|@|[<>{}\\]|\.\w{2,}/", re.IGNORECASE)
LONGEST_NAME = 60
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


def matching(pattern: re.Pattern[str], text: str) -> str:
    """Return the text when it is what it should be, else nothing."""
    return text if pattern.fullmatch(text) else ""


def clean_name(name: str) -> str:
    """Return a given name fit for a greeting, or nothing: no links, no controls, 60 characters."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return "" if LINK.search(shown) or len(shown) > LONGEST_NAME else shown


@lru_cache(maxsize=16)
def direction(language: str) -> str:
    """Return which way a language is written: ``rtl`` or ``ltr``."""
    return "rtl" if language.lower().partition("-")[0] in RIGHT_TO_LEFT else "ltr"
