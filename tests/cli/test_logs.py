"""What a log is told of sending: counts, never who; and sending goes on when nobody takes the words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel.cli import main, telling
from funnel.cli.telling import private
from funnel.demo.mailserver import MailServer
from funnel.gifts import code_key, new_code, without_codes
from funnel.model import MailingStatus, Outcome
from funnel.store import pool
from funnel.tokens import Keys, Purpose, sign
from tests.cli.shell import ANN, Done, Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = str(Path(sys.executable).with_name("funnel"))
STATUSES = {"sent", "deferred", "failed", "uncertain", "held", "skipped"}
PATIENCE = 60


def lines(said: str) -> list[dict[str, Any]]:
    """Return the lines of a log; each is JSON, in ASCII, and has a moment, a word and a process."""
    assert said.isascii()
    found = [json.loads(line) for line in said.splitlines()]
    for line in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["at"])
        assert line["pid"]
    return found


def events(done: Done) -> list[str]:
    return [line["event"] for line in lines(done.out)]


def mails() -> int:
    return len(list(Path("outbox").glob("*.eml")))


def ask(shell: Shell, n: int) -> None:
    for i in range(n):
        shell.ask(f"p{i}@mail.example")


@pytest.fixture
def server(shell: Shell) -> Iterator[MailServer]:
    """Give a mail server that the funnel of the shell sends to."""
    with MailServer() as running:
        settings = shell.folder / "funnel.toml"
        words = settings.read_text("utf-8").replace('kind = "outbox"', 'kind = "smtp"')
        settings.write_text(
            f'{words}\n[transport.smtp]\nhost = "127.0.0.1"\nport = {running.port}\nsecurity = "none"\ntimeout = 5\n'
        )
        yield running


# --- lines ---------------------------------------------------------------------------------------


def test_a_run_is_three_lines(shell: Shell) -> None:
    ask(shell, 3)
    done = shell("send", "--log", "json")
    started, written, finished = lines(done.out)

    assert (done.code, done.err) == (0, "")
    assert [line["event"] for line in (started, written, finished)] == ["started", "written", "finished"]
    assert started["due"] == 3
    assert (written["sent"], written["total"], written["due"]) == (3, 3, 3)
    assert {key: finished[key] for key in STATUSES} == dict.fromkeys(STATUSES, 0) | {"sent": 3}
    assert finished["halted"] is False
    assert finished["per_second"] == pytest.approx(3 / finished["seconds"], rel=0.1)


def test_a_run_with_nothing_to_do_leaves_no_line(shell: Shell, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Neither the full command nor cron's short way."""
    assert shell("send", "--log", "json").out == ""
    monkeypatch.setenv("FUNNEL_LOG", "json")
    main(["send"])
    assert capsys.readouterr().out == ""


def test_a_long_run_is_told_in_groups_that_add_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.0)
    ask(shell, 5)
    _, *groups, finished = lines(shell("send", "--log", "json").out)

    assert [group["event"] for group in groups] == ["written"] * 5
    assert sum(group["sent"] for group in groups) == finished["sent"] == 5


