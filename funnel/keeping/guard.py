"""The guard: nothing goes out from a database that is older than what went out, or that is not where it belongs."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from funnel.errors import ElsewhereError, SealError
from funnel.model import MailingStatus
from funnel.store import events, ledger, runs, seal
from funnel.store.database import moment, seconds
from funnel.store.ledger import Batch, Ended, Mark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.store.database import Database
    from funnel.store.ledger import Stand
    from funnel.store.seal import Seal

#: A run of another machine that gave no sign of life for so long is over.
LEASE = timedelta(minutes=15)
SENT_OR_UNKNOWN = (MailingStatus.SENT, MailingStatus.UNCERTAIN)
WHAT_TO_DO = "Nothing was sent. Run “funnel restore --resume” to see what is known, and to let sending go on."


class Guard:
    """Stands between one run and the wire; the run holds the sender's lock."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.path = ledger.path_of(db.path)
        self._pen: ledger.Pen | None = None
        self._seal: Seal | None = None
        self._number, self._acts = 0, 0

    def check(self, now: datetime) -> None:
        """Raise SealError when the database is a copy, or older than what went out; ElsewhereError for a second host.

        A database without a seal is sealed, so that all of this holds from then on.
        """
        with self.db.transaction():  # nobody else is between journal and commit
            sealed = seal.ensure(self.db)
            stand = ledger.stand(self.path)
            wrong = why_not(self.db, sealed, stand)
            if wrong or sealed is None or stand is None:
                raise SealError(f"{wrong} {WHAT_TO_DO}")
            self._seal = self._in_step(self._alone(sealed, now), stand)
        self._seal = self._rotated(self._seal)
        self._pen = ledger.Pen(self.path)

    def _alone(self, sealed: Seal, now: datetime) -> Seal:
        """Refuse while another machine sends that shares nothing with this one but the file (F-53)."""
        mine, name = seal.boot(), socket.gethostname()
        if (sealed.boot, sealed.name) == (mine, name):
            return sealed
        told_apart = sealed.host and seal.machine()
        elsewhere = sealed.boot != mine and sealed.name != name and not told_apart
        if elsewhere and seal.sending_since(self.db, sealed.name, now - LEASE):
            raise ElsewhereError(
                f"{sealed.name} is sending from this database at this moment; nothing was sent here. Let one machine "
                f"send only. If that one is gone, sending goes on here by itself in {LEASE.seconds // 60} minutes."
            )
        return replace(sealed, boot=mine, name=name)

    def _in_step(self, sealed: Seal, stand: Stand) -> Seal:
        """Even out what a crash left between the database and the journal."""
        if stand.last and stand.last.number > sealed.acts and stand.last.reason:  # it came right before the commit
            events.suppress(self.db, stand.last.hash, stand.last.reason, moment(stand.last.at))
        sealed = replace(sealed, acts=max(sealed.acts, stand.acts))
        seal.write(self.db, sealed)
        if stand.acts < sealed.acts:
            seal.note_stops(self.db, sealed.acts)
        if (stand.epoch, stand.batch, stand.acts) != (sealed.epoch, sealed.batch, sealed.acts):
            whole = stand.epoch == sealed.epoch and stand.batch >= sealed.batch - 1
            mark = Mark(sealed.id, sealed.epoch, sealed.batch, sealed.acts, sealed.batch, whole)
            ledger.write(self.path, [mark.line()])
        return sealed

    def _rotated(self, sealed: Seal) -> Seal:
        """Begin a new file when this one is full; a crash on the way leaves a journal that the seal knows."""
        if self.path.stat().st_size < ledger.ROTATE_BYTES:
            return sealed
        old = self.path.stat().st_ino
        scratch = self.path.with_name(self.path.name + ".next")
        mark = Mark(sealed.id, sealed.epoch, sealed.batch, sealed.acts, sealed.batch, whole=True)
        places = (old, ledger.begin(scratch, mark))
        with self.db.transaction():
            seal.write(self.db, sealed := replace(sealed, places=places))
        link = self.path.with_name(self.path.name + ".old")
        link.unlink(missing_ok=True)
        os.link(self.path, link)
        link.replace(ledger.older(self.path))
        scratch.replace(self.path)
        ledger.sync_folder(self.path.parent)
        return sealed

    def count(self) -> int:
        """Count one more batch, in the transaction of its claims, and return its number."""
        self._number, self._acts = seal.next_batch(self.db)
        return self._number

    def note_batch(self, run_id: int, mails: dict[str, tuple[list[int], list[int]]], now: datetime) -> None:
        """Tell the journal what is about to go out, as ``ledger.Batch`` has it; on the disk when it returns.

        Call it after the claims were committed and before the first byte. Raises StoreError: then nothing may go.
        """
        pen, sealed = self._opened()
        pen.write([Batch(sealed.epoch, self._number, self._acts, seconds(now), run_id, mails).line()])

    def note_done(self, outcomes: Sequence[tuple[int, MailingStatus]]) -> None:
        """Tell the journal how mails of the batch ended; those of unknown fate are left open there."""
        pen, _ = self._opened()
        sent = [mailing for mailing, status in outcomes if status is MailingStatus.SENT]
        not_sent = [mailing for mailing, status in outcomes if status not in SENT_OR_UNKNOWN]
        lines = [Ended(yes, ids).line() for yes, ids in ((True, sent), (False, not_sent)) if ids]
        if lines:
            pen.write(lines, durable=False)

    def _opened(self) -> tuple[ledger.Pen, Seal]:
        if self._pen is None or self._seal is None:
            raise AssertionError("check() comes first")
        return self._pen, self._seal

    def close(self) -> None:
        """Close the journal."""
        if self._pen is not None:
            self._pen.close()
            self._pen = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trouble(db: Database) -> str:
    """Return why sending is held back for this database, as one sentence, or nothing; writes nothing."""
    if seal.never_sealed(db):
        return ""
    return why_not(db, seal.read(db), ledger.stand(ledger.path_of(db.path)))


