"""At a prompt: a backup, a restore, and what is asked and said on the way."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.cli import main
from funnel.store import database, enrollments, ledger, seal
from tests.cli.shell import ANN, BEN

if TYPE_CHECKING:
    from tests.cli.shell import Shell


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """Give a prompt with Ann confirmed and her guide sent, and a backup of that."""
    with shell.funnel.session() as db:
        seal.ensure(db)
    shell.join(ANN)
    assert shell("send").code == 0
    assert shell("backup", "copy.db").code == 0
    return shell


def test_a_backup_says_what_it_holds_and_what_not(shell: Shell) -> None:
    shell.join(ANN)
    done = shell("backup", "copy.db")

    assert done.code == 0
    assert done.out.startswith("1 person and 0 mails in copy.db, ")
    assert "The keys are not in it: keep a copy of funnel.secret elsewhere." in done.out
    assert ANN not in done.out
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o600


def test_a_backup_for_a_script(shell: Shell) -> None:
    found = shell("backup", "copy.db", "--json").json

    assert found == {"file": "copy.db", "people": 0, "mailings": 0, "size": Path("copy.db").stat().st_size}


def test_a_backup_that_cannot_be_noted_is_good_all_the_same(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with shell.funnel.session() as db, db.transaction():
        done = shell("backup", "copy.db")

    assert (done.code, done.out.startswith("0 people and 0 mails in copy.db, ")) == (0, True)
    assert done.err.startswith(
        "The backup is good, but is not on record, so “funnel doctor” will miss it: funnel.db is"
    )


def test_a_backup_with_a_bar(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funnel.cli.keeping.on_terminal", lambda: True)

    assert "people and" in shell("backup", "copy.db").out


def test_a_backup_writes_over_nothing(shop: Shell) -> None:
    done = shop("backup", "copy.db")
    assert (done.code, done.err) == (1, "Error: copy.db exists already; name another file, or add --force.\n")
    assert shop("backup", "copy.db", "--force").code == 0


def test_from_restore_to_sending_again(shop: Shell) -> None:
    done = shop("restore", "copy.db", "--yes")
    assert done.code == 0
    assert "Restored: 1 person and " in done.out
    assert "The database that was there is funnel.db.before-" in done.out
    assert "funnel restore --resume" in done.out

    assert "Sending is held back. This database was restored" in shop("report").out
    assert "restored from a backup" in shop("report", "--json").json["held_back"]

    done = shop("restore", "--resume", "--yes")
    assert done.code == 0
    assert "Recorded. Sending goes on with the next run." in done.out
    shop.ask(BEN)
    assert shop("send").code == 0
    assert "held back" not in shop("report").out
    assert "Nothing is to be settled" in shop("restore", "--resume", "--yes").out


def test_both_at_once_with_people_who_left_and_mails_that_went(shop: Shell) -> None:
    funnel = shop.funnel
    with funnel.session() as db:
        way = db.value("SELECT id FROM enrollment WHERE sequence = 'series'")
        sealed = ledger.stand(ledger.path_of(db.path))
    assert sealed is not None
    now = int(funnel.clock().timestamp()) + 5
    ledger.write(
        ledger.path_of(funnel.database_path),
        [
            ledger.Batch(1, sealed.batch + 1, 0, now, 1, {"series/did-it-reach-you": ([90], [way])}).line(),
            ledger.Batch(1, sealed.batch + 2, 0, now, 1, {"series/many-reasons": ([91, 92], [way, 999])}).line(),
            ledger.Ended(sent=True, mailings=[90]).line(),
            ledger.Act(sealed.acts + 1, now, funnel.context.hash_of(ANN), "unsubscribed").line(),
        ],
    )
    done = shop("restore", "copy.db", "--resume", "--yes")

    assert done.code == 0
    assert "1 who left since is off again, 0 of them forgotten again." in done.out
    assert "2 batches of mail went out since, from " in done.out
    assert [line.split() for line in done.out.splitlines() if line.startswith("series/")] == [
        ["series/did-it-reach-you", "1", "0"], ["series/many-reasons", "0", "1"],
    ]  # fmt: skip
    assert "1 more went to people, or for requests, that this database does not know." in done.out


def test_of_codes_of_the_clinics_own_it_says_what_became_of_them(shell: Shell) -> None:
    settings = shell.folder / "funnel.toml"
    settings.write_text(settings.read_text("utf-8") + '\n[gift]\nsource = "pool"\n', "utf-8")
    Path("codes.txt").write_text("SPRING-0001\nSPRING-0002\nSPRING-0003\n")
    assert shell("gift", "import", "codes.txt").code == 0
    with shell.funnel.session() as db:
        seal.ensure(db)
    shell("backup", "copy.db")
    shell.join(ANN)
    known = shell("restore", "copy.db", "--yes").out
    shell.join(BEN)
    Path("funnel.db.sent").unlink()
    lost = [shell("restore", "copy.db", "--yes").out, shell("restore", "--resume", "--yes").out]

    assert "1 gift code that was given since is its holder’s again." in known
    assert "funnel gift withdraw" not in known
    assert all("some look free that are not" in said and "funnel gift withdraw" in said for said in lost)


def test_one_batch_is_one_batch(shop: Shell) -> None:
    with shop.funnel.session() as db:
        way = db.value("SELECT id FROM enrollment WHERE sequence = 'series'")
    path = ledger.path_of(shop.funnel.database_path)
    stand, now = ledger.stand(path), int(shop.funnel.clock().timestamp())
    assert stand is not None
    mails = {"series/did-it-reach-you": ([90], [way])}
    ledger.write(path, [ledger.Batch(1, stand.batch + 1, 0, now, 1, mails).line()])

    assert "\n1 batch of mail went out since, from " in shop("restore", "copy.db", "--resume", "--yes").out


def test_cron_is_told_that_sending_is_held_back_also_while_nothing_is_due(
    shop: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its short way knows of a backup put in place, and of a folder that was copied or lost its journal."""
    main(["send"])
    assert capsys.readouterr().out == "Nothing is due.\n"
    shop("restore", "copy.db", "--yes")
    said = [cron(capsys, word) for word in (["send"], ["send", "--quiet"])]
    with shop.funnel.session(readonly=True) as db:
        assert enrollments.anything_due(db, shop.funnel.clock())  # which is what --loop asks
    shop("restore", "--resume", "--yes")
    main(["send", "--quiet"])
    Path("funnel.db.sent").rename("lost")
    said.append(cron(capsys, ["send"]))

    assert [code for code, _, _ in said] == [1, 1, 1]
    assert {out for _, out, _ in said} == {""}
    assert [err.partition(":")[0] for _, _, err in said] == ["Error"] * 3
    assert "restored from a backup" in said[0][2]
    assert said[0] == said[1]
    assert "is not beside this database" in said[2][2]


