"""Signed links: who they are for, what they may do, until when.

A token is ``base64url(key id, expiry, subject, tag)``: 39 characters that hold no address and
no word about health. Its tag is the first 128 bits of HMAC-SHA-256 over all of it under a key made
for one purpose, so that a link for one thing opens nothing else. The newest key signs, older ones verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from funnel.errors import TokenError
from funnel.mac import Mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BODY = struct.Struct(">BIQ")
TAG_BYTES = 16
TOKEN_BYTES = BODY.size + TAG_BYTES
#: Base64 takes three octets at a time; these make them full, and their letter is left out.
MISSING = b"\0"
TOKEN_LENGTH = 39
#: Expiry is stored in minutes since this moment; 0 means never.
ORIGIN = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
#: The letters of RFC 4648, section 5.
URL_SAFE = bytes.maketrans(b"+/", b"-_")
#: What a mail's header ``X-Funnel-Id`` holds: the mailing in hexadecimal digits, and 80 bits that prove it ours.
FUNNEL_ID = re.compile(r"(0|[1-9a-f][0-9a-f]{0,14})\.([0-9a-f]{20})")


class Purpose(StrEnum):
    """What a link may do."""

    CONFIRM = "confirm"  #: subject: an enrollment
    DOWNLOAD = "download"  #: subject: a subscriber
    UNSUBSCRIBE = "unsubscribe"  #: subject: a subscriber; never expires
    PREFERENCES = "preferences"
    FORM = "form"  #: a page was really shown before its button was pressed


@dataclass(frozen=True)
class Keys:
    """The secrets of one funnel: signing keys, newest first, and the pepper of its keyed hashes."""

    signing: tuple[bytes, ...] = field(repr=False)
    pepper: bytes = field(repr=False)

    @cached_property
    def _derived(self) -> dict[tuple[int, Purpose], tuple[bytes, ...]]:
        found: dict[tuple[int, Purpose], tuple[bytes, ...]] = {}
        for secret in self.signing:
            for purpose in Purpose:
                made = hmac.digest(secret, b"funnel token " + purpose.encode(), "sha256")
                place = (key_id(secret), purpose)
                found[place] = (*found.get(place, ()), made)
        return found

    @cached_property
    def signers(self) -> dict[Purpose, Signer]:
        """Return who signs for each purpose: the newest key."""
        kid = key_id(self.signing[0])
        return {purpose: Signer(kid, self.purpose_keys(kid, purpose)[0]) for purpose in Purpose}

    def purpose_keys(self, kid: int, purpose: Purpose) -> tuple[bytes, ...]:
        """Return the keys for one purpose that have this id, newest first.

        An id is one byte, so two keys may share it. Raises UnknownTokenError when no key has it.
        """
        keys = self._derived.get((kid, purpose))
        if not keys:
            raise UnknownTokenError
        return keys


def key_id(secret: bytes) -> int:
    """Return the byte by which a token names its key."""
    return hashlib.sha256(b"funnel key id" + secret).digest()[0]


class Signer:
    """Makes tokens for one purpose."""

    def __init__(self, kid: int, key: bytes) -> None:
        self._kid = kid
        self._mac = Mac(key)

    def token(self, subject: int, minutes: int = 0) -> str:
        """Return a token for one subject, good until so many minutes after ``ORIGIN``; 0 is for ever."""
        return self.tokens((subject,), minutes)[0].decode("ascii")

    def tokens(self, subjects: Iterable[int], minutes: int = 0) -> list[bytes]:
        """Return a token for each subject, all good until the same minute; ``MISSING`` octets make them one text."""
        kid, pack = self._kid, BODY.pack
        bodies = [pack(kid, minutes, subject) for subject in subjects]
        tags = self._mac.of_each(bodies)
        raw = b"".join([body + tag[:TAG_BYTES] + MISSING for body, tag in zip(bodies, tags, strict=True)])
        text = binascii.b2a_base64(raw, newline=False).translate(URL_SAFE)
        return [text[start : start + TOKEN_LENGTH] for start in range(0, len(text), TOKEN_LENGTH + 1)]


def minutes_of(expires: int) -> int:
    """Return a moment, in UTC seconds since 1970, as a token holds it."""
    return max(1, (expires - ORIGIN) // 60)


def sign(keys: Keys, purpose: Purpose, subject: int, expires: datetime | None = None) -> str:
    """Return a token for one purpose and one subject; without ``expires`` it is good for ever."""
    return keys.signers[purpose].token(subject, minutes_of(int(expires.timestamp())) if expires else 0)


def verify(keys: Keys, purpose: Purpose, token: str, now: datetime) -> int:
    """Return the subject of a token that is ours, for this purpose, and not expired.

    Raises UnknownTokenError, or ExpiredTokenError when only time is to blame; that one knows the subject.
    """
    raw = _decode(token)
    body, tag = raw[: BODY.size], raw[BODY.size :]
    kid, minutes, subject = BODY.unpack(body)
    if not any(hmac.compare_digest(tag, _tag(key, body)) for key in keys.purpose_keys(kid, purpose)):
        raise UnknownTokenError
    if minutes and now.timestamp() >= ORIGIN + minutes * 60:
        raise ExpiredTokenError(subject)
    return int(subject)


class UnknownTokenError(TokenError):
    """This link is not one of ours, or it was cut short on the way."""


class ExpiredTokenError(TokenError):
    """This link has expired."""

    def __init__(self, subject: int = 0) -> None:
        super().__init__()
        self.subject = subject


def _tag(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:TAG_BYTES]


def _encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(URL_SAFE).decode("ascii")


def _decode(token: str) -> bytes:
    """Return the bytes of a token of the right length in its one right spelling."""
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise UnknownTokenError from None
    if len(raw) != TOKEN_BYTES or _encode(raw) != token:
        raise UnknownTokenError
    return raw


# --- the mark of a mail ------------------------------------------------------------------------


def funnel_id(secret: bytes, mailing_id: int) -> str:
    """Return our own id of a mailing: nobody else can make one, and it is the same at every try.

    Keyed BLAKE2b (RFC 7693), 80 bits: three times as fast as HMAC, and every mail needs one.
    """
    return funnel_ids(secret, (mailing_id,))[0].decode("ascii")


def funnel_ids(secret: bytes, mailing_ids: Sequence[int]) -> list[bytes]:
    """Return our own id of each mailing, in their order."""
    marked = _marking(secret).copy
    tags = []
    for mailing_id in mailing_ids:
        tag = marked()
        tag.update(b"%d" % mailing_id)
        tags.append(tag.hexdigest())
    return [b"%x.%b" % (number, tag.encode("ascii")) for number, tag in zip(mailing_ids, tags, strict=True)]


@lru_cache(maxsize=4)
def _marking(secret: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(key=secret[:64], digest_size=10, person=b"funnel mailing")


def mailing_of(secret: bytes, text: str) -> int | None:
    """Return the mailing that a returned ``X-Funnel-Id`` names, or None when it is not one of ours."""
    found = FUNNEL_ID.fullmatch(text.strip().lower())
    if found is None:
        return None
    mailing_id = int(found[1], 16)
    return mailing_id if hmac.compare_digest(funnel_id(secret, mailing_id), found[0]) else None
