"""Keeping the database: backups, restoring them, and the guard against sending from a copy that knows too little."""

from __future__ import annotations

from funnel.keeping.backup import Contents, back_up, note
from funnel.keeping.guard import Guard, trouble
from funnel.keeping.restore import Restored, restore
from funnel.keeping.resume import Resumed, resume

__all__ = ["Contents", "Guard", "Restored", "Resumed", "back_up", "note", "restore", "resume", "trouble"]