def why_not(db: Database, sealed: Seal | None, stand: Stand | None) -> str:
    """Return what is wrong between a database and its journal, or nothing."""
    if runs.get(db, seal.RESTORED):
        return "This database was restored from a backup, and what was sent after that was made is not settled yet."
    if runs.get(db, seal.COPIED):
        return "This database is a backup that was put in place by hand; what was sent since is not settled."
    if sealed is None:
        return "This database is older than its send journal: it was put back from a copy."
    return _not_here(db, sealed, stand) or (_behind(sealed, stand) if stand else "")


def _not_here(db: Database, sealed: Seal, stand: Stand | None) -> str:
    """Return why a database is not where it belongs, or nothing."""
    journal = ledger.path_of(db.path)
    here = seal.machine()
    if sealed.host and here and sealed.host != here:
        return (
            f"This database belongs to another machine ({sealed.name}), which may be sending from it too. "
            "See that only one of them sends."
        )
    inode = ledger.place_of(journal)
    if inode is None:
        return f"{journal.name}, which tells what was sent, is not beside this database, so it may be an older copy."
    if stand is None:
        return f"{journal.name}, which tells what was sent, is damaged."
    if inode not in sealed.places or stand.id != sealed.id:
        return (
            "This database was copied or put back: its send journal is another one. "
            "If the one it was copied from is still in use, see that only one of them sends."
        )
    return ""


def _behind(sealed: Seal, stand: Stand) -> str:
    """Return by how much a database is older than what went out, or nothing."""
    if (stand.epoch, stand.batch) > (sealed.epoch, sealed.batch):
        more = stand.batch - sealed.batch
        mails = f"{more} {'batch' if more == 1 else 'batches'} of mail more than this database" if more > 0 else "more"
        return f"This database is older than what was sent: its send journal knows {mails}."
    if stand.acts > sealed.acts + 1:
        return "This database is older than its send journal, which knows of people who left since."
    return ""
