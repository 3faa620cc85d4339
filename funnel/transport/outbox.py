"""A folder that takes one .eml file per mail: for trying out, and for machines that send elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from funnel.errors import TransportError
from funnel.model import Delivery, Reply
from funnel.transport import one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from funnel.model import Outgoing


class OutboxTransport:
    """Writes each message whole or not at all, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Make the folder; raises TransportError when that is not possible."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TransportError(f"The outbox folder {self.folder.name} cannot be made: {error.strerror}.") from None

    def deliver(self, mail: Outgoing) -> Reply:
        """Write ``<mailing id>.eml``; writing the same mailing again replaces it with the same bytes."""
        final = self.folder / f"{mail.mailing_id:08d}.eml"
        scratch = final.with_suffix(".part")
        try:
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_envelope(mail) + mail.message)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(final)
        except OSError as error:
            raise TransportError(f"The outbox folder {self.folder.name} cannot be written: {error.strerror}.") from None
        return Reply(Delivery.ACCEPTED, 250, f"kept as {final.name}", "data")

    def deliver_all(
        self, mails: Iterator[Outgoing], starting: Callable[[int], None]
    ) -> Generator[tuple[Outgoing, Reply], None, None]:
        """Yield each mail with its answer; raises UnsentError with the mail for which there was no room."""
        return one_by_one(self.deliver, mails, starting)

    def close(self) -> None:
        """Do nothing: every file is closed already."""


def _envelope(mail: Outgoing) -> bytes:
    """Return the envelope as the two headers that delivery agents use for it."""
    return f"Return-Path: <{mail.sender}>\r\nDelivered-To: {mail.recipient}\r\n".encode("ascii")
