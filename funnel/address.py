"""Addresses: what may be typed, which spellings are one person, what a log may show. Pure.

The address is kept as typed and mail goes to the local part as typed (RFC 5321 section 2.4).
Two spellings are one person when their ``key`` is the same. ``base_key`` also drops a ``+tag``
and serves suppression and gift codes only: consent is never inferred from it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from funnel.errors import AddressError
from funnel.mac import Mac

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What the fast check of bulk import accepts without asking the full validator.
PLAIN = re.compile(
    r"[A-Za-z0-9_'+-]+(?:\.[A-Za-z0-9_'+-]+)*@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
#: RFC 5321 section 4.5.3.1.1 to .3, in octets.
LONGEST_LOCAL = 64
LONGEST = 254
#: RFC 2606 and 6761 names no mail ever reaches; the full validator has its own mind about them.
SPECIAL_ENDINGS = {"example", "test", "local", "localhost", "invalid", "arpa", "onion", "internal"}


@dataclass(frozen=True, slots=True)
class Address:
    """A deliverable address: as typed, and the key under which it is one person."""

    typed: str
    key: str

    @property
    def envelope(self) -> str:
        """Return what goes into RCPT and headers: the local part as typed, an A-label domain."""
        return self.typed.rpartition("@")[0] + "@" + self.key.rpartition("@")[2]


def parse_address(text: str, *, samples: bool = False) -> Address:
    """Return the address in ``text``; raises AddressError with a sentence for the person who typed it.

    ``samples`` lets the reserved ``.example`` and ``.test`` domains through, for demos and tests.
    """
    typed = unicodedata.normalize("NFC", text.strip())
    if not typed:
        raise AddressError("Please type your e-mail address.")
    if "@" not in typed:
        raise AddressError(f"“{shorten(typed)}” has no @ sign; an address looks like name@example.com.")
    if PLAIN.fullmatch(typed) and _fits(typed) and _ending(typed) not in SPECIAL_ENDINGS:
        return Address(typed, typed.lower())
    return _validated(typed, samples=samples)


def _fits(typed: str) -> bool:
    return len(typed) <= LONGEST and typed.index("@") <= LONGEST_LOCAL


def _ending(typed: str) -> str:
    return typed.rpartition(".")[2].lower()


def _validated(typed: str, *, samples: bool) -> Address:
    from email_validator import EmailNotValidError, validate_email

    try:
        found = validate_email(
            typed, check_deliverability=False, allow_smtputf8=False, strict=True, test_environment=samples
        )
    except (EmailNotValidError, ValueError) as error:
        reason = str(error).rstrip(".")
        message = f"“{shorten(typed)}” is not an address mail can be sent to: {reason}."
        raise AddressError(message) from None
    if _ending(found.ascii_domain) == "example" and not samples:
        raise AddressError(f"“{shorten(typed)}” ends in .example, a name reserved for samples.")
    if "." not in found.ascii_domain:
        raise AddressError(f"“{shorten(typed)}” is not an address mail can be sent to: its domain has no dot.")
    if found.ascii_email is None or len(found.ascii_email) > LONGEST:
        raise AddressError(f"“{shorten(typed)}” is longer than a mail address may be (254 characters).")
    return Address(typed, (found.local_part + "@" + found.ascii_domain).lower())


def shorten(text: str, limit: int = 60) -> str:
    """Return ``text`` fit to be shown: printable, on one line, at most ``limit`` characters."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def base_key(key: str) -> str:
    """Return the key without a ``+tag`` in its local part."""
    if "+" not in key:
        return key
    local, _, domain = key.rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def mask(email: str) -> str:
    """Return the address as a page may show it: ``j•••@g•••.com``."""
    local, at, domain = email.rpartition("@")
    name, dot, ending = domain.rpartition(".")
    return f"{local[:1]}•••{at}{name[:1]}•••{dot}{ending}" if at else "•••"


def keyed_hash(pepper: bytes, key: str) -> str:
    """Return a hash that only the holder of ``pepper`` can make; still personal data in law."""
    return keyed_hashes(pepper, (key,))[0]


def keyed_hashes(pepper: bytes, keys: Iterable[str]) -> list[str]:
    """Return such a hash of each."""
    return [code.hex() for code in _mac(pepper).of_each([key.encode() for key in keys])]


_mac = lru_cache(maxsize=4)(Mac)


def tag_for_log(pepper: bytes, key: str) -> str:
    """Return what a log shows in place of an address: masked, with a short keyed tag to tell people apart."""
    return f"{mask(key)}#{keyed_hash(pepper, key)[:6]}"