def cron(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[object, str, str]:
    """Run a command as cron does, and return its exit code and what it said."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_without_the_journal_it_says_so(shop: Shell) -> None:
    Path("funnel.db.sent").unlink()
    done = shop("restore", "--resume", "--yes")

    assert "not beside this database" in done.out
    assert "The send journal does not know all of that time" in done.out


@pytest.mark.parametrize("words", ["restore copy.db", "restore --resume"])
def test_it_asks_first(shop: Shell, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    Path("funnel.db.sent").unlink()
    before = Path("funnel.db").read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    done = shop(*words.split())

    assert (done.code, done.err) == (130, "Stopped.\n")
    assert Path("funnel.db").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("restore", 2, "Name a backup, or say --resume"),
        ("restore copy.db --nothing-since", 2, "--nothing-since goes with --resume"),
        ("restore nothing.db --yes", 1, "nothing.db is not there"),
        ("restore funnel.db --yes", 1, "is the database itself"),
        ("restore funnel.toml --yes", 1, "funnel.toml is damaged"),
        ("backup nowhere/copy.db", 1, "is no place for a backup"),
        ("backup .", 1, "is no place for a backup"),
        ("backup funnel.db --force", 1, "is the database itself"),
    ],
)
def test_a_mistake_is_one_sentence(shop: Shell, words: str, code: int, sentence: str) -> None:
    done = shop(*words.split())

    assert sentence in done.err
    assert done.code == code
    assert "Traceback" not in done.err


def test_keys_that_are_not_the_databases_stop_all_but_reading(shop: Shell) -> None:
    """F-52: each command says so in one sentence, and the way on when they are lost tells what it costs."""
    shop.ask(BEN)
    assert shop("subscribers", "unsubscribe", ANN).code == 0
    Path("funnel.secret").write_text("77" * 32 + "\n", "ascii")
    for words in (["send"], ["subscribers", "add", "cy@mail.example", "--proof", "desk"], ["gift", "redeem", "X"]):
        done = shop(*words)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "funnel restore --new-keys" in done.err
    assert shop("report").code == 0
    assert shop("restore", "--new-keys", "--resume").code == 2

    done = shop("restore", "--new-keys", "--yes")
    assert (done.code, done.out) == (0, "Taken: 1 person who left stays off, 1 gift is still its holder’s.\n")
    assert shop("send").out == "1 sent.\n"
    assert shop("restore", "--new-keys", "--yes").out == "These are the database’s own keys; nothing was changed.\n"


def test_keys_that_are_lost_are_made_anew(shop: Shell) -> None:
    """There was no way to: “funnel init” refuses a folder with a funnel in it."""
    Path("funnel.secret").unlink()
    done = shop("send")
    assert (done.code, "funnel restore --new-keys" in done.err) == (2, True)

    assert shop("restore", "--new-keys", "--yes").code == 0
    assert stat.S_IMODE(Path("funnel.secret").stat().st_mode) == 0o600
    shop.ask(BEN)
    assert shop("send").out == "1 sent.\n"


def test_a_funnel_without_a_database_is_given_one(shop: Shell) -> None:
    for name in ("funnel.db", "funnel.db.sent", "funnel.secret"):
        Path(name).unlink()
    assert "run “funnel init” to make one" in shop("report").err

    done = shop("init", "--no-guide")
    assert done.out.startswith("The funnel in . has a new, empty database now, and keys; what was there is as it was.")
    shop.ask(BEN)
    assert shop("send").out == "1 sent.\n"
