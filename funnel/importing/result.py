"""What an import found and did, and how staff read it."""

from __future__ import annotations

from dataclasses import dataclass

#: So many faulty rows are kept with their words; all are counted.
MOST_FAULTS = 1_000
SHOWN = 50
PATIENTS = (
    "Never import a list of patients without legal advice: writing to patients to sell them something needs their "
    "written authorisation in most cases (HIPAA, 45 CFR 164.508), and your mail provider must have signed a "
    "business associate agreement. Add --not-patients when these people are no patient list."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row; rows are counted as a spreadsheet does, the row of names being 1."""

    row: int
    column: str
    says: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"row {self.row}{', ' + self.column if self.column else ''}: {self.says}"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The sums of one import: each row is new, known, suppressed, a duplicate, or faulty."""

    file: str
    applied: bool
    rows: int = 0
    new: int = 0
    known: int = 0
    suppressed: int = 0
    duplicates: int = 0
    faulty: int = 0
    entered: int = 0
    status: str = "pending"
    into: str = ""
    faults: tuple[Fault, ...] = ()  #: the first thousand
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return what the command prints: faults, sums, notes, and what was done."""
        return "\n".join([*self._faults(), self._sums(), *(f"Note: {note}" for note in self.notes), self._done()])

    def _faults(self) -> list[str]:
        lines = [str(fault) for fault in self.faults[:SHOWN]]
        more = self.faulty - len(lines)
        return [*lines, f"… and {more:,} more faulty rows"] if more > 0 else lines

    def _sums(self) -> str:
        parts = [
            f"{self.new:,} new",
            f"{self.known:,} known (left as they are)",
            f"{self.suppressed:,} suppressed (left out)",
            f"{self.duplicates:,} repeated",
            f"{self.faulty:,} faulty",
        ]
        return f"{self.file}: {self.rows:,} {'row' if self.rows == 1 else 'rows'}: {', '.join(parts)}."

    def _done(self) -> str:
        if self.faulty:
            return "Nothing was changed: a file comes in whole or not at all. Mend the faulty rows and try again."
        if not self.applied:
            return "Nothing was changed; add --apply."
        into = f" {self.entered:,} entered into “{self.into}”." if self.into else ""
        people = "person" if self.new == 1 else "people"
        return f"Done: {self.new:,} {people} came in as {self.status}.{into}"
