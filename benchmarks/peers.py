"""A whole run of ours beside the ways people send such mail today, to the same mail servers in the same run.

Each sends 30 kB of text and HTML, filled in for each person. Theirs only fill in, build and send: they keep no
database and no record of who got what. Ours is a whole run with all of that. Theirs count by the difference between
a long and a short run, without starting up; ours without the interpreter's start, but with opening all it needs.
Django writes the same mail in 28 kB, which is left to it.

One core for the client and one for the mail server, where there are two. Rounds are interleaved; each ratio is
taken within one round.
"""

from __future__ import annotations

import importlib.util
import smtplib
import statistics
import subprocess
import sys
import tempfile
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, select_autoescape
from premailer import transform

from benchmarks.compose import long_mail, message_to
from benchmarks.engine import child, pinned, shop, sinks
from benchmarks.smtp import SENDER, Spent, of_process, tool
from tests.compose.kit import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGES = 10_000
ROUNDS = 2
POST = "List-Unsubscribe-Post"
OURS = "ours, 8 connections"
#: A short and a long run, far enough apart to be told from the noise of starting up; of the others, USUAL.
LENGTHS, USUAL = {"smtplib, premailer each": (20, 80), "nodemailer, pool of 8": (500, 2500)}, (100, 500)
POOL = """
const { readFileSync } = require("node:fs")
const POST = "List-Unsubscribe-Post", [port, count, folder] = process.argv.slice(2)
// A template is taken apart once: every second piece is the name of a field.
const compiled = file => {
  const pieces = readFileSync(`${folder}/${file}`, "utf8").split(/\\{\\{ (\\w+) \\}\\}/)
  return fields => pieces.map((piece, i) => (i % 2 ? fields[piece] : piece)).join("")
}
const html = compiled("page.html"), text = compiled("page.txt"), transport = require("nodemailer").createTransport({
  pool: true, maxConnections: 8, maxMessages: Infinity, host: "127.0.0.1", port: +port, secure: false, ignoreTLS: true,
})
const message = person => {
  const token = person.toString(16).padStart(39, "0")
  const fields = { name: `Kim ${person}`, token, code: token.slice(-6) }
  const leave = { "List-Unsubscribe": `<https://go.mill.example/u/${token}>`, [POST]: "List-Unsubscribe=One-Click" }
  return { from: "hello@clinic.example", to: `p${person}@mail.example`, headers: leave,
    subject: `Here is the guide you asked for, ${fields.name}`, text: text(fields), html: html(fields) }
}
let begun = 0, taken = 0
const told = error => { if (error) throw error; if (++taken === +count) transport.close() }
transport.on("idle", () => {
  while (transport.isIdle() && begun < +count) transport.sendMail(message(++begun), told)
})
"""


def write_templates(folder: Path) -> None:
    """Write our own mail, its styles inlined already, as templates that Jinja and Django both understand."""
    somebody = 0xABCDEF
    marks = {f"{somebody:039x}": "token", f"{somebody:06x}": "code", f"Kim {somebody % 5000}": "name"}
    with tempfile.TemporaryDirectory() as cache:
        mail = parts(message_to(long_mail(Path(cache)), somebody).message)
    for file, words in zip(("page.txt", "page.html"), mail, strict=True):
        assert all(mark in words for mark in marks), file
        template = reduce(lambda text, mark: text.replace(mark, f"{{{{ {marks[mark]} }}}}"), marks, words)
        Path(folder, file).write_text(template, "utf-8")


def people(count: int) -> Iterator[tuple[str, str, dict[str, str], dict[str, str]]]:
    """Yield address, subject, headers and fields of each person; every link is theirs alone."""
    for person in range(1, count + 1):
        token, name = f"{person:039x}", f"Kim {person}"
        leave = {"List-Unsubscribe": f"<https://go.mill.example/u/{token}>", POST: "List-Unsubscribe=One-Click"}
        fields = {"name": name, "token": token, "code": token[-6:]}
        yield f"p{person}@mail.example", f"Here is the guide you asked for, {name}", leave, fields


def by_smtplib(port: int, count: int, folder: Path, finish: Callable[[str], str] = str) -> None:
    """Send with Jinja, the standard library and one connection, as a first script does."""
    env = Environment(loader=FileSystemLoader(folder), autoescape=select_autoescape())
    text, page = env.get_template("page.txt"), env.get_template("page.html")
    with smtplib.SMTP("127.0.0.1", port, local_hostname="clinic.example") as server:
        for to, subject, leave, fields in people(count):
            message = EmailMessage(policy=SMTP)
            for name, value in {"From": SENDER, "To": to, "Subject": subject, **leave}.items():
                message[name] = value
            message.set_content(text.render(fields))
            message.add_alternative(finish(page.render(fields)), subtype="html")
            server.send_message(message)


