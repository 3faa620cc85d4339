"""From the form to a confirmed person, what they choose after that, and being forgotten. Each act is one transaction.

The answer to the form is the same for every address (SEC-1); what differs is which mail is left for
the sender to pick up, if any.
"""

from __future__ import annotations

from funnel.signup.asking import FORM, Request, again, ask
from funnel.signup.choosing import Series, choose, guide_only, keep, series_again, series_of, set_gap
from funnel.signup.confirming import Confirmed, confirm, downloaded
from funnel.signup.leaving import UNDO_WITHIN, can_undo, erase, purge, undo, unsubscribe
from funnel.signup.limits import TooManyError, take
from funnel.signup.moving import MOVE, ask_to_move

__all__ = [
    "FORM",
    "MOVE",
    "UNDO_WITHIN",
    "Confirmed",
    "Request",
    "Series",
    "TooManyError",
    "again",
    "ask",
    "ask_to_move",
    "can_undo",
    "choose",
    "confirm",
    "downloaded",
    "erase",
    "guide_only",
    "keep",
    "purge",
    "series_again",
    "series_of",
    "set_gap",
    "take",
    "undo",
    "unsubscribe",
]
