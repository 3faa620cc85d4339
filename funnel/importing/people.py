"""From a CSV file to people with receipts: looked at row by row, then all of it in one transaction, or nothing.

Suppression wins over any import, and whoever is here already is left as they are (LAW-11).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.address import shorten
from funnel.errors import ImportRefusedError
from funnel.importing.result import MOST_FAULTS, PATIENTS, Fault, ImportResult
from funnel.importing.rows import CellError, Reader
from funnel.importing.sheet import MOST_ROWS, Broken, open_sheet, records
from funnel.model import Kind, Receipt, Status
from funnel.schedule import due_at, zone
from funnel.store import bulk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from funnel.context import Context
    from funnel.importing.sheet import Sheet
    from funnel.model import Sequence
    from funnel.store.database import Database

#: Whoever is imported is not asked to confirm, and is no staff.
CLOSED = {Kind.CONFIRM, Kind.DIGEST}


@dataclass(frozen=True, slots=True)
class Import:
    """What is to be imported, and what makes it lawful."""

    file: Path
    basis: str
    proof: str
    confirmed: bool = False
    into: str = ""
    not_patients: bool = False
    operator: str = ""


@dataclass(slots=True)
class _Count:
    """What the rows of a file turned out to be."""

    rows: int = 0
    suppressed: int = 0
    staged: int = 0
    faulty: int = 0
    faults: list[Fault] = field(default_factory=list)

    def fault(self, row: int, column: str, says: str) -> None:
        self.faulty += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(row, column, says))


def import_people(db: Database, ctx: Context, plan: Import, *, now: datetime, really: bool) -> ImportResult:
    """Import a file whole, or say what would come of it; nothing changes unless ``really`` and every row is good.

    Raises ImportRefusedError for a plan or a file that cannot be imported at all.
    """
    sequence = _checked(ctx, plan, really=really)
    sheet = open_sheet(plan.file)
    hashes = bulk.suppression_hashes(db)
    with bulk.staging(db):
        count = _stage_all(db, ctx, sheet, hashes)
        applied = really and not count.faulty
        if applied:
            with db.transaction():
                _still(db, hashes)
                known, new, entered = _write(db, ctx, plan, sequence, now)
        else:
            known, new, entered = bulk.known_rows(db), bulk.new_people(db), 0
    return ImportResult(
        file=plan.file.name,
        applied=applied,
        rows=count.rows,
        new=new,
        known=known,
        suppressed=count.suppressed,
        duplicates=count.staged - known - new,
        faulty=count.faulty,
        entered=entered,
        status=str(_status(plan)),
        into=plan.into,
        faults=tuple(count.faults),
        notes=sheet.notes if plan.not_patients else (*sheet.notes, PATIENTS),
    )


def _status(plan: Import) -> Status:
    return Status.CONFIRMED if plan.confirmed else Status.PENDING


def _checked(ctx: Context, plan: Import, *, really: bool) -> Sequence | None:
    """Return the sequence people enter, if any; raises ImportRefusedError for a plan that may not be."""
    if not plan.basis.strip() or not plan.proof.strip():
        raise ImportRefusedError("Say with --basis why you may mail these people, and with --proof where that is kept.")
    if really and not plan.not_patients:
        raise ImportRefusedError(PATIENTS)
    if not plan.into:
        return None
    if not plan.confirmed:
        raise ImportRefusedError("--into mails people, so it needs --confirmed: that they confirmed elsewhere.")
    sequence = ctx.sequences.get(plan.into)
    open_to_people = {name: s for name, s in ctx.sequences.items() if s.steps[0].kind not in CLOSED}
    if sequence is None or sequence.name not in open_to_people:
        known = ", ".join(sorted(open_to_people))
        raise ImportRefusedError(f"Nobody can be imported into “{shorten(plan.into)}”; there are: {known}.")
    return sequence


# --- looking at every row ----------------------------------------------------------------------


def _stage_all(db: Database, ctx: Context, sheet: Sheet, hashes: frozenset[str]) -> _Count:
    """Look at every row of a sheet and stage the good ones, a batch at a time."""
    reader, count = Reader(sheet, ctx), _Count()
    tagged = "tags" in sheet.columns
    batch: list[bulk.Staged] = []
    for number, row in enumerate(records(sheet), 2):
        if not row:
            continue
        count.rows += 1
        if count.rows > MOST_ROWS:
            raise ImportRefusedError(f"{sheet.path.name} has more than {MOST_ROWS:,} rows; split it.")
        if isinstance(row, Broken):
            count.fault(number, "", row.says)
            continue
        try:
            person = reader.person(row)
            tags = reader.tags(row) if tagged else ()
        except CellError as fault:
            count.fault(number, fault.column, fault.says)
            continue
        if hashes and not hashes.isdisjoint(ctx.suppression_hashes(person[1])):
            count.suppressed += 1
            continue
        batch.append(person)
        count.staged += 1
        if tags:
            bulk.stage_tags(db, person[1], tags)
        if len(batch) == bulk.BATCH:
            bulk.stage(db, batch)
            batch.clear()
    bulk.stage(db, batch)
    return count


# --- writing -----------------------------------------------------------------------------------


def _still(db: Database, hashes: frozenset[str]) -> None:
    """Raise ImportRefusedError when somebody was suppressed since the rows were looked at."""
    if bulk.suppression_hashes(db) != hashes:
        raise ImportRefusedError("Somebody left while the file was read; nothing was changed. Import it once more.")


def _write(db: Database, ctx: Context, plan: Import, sequence: Sequence | None, now: datetime) -> tuple[int, int, int]:
    """Write every staged person who is new; returns how many rows were known, came in, and entered the sequence."""
    known, before = bulk.known_rows(db), bulk.last_person(db)
    new = bulk.add_people(
        db,
        _status(plan),
        source=f"import {shorten(plan.file.name)}",
        now=now,
        confirmed_at=now if plan.confirmed else None,
    )
    if not new:
        return known, 0, 0
    bulk.add_tags(db, before)
    bulk.add_receipts(db, before, _receipt(plan, now))
    bulk.add_import_events(db, before, now)
    return known, new, _enter(db, ctx, sequence, before, now) if sequence else 0


def _receipt(plan: Import, now: datetime) -> Receipt:
    detail = f"basis: {plan.basis}; proof: {plan.proof}; file: {shorten(plan.file.name)}"
    return Receipt(act="imported", at=now, form="import", operator=plan.operator, detail=detail)


def _enter(db: Database, ctx: Context, sequence: Sequence, before: int, now: datetime) -> int:
    """Enter everybody who came after id ``before``, with a gift where the sequence brings the guide and the gift."""
    first = sequence.steps[0]
    due = {name: due_at(first, now, zone(name), ctx.calendar) for name in bulk.zones_after(db, before)}
    if any(step.kind is Kind.GUIDE for step in sequence.steps):
        for person in bulk.ids_after(db, before):
            gifts.issue(db, ctx, person, now)
    return bulk.enter_all(db, before, sequence.name, first.name, now=now, due=due)
