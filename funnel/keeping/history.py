"""What the send journal knows that a database does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel.store import ledger
from funnel.store.ledger import Act, Batch, Ended, Given, Mark

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from funnel.store.seal import Seal

#: What the journal knows of one mail: certainly not taken, perhaps, certainly.
NOT, PERHAPS, SENT = 0, 1, 2


@dataclass(slots=True)
class Claim:
    """One time that a mail was about to go out."""

    at: int
    fate: int = PERHAPS


@dataclass(slots=True)
class History:
    """What happened after a database was copied; ``whole`` when the journal knows all of it."""

    whole: bool = False
    diverged: bool = False  #: the database went on by itself after the copy that this journal belongs to
    batches: list[Batch] = field(default_factory=list)
    mails: dict[tuple[int, str], list[Claim]] = field(default_factory=dict)  #: by enrollment and ``sequence/step``
    acts: dict[str, Act] = field(default_factory=dict)  #: the last one for each hash
    given: dict[str, Given] = field(default_factory=dict)  #: codes of the pool, each by its hash

    def fate(self, enrollment: int, name: str) -> tuple[int, int] | None:
        """Return what became of a mail and when, or None when it was never about to go out."""
        claims = self.mails.get((enrollment, name))
        if not claims:
            return None
        best = max(claims, key=lambda claim: claim.fate)
        return (min(best.fate, PERHAPS) if self.diverged else best.fate), best.at


def history(journal: Path, sealed: Seal | None) -> History:
    """Return what a journal knows beyond a database with this seal; an unsealed one is told of the stops only."""
    records = list(ledger.read(journal))
    marks = [record for record in records if isinstance(record, Mark)]
    ours = sealed is not None and bool(marks) and marks[-1].id == sealed.id
    found = History(given={record.code: record for record in records if isinstance(record, Given)})
    if sealed is not None and ours:
        found.diverged = any(mark.epoch > sealed.epoch and mark.base < sealed.batch for mark in marks)
        reaches = marks[0].batch <= sealed.batch and all(m.whole or m.batch <= sealed.batch for m in marks)
        found.whole = reaches and not found.diverged
        _mails(records, found, sealed.batch)
    _acts(records, found, sealed.acts if sealed is not None and ours and not found.diverged else -1)
    return found


def _mails(records: Iterable[ledger.Record], found: History, known: int) -> None:
    """Take in every mail; those of batches the database knows may be of one that it still holds open."""
    open_claims: dict[int, Claim] = {}
    for record in records:
        if isinstance(record, Batch):
            if record.number > known:
                found.batches.append(record)
            for name, pairs in record.mails.items():
                for mailing, enrollment in zip(*pairs, strict=True):
                    open_claims[mailing] = claim = Claim(record.at)
                    found.mails.setdefault((enrollment, name), []).append(claim)
        elif isinstance(record, Ended):
            for mailing in record.mailings:
                if mailing in open_claims:
                    open_claims[mailing].fate = SENT if record.sent else NOT


def _acts(records: Iterable[ledger.Record], found: History, known: int) -> None:
    for record in records:
        if isinstance(record, Act) and record.number > known:
            found.acts[record.hash] = record
