"""A funnel in a folder with a mail server of its own, real commands to run there, and the books of both."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.app import Funnel
from funnel.config import load_config
from funnel.demo.mailserver import Accepted, MailServer
from funnel.guide.source import known_anchors, load
from funnel.model import Receipt
from funnel.store import enrollments
from tests.kit import TOP, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PYTHON = sys.executable
FUNNEL = str(Path(PYTHON).with_name("funnel"))
PATIENCE = 60.0
CONNECTIONS = 3
#: These have been asked to confirm; these wait for the guide; these for a mail of the series.
ASKED = tuple(f"asked{i}@mail.example" for i in range(3))
JOINED = tuple(f"joined{i}@mail.example" for i in range(3))
FURTHER = tuple(f"further{i}@mail.example" for i in range(3))
PEOPLE = (*ASKED, *JOINED, *FURTHER)
RETRY = {"confirm": "retry", "guide": "retry", "drip": "retry"}
HOLD = {"confirm": "hold", "guide": "hold", "drip": "hold"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the world's ledger: what was taken, when, and which mail of ours it is."""

    at: float
    recipient: str
    mark: str
    content: bytes


@dataclass(slots=True)
class World:
    """The mail server of everybody else: what it took stays, whatever becomes of us."""

    server: MailServer
    taken: list[Entry] = field(default_factory=list)

    def take(self, message: Accepted) -> None:
        """Enter a message, with the moment and the mark that says which mail it is."""
        mark = str(message_from_bytes(message.content)["X-Funnel-Id"])
        self.taken.append(Entry(time.time(), message.recipient, mark, message.content))

    def settle(self) -> None:
        """Wait until every conversation of a program that is gone has ended."""
        wait_until(lambda: self.server.busy == 0)


@contextmanager
def a_world() -> Iterator[World]:
    """Give a running mail server with an empty ledger."""
    with MailServer(extensions=("8BITMIME", "SIZE 1000000", "PIPELINING")) as server:
        world = World(server)
        server.on_accept = world.take
        yield world


def wait_until(true: Callable[[], object]) -> None:
    """Wait until a function says yes."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; a negative code is the signal that killed it."""

    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """True when SIGKILL ended it; strace ends as what it watched did, a shell adds 128."""
        return self.code in {-9, 137}


