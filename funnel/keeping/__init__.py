"""Keeping the database: backups, restoring them, and the guard against sending from a copy that knows too little."""

from __future__ import annotations

from funnel.keeping.backup import Contents, back_up, note
from funnel.keeping.guard import Guard, trouble
from funnel.keeping.keys import Renewed, check_keys, fit, take_new_keys
from funnel.keeping.restore import Restored, restore
from funnel.keeping.resume import Resumed, resume

__all__ = [
    "Contents", "Guard", "Renewed", "Restored", "Resumed", "back_up", "check_keys", "fit", "note", "restore", "resume",
    "take_new_keys", "trouble",
]  # fmt: skip
