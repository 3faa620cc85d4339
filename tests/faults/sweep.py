"""The sweep: each command, killed right before every call it makes; a command is a row of the table.

Afterwards the funnel is in the state it was in before or in the one the command leads to, never in between; what
was answered with yes is done; the same command again leads there, and then all books agree.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import signal
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from sqlite_utils import Database as Tables

from funnel.app import Funnel
from funnel.cli import group
from funnel.config import load_config, load_keys
from funnel.errors import FunnelError
from funnel.sender import run as sender_run
from funnel.signup import Request
from funnel.store import migrations, tick
from funnel.store.database import open_database
from funnel.tokens import funnel_id
from funnel.web import create_app
from tests.faults.books import doubled, doubts, faults_of, missed
from tests.faults.trace import STORING, TALKING, Moment, killing, moments, noting
from tests.faults.world import (
    CONNECTIONS,
    FURTHER,
    HOLD,
    JOURNAL,
    PATIENCE,
    PEOPLE,
    PYTHON,
    RETRY,
    Ended,
    Scene,
    Stage,
    a_scene,
    put_away,
)
from tests.kit import kept_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

#: Few claims at a time and each answer written down at once, so that nine mails make many such moments.
FEW: dict[str, object] = {"SMALLEST": 4, "LARGEST": 4, "SOON": timedelta(0)}
FEW_WORDS = """
from datetime import timedelta
from funnel.cli import main
from funnel.sender import run
run.SMALLEST, run.LARGEST, run.SOON = 4, 4, timedelta(0)
main()
"""
SMALL = (PYTHON, "-c", FEW_WORDS)


@contextlib.contextmanager
def small_batches() -> Iterator[None]:
    """Let runs of this process claim and record as those of ``SMALL`` do."""
    before = {name: getattr(sender_run, name) for name in FEW}
    for name, value in FEW.items():
        setattr(sender_run, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(sender_run, name, value)


#: Right before a command's first flush: all of it is written, nothing is on the disk for sure.
COMMIT = Moment("fdatasync", 1)


@dataclass(frozen=True, slots=True)
class Row:
    """One command of the sweep.

    ``words`` are what one types; ``post`` is a request to a server instead, as path and fields. ``state`` tells
    the state before from the one after; ``prepare`` makes what has to be there.
    """

    name: str
    state: Callable[[Scene], object]
    words: Callable[[Scene], Sequence[str]] = lambda _: ()
    post: Callable[[Scene], tuple[str, dict[str, str]]] | None = None
    prepare: Callable[[Scene], object] = lambda _: None
    settle: Callable[[Scene], object] = lambda _: None  #: what has to be done before mail goes again
    calls: tuple[str, ...] = STORING
    sample: Moment = COMMIT  #: where the short form of the sweep kills it


@dataclass(frozen=True, slots=True)
class Case:
    """A row with the funnel it starts from, and the states between which there is nothing."""

    row: Row
    start: Stage
    moments: list[Moment]
    before: object
    after: object


def make_sample(row: Row, stage: Stage) -> Case:
    """Prepare a row for one moment only, and see in this process where it leads."""
    start = _prepared(row, stage)
    with a_scene(start) as scene:
        before, done = row.state(scene), again(row, scene)
        assert done, f"{row.name} fails when nobody disturbs it"
        return Case(row, start, [row.sample], before, row.state(scene))


def _prepared(row: Row, stage: Stage) -> Stage:
    with a_scene(stage) as scene:
        row.prepare(scene)
        return stage.keep(f"{row.name}-start")


def make_case(row: Row, stage: Stage, folder: Path) -> Case:
    """Prepare a row, and see how it runs as a process of its own when nobody kills it."""
    start = _prepared(row, stage)
    log = folder / f"{row.name}.calls"
    with a_scene(start) as scene:
        before = row.state(scene)
        ended, said_yes = act(row, scene, noting(row.calls, log))
        assert said_yes, f"{row.name} fails when nobody disturbs it: {ended}"
        after = row.state(scene)
    assert after != before, f"{row.name} changes nothing"
    return Case(row, start, moments(log), before, after)


def act(row: Row, scene: Scene, before: Sequence[str]) -> tuple[Ended, bool]:
    """Do what the row says behind the words of a tool; returns how it ended and whether it had said yes."""
    if row.post is None:
        ended = scene.run(*row.words(scene), before=before)
        return ended, bool(ended.out.strip())
    return ask_server(scene, *row.post(scene), before)


def ask_server(scene: Scene, path: str, fields: dict[str, str], before: Sequence[str]) -> tuple[Ended, bool]:
    """Start a server, send it one form, end it; returns how it ended and whether it answered with yes."""
    said_yes = False
    with kept_port() as port:
        process = scene.start("serve", "--listen", f"127.0.0.1:{port}", before=before)
        while process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError):
                said_yes = post(port, path, fields)
                break
            time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err), said_yes


def post(port: int, path: str, fields: dict[str, str]) -> bool:
    """Send a form to a server; False also when it dies over it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        answer.read()
    except ConnectionRefusedError:
        raise
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return 200 <= answer.status < 400


