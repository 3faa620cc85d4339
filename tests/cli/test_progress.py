"""What a person at a terminal sees while mail goes; and cron loads nothing for it."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from funnel.cli.telling import about, make_bar

if TYPE_CHECKING:
    from tests.cli.shell import Shell

COMMAND = str(Path(sys.executable).with_name("funnel"))


def at_a_terminal(words: list[str], most: int = 1 << 20) -> tuple[int, str]:
    """Run a command at a terminal that is closed after so many bytes; return its exit code and what was seen."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
        os.close(theirs)
        seen = b""
        while len(seen) < most:
            try:
                some = os.read(ours, 4096)
            except OSError:  # Linux says so when the last one at the other side is gone
                some = b""
            if not some:
                break
            seen += some
        os.close(ours)
        return running.wait(timeout=60), seen.decode("utf-8", "replace")


def mails() -> int:
    return len(list(Path("outbox").glob("*.eml")))


def ask(shell: Shell, n: int) -> None:
    for i in range(n):
        shell.ask(f"p{i}@mail.example")


def test_a_person_sees_how_far_it_is_and_then_the_counts(shell: Shell) -> None:
    ask(shell, 6)
    code, seen = at_a_terminal([COMMAND, "send"])

    assert code == 0
    assert "Sending" in seen
    assert "0/6" in seen
    assert "6/6" in seen
    assert seen.rstrip().endswith("6 sent.")


def test_with_nothing_due_there_is_no_bar(shell: Shell) -> None:
    code, seen = at_a_terminal([COMMAND, "send", "--limit", "5"])

    assert (code, seen) == (0, "Nothing is due.\r\n")


def test_a_terminal_that_is_closed_stops_no_mail(shell: Shell) -> None:
    """F-17."""
    ask(shell, 6)
    code, _ = at_a_terminal([COMMAND, "send"], most=1)

    assert (code, mails()) == (0, 6)


def test_a_bar_shows_rate_and_rest() -> None:
    bar = make_bar(1_000)
    for done in (1, 100, 200):
        bar.update(0, completed=done)
        time.sleep(0.02)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    console.print(bar.get_renderable())
    seen = console.file.getvalue()  # type: ignore[attr-defined]

    assert "200/1000" in seen
    assert "a second" in seen
    assert " left" in seen


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "about 1 s left"),
        (59, "about 59 s left"),
        (89, "about 89 s left"),
        (90, "about 2 min left"),
        (3_600, "about 60 min left"),
        (9_000, "about 2 h left"),
    ],
)
def test_the_rest_is_said_as_roughly_as_it_is_known(seconds: float, said: str) -> None:
    assert about(seconds) == said


def test_nobody_loads_a_bar_for_cron(shell: Shell) -> None:
    shell.ask()
    script = "import sys; from funnel.cli.group import run; run(['send']); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "1 sent.\nFalse\n"
