"""Everything that can go wrong and that a person can mend.

One root. The docstring of a class is its default message, so that a list of these
classes reads as the list of what can go wrong. Each message says what is wrong, where,
and what to do. An exception that is not a ``FunnelError`` is a bug and keeps its traceback.
"""

from __future__ import annotations


class FunnelError(Exception):
    """Something went wrong that a person can mend."""

    #: The exit code of the command line: 1 refused or findings, 2 usage, 75 try again later.
    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(FunnelError):
    """A setting is missing, unknown or of the wrong type."""

    exit_code = 2


class AddressError(FunnelError):
    """This is not an address that mail can be sent to."""


class ScheduleError(FunnelError):
    """No moment is ever open for sending; open a day or widen the window in [sending]."""


class TokenError(FunnelError):
    """This link is not one of ours, or it has expired."""


class ArticleError(FunnelError):
    """The article cannot be read."""


class ContentError(FunnelError):
    """A mail or a sequence in emails/ cannot be used as it is."""


class GuideError(FunnelError):
    """The guide cannot be built or handed out as it is."""


class StoreError(FunnelError):
    """The database cannot be used."""


class StoreBusyError(StoreError):
    """The database is locked by another program; try again in a moment."""

    exit_code = 75


class SealError(FunnelError):
    """This database is not in step with what was sent; run “funnel restore --resume”."""


class KeysError(FunnelError):
    """These are not the keys this database was made with."""


class BackupError(FunnelError):
    """This backup cannot be made or used."""


class TransportError(FunnelError):
    """The mail server cannot be reached or does not let us in; no mail was touched."""

    exit_code = 75


class GiftError(FunnelError):
    """This gift code cannot be used."""


class ImportRefusedError(FunnelError):
    """The file was not imported; nothing was changed."""


class NotFoundError(FunnelError):
    """There is no such person, mail or code here."""


class ElsewhereError(FunnelError):
    """Another machine is sending from this database; nothing was sent here."""

    exit_code = 75


class OutOfMemoryError(FunnelError):
    """This machine has no memory left for that; nothing is half done. Free some, and try again."""

    exit_code = 75


class RunActiveError(FunnelError):
    """Another run is sending at this moment; nothing to do."""

    exit_code = 0