def here(scene: Scene, *words: str) -> Ended:
    """Run a command in this process: much faster than in one of its own."""
    out, err, back = io.StringIO(), io.StringIO(), os.getcwd()  # noqa: PTH109
    os.chdir(scene.folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = group.run(list(words))
    finally:
        os.chdir(back)
    return Ended(code, out.getvalue(), err.getvalue())


def again(row: Row, scene: Scene) -> bool:
    """Do the same once more, undisturbed; returns whether the answer was yes."""
    if row.post is None:
        return here(scene, *row.words(scene)).code == 0
    path, fields = row.post(scene)
    return create_app(scene.funnel).test_client().post(path, data=fields).status_code < 400


def state_of(row: Row, scene: Scene) -> object:
    """Return the state a row asks about; what cannot be read is a state of its own."""
    try:
        return row.state(scene)
    except (FunnelError, sqlite3.Error) as error:
        return f"unreadable: {error}"


def strike(case: Case, at: Moment) -> list[str]:
    """Kill the command at that call, and return what is wrong afterwards."""
    row = case.row
    with a_scene(case.start) as scene:
        ended, said_yes = act(row, scene, killing(at))
        found = [] if ended.killed else [f"was not killed: {ended}"]
        state = state_of(row, scene)
        if state not in (case.before, case.after):
            found.append(f"half done: {state}")
        if said_yes and state != case.after:
            found.append(f"said yes, and did not do it: {state}")
        if not again(row, scene) and state == case.before:
            found.append("cannot be done again")
        if state_of(row, scene) != case.after:
            found.append(f"done again it leads elsewhere: {state_of(row, scene)}")
        row.settle(scene)
        scene.send()
        found += faults_of(scene)
    return [f"{row.name}, killed at {at}: {fault}" for fault in found]


# --- the run that sends ------------------------------------------------------------------------

SENDING = (*STORING, *TALKING)
TREATMENTS = {"retry": RETRY, "hold": HOLD}
#: Leaves between the kill and the next run; may have been claimed by then.
LEAVES = PEOPLE[4]


def sending_moments(stage: Stage, folder: Path) -> list[Moment]:
    """Return every call of a whole run that changes or sends something."""
    log = folder / "send.calls"
    with a_scene(stage) as scene:
        ended = scene.run("send", program=SMALL, before=noting(SENDING, log))
        assert ended.out == f"{len(PEOPLE)} sent.\n", ended
    return moments(log)


def strike_sending(stage: Stage, at: Moment, treatment: str, most: int = CONNECTIONS) -> list[str]:
    """Kill a run at that call, let somebody leave and the next one do its work; return what is wrong (F-1).

    More than ``most`` mails in doubt are wrong.
    """
    with a_scene(stage, TREATMENTS[treatment]) as scene, small_batches():
        ended = scene.run("send", program=SMALL, before=killing(at))
        scene.world.settle()
        left_at = scene.stop(LEAVES)
        scene.send()
        scene.send()
        # How often it looks for answers is up to the network.
        found = [] if ended.killed or at.call in TALKING else [f"was not killed: {ended}"]
        found += [*faults_of(scene, {LEAVES: left_at}), *_promised(scene, treatment, most)]
    return [f"send ({treatment}), killed at {at}: {fault}" for fault in found]


def _promised(scene: Scene, treatment: str, most: int) -> Iterator[str]:
    """P3: what a doubt may lead to, and how many of them one killed run leaves."""
    lost = [email for email in missed(scene, PEOPLE) if email != LEAVES]
    if doubts(scene) > most:
        yield f"{doubts(scene)} in doubt over {CONNECTIONS} connections"
    if treatment == "hold" and doubled(scene):
        yield f"doubled: {doubled(scene)}"
    if treatment == "retry" and lost:
        yield f"nothing came: {lost}"
    if len(lost) > doubts(scene):
        yield f"missing without a doubt on record: {lost}"


# --- the table ---------------------------------------------------------------------------------

NEW, ASKED_ONE, JOINED_ONE = "new@mail.example", PEOPLE[0], PEOPLE[3]


def _key(scene: Scene, subject: int = 0) -> str:
    """Return the key of a page that was shown a minute ago."""
    return Funnel(load_config(scene.settings), clock=lambda: datetime.now(UTC) - timedelta(minutes=1)).page_key(subject)


def _sign_up(scene: Scene) -> tuple[str, dict[str, str]]:
    return "/signup", {"email": NEW, "key": _key(scene)}


def _confirm(scene: Scene) -> tuple[str, dict[str, str]]:
    token = scene.confirm_token(ASKED_ONE)
    return f"/c/{token}", {"key": _key(scene, scene.funnel.request_of(token))}


def _unsubscribe(scene: Scene) -> tuple[str, dict[str, str]]:
    funnel = scene.funnel
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, JOINED_ONE)
    token = funnel.links.unsubscribe(person.id).token
    return f"/u/{token}", {"List-Unsubscribe": "One-Click"}


