"""How many messages may go per second: a token bucket, as a value."""

from __future__ import annotations

from dataclasses import dataclass

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
