"""Mail nobody but a person can settle: listed with what can be done, decided one by one or all at once."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from funnel.model import MailingStatus, Receipt
from funnel.outbox import SETTLED
from funnel.policy import NO_CODE
from funnel.store import mailings
from tests.cli.shell import ANN, BEN, Done, Shell

DOUBT = "the answer got lost; it may have arrived"


@pytest.fixture
def doubtful(shell: Shell) -> Shell:
    """Give a prompt after two guides of unknown fate, with the bytes that went out."""
    shell.join(ANN)
    shell.join(BEN)
    shell("send")
    for email in (ANN, BEN):
        change(shell, email, "uncertain", DOUBT)
    return shell


def guide(shell: Shell, email: str = ANN) -> mailings.Mailing:
    with shell.funnel.session(readonly=True) as db:
        sql = """SELECT m.id FROM mailing m JOIN enrollment e ON e.id = m.enrollment_id
                  WHERE m.step = 'guide' AND e.subscriber_id = ?"""
        found = mailings.by_id(db, db.value(sql, (shell.person(email).id,)))
    assert found is not None
    return found


def change(shell: Shell, email: str, status: str, reason: str = "", message: bytes = b"") -> int:
    mail = guide(shell, email).id
    with shell.funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = ?, reason = ?, reply = '' WHERE id = ?", (status, reason, mail))
        if message:
            mailings.keep_bytes(db, mail, message)
    return mail


def listed(shell: Shell) -> dict[str, dict[str, str]]:
    return {row["to"]: row for row in shell("outbox", "list", "--json").json}


def test_each_open_mail_is_listed_with_what_can_be_done(doubtful: Shell) -> None:
    change(doubtful, BEN, "held", NO_CODE)
    rows = listed(doubtful)

    assert rows[ANN]["do"] == "resolve --sent or --resend"
    assert rows[BEN]["do"] == "gift import, or --resend without a code"
    assert rows[BEN]["why"] == NO_CODE
    assert "resolve --sent or --resend" in doubtful("outbox", "list").out


def test_what_arrived_is_recorded_with_who_said_so(doubtful: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "dana")
    before = len(list(Path("outbox").glob("*.eml")))
    done = doubtful("outbox", "resolve", guide(doubtful).id, "--sent")

    assert (done.code, done.out) == (0, "1 mail is recorded as sent.\n")
    assert guide(doubtful).status is MailingStatus.SENT
    assert guide(doubtful).reason == "settled by hand, dana: it arrived"
    assert "settled by hand, dana" in doubtful("why", ANN).out
    assert doubtful("send").out == "Nothing is due.\n"
    assert len(list(Path("outbox").glob("*.eml"))) == before
    assert list(listed(doubtful)) == [BEN]


def test_a_guide_that_arrived_brought_its_code(shell: Shell) -> None:
    shell.join(ANN)
    shell("send")
    mail = change(shell, ANN, "uncertain", DOUBT)
    with shell.funnel.session() as db:
        db.execute("UPDATE gift SET status = 'issued'")
    shell("outbox", "resolve", mail, "--sent")

    assert shell("gift", "status", "--json").json == {"sent": 1}


def test_what_did_not_arrive_goes_once_more_with_the_same_bytes(doubtful: Shell) -> None:
    same = b"From: x@clinic.example\r\nTo: ann@mail.example\r\nSubject: the very same\r\n\r\nhello\r\n"
    mail = change(doubtful, ANN, "uncertain", DOUBT, same)
    done = doubtful("outbox", "resolve", mail, "--resend")

    assert (done.code, done.out) == (0, "1 mail is released, to go with the next run.\n")
    assert doubtful("send").out == "1 sent.\n"
    assert any(b"the very same" in file.read_bytes() for file in Path("outbox").glob("*.eml"))
    assert doubtful("outbox", "resolve", mail, "--resend").out.endswith("was left as it is: it has gone out.\n")


@pytest.mark.parametrize("status", [s for s in MailingStatus if s in SETTLED])
@pytest.mark.parametrize("answer", ["--sent", "--resend"])
def test_what_is_not_in_doubt_is_left_with_a_sentence(doubtful: Shell, status: MailingStatus, answer: str) -> None:
    mail = change(doubtful, ANN, str(status), "as it was")
    before = guide(doubtful)
    done = doubtful("outbox", "resolve", mail, answer)

    assert done.code == 1
    assert f"Mail {mail} was left as it is: {SETTLED[status]}.\n" in done.out
    assert guide(doubtful) == before


def test_a_number_that_is_no_mail_is_told_and_the_others_are_done(doubtful: Shell) -> None:
    done = doubtful("outbox", "resolve", 99, guide(doubtful).id, "--sent", "--json")

    assert done.code == 1
    assert done.json == {"done": [guide(doubtful).id], "left": {"99": "there is no such mail"}}


def test_who_gets_no_mail_any_more_is_not_mailed_by_hand(doubtful: Shell) -> None:
    """P5: and that it did arrive can still be recorded."""
    doubtful.funnel.unsubscribe(doubtful.person(ANN).id, Receipt("withdrawn", doubtful.funnel.clock()))
    mail = guide(doubtful).id
    refused = doubtful("outbox", "resolve", mail, "--resend")

    assert refused.code == 1
    assert "its person gets no mail any more (unsubscribed)" in refused.out
    assert doubtful("outbox", "resolve", mail, "--sent").code == 0


def test_who_was_forgotten_is_not_mailed_by_hand(doubtful: Shell) -> None:
    mail = guide(doubtful).id
    doubtful("subscribers", "erase", ANN, "--yes")

    assert "its person was forgotten" in doubtful("outbox", "resolve", mail, "--resend").out


def test_mail_without_a_code_goes_by_its_own_number_only(doubtful: Shell) -> None:
    change(doubtful, ANN, "held", NO_CODE)
    held = guide(doubtful).id
    everything = doubtful("outbox", "resolve", "--all", "--resend", "--yes", "--json").json
    assert everything["done"] == [guide(doubtful, BEN).id]

    arrived = doubtful("outbox", "resolve", held, "--sent")
    assert (arrived.code, guide(doubtful).status) == (1, MailingStatus.HELD)
    assert "it never went out, because it waits for a gift code" in arrived.out
    assert doubtful("outbox", "resolve", held, "--resend").code == 0
    assert guide(doubtful).reason == "goes without a gift code: somebody decided so"
    assert doubtful("send").out == "2 sent.\n"


def test_all_at_once_is_asked_about_first(doubtful: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(text: str, *, abort: bool) -> None:
        asked.append(text)
        if abort and len(asked) == 1:
            raise click.Abort

    monkeypatch.setattr(click, "confirm", answer)
    assert doubtful("outbox", "resolve", "--all", "--resend").code == 130
    assert guide(doubtful).status is MailingStatus.UNCERTAIN

    assert doubtful("outbox", "resolve", "--all", "--sent").out == "2 mails are recorded as sent.\n"
    assert asked == [
        "2 mails are in doubt. Let them go once more, though they may have arrived?",
        "2 mails are in doubt. Record them as arrived?",
    ]
    assert doubtful("outbox", "list").out == "Every mail is settled.\n"


def test_only_what_is_held_can_be_chosen(doubtful: Shell) -> None:
    change(doubtful, ANN, "held", "was due while nobody knows what was sent")
    doubtful("outbox", "resolve", "--held", "--sent", "--yes")

    assert (guide(doubtful).status, guide(doubtful, BEN).status) == (MailingStatus.SENT, MailingStatus.UNCERTAIN)


def test_nothing_in_doubt_is_nothing_to_ask_about(shell: Shell) -> None:
    assert shell("outbox", "resolve", "--all", "--sent").out == "0 mails are recorded as sent.\n"


@pytest.mark.parametrize(
    "words",
    [("7",), ("--sent",), ("7", "--all", "--sent"), ("--all", "--held", "--sent"), ("seven", "--sent"), ("--all",)],
)
def test_what_is_not_clear_is_asked_back(shell: Shell, words: tuple[str, ...]) -> None:
    done: Done = shell("outbox", "resolve", *words)

    assert done.code == 2
    assert "Error" in done.err


def test_the_report_counts_what_is_open_and_tells_it_apart(doubtful: Shell) -> None:
    change(doubtful, ANN, "held", NO_CODE)
    found = doubtful("report", "--json").json
    told = doubtful("report").out

    assert (found["uncertain"], found["held"], found["without_code"]) == (1, 1, 1)
    assert "0 due now, 1 of unknown fate, 1 held (funnel outbox list).\nOf the held, 1 waits for a gift code." in told
