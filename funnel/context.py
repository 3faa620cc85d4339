"""What every use case needs to know about one funnel: its settings, keys and sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.address import base_key, keyed_hash, keyed_hashes

if TYPE_CHECKING:
    from collections.abc import Collection

    from funnel.config import Config
    from funnel.model import Sequence
    from funnel.schedule import Calendar
    from funnel.tokens import Keys


@dataclass(frozen=True, slots=True)
class Context:
    """Settings, keys and sequences of one funnel; holds no connection and no clock."""

    config: Config
    keys: Keys
    sequences: dict[str, Sequence]
    calendar: Calendar

    def hash_of(self, key: str) -> str:
        """Return the keyed hash of a canonical address."""
        return keyed_hash(self.keys.pepper, key)

    def suppression_hashes(self, key: str) -> tuple[str, ...]:
        """Return the hashes under which an address may be suppressed: its own, and its base address's (ADR-3)."""
        base = base_key(key)
        return (self.hash_of(key),) if base == key else (self.hash_of(key), self.hash_of(base))

    def suppression_hashes_of(self, keys: Collection[str]) -> list[str]:
        """Return every hash under which one of these addresses may be suppressed."""
        bases = {base_key(key) for key in keys if "+" in key}
        return keyed_hashes(self.keys.pepper, {*keys, *bases})

    def holder(self, key: str) -> str:
        """Return the hash that owns a gift: of the base address, unless the settings say otherwise (SEC-25)."""
        return self.hash_of("gift " + (base_key(key) if self.config.gift.per_base_address else key))
