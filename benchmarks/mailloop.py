"""The whole loop with a real Postfix: our mail goes in, arrives or comes back, and what comes back stops people.

Two Postfix of our own on loopback, in a temporary folder: a relay that takes our mail, and the mail exchanger of
the other side. Both greylist some of the recipients; some do not exist, some have a full mailbox. The relay is
stopped and started twice meanwhile, the other side once. Then each mail must be in a maildir or have come back,
taken by the relay exactly once, and ``funnel bounces`` must suppress exactly the people who do not exist. A mail
may be doubled behind the relay, when the other side is stopped between taking it and saying so: its copies have
one queue id of the relay, and are counted apart.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.kills import TOP, shop
from funnel.app import Funnel
from funnel.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEOPLE = 2_000
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
OURS, THEIRS = "thrivehealth.example", "mail.example"
#: Seconds after which the relay gives a mail up; long enough for greylisting and for two stops.
LIFETIME = 20
PATIENCE = 90.0
#: For so many seconds nothing may be in a queue before all counts as delivered.
QUIET = 3.0
#: What the relay calls a mail: in the mail that went through it, and in its report about one.
QUEUE_ID = re.compile(r"by relay\.example \(Postfix\) with E?SMTP id (\w+)|^X-Postfix-Queue-ID: (\w+)", re.MULTILINE)

COMMON = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = {name}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
smtputf8_enable = no
in_flow_delay = 0
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
maximal_queue_lifetime = {lifetime}s
bounce_queue_lifetime = {lifetime}s
smtpd_relay_restrictions = permit_mynetworks, reject
"""
RELAY = """\
relayhost = [127.0.0.1]:{exchanger}
virtual_mailbox_domains = {ours}
virtual_mailbox_maps = static:back/
smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy}, permit
"""
EXCHANGER = """\
virtual_mailbox_domains = {theirs}
virtual_mailbox_maps = texthash:{folder}/people
smtpd_recipient_restrictions = reject_unlisted_recipient, check_recipient_access texthash:{folder}/full,
    check_policy_service inet:127.0.0.1:{policy}, permit
"""
SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def person(number: int) -> str:
    """Return the address of a person."""
    return f"p{number}@{THEIRS}"


def unknown(number: int) -> bool:
    """Return whether a person does not exist over there."""
    return number % 50 == 0


def full(number: int) -> bool:
    """Return whether a person's mailbox is full, for ever."""
    return number % 100 == 1


@dataclass
class Postfix:
    """One Postfix with everything of its own: settings, queue, log, port and mailboxes."""

    folder: Path
    port: int

    def write(self, settings: str) -> None:
        """Lay out its folder."""
        owner, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        for name in ("etc", "spool", "data", "mail"):
            (self.folder / name).mkdir(parents=True)
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        values = {"folder": self.folder, "name": f"{self.folder.name}.example", "lifetime": LIFETIME}
        common = COMMON.format(**values, uid=nobody.pw_uid, gid=nobody.pw_gid)
        (self.folder / "etc" / "main.cf").write_text(common + settings)
        (self.folder / "etc" / "master.cf").write_text(SERVICES.format(port=self.port))

    def __call__(self, *words: str) -> None:
        """Run ``postfix`` with these words; raises CalledProcessError when that fails."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = ["postfix", "-c", str(self.folder / "etc"), *words]
        subprocess.run(command, check=True, env=os.environ | {"PATH": PATH}, **quiet)

    @contextmanager
    def running(self) -> Iterator[Postfix]:
        """Run it until the block ends."""
        self("start")
        try:
            until(self.answers, "Postfix does not answer")
            yield self
        finally:
            subprocess.run(
                ["postfix", "-c", str(self.folder / "etc"), "abort"],
                env=os.environ | {"PATH": PATH}, capture_output=True, check=False,
            )  # fmt: skip

    def answers(self) -> bool:
        """Return whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def queued(self) -> list[str]:
        """Return what waits in its queue; what was cut off half-way stays there without the mark for whole."""
        queues = ("incoming", "active", "deferred")
        files = (path for queue in queues for path in (self.folder / "spool" / queue).rglob("*"))
        return [str(path.relative_to(self.folder)) for path in files if whole(path)]

    def mails(self, box: str) -> list[Path]:
        """Return what came into a mailbox."""
        return sorted((self.folder / "mail" / box / "new").glob("*"))


def whole(path: Path) -> bool:
    """Return whether this is a queue file that Postfix took responsibility for; it moves them about meanwhile."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


class Greylisting(socketserver.ThreadingTCPServer):
    """Tells Postfix to put off the first try for each third recipient at one port, each fifth at another."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, every: dict[int, int]) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.every = every  #: by port
        self.seen: set[tuple[int, str]] = set()
        self.put_off: Counter[int] = Counter()

    def action(self, port: int, recipient: str) -> str:
        """Return what to do with a recipient."""
        digits = recipient[1:].partition("@")[0]
        new = (port, recipient) not in self.seen
        self.seen.add((port, recipient))
        if new and digits.isdigit() and int(digits) % self.every.get(port, 1) == 0:
            self.put_off[port] += 1
            return "DEFER 4.2.0 greylisted, come back in a moment"
        return "DUNNO"

    def at(self, port: int) -> int:
        """Return how many recipients were asked about at a port."""
        return sum(seen == port for seen, _ in list(self.seen))