def _about(email: str) -> Callable[[Scene], object]:
    """Return what tells how far somebody is: status, ways, receipts, gifts, and whether mail to them is barred."""
    sql = f"""SELECT s.status, s.email_key IS NULL,
        (SELECT group_concat(sequence || ' ' || coalesce(next_step, '-') || ' ' || ended) FROM enrollment e
          WHERE e.subscriber_id = s.id),
        (SELECT group_concat(DISTINCT act) FROM consent c WHERE c.subscriber_id = s.id),
        (SELECT count(*) FROM gift g WHERE g.subscriber_id = s.id), (SELECT count(*) FROM suppression),
        (SELECT count(*) FROM event v WHERE v.subscriber_id = s.id)
        FROM subscriber s WHERE s.email_key = '{email}'"""
    return lambda scene: scene.rows(sql)


def _a_list(scene: Scene) -> None:
    rows = "\n".join(f"person{i}@mail.example" for i in range(200))
    (scene.folder / "people.csv").write_text(f"email\n{rows}\n", "utf-8")


def _crowd(scene: Scene) -> object:
    return scene.rows(
        """SELECT (SELECT count(*) FROM subscriber), (SELECT count(*) FROM enrollment), (SELECT count(*) FROM gift),
                  (SELECT count(*) FROM consent), (SELECT count(*) FROM event)"""
    )


def _everybody(scene: Scene) -> object:
    return scene.rows("SELECT status, email_key IS NULL, count(*) FROM subscriber GROUP BY 1, 2")


def _bounced(scene: Scene) -> None:
    mark = funnel_id(scene.funnel.context.keys.pepper, next(iter(scene.earlier)))
    (scene.folder / "bounce.eml").write_text(
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
        f"Final-Recipient: rfc822; {FURTHER[0]}\nAction: failed\nStatus: 5.1.1\n\n"
        f"--b\nContent-Type: message/rfc822\n\nTo: {FURTHER[0]}\nX-Funnel-Id: {mark}\n\nHello\n--b--\n"
    )


def _code(scene: Scene) -> str:
    return str(scene.value("SELECT min(code) FROM gift"))