def by_django(port: int, count: int, folder: Path) -> None:
    """Send with Django's own templates and ``send_messages``, which is what ``send_mass_mail`` calls."""
    from django.conf import settings
    from django.core.mail import EmailMultiAlternatives, get_connection
    from django.template import Context, Engine

    settings.configure(EMAIL_HOST="127.0.0.1", EMAIL_PORT=port)
    engine = Engine(dirs=[folder])
    text, page = engine.get_template("page.txt"), engine.get_template("page.html")

    def message(to, subject, leave, fields):
        plain = text.render(Context(fields, autoescape=False))
        made = EmailMultiAlternatives(subject, plain, SENDER, [to], headers=leave)
        made.attach_alternative(page.render(Context(fields)), "text/html")
        return made

    assert get_connection().send_messages([message(*person) for person in people(count)]) == count


# Many a tutorial inlines the styles of each page again. By its defaults, premailer takes twice as long.
QUICK = {"keep_style_tags": True, "strip_important": False, "remove_classes": False, "disable_validation": True}
INLINED = partial(by_smtplib, finish=partial(transform, cssutils_logging_level="CRITICAL", **QUICK))
WAYS = {"smtplib": by_smtplib, "smtplib, premailer each": INLINED, "Django, send_messages": by_django}


def nodemailer(folder: Path) -> list[str]:
    """Return how to start it, fetched into this folder where npm has it not; or nothing, having said why."""
    if (node := tool("node")) and (npm := tool("npm")):
        fetch = [npm, "install", "--silent", "--ignore-scripts", "--fetch-retries=0", "--prefix", str(folder)]
        root = subprocess.run([npm, "root", "-g"], check=True, capture_output=True, text=True).stdout.strip()
        if not Path(root, "nodemailer").is_dir():
            subprocess.run([*fetch, "nodemailer"], check=False, capture_output=True)
            root = str(folder / "node_modules")
        if Path(root, "nodemailer").is_dir():
            Path(folder, "pool.cjs").write_text(POOL, "utf-8")
            return ["env", f"NODE_PATH={root}", node, str(folder / "pool.cjs")]
    print("peers: nodemailer is missing; apt-get install nodejs npm, and npm install -g nodemailer", file=sys.stderr)
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Return how to start each way that can be had here; port, number of mails and folder come after."""
    found = {name: [sys.executable, "-m", "benchmarks.peers", name] for name in WAYS}
    if importlib.util.find_spec("django") is None:
        print("peers: django is missing; pip install django", file=sys.stderr)
        del found["Django, send_messages"]
    if command := nodemailer(folder):
        found["nodemailer, pool of 8"] = command
    return found


def steady(name: str, command: list[str], port: int, folder: Path) -> Spent:
    """Return what the mails took that a long run has more than a short one."""
    command = [*pinned(0), *command, str(port)]
    short, long = (of_process([*command, str(count), str(folder)], count) for count in LENGTHS.get(name, USUAL))
    return Spent(long.messages - short.messages, long.wall - short.wall, long.cpu - short.cpu)


def one_round(ways: dict[str, list[str]], port: int, messages: int, folder: Path) -> dict[str, Spent]:
    """Return what each way takes, one after the other, and a whole run of ours."""
    found = {name: steady(name, command, port, folder) for name, command in ways.items()}
    with tempfile.TemporaryDirectory() as place:
        shop(Path(place, "shop"), port, messages)
        ours = child("send", str(Path(place, "shop")))
    return found | {OURS: Spent(messages, ours["wall"], ours["cpu"])}


def table(sink: str, rounds: list[dict[str, Spent]]) -> None:
    """Print medians, and in how many times the time of ours each way sends as much."""
    print(f"{sink:26}{'messages/s':>11}{'us each':>9}{'ours is faster':>16}{'cheaper':>9}")
    for name in rounds[0]:
        rate = statistics.median(one[name].rate for one in rounds)
        cpu = statistics.median(one[name].microseconds for one in rounds)
        faster = statistics.median(one[OURS].rate / one[name].rate for one in rounds)
        cheaper = statistics.median(one[name].microseconds / one[OURS].microseconds for one in rounds)
        print(f"{name:26}{rate:>11,.0f}{cpu:>9,.0f}{faster:>15.1f}x{cheaper:>8.1f}x")
    print()


def run(messages: int = MESSAGES, rounds: int = ROUNDS) -> None:
    """Print a table for each mail server that can be had here."""
    if not tool("smtp-sink"):
        print("peers: smtp-sink is missing; apt-get install postfix", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name, sinks() as ports:
        write_templates(folder := Path(name))
        ways = commands(folder)
        for sink, port in ports.items():
            table(sink, [one_round(ways, port, messages, folder) for _ in range(rounds)])


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        WAYS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        run(*(int(argument) for argument in sys.argv[1:3]))
