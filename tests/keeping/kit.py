"""A funnel whose runs are guarded, and everything that can happen to its file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from funnel import signup
from funnel.app import Funnel
from funnel.config import load_config
from funnel.keeping import Guard, resume
from funnel.model import MailingStatus, Receipt, Status
from funnel.store import events, ledger, seal, subscribers
from tests.kit import WORDING, Clock, confirm, sign_up

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from funnel.keeping import Resumed
    from funnel.store.database import Database

ANN, BEN, CLEO = "ann@mail.example", "ben@mail.example", "cleo@mail.example"


class Shop:
    """A funnel with a clock to turn, whose mails go to memory."""

    def __init__(self, folder: Path, *, like: Shop | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.folder = folder
        self.funnel = Funnel(load_config(folder / "funnel.toml"), clock=self.clock)
        if like is not None:  # the same settings and words, which take long to read
            self.funnel.library, self.funnel.context = like.funnel.library, like.funnel.context
            self.funnel.composer = like.funnel.composer

    @property
    def path(self) -> Path:
        """Return where the database is."""
        return self.funnel.database_path

    @property
    def journal(self) -> Path:
        """Return where the send journal is."""
        return ledger.path_of(self.path)

    def join(self, *emails: str) -> None:
        """Sign up, confirm, and get the guide."""
        for email in emails:
            sign_up(self.funnel, email)
        self.send()
        for email in emails:
            confirm(self.funnel, email)
        self.send()

    def send(self) -> list[str]:
        """Send what is due; returns who got which step. Raises SealError when the guard is up."""
        with self.funnel.session() as db:
            with Guard(db) as guard:
                guard.check(self.clock())
            before = ledger.stand(self.journal)
            done = list(self.funnel.sender(db).send_due())
            if ledger.stand(self.journal) == before:
                self._note(db, [(o.mailing_id or 0, o.status) for o in done])
            return [f"{self.address(db, o.subscriber_id)} {o.step} {o.status}" for o in done]

    def _note(self, db: Database, done: list[tuple[int, MailingStatus]]) -> None:
        """Tell the journal of a run, as the run itself does."""
        handed = [mailing for mailing, status in done if status is not MailingStatus.SKIPPED]
        if handed:
            with Guard(db) as guard:
                guard.check(self.clock())
                with db.transaction():
                    guard.count()
                guard.note_batch(1, self.named(db, *handed), self.clock())
                guard.note_done(done)

    @staticmethod
    def named(db: Database, *numbers: int) -> dict[str, tuple[list[int], list[int]]]:
        """Return mails as the guard is told of them."""
        found: dict[str, tuple[list[int], list[int]]] = {}
        for number in numbers:
            row = db.one(
                "SELECT e.id, e.sequence, m.step FROM mailing m JOIN enrollment e ON e.id = enrollment_id"
                " WHERE m.id = ?",
                (number,),
            )
            assert row is not None
            mails, ways = found.setdefault(f"{row[1]}/{row[2]}", ([], []))
            mails.append(number)
            ways.append(row[0])
        return found

    @staticmethod
    def address(db: Database, person: int) -> str:
        """Return the name in somebody's address."""
        return subscribers.key_of(db, person).partition("@")[0]

    def leave(self, email: str) -> None:
        """Unsubscribe, as the page does."""
        receipt = Receipt("withdrawn", self.clock(), wording=WORDING)
        with self.funnel.session() as db, db.transaction():
            person = self.funnel.find_person(db, email)
            signup.unsubscribe(db, self.funnel.context, person.id, now=self.clock(), receipt=receipt)
            self._stopped(db, email, "unsubscribed")

    def forget(self, email: str) -> None:
        """Erase somebody."""
        with self.funnel.session() as db, db.transaction():
            person = self.funnel.find_person(db, email)
            key = subscribers.key_of(db, person.id)
            signup.erase(db, self.funnel.context, person.id, now=self.clock(), operator="test")
            self._stopped(db, key, "erased")

    def come_back(self, email: str) -> None:
        """Take a stop back: the address may be mailed again."""
        with self.funnel.session() as db, db.transaction():
            key_hash = self.funnel.context.hash_of(email)
            events.lift(db, key_hash)
            seal.lifted(db, key_hash)

    def _stopped(self, db: Database, key: str, reason: str) -> None:
        seal.stopped(db, self.funnel.context.hash_of(key), reason, self.clock())

    def resume(self, *, really: bool = True, nothing_since: bool = False) -> Resumed:
        """Settle, and let sending go on."""
        with self.funnel.session() as db:
            return resume(db, self.funnel.context, now=self.clock(), really=really, nothing_since=nothing_since)

    def status(self, email: str) -> Status:
        """Return where somebody stands."""
        with self.funnel.session(readonly=True) as db:
            return self.funnel.find_person(db, email).status

    def mails(self) -> dict[str, str]:
        """Return what became of every mail, by person and step."""
        with self.funnel.session(readonly=True) as db:
            rows = db.all(
                "SELECT e.subscriber_id AS person, m.step, m.status FROM mailing m"
                " JOIN enrollment e ON e.id = enrollment_id ORDER BY m.id"
            )
            return {f"{self.address(db, row['person'])} {row['step']}": row["status"] for row in rows}

    def suppressed(self, email: str) -> bool:
        """True when an address must get no mail."""
        with self.funnel.session(readonly=True) as db:
            return events.suppressed(db, self.funnel.context.hash_of(email)) is not None

    def copy(self, name: str = "copy.db") -> Path:
        """Copy the database as somebody does who knows of no backup command; nobody has it open."""
        with self.funnel.session() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.folder / shutil.copyfile(self.path, self.folder / name)

    def put_back(self, copy: Path) -> None:
        """Copy a file over the database."""
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(copy, self.path)

    def edit_seal(self, **changes: object) -> None:
        """Change what the database knows about itself."""
        with self.funnel.session() as db, db.transaction():
            sealed = seal.read(db)
            assert sealed is not None
            seal.write(db, replace(sealed, **changes))  # type: ignore[arg-type]


def files(folder: Path, *, but: Iterable[str] = ()) -> set[str]:
    """Return the names of the files in a folder."""
    return {file.name for file in folder.iterdir() if file.is_file()} - set(but)