def _first_version(scene: Scene) -> None:
    """Put a database of the first version in the place of this one."""
    scene.database.unlink()
    put_away(scene.folder / JOURNAL)  # there was none then
    old = sqlite3.connect(scene.database, isolation_level=None)
    migrations._versions().apply(Tables(old), stop_before="m002_choices")
    old.execute(f"PRAGMA application_id = {tick.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    people = "INSERT INTO subscriber VALUES (?, ?, ?, 'unsubscribed', '', 'UTC', 'en', '/', 1, 2, 3, 4)"
    old.executemany(people, [(i, f"p{i}@x.org", f"p{i}@x.org") for i in range(300)])
    old.executemany(
        "INSERT INTO consent VALUES (?, ?, 'requested', 1, NULL, 'f', '/', 'en', '', '', '', '', 1)",
        [(i + 7, i) for i in range(300)],
    )
    old.close()


def _version(scene: Scene) -> object:
    """Return the version of a database by what is in it: number, tables, people, receipts."""
    connection = sqlite3.connect(scene.database)
    try:
        return [connection.execute(sql).fetchone()[0] for sql in VERSION]
    finally:
        connection.close()


VERSION = (
    "PRAGMA user_version",
    "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name)",
    "SELECT count(*) FROM subscriber",
    "SELECT sum(id) FROM consent",
)


def _made(scene: Scene) -> object:
    """Return what a new funnel has, or None while it has no settings and so is none."""
    folder = scene.folder / "made"
    if not (folder / "funnel.toml").exists():
        return None
    config = load_config(folder / "funnel.toml")
    mails = sum(1 for _ in (folder / "emails").rglob("*.md"))
    with open_database(config.path(config.store.path), readonly=True):
        return mails, len(load_keys(config).pepper), (folder / "guide" / "guide.toml").is_file()


def _copy_of(scene: Scene) -> object:
    """Return who is in the backup, or None while there is none; half a database raises."""
    if not (scene.folder / "copy.db").exists():
        return None
    copy = sqlite3.connect(scene.folder / "copy.db")
    try:
        whole = copy.execute("PRAGMA integrity_check").fetchall()
        return whole, copy.execute("SELECT count(*) FROM subscriber").fetchall()
    finally:
        copy.close()


def _backed_up(scene: Scene) -> None:
    """Make a backup, then let somebody come and the mails go out."""
    assert here(scene, "backup", "copy.db").code == 0
    scene.funnel.ask(Request(NEW, wording="the words"))


IMPORT = ("subscribers", "import", "people.csv", "--basis", "asked on paper", "--proof", "the folder", "--confirmed",
          "--into", "series", "--not-patients", "--apply")  # fmt: skip
#: A command is one line here.
ROWS = (
    Row("signup", _about(NEW), post=_sign_up, sample=Moment("pwrite64", 18)),
    Row("confirm", _about(ASKED_ONE), post=_confirm, sample=Moment("pwrite64", 30)),
    Row("unsubscribe", _about(JOINED_ONE), post=_unsubscribe, sample=Moment("fdatasync", 2)),
    Row("bounces", _about(FURTHER[0]), lambda _: ("bounces", "bounce.eml"), prepare=_bounced),
    Row("redeem", lambda s: s.rows("SELECT status, redeemed_by FROM gift ORDER BY id"),
        lambda s: ("gift", "redeem", _code(s), "--by", "Anna")),
    Row("import", _crowd, lambda _: IMPORT, prepare=_a_list, sample=Moment("pwrite64", 60)),
    Row("erase", _everybody, lambda _: ("subscribers", "erase", JOINED_ONE, "--yes"), sample=Moment("pwrite64", 90)),
    Row("migrate", _version, lambda _: ("send",), prepare=_first_version, sample=Moment("pwrite64", 70)),
    Row("init", _made, lambda _: ("init", "made", "--defaults", "--no-guide"), sample=Moment("write", 3)),
    Row("backup", _copy_of, lambda _: ("backup", "copy.db"), sample=Moment("pwrite64", 30)),
    Row("restore", _everybody, lambda _: ("restore", "copy.db", "--yes"), prepare=_backed_up,
        settle=lambda s: here(s, "restore", "--resume", "--yes")),
)  # fmt: skip
