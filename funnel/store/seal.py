"""What the database knows about itself: its name, its machine, its send journal, and how far it has come.

A copy takes all of this along, which is how a copy is told from the original: the journal and the machine stay.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.store import ledger, runs
from funnel.store.database import maybe_moment, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database

#: Settings of ours in the database. Batches and acts are counted in the transaction of what they count.
SEAL, BATCH, ACTS, RESTORED, COPIED = "seal", "seal_batch", "seal_acts", "restored", "copied_at"
#: When the newest backup of this database was made that it knows of; a backup knows of itself.
BACKED_UP = "backed_up"
MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NEXT = "UPDATE setting SET value = CAST(value AS INTEGER) + 1 WHERE key = ? RETURNING value"
#: People taken off within this time are written into a journal that begins; backups are kept less long.
KEPT_SECONDS = 40 * 86_400


@dataclass(frozen=True, slots=True)
class Seal:
    """Which database this is, where it belongs, and how far it has come."""

    id: str
    host: str  #: hash of the machine's id; empty where there is none
    places: tuple[int, ...]  #: inodes of the journal; two while it changes
    epoch: int  #: how often it was restored and let go on
    boot: str = ""  #: of the machine that last sent
    name: str = ""  #: and what that is called
    batch: int = 0
    acts: int = 0


def machine() -> str:
    """Return a hash that tells machines apart; empty where the machine has no id."""
    try:
        raw = MACHINE_ID.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.blake2b(raw, digest_size=8, person=b"funnel machine").hexdigest() if raw else ""


def boot_id() -> bytes:
    """Return 36 characters that change when the machine starts anew; empty where nobody can tell."""
    try:
        return BOOT_ID.read_bytes().strip()[:36]
    except OSError:
        return b""


def boot() -> str:
    """Return ``boot_id`` as text."""
    return boot_id().decode("ascii", "replace")


def read(db: Database) -> Seal | None:
    """Return the seal of a database, or None when it has none yet."""
    stored = runs.get(db, SEAL)
    if stored is None:
        return None
    facts = json.loads(stored)
    counted = {"batch": int(runs.get(db, BATCH) or 0), "acts": int(runs.get(db, ACTS) or 0)}
    return Seal(**(facts | {"places": tuple(facts["places"])} | counted))


def write(db: Database, seal: Seal) -> None:
    """Keep a seal, in the caller's transaction."""
    facts = asdict(seal)
    for key in ("batch", "acts"):
        del facts[key]
    runs.put(db, SEAL, json.dumps(facts))
    runs.put(db, BATCH, str(seal.batch))
    runs.put(db, ACTS, str(seal.acts))


def place(db: Database, seal: Seal) -> Seal:
    """Keep and return a seal that belongs to this machine and to the journal that is here now."""
    inode = ledger.place_of(ledger.path_of(db.path))
    here = replace(
        seal, host=machine(), places=() if inode is None else (inode,), boot=boot(), name=socket.gethostname()
    )
    write(db, here)
    return here


def found(db: Database) -> Seal:
    """Seal a database that has no seal and no journal, and return it; of what went out before nothing is known."""
    name = secrets.token_hex(8)
    with db.transaction():
        begin_journal(db, ledger.Mark(name, epoch=1, batch=0, acts=0, base=0, whole=False))
        return place(db, Seal(name, "", (), 1))


def ensure(db: Database) -> Seal | None:
    """Return the seal of a database, made now for one that has none yet; None for an unsealed copy."""
    return found(db) if never_sealed(db) else read(db)


def never_sealed(db: Database) -> bool:
    """Return whether a database is yet to be sealed, and no copy of one that was.

    Its journal is begun right before: one that knows of nothing was left by a process killed in between.
    """
    journal = ledger.path_of(db.path)
    return read(db) is None and (ledger.place_of(journal) is None or ledger.untouched(journal))


def begin_journal(db: Database, mark: ledger.Mark) -> int:
    """Begin a journal with whom not to mail, and return its inode."""
    journal = ledger.path_of(db.path)
    inode = ledger.begin(journal, mark)
    note_stops(db, mark.acts)
    return inode


def note_stops(db: Database, number: int) -> None:
    """Write into the journal everybody who was taken off lately."""
    newest = db.value("SELECT max(at) FROM suppression") or 0
    rows = db.all("SELECT hash, reason, at FROM suppression WHERE at >= ? ORDER BY at", (newest - KEPT_SECONDS,))
    lines = [ledger.Act(number, row["at"], row["hash"], row["reason"]).line() for row in rows]
    if lines:
        ledger.write(ledger.path_of(db.path), lines)


def next_batch(db: Database) -> tuple[int, int]:
    """Count one more batch, in the transaction of its claims; returns its number, and how many acts there were."""
    return int(db.value(NEXT, (BATCH,)) or 0), int(runs.get(db, ACTS) or 0)


def sending_since(db: Database, name: str, since: datetime) -> bool:
    """True when the newest run is of a machine of this name, is not over, and gave a sign of life since a moment."""
    row = db.one("SELECT * FROM run ORDER BY id DESC LIMIT 1")
    return bool(row and row["host"] == name and row["finished_at"] is None and row["heartbeat_at"] >= seconds(since))


# --- whom not to mail --------------------------------------------------------------------------


def stopped(db: Database, key_hash: str, reason: str, now: datetime) -> None:
    """Tell the journal that somebody is taken off, right before the transaction at hand is on the disk."""
    number = db.value(NEXT, (ACTS,))
    if number is not None:
        db.before_commit.append(ledger.Act(int(number), seconds(now), key_hash, reason).line())


def lifted(db: Database, key_hash: str) -> None:
    """Tell the journal that somebody may be mailed again, after the transaction at hand is on the disk."""
    number = db.value(NEXT, (ACTS,))
    if number is not None:
        db.after_commit.append(ledger.Act(int(number), 0, key_hash, "").line())


def given(db: Database, code_hash: str, holder: str, now: datetime) -> None:
    """Tell the journal that a code of the pool is given away, right before the transaction at hand is on the disk."""
    db.before_commit.append(ledger.Given(seconds(now), code_hash, holder).line())


# --- copies ------------------------------------------------------------------------------------


def last_known(db: Database) -> datetime | None:
    """Return the moment of the newest thing a database knows: what happened after it, it was not there for."""
    stored = runs.get(db, COPIED)
    newest = db.value(
        """SELECT max(at) FROM (SELECT max(heartbeat_at) AS at FROM run UNION ALL SELECT max(at) FROM event
           UNION ALL SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'last_tick')"""
    )
    return maybe_moment(int(stored) if stored else newest)


def forget_copy(db: Database) -> None:
    """Forget that this database was a copy: it goes on as the original."""
    db.execute("DELETE FROM setting WHERE key IN (?, ?)", (RESTORED, COPIED))