@dataclass(frozen=True, slots=True)
class Scene:
    """One folder with a funnel in it, and the world its mails go out to."""

    folder: Path
    world: World
    earlier: frozenset[int] = frozenset()  #: mails that had been sent before this world began

    @property
    def settings(self) -> Path:
        """Return the settings file."""
        return self.folder / "funnel.toml"

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.folder / "funnel.db"

    @property
    def funnel(self) -> Funnel:
        """Return the funnel of the folder, freshly read, on this machine's clock."""
        return Funnel(load_config(self.settings), clock=lambda: datetime.now(UTC))

    def run(self, *words: str, program: Sequence[str] = (FUNNEL,), before: Sequence[str] = ()) -> Ended:
        """Run a command of ours as a process of its own, behind the words of a tool if need be."""
        done = subprocess.run(
            [*before, *program, *words], cwd=self.folder, env=environment(), capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start a command of ours and return the process."""
        for number in (signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:  # in jobs, under nohup; what we start would inherit it
                signal.signal(number, signal.SIG_DFL)
        return subprocess.Popen(
            [*before, FUNNEL, *words], cwd=self.folder, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def send(self, later: timedelta = timedelta()) -> None:
        """Send what is due, in this process; ``later`` turns the clock on."""
        funnel = self.funnel
        with funnel.session() as db:
            for _ in funnel.sender(db, clock=lambda: datetime.now(UTC) + later).send_due():
                pass
            funnel.transport.close()

    def stop(self, email: str) -> float:
        """Take somebody off the list, and return when that was done."""
        funnel = self.funnel
        with funnel.session(readonly=True) as db:
            person = funnel.find_person(db, email)
        funnel.unsubscribe(person.id, Receipt("withdrawn", funnel.clock()))
        return time.time()

    def confirm_token(self, email: str) -> str:
        """Return the end of the link that confirms somebody's newest request."""
        funnel = self.funnel
        with funnel.session(readonly=True) as db:
            asked = enrollments.latest(db, funnel.find_person(db, email).id, "confirm")
        assert asked is not None
        return funnel.links.confirm(asked.id, asked.anchor_at).token

    def value(self, sql: str) -> object:
        """Return the first value a query gives."""
        with self.funnel.session(readonly=True) as db:
            return db.value(sql)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with self.funnel.session(readonly=True) as db:
            return [tuple(row) for row in db.all(sql)]


def environment() -> dict[str, str]:
    """Return an environment without ours in it; measuring coverage would write files between the writes we count."""
    ours = ("FUNNEL_", "COV", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


# --- making scenes -----------------------------------------------------------------------------


def make_original(folder: Path) -> None:
    """Make a funnel with nine people, each with one mail due."""
    clock = Clock(datetime.now(UTC) - timedelta(days=3, hours=2))
    made = make_funnel(
        folder, now=clock, sending={"window": "00:00-24:00", "min_gap_hours": 0}, site={"listen": "127.0.0.1:0"}
    )
    _put_a_guide(folder)
    _hurry(folder)
    funnel = Funnel(made.config, clock=clock)
    for mail in ("confirm/confirm", "series/guide", "series/did-it-reach-you", "series/many-reasons"):
        funnel.composer.compiled(funnel.library.find(mail))  # once for all runs
    for email in FURTHER:
        sign_up(funnel, email)
        confirm(funnel, email)
    with a_world() as world:
        _set_transport(folder, world, RETRY)
        Scene(folder, world).send(later=clock() - datetime.now(UTC))
    clock.now = datetime.now(UTC) - timedelta(minutes=5)
    for email in (*ASKED, *JOINED):
        sign_up(funnel, email)
    for email in JOINED:
        confirm(funnel, email)


def _put_a_guide(folder: Path) -> None:
    """Put something in the place of the guide, so that mails may link to it."""
    guide = folder / "build" / "guide"
    guide.mkdir(parents=True)
    (guide / "guide.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    (guide / "pages.json").write_text(json.dumps(known_anchors(load(TOP / "guide"))))


def _hurry(folder: Path) -> None:
    """Make the mails of the series due at any hour."""
    plan = folder / "emails" / "series" / "sequence.toml"
    kept = [line for line in plan.read_text("utf-8").splitlines() if not line.startswith("at = ")]
    plan.write_text("\n".join(kept), "utf-8")


def _set_transport(folder: Path, world: World, on_uncertain: dict[str, str]) -> None:
    """Let the funnel of a folder talk to a world."""
    file = folder / "funnel.toml"
    text = file.read_text("utf-8").partition("\n# transport\n")[0].replace('kind = "memory"', 'kind = "smtp"')
    text = re.sub(r"on_uncertain = .*\n", "", text)
    kinds = ", ".join(f'{kind} = "{word}"' for kind, word in on_uncertain.items())
    text = text.replace("[sending]\n", f"[sending]\non_uncertain = {{ {kinds} }}\n")
    file.write_text(
        f'{text}\n# transport\n[transport.smtp]\nhost = "127.0.0.1"\nport = {world.server.port}\n'
        f'security = "none"\nconnections = {CONNECTIONS}\ntimeout = 10\n',
        "utf-8",
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder to play in, and how it is to be found each time.

    It is set up in place, file by file, because a funnel that was copied elsewhere knows that and does not send.
    """

    folder: Path
    kept: Path
    journal: int = 0  #: which file the send journal is, by its inode; 0 for none

    def keep(self, name: str) -> Stage:
        """Return a stage of the same folder, to be found from now on as it is at this moment."""
        kept = self.kept.with_name(name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.folder, kept)
        return Stage(self.folder, kept, inode(self.folder / JOURNAL))

    def set_up(self) -> None:
        """Make the folder what it was when it was kept."""
        theirs = {path.relative_to(self.kept) for path in self.kept.rglob("*")}
        if inode(self.folder / JOURNAL) != self.journal:
            put_away(self.folder / JOURNAL)
            if self.journal:
                away(self.folder / JOURNAL, self.journal).rename(self.folder / JOURNAL)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.relative_to(self.folder) not in theirs:
                path.rmdir() if path.is_dir() else path.unlink()
        for name in sorted(theirs):
            _same(self.kept / name, self.folder / name)


JOURNAL = "funnel.db.sent"


def inode(file: Path) -> int:
    """Return which file this is, or 0 when there is none."""
    return file.stat().st_ino if file.exists() else 0


def away(file: Path, number: int) -> Path:
    """Return where a send journal lies while its funnel must not have it."""
    return file.parent.parent / f"{file.name}.{number}"


def put_away(journal: Path) -> None:
    """Take a send journal out of its funnel; the database knows this very file, so it is kept."""
    if journal.exists():
        journal.rename(away(journal, inode(journal)))


def _same(kept: Path, path: Path) -> None:
    """Give one file or folder the content of another, in place."""
    if kept.is_dir():
        path.mkdir(exist_ok=True)
        return
    stamp = kept.stat()
    if path.exists() and (path.stat().st_mtime_ns, path.stat().st_size) == (stamp.st_mtime_ns, stamp.st_size):
        return
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(kept.read_bytes())
        file.truncate()
    path.chmod(stamp.st_mode)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def make_stage(folder: Path) -> Stage:
    """Return a stage with a funnel of nine people, each with one mail due."""
    compileall.compile_dir(TOP / "funnel", quiet=1)  # else the first command would write that down, between ours
    make_original(folder / "shop")
    return Stage(folder / "shop", folder / "none").keep("original")


@contextmanager
def a_scene(stage: Stage, on_uncertain: dict[str, str] = RETRY) -> Iterator[Scene]:
    """Give the funnel of a stage as it was kept, with a world of its own."""
    stage.set_up()
    with a_world() as world:
        _set_transport(stage.folder, world, on_uncertain)
        yield Scene(stage.folder, world, _sent_mails(stage.folder / "funnel.db"))


def _sent_mails(database: Path) -> frozenset[int]:
    """Return the mails a database calls sent, whatever its version."""
    connection = sqlite3.connect(database)
    try:
        return frozenset(row[0] for row in connection.execute("SELECT id FROM mailing WHERE status = 'sent'"))
    finally:
        connection.close()
