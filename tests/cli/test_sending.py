"""Commands about mail: send, preview, test, outbox, bounces."""

from __future__ import annotations

import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from funnel.cli import main
from funnel.config import load_config
from funnel.keeping.clock import STARTED, this_machine
from funnel.store import runs
from funnel.store.tick import nothing_due
from tests.cli.shell import ANN, BEN, Shell

TOP = Path(__file__).resolve().parents[2]
WORDS = {"sent", "deferred", "failed", "uncertain", "held", "skipped", "halted"}


def rows(shell: Shell) -> list[str]:
    with shell.funnel.session(readonly=True) as db:
        return [line for line in db.connection.iterdump() if "last_tick" not in line]


def test_sending_twice_sends_once(shell: Shell) -> None:
    shell.ask()
    first, again = shell("send"), shell("send")

    assert first.out == "1 sent.\n"
    assert again.out == "Nothing is due.\n"
    assert len(list(Path("outbox").iterdir())) == 1


def test_quiet_says_nothing_when_nothing_was_due(shell: Shell) -> None:
    assert shell("send", "--quiet").out == ""
    shell.ask()
    assert shell("send", "--quiet").out == "1 sent.\n"


def test_json_has_a_count_for_every_word(shell: Shell) -> None:
    shell.ask()
    counts = shell("send", "--json").json

    assert set(counts) == WORDS
    assert counts["sent"] == 1


def test_a_limit_is_kept(shell: Shell) -> None:
    for i in range(3):
        shell.ask(f"p{i}@mail.example")
    assert [shell("send", "--limit", "2").out, shell("send").out] == ["2 sent.\n", "1 sent.\n"]


def test_a_dry_run_tells_and_changes_nothing(shell: Shell) -> None:
    shell.ask(ANN)
    shell.join(BEN)
    before = rows(shell)
    told = shell("send", "--dry-run")
    planned = shell("send", "--dry-run", "--json").json

    assert "2 due at" in told.out
    assert sorted((row["to"], row["step"], row["would"]) for row in planned) == [
        (ANN, "confirm", "send"),
        (BEN, "guide", "send"),
    ]
    assert rows(shell) == before
    assert not Path("outbox").exists()


def test_a_dry_run_can_ask_about_another_moment(shell: Shell) -> None:
    shell.join()
    shell("send")
    assert shell("send", "--dry-run", "--json").json == []

    (row,) = shell("send", "--dry-run", "--now", "2199-01-01T03:00", "--json").json
    assert row["to"] == ANN
    assert (row["would"], row["step"]) == ("leave out", "did-it-reach-you")


def test_nothing_due_is_answered_before_anything_is_loaded(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """Cron's minute: the note left by a full run is enough."""
    shell("send")
    config = load_config(Path("funnel.toml"))
    assert nothing_due(str(config.file), 0)
    script = "import sys; from funnel.cli import main; main(['send']); print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": str(TOP)})

    assert (done.stdout, done.stderr) == ("Nothing is due.\nFalse\n", "")
    shell.ask()
    with pytest.raises(SystemExit) as ended:
        main(["send"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "1 sent.\n"


def test_by_a_clock_that_leapt_ahead_nothing_is_sent_until_somebody_says_that_it_is_right(shell: Shell) -> None:
    """F-43: as if the machine had been looked at before its clock leapt."""
    if this_machine() is None:
        pytest.skip("this machine does not count its seconds")
    shell.ask()
    shell("send")
    with shell.funnel.session() as db:
        boot, _, started = (runs.get(db, STARTED) or "").partition(" ")
        runs.put(db, STARTED, f"{boot} {int(started) - 3 * 86_400}")
    shell.ask(BEN)
    refused, logged = shell("send"), shell("send", "--log", "json")

    assert (refused.code, refused.out, logged.code) == (1, "", 1)
    assert refused.err.startswith("Error: The clock went ahead by 3 days while this machine did not")
    assert '"event": "failed"' in logged.out
    assert shell("send", "--dry-run").code == 0
    assert shell("send", "--clock-ok").out == "1 sent.\n"
    assert shell("send").out == "Nothing is due.\n"


def test_two_at_once_do_not_send_twice(shell: Shell) -> None:
    """F-9: one works, the others leave politely."""
    for i in range(20):
        shell.ask(f"p{i}@mail.example")
    command = [str(Path(sys.executable).with_name("funnel")), "send", "--json"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [run.communicate() for run in runs]

    assert {run.returncode for run in runs} == {0}
    assert not [err for _, err in said if err and "Another run is sending" not in err]
    shell("send")
    assert len(list(Path("outbox").glob("*.eml"))) == 20


# --- looking at mails --------------------------------------------------------------------------


def test_a_preview_of_all_shows_every_mail(shell: Shell) -> None:
    before = rows(shell)
    done = shell("preview", "--all")
    page = Path("preview/index.html").read_text()
    mails = shell.funnel.library.mails.values()

    assert done.out == f"{len(mails)} mails written to preview/index.html.\n"
    assert all(f"<h2>{mail.sequence}/{mail.name}</h2>" in page for mail in mails)
    assert len(list(Path("preview").iterdir())) == 3 * len(mails) + 1
    assert rows(shell) == before


def test_a_preview_is_filled_in_for_a_person(shell: Shell) -> None:
    shell.join()
    shell("preview", "series/guide", "--as", ANN, "--out", "seen")

    assert shell.code() in Path("seen/series-guide.txt").read_text()
    assert shell("send", "--json").json["sent"] == 1


def test_test_copies_are_marked_and_recorded_nowhere(shell: Shell) -> None:
    """SEC-41."""
    shell.join()
    before = rows(shell)
    done = shell("test", "--all", "--to", "me@clinic.example")
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in Path("outbox").iterdir()]

    assert done.code == 0
    assert len(mails) == len(shell.funnel.library.mails)
    assert all(mail["Subject"].startswith("[TEST] ") for mail in mails)
    assert {mail["To"] for mail in mails} == {"me@clinic.example"}
    assert shell.code() not in "".join(str(mail) for mail in mails)
    assert rows(shell) == before


def test_mail_that_is_not_settled_is_listed(shell: Shell) -> None:
    assert shell("outbox", "list").out == "Every mail is settled.\n"
    shell.ask()
    shell("send")
    with shell.funnel.session() as db:
        db.execute("UPDATE mailing SET status = 'uncertain', reason = 'the answer got lost'")

    (row,) = shell("outbox", "list", "--json").json
    assert (row["to"], row["mail"], row["status"]) == (ANN, "confirm/confirm", "uncertain")
    assert "the answer got lost" in shell("outbox", "list").out


def test_a_mail_that_is_no_bounce_changes_nothing(shell: Shell) -> None:
    Path("hello.eml").write_text("From: a@b.example\nSubject: hello\n\nhello\n")
    done = shell("bounces", "hello.eml")

    assert done.code == 1
    assert done.out == "hello.eml: no report about mail of ours\n"
