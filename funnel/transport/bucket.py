"""How many messages may go per second: a token bucket, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

#: What a sum of floating-point numbers may lack of a whole token.
ALMOST = 1e-6


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many tokens at that moment, in seconds of any one clock; each message takes one.

    However it is asked, at most ``rate * span + room(rate)`` messages go in any span of time.
    """

    tokens: float
    at: float

    def filled(self, rate: float, now: float) -> Bucket:
        """Return the bucket as it is now; a clock that went back adds nothing and takes nothing."""
        grown = self.tokens + max(0.0, now - self.at) * rate
        return Bucket(min(room(rate), grown), now)

    def wait(self, rate: float, now: float) -> float:
        """Return in how many seconds the next message may go; 0 is at once."""
        lacking = 1 - self.filled(rate, now).tokens
        return lacking / rate if lacking > ALMOST else 0.0

    def taken(self, rate: float, now: float) -> Bucket:
        """Return the bucket without the token of one message, for which ``wait`` was 0."""
        full = self.filled(rate, now)
        return Bucket(full.tokens - 1, now)


def room(rate: float) -> float:
    """Return how many tokens fit: one, or those of a twentieth of a second, to make up for a late look."""
    return max(1.0, rate / 20)


# --- from one run to the next --------------------------------------------------------------------

#: Stands where the bucket is kept while a run is at work: found by the next one, that run died.
IN_USE = "in use"


def written(bucket: Bucket, rate: float, now: float, wall: float) -> str:
    """Return what to keep of a bucket for the next run: its tokens ``now``, and the time of day, in seconds."""
    return f"{bucket.filled(rate, now).tokens!r} {wall!r}"


def resumed(kept: str | None, rate: float, now: float, wall: float) -> Bucket:
    """Return the bucket of a run that begins ``now``, from what the one before it kept.

    The very first run has one token. After a run that died, or words nobody wrote, the bucket is empty: the
    dead run may have sent up to its end. What was kept in the future of ``wall`` has grown by nothing.
    """
    if kept is None:
        return Bucket(1.0, now)
    try:
        tokens, at = map(float, kept.split())
    except ValueError:
        return Bucket(0.0, now)
    if not (isfinite(tokens) and isfinite(at)):
        return Bucket(0.0, now)
    return Bucket(Bucket(tokens, at).filled(rate, wall).tokens, now)
