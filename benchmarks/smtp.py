"""Handing 30 kB messages to a mail server that throws them away, against Postfix' own ``smtp-source -s 16``.

Two servers: Debian's ``smtp-sink``, which works harder than its clients, and a light one of ours in C, which
tells them apart. Rounds are interleaved; each ratio is taken within one round. ``smtp-source`` is C and sends
one fixed message; so do we here: composing and recording are measured elsewhere.
"""

from __future__ import annotations

import os
import resource
import shutil
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from funnel.config import Smtp
from funnel.model import Delivery, Outgoing
from funnel.transport.smtp import SmtpTransport

SIZE = 30_000
MESSAGES = 10_000
ROUNDS = 3
SENDER, RECIPIENT = "hello@clinic.example", "ann@mail.example"
MESSAGE = b"Subject: x\r\n\r\n" + (b"x" * 74 + b"\r\n") * (SIZE // 76)
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
CLIENTS = ("smtp-source -s 16", "ours, 8 connections", "ours, 1 connection", "smtplib, 1 connection")


@dataclass
class Spent:
    """What so many messages took: seconds on the clock, and of processor time."""

    messages: int
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.messages / self.wall

    @property
    def microseconds(self) -> float:
        return self.cpu / self.messages * 1e6


def tool(name: str) -> str | None:
    """Return where a program is, also where only root looks."""
    return shutil.which(name, path=PATH)


@contextmanager
def serving(command: list[str], port: int):
    """Run a server until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def built(folder: str) -> str | None:
    """Return our sink as a program, or None without a C compiler."""
    compiler, program = tool("cc"), str(Path(folder, "sink"))
    if compiler is None:
        return None
    subprocess.run([compiler, "-O2", "-o", program, str(Path(__file__).with_name("sink.c"))], check=True)
    return program


def of_process(command: list[str], messages: int) -> Spent:
    """Return what a whole process spent."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(messages, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def of_python(client, port: int, messages: int) -> Spent:
    """Return what a client in this process spent, from the first connection to the last answer."""
    before, began = time.process_time(), time.perf_counter()
    client(port, messages)
    return Spent(messages, time.perf_counter() - began, time.process_time() - before)


def ours(connections: int):
    def send(port: int, messages: int) -> None:
        settings = Smtp(host="127.0.0.1", port=port, security="none", connections=connections)
        transport = SmtpTransport(settings, "", hostname="clinic.example")
        mails = (Outgoing(i, SENDER, RECIPIENT, MESSAGE) for i in range(messages))
        taken = sum(reply.delivery is Delivery.ACCEPTED for _, reply in transport.deliver_all(mails, lambda _: None))
        transport.close()
        assert taken == messages

    return send


def by_smtplib(port: int, messages: int) -> None:
    with smtplib.SMTP("127.0.0.1", port) as server:
        for _ in range(messages):
            server.sendmail(SENDER, RECIPIENT, MESSAGE)


def measured(port: int, messages: int) -> dict[str, Spent]:
    """Return one round: each client after the other."""
    source = [tool("smtp-source"), "-d", "-s", "16", "-m", str(messages), "-l", str(SIZE)]
    return {
        "smtp-source -s 16": of_process([*source, "-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}"], messages),
        "ours, 8 connections": of_python(ours(8), port, messages),
        "ours, 1 connection": of_python(ours(1), port, messages // 2),
        "smtplib, 1 connection": of_python(by_smtplib, port, messages // 10),
    }


def table(sink: str, rounds: list[dict[str, Spent]]) -> None:
    print(f"\n{sink:<24} {'messages/s':>10} {'ratio':>6} {'CPU a message':>14}")
    for client in CLIENTS:
        rate = statistics.median(one[client].rate for one in rounds)
        ratio = statistics.median(one[client].rate / one[CLIENTS[0]].rate for one in rounds)
        cpu = statistics.median(one[client].microseconds for one in rounds)
        print(f"{client:<24} {rate:>10,.0f} {ratio:>6.2f} {cpu:>11.0f} us")


def run(messages: int = MESSAGES, rounds: int = ROUNDS) -> None:
    """Print rates, and their ratio to smtp-source, for each server that can be had here."""
    if not tool("smtp-source") or not tool("smtp-sink"):
        print("smtp: smtp-source is missing; apt-get install postfix", file=sys.stderr)
        return
    as_somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        ports = free_port(), free_port()
        sinks = {"smtp-sink": [tool("smtp-sink"), *as_somebody, f"127.0.0.1:{ports[0]}", "100"]}
        if program := built(folder):
            sinks["a light sink"] = [program, str(ports[1])]
        for port, (name, command) in zip(ports, sinks.items(), strict=False):
            with serving(command, port):
                table(name, [measured(port, messages) for _ in range(rounds)])


if __name__ == "__main__":
    run()
