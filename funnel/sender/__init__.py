"""The one way mail leaves: claim what is due, compose it, hand it over, record what was answered."""

from __future__ import annotations

from funnel.sender.decide import Planned
from funnel.sender.run import Sender

__all__ = ["Planned", "Sender"]