class Asked(socketserver.StreamRequestHandler):
    """One connection from Postfix: questions of several lines, answers of one."""

    def handle(self) -> None:
        """Answer until Postfix hangs up."""
        with suppress(ConnectionError):
            self.answer()

    def answer(self) -> None:
        """Answer one question after another."""
        asked: dict[str, str] = {}
        for line in self.rfile:
            name, equals, value = line.decode("utf-8", "replace").strip().partition("=")
            if equals:
                asked[name] = value
                continue
            action = self.server.action(int(asked.get("server_port") or 0), asked.get("recipient", ""))
            self.wfile.write(f"action={action}\n\n".encode())
            asked.clear()


@dataclass
class World:
    """Both servers, who greylists there, and the funnel that sends through them."""

    relay: Postfix
    exchanger: Postfix
    policy: Greylisting
    settings: Path
    people: int

    @property
    def funnel(self) -> Funnel:
        """Return the funnel, on this machine's clock."""
        return Funnel(load_config(self.settings))

    def run(self, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one ``funnel`` command."""
        return subprocess.run(
            [sys.executable, "-m", "funnel", "--config", str(self.settings), *words],
            cwd=self.settings.parent, env=os.environ | {"PYTHONPATH": str(TOP)}, text=True, capture_output=True,
            check=check,
        )  # fmt: skip


@contextmanager
def world(folder: Path, people: int) -> Iterator[World]:
    """Set up everything and run both servers."""
    relay, exchanger = Postfix(folder / "relay", free_port()), Postfix(folder / "exchanger", free_port())
    with ExitStack() as stack:
        policy = stack.enter_context(Greylisting({relay.port: 3, exchanger.port: 5}))
        threading.Thread(target=policy.serve_forever, daemon=True).start()
        stack.callback(policy.shutdown)
        port = policy.server_address[1]
        relay.write(RELAY.format(ours=OURS, exchanger=exchanger.port, policy=port))
        exchanger.write(EXCHANGER.format(theirs=THEIRS, folder=exchanger.folder, policy=port))
        numbers = range(1, people + 1)
        (exchanger.folder / "people").write_text("".join(f"{person(n)} in/\n" for n in numbers if not unknown(n)))
        (exchanger.folder / "full").write_text(
            "".join(f"{person(n)} 452 4.2.2 mailbox full\n" for n in numbers if full(n))
        )
        settings = shop(folder / "shop", relay.port, people, "hold")
        stack.enter_context(exchanger.running())
        stack.enter_context(relay.running())
        yield World(relay, exchanger, policy, settings, people)


def free_port() -> int:
    """Return a port nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(done: Callable[[], bool], trouble: str) -> None:
    """Wait until something is so; raises SystemExit with ``trouble`` when it takes too long."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"mailloop: {trouble}")
        time.sleep(0.02)


def delivered(there: World) -> None:
    """Wait until both queues stay empty; raises SystemExit, with the last words of the logs, when they do not.

    A report is in no queue for a moment, between the mail it is about and itself.
    """
    servers = (there.relay, there.exchanger)
    busy = time.monotonic()

    def quiet() -> bool:
        nonlocal busy
        if any(server.queued() for server in servers):
            busy = time.monotonic()
        return time.monotonic() - busy > QUIET

    try:
        until(quiet, "mail stays in a queue")
    except SystemExit as error:
        last = [line for server in servers for line in (server.folder / "log").read_text().splitlines()[-15:]]
        left = [name for server in servers for name in server.queued()]
        raise SystemExit("\n".join([*last, *left, str(error)])) from None


# --- what happens -------------------------------------------------------------------------------


def troubled(there: World, over: threading.Event) -> None:
    """Stop and start the relay twice, the other side once, when so many recipients have come by."""
    for share, servers in ((0.25, (there.relay, there.exchanger)), (0.6, (there.relay,))):
        while there.policy.at(there.relay.port) < share * there.people and not over.is_set():
            time.sleep(0.005)
        for server in servers:
            server("stop")
        time.sleep(0.5)
        for server in reversed(servers):
            server("start")


def send(there: World) -> Counter[int]:
    """Run ``funnel send`` like cron until all is settled, in the midst of trouble; returns the exit codes."""
    over = threading.Event()
    trouble = threading.Thread(target=troubled, args=(there, over))
    trouble.start()
    codes: Counter[int] = Counter()
    end = time.monotonic() + PATIENCE
    try:
        while due(there):
            codes[there.run("send", "--quiet").returncode] += 1
            minutes_pass(there)
            time.sleep(0.2)
            if time.monotonic() > end:
                raise SystemExit("mailloop: not everything could be sent")
    finally:
        over.set()
        trouble.join()
    return codes


def due(there: World) -> bool:
    """Return whether a mail still waits to go out."""
    with there.funnel.session(readonly=True) as db:
        return bool(
            db.value(
                """SELECT EXISTS (SELECT 1 FROM mailing WHERE status IN ('deferred', 'sending'))
                          OR EXISTS (SELECT 1 FROM enrollment WHERE next_at <= ?)""",
                (int(time.time()),),
            )
        )


def minutes_pass(there: World) -> None:
    """Let the waiting time of what was put off be over: nobody sits here for five minutes."""
    with there.funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET retry_at = ? WHERE status = 'deferred'", (int(time.time()) - 1,))


@dataclass
class Found:
    """What is where at the end."""

    statuses: dict[str, str]
    arrived: list[tuple[str, str]]  #: to whom, and which mail of the relay
    returned: list[tuple[str, str]]
    stopped: set[str]

    @property
    def doubled_behind(self) -> int:
        """How many copies were made behind the relay."""
        return sum(len(copies) - len(set(copies)) for copies in (self.arrived, self.returned))

    def faults(self, people: int) -> dict[str, list[str]]:
        """Return whose mail is not where it must be."""
        everybody = {person(number): number for number in range(1, people + 1)}
        gone = {who for who, number in everybody.items() if unknown(number)}
        here = Counter(who for who, _ in {*self.arrived, *self.returned})
        states = self.statuses.items()
        found = {
            "not in the ledger": everybody.keys() - self.statuses.keys(),
            "sent, and lost": {who for who, status in states if status == "sent" and not here[who]},
            "doubled": {who for who, count in here.items() if count > 1},
            "neither sent nor in doubt": {who for who, status in states if status not in {"sent", "uncertain"}},
            "from nowhere": here.keys() - everybody.keys(),
            "suppressed though they exist": self.stopped - gone,
            "not suppressed though they do not": {who for who in gone - self.stopped if here[who]},
        }
        return {words: sorted(who) for words, who in found.items() if who}


def looked_up(there: World) -> Found:
    """Return what the mailboxes and the database say."""
    with there.funnel.session(readonly=True) as db:
        rows = db.all(
            """SELECT s.email, s.status AS person, m.status FROM mailing m
                 JOIN enrollment e ON e.id = m.enrollment_id JOIN subscriber s ON s.id = e.subscriber_id"""
        )
    return Found(
        statuses={row["email"]: row["status"] for row in rows},
        arrived=[arrival(mail) for mail in there.exchanger.mails("in")],
        returned=[arrival(mail) for mail in there.relay.mails("back")],
        stopped={row["email"] for row in rows if row["person"] != "confirmed"},
    )


def arrival(file: Path) -> tuple[str, str]:
    """Return to whom a mail was, or whose a report brings back, and what the relay called it."""
    raw = file.read_bytes()
    mail = message_from_bytes(raw)
    about = [str(part["Final-Recipient"]).partition(";")[2].strip() for part in mail.walk() if part["Final-Recipient"]]
    found = QUEUE_ID.search(raw.decode("latin-1"))
    assert found, f"{file.name} did not come through the relay"
    return about[0] if about else str(mail["Delivered-To"]), found[1] or found[2]


def bounces(there: World) -> Counter[str]:
    """Have all that came back read by ``funnel bounces``, twice; returns what it said."""
    files = [str(mail) for mail in there.relay.mails("back")]
    said: Counter[str] = Counter()
    for _ in range(2):
        done = there.run("bounces", *files, "--json")
        said += Counter(one["result"] for one in json.loads(done.stdout))
    return said


def run(people: int = PEOPLE) -> None:
    """Print where everything went; ends with an error when something is lost, doubled or wrongly stopped."""
    if shutil.which("postfix", path=PATH) is None or os.geteuid() != 0:
        print("mailloop: needs Postfix, and root, because Postfix starts as root only", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with world(Path(name), people) as there:
            began = time.monotonic()
            codes = send(there)
            sent = time.monotonic() - began
            delivered(there)
            said, found = bounces(there), looked_up(there)
            put_off = [there.policy.put_off[server.port] for server in (there.relay, there.exchanger)]
    print(f"\n{people:,} mails through Postfix, the relay stopped twice, the other side once, in {sent:.0f} s")
    print(f"exit codes of funnel send: {dict(codes)}; greylisted by the relay {put_off[0]}, behind it {put_off[1]}")
    print(f"in the database: {dict(Counter(found.statuses.values()))}")
    print(
        f"arrived {len(set(found.arrived)):,}, came back {len(set(found.returned)):,}, "
        f"doubled behind the relay {found.doubled_behind}, suppressed {len(found.stopped)}"
    )
    print("funnel bounces, every report twice: " + "; ".join(f"{n} × {words}" for words, n in said.items()))
    if faults := found.faults(people):
        raise SystemExit("\n".join(f"{words}: {len(who)}: {', '.join(who[:5])}" for words, who in faults.items()))


if __name__ == "__main__":
    run(*(int(argument) for argument in sys.argv[1:2]))