def test_what_was_written_down_before_a_crash_is_told(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    funnel, log = shell.funnel, telling.Log()

    def crash() -> None:
        with funnel.session() as db, log:
            log.begin(funnel.sender(db), 0)
            log.heard(Outcome(1, "series", "guide", MailingStatus.SENT, "", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()

    (line,) = lines(capsys.readouterr().out)
    assert (line["event"], line["sent"]) == ("written", 1)


def test_a_limit_is_what_it_counts_towards(shell: Shell) -> None:
    ask(shell, 3)
    assert lines(shell("send", "--log", "json", "--limit", "2").out)[0]["due"] == 2


@pytest.mark.parametrize(
    ("value", "said"), [("json", '{"at"'), ("JSON", '{"at"'), ("jsno", "1 sent."), ("", "1 sent.")]
)
def test_the_environment_can_ask_and_a_slip_in_it_keeps_no_mail_back(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("FUNNEL_LOG", value)
    shell.ask()
    assert shell("send", "--quiet").out.startswith(said)
    shell.ask("ben@mail.example")
    assert shell("send", "--log", "plain").out == "1 sent.\n"


def test_one_json_value_is_still_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNNEL_LOG", "json")
    shell.ask()
    assert shell("send", "--json").json["sent"] == 1


# --- nobody is named -------------------------------------------------------------------------------


def test_a_halt_is_told_without_what_the_server_quotes(shell: Shell, server: MailServer) -> None:
    shell.join()
    code = shell.code()
    token = sign(Keys((b"k" * 32,), b"p"), Purpose.CONFIRM, 1)
    server.always["rcpt"] = f"550 5.7.1 <{ANN}> {ANN} blocked, see https://go.example/c/{token} {code} {token}"
    logged, plain = shell("send", "--log", "json"), None
    with shell.funnel.session() as db:
        db.execute("DELETE FROM setting WHERE key = 'breaker'")
        db.execute("UPDATE mailing SET retry_at = 0")
    plain = shell("send")

    assert logged.code == plain.code == 1
    assert events(logged)[-2:] == ["halted", "finished"]
    assert "blocked" in lines(logged.out)[-2]["reason"]
    assert lines(logged.out)[-1]["halted"] is True
    for said in (logged.out, logged.err, plain.out, plain.err):
        assert not any(word in said for word in ("ann", ANN, token, code, "https"))
    assert "refuses us as a sender: 550 5.7.1 … … blocked, see …" in plain.err


def test_a_code_of_the_clinics_own_is_not_told_however_it_is_spelled(shell: Shell, server: MailServer) -> None:
    """SEC-19, SEC-22: these may look like any word, so that only the pool knows them."""
    codes = ["Spring 2027 A", "QX7K", "free.needle_0099"]
    with shell.funnel.session() as db:
        pool.add_all(db, [(code_key(code), code) for code in codes], shell.funnel.clock())
    shell.ask()
    server.always["rcpt"] = "550 5.7.1 blocked for spring2027A, (SPRING-2027_a)! code=qx7k; free needle 0099 xqx7kx"
    logged = shell("send", "--log", "json")
    plain, as_json = shell("send", "--limit", "5"), shell("send", "--json")

    for said in (lines(logged.out)[-2]["reason"], plain.err, as_json.json["halted"]):
        assert "refuses us" in said
        assert "550 5.7.1 blocked for …, (…)! code=…; … x…x" in said


def test_a_server_that_is_away_is_a_halt(shell: Shell, server: MailServer) -> None:
    server.always["connect"] = "421 4.3.2 not now"
    shell.ask()
    done = shell("send", "--log", "json")

    assert (done.code, done.err) == (75, "")
    assert events(done) == ["started", "halted", "finished"]
    assert "4.3.2 not now" in lines(done.out)[1]["reason"]


def test_what_has_to_be_mended_is_a_line_too(shell: Shell) -> None:
    shell.ask()
    Path("build/guide/guide.pdf").unlink()
    done = shell("send", "--log", "json")

    assert done.code == 1
    (line,) = lines(done.out)
    assert line["event"] == "failed"
    assert "funnel guide build" in line["error"]


def test_a_second_run_at_once_is_a_line_too(shell: Shell) -> None:
    import fcntl

    shell.ask()
    with Path("funnel.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shell("send", "--log", "json")

    assert (done.code, done.err) == (0, "")
    assert events(done)[-1] == "busy"


IMPORTED = st.from_regex(r"[0-9][A-Z0-9]{2,18}[0-9]", fullmatch=True)
BETWEEN = st.lists(st.sampled_from(["", "", "-", " ", ".", "_", " \t", "/"]), min_size=20, max_size=20)
LETTERS = st.from_regex(r"[a-z :;,()]{0,30}", fullmatch=True)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(key=IMPORTED, between=BETWEEN, small=st.booleans(), before=LETTERS, after=LETTERS)
def test_however_a_code_is_quoted_nothing_of_it_is_left(
    shell: Shell, key: str, between: list[str], *, small: bool, before: str, after: str
) -> None:
    code = "".join(c + mark for c, mark in zip(key, between, strict=False)).strip("-_./ \t")
    with shell.funnel.session() as db, db.transaction():
        pool.add_all(db, [] if pool.knows(db, key) else [(key, key)], shell.funnel.clock())
        said = without_codes(db, f"{before}{code.lower() if small else code}{after}")

    assert said == f"{before}…{after}"


ADDRESS = st.from_regex(r"[a-z0-9._%+'-]{1,20}@[a-z0-9-]{1,20}\.[a-z]{2,8}", fullmatch=True)
TOKEN = st.integers(0, 2**40 - 1).map(lambda n: sign(Keys((b"k" * 32,), b"p"), Purpose.CONFIRM, n))
LINK = TOKEN.map(lambda token: f"https://go.clinic.example/u/{token}")
AROUND = st.sampled_from(["{}", "<{}>", "RCPT TO:<{}>", "<{}", "({})", "'{}',", "user={};", "{}:", "\t{}\r\n"])
WORDS = st.text(st.characters(codec="utf-8"), max_size=30)


@given(secret=ADDRESS | TOKEN | LINK | st.builds(new_code), around=AROUND, before=WORDS, after=WORDS)
def test_nothing_private_gets_through(secret: str, around: str, before: str, after: str) -> None:
    said = private(f"{before} {around.format(secret)} {after}")

    assert secret not in said
    assert secret.rpartition("/")[2] not in said
    assert "\n" not in said
    assert len(said) <= 500


@pytest.mark.parametrize(
    "words",
    [
        "550 5.7.26 unauthenticated mail is prohibited, 4-hour block-list entry, see docs/operator.md.",
        "The mail server 127.0.0.1:587 cannot be reached (Connection refused); nothing was sent.",
    ],
)
def test_words_that_help_stay(words: str) -> None:
    assert private(words) == words


# --- nobody listens (F-17) -----------------------------------------------------------------------


def broken_pipe() -> int:
    """Return the writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


FULL = Path("/dev/full")


@pytest.mark.parametrize(("log", "stream"), [("plain", "disk"), ("json", "pipe"), ("json", "disk")])
def test_sending_does_not_need_anybody_to_listen(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, log: str, stream: str
) -> None:
    if stream == "disk" and not FULL.exists():
        pytest.skip("no /dev/full; Linux has it")
    ask(shell, 3)
    out = broken_pipe() if stream == "pipe" else os.open(FULL, os.O_WRONLY)
    done = subprocess.run([COMMAND, "send", "--log", log], stdout=out, stderr=subprocess.PIPE, text=True)
    os.close(out)

    assert (done.returncode, done.stderr, mails()) == (0, "", 3)


@pytest.mark.parametrize("streams", [">&-", ">/dev/full 2>&-"])
def test_nor_a_stream_to_speak_to(shell: Shell, streams: str) -> None:
    ask(shell, 2)
    done = subprocess.run(["/bin/sh", "-c", f'"$0" send {streams}', COMMAND], capture_output=True, text=True)

    assert (done.returncode, done.stderr, mails()) == (0, "", 2)


def test_a_fault_nobody_hears_of_keeps_its_exit_code(shell: Shell, server: MailServer) -> None:
    server.always["connect"] = "421 4.3.2 not now"
    shell.ask()
    done = subprocess.run(["/bin/sh", "-c", '"$0" send >/dev/full 2>/dev/full', COMMAND])

    assert done.returncode == 75


# --- without cron --------------------------------------------------------------------------------


def until(true: Callable[[], object]) -> None:
    """Wait for another process to do something."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_a_loop_logs_each_run(shell: Shell) -> None:
    with subprocess.Popen([COMMAND, "send", "--loop", "--log", "json"], stdout=subprocess.PIPE, text=True) as running:
        try:
            shell.ask()
            until(lambda: mails() == 1)
            shell.ask("ben@mail.example")
            until(lambda: mails() == 2)
            running.send_signal(signal.SIGTERM)
            said, _ = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()

    assert running.returncode == 0
    assert [line["event"] for line in lines(said)] == ["started", "written", "finished"] * 2
    assert ANN not in said


def test_a_loop_goes_on_when_its_log_is_gone(shell: Shell) -> None:
    out = broken_pipe()
    with subprocess.Popen([COMMAND, "send", "--loop", "--log", "json"], stdout=out) as running:
        try:
            for n, email in enumerate((ANN, "ben@mail.example"), 1):
                shell.ask(email)
                until(lambda n=n: mails() == n)  # type: ignore[misc]
            running.terminate()
            assert running.wait(timeout=PATIENCE) == 0
        finally:
            running.kill()
            os.close(out)


def test_the_sender_beside_the_server_logs_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNNEL_LOG", "json")
    command = [COMMAND, "serve", "--send", "--listen", "127.0.0.1:0"]
    shell.ask()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            assert running.stdout is not None
            said = ""
            while '"finished"' not in said:
                said = running.stdout.readline()
                assert said, "the server ended"
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE)

    assert lines(said)[0]["sent"] == 1
