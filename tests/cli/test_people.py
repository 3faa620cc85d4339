"""Commands about people: why, and the whole life of a row from import to being forgotten."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from funnel.model import Status
from tests.cli.shell import ANN, BEN, Shell

IMPORT = ("subscribers", "import", "people.csv", "--basis", "asked at the fair", "--proof", "sheet 12",
          "--not-patients")  # fmt: skip


def test_added_at_the_desk_they_are_asked_like_anybody(shell: Shell) -> None:
    """SEC-1: the answer does not tell whether the address is known."""
    first = shell("subscribers", "add", ANN, "--proof", "asked at the desk")
    again = shell("subscribers", "add", ANN, "--proof", "asked at the desk")

    assert (first.code, first.out) == (again.code, again.out)
    assert shell.person().status is Status.PENDING
    assert "asked at the desk" in shell("subscribers", "show", ANN).out


def test_show_and_why_tell_all_about_one_person(shell: Shell) -> None:
    shell.join()
    shell("send")
    shown, why = shell("subscribers", "show", ANN), shell("why", ANN)

    assert "Give this to nobody but the person themselves" in shown.out
    assert shown.out.count(shell.code()) == 1
    assert "consent confirmed" in why.out
    assert "series/guide sent" in why.out
    assert "series/many-reasons" in why.out

    told = shell("why", ANN, "--json").json
    assert told["person"]["status"] == "confirmed"
    assert [line["what"] for line in told["past"]] == ["consent requested", "consent confirmed", "series/guide sent"]
    assert shell("subscribers", "show", ANN, "--json").json["person"]["email"] == ANN


def test_why_answers_for_another_moment(shell: Shell) -> None:
    shell.join()
    assert "due now: goes with the next run" in shell("why", ANN).out
    assert "the request is older" not in shell("why", ANN).out

    shell.ask(BEN)
    later = shell("why", BEN, "--now", "2199-01-01T10:00")
    assert "will be left out: the request is older than its link would be good for" in later.out


def test_lists_are_by_status_and_tag(shell: Shell) -> None:
    shell.ask(ANN)
    shell.join(BEN)

    assert [p["email"] for p in shell("subscribers", "list", "--json").json] == [ANN, BEN]
    assert [p["email"] for p in shell("subscribers", "list", "--status", "pending", "--json").json] == [ANN]
    assert [p["email"] for p in shell("subscribers", "list", "--limit", "1", "--json").json] == [ANN]
    assert shell("subscribers", "list", "--tag", "vip").out == "Nobody yet.\n"


def test_unsubscribing_is_news_once(shell: Shell) -> None:
    shell.join()
    first = shell("subscribers", "unsubscribe", ANN, "--reason", "by telephone")
    again = shell("subscribers", "unsubscribe", ANN)

    assert first.out == "Done: no more mail goes to this address.\n"
    assert again.out == "They were unsubscribed already; nothing changed.\n"
    assert "by telephone" in shell("why", ANN).out
    assert shell("send", "--json").json["sent"] == 0


# --- import and export -------------------------------------------------------------------------


def people(*rows: str) -> None:
    Path("people.csv").write_text("email,name,zone,tags\n" + "".join(f"{row}\n" for row in rows))


def test_an_import_is_a_dry_run_until_it_is_applied(shell: Shell) -> None:
    """SEC-14."""
    people(f"{ANN},Ann,Europe/Berlin,vip", f"{BEN},,,")
    tried = shell(*IMPORT)
    assert "Nothing was changed; add --apply." in tried.out
    assert shell("subscribers", "list").out == "Nobody yet.\n"

    assert shell(*IMPORT, "--apply", "--json").json["new"] == 2
    assert [p["email"] for p in shell("subscribers", "list", "--tag", "vip", "--json").json] == [ANN]
    assert shell("send", "--json").json["sent"] == 0


def test_one_faulty_row_keeps_the_whole_file_out(shell: Shell) -> None:
    people(f"{ANN},,,", "not an address,,,", f"{BEN},,Mars/Base,")
    done = shell(*IMPORT, "--apply")

    assert done.code == 1
    assert "row 3" in done.out
    assert "row 4" in done.out
    assert shell("subscribers", "list").out == "Nobody yet.\n"


def test_patient_lists_need_a_second_thought(shell: Shell) -> None:
    people(f"{ANN},,,")
    done = shell(*(word for word in IMPORT if word != "--not-patients"), "--apply")

    assert "Never import a list of patients without legal advice" in done.out + done.err
    assert shell("subscribers", "list").out == "Nobody yet.\n"


@pytest.mark.parametrize("file", ["out.csv", "out.json"])
def test_what_goes_out_comes_in_again(shell: Shell, file: str) -> None:
    """SEC-37: who was forgotten stays away."""
    people(f"{ANN},Ann,Europe/Berlin,", f"{BEN},Ben,Asia/Tokyo,", "+plus@mail.example,,,")
    assert shell(*IMPORT, "--confirmed", "--apply").code == 0
    before = shell("subscribers", "list", "--json").json
    assert shell("subscribers", "export", "--out", file).code == 0
    assert Path(file).stat().st_mode & 0o777 == 0o600
    text = Path(file).read_text()
    if file == "out.json":
        assert [row["email"] for row in json.loads(text)] == [p["email"] for p in before]
        return

    assert [row["email"].lstrip("'") for row in csv.DictReader(text.splitlines())] == [p["email"] for p in before]
    for person in before:
        shell("subscribers", "erase", person["email"], "--yes")
    assert "3 suppressed" in shell("subscribers", "import", file, *IMPORT[3:], "--apply").out
    assert "0 new" in shell("subscribers", "import", file, *IMPORT[3:], "--apply").out


def test_a_spreadsheet_runs_nothing_of_an_export(shell: Shell) -> None:
    """SEC-13."""
    people("+plus@mail.example,Pat,,", f"{ANN},Ann,,")
    shell(*IMPORT, "--apply")
    with shell.funnel.session() as db:
        db.execute("UPDATE subscriber SET name = '=HYPERLINK(1)' WHERE id = 2")
    shell("subscribers", "export", "--out", "out.csv")

    cells = [cell for row in csv.reader(Path("out.csv").read_text().splitlines()) for cell in row]
    assert "'=HYPERLINK(1)" in cells
    assert not [cell for cell in cells if cell[:1] in {*"=+-@\t"}]


def test_the_round_trip_keeps_name_and_zone(shell: Shell) -> None:
    people(f"{ANN},Ann,Europe/Berlin,", "+plus@mail.example,O’Neil,Asia/Tokyo,")
    shell(*IMPORT, "--apply")
    shell("subscribers", "export", "--out", "out.csv")
    kept = [(p["email"], p["name"], p["zone"]) for p in shell("subscribers", "list", "--json").json]
    with shell.funnel.session() as db:
        db.execute("DELETE FROM consent")
        db.execute("DELETE FROM event")
        db.execute("DELETE FROM subscriber")

    assert shell("subscribers", "import", "out.csv", *IMPORT[3:], "--apply").code == 0
    assert [(p["email"], p["name"], p["zone"]) for p in shell("subscribers", "list", "--json").json] == kept


def test_nothing_is_written_over(shell: Shell) -> None:
    """SEC-16."""
    shell.ask()
    Path("out.csv").write_text("mine")
    assert shell("subscribers", "export", "--out", "out.csv").code == 2
    assert Path("out.csv").read_text() == "mine"

    assert shell("subscribers", "export", "--out", "out.csv", "--force").code == 0
    assert ANN in Path("out.csv").read_text()


# --- being forgotten ---------------------------------------------------------------------------


def spellings(address: str) -> set[bytes]:
    """Return how an address may stand in a file: as it is, in a URL, in base64 at each offset, in capitals."""
    found = {address, address.upper(), quote(address), quote(quote(address)), address.replace("@", "=40")}
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + address.encode()).decode()
        found.add(coded[4:-4])
    return {spelling.encode() for spelling in found}


def traces(folder: Path, address: str) -> list[str]:
    """Return which files still tell the address, but for mail that left."""
    files = [file for file in folder.rglob("*") if file.is_file() and "outbox" not in file.parts]
    return [str(file) for file in files if any(word in file.read_bytes() for word in spellings(address))]


def test_erasing_leaves_no_trace_of_the_address(shell: Shell) -> None:
    """LAW-5: not in the database, its log, the caches or anywhere else in the folder."""
    address = "leslie.knope@mail.example"
    shell.join(address)
    shell.ask(ANN)
    shell("send")
    code = shell.code(address)
    shell("gift", "redeem", code, "--by", "Anna")
    assert traces(shell.folder, address)

    assert shell("subscribers", "erase", address, "--yes").code == 0
    assert traces(shell.folder, address) == []
    assert traces(shell.folder, ANN)
    assert shell("report").code == 0
    assert "Nobody with the address" in shell("why", address).err


def test_erasing_asks_first(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.ask()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    done = shell("subscribers", "erase", ANN)

    assert (done.code, done.err) == (130, "Stopped.\n")
    assert shell.person().status is Status.PENDING


# --- what stands in data -----------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\x00evil"


def test_controls_in_data_never_reach_the_terminal(shell: Shell) -> None:
    """SEC-24, SEC-33: also through --json, in errors and in file names."""
    shell.join()
    code = shell.code()
    shell("gift", "redeem", code, "--by", EVIL.replace("\x00", ""))
    with shell.funnel.session() as db:
        db.execute("UPDATE subscriber SET name = ?, source = ?, email = ?", (EVIL, EVIL, f"{EVIL}@mail.example"))
        db.execute("UPDATE consent SET detail = ?, page = ?, operator = ?", (EVIL, EVIL, EVIL))
        db.execute("INSERT INTO tag VALUES (1, ?)", (EVIL,))
        db.execute(
            """INSERT INTO mailing (enrollment_id, step, kind, status, reason, reply, due_at, claimed_at, first_at)
               VALUES (1, 'x', 'drip', 'uncertain', ?1, ?1, 0, 0, 0)""",
            (EVIL,),
        )
        db.execute("INSERT INTO run (host, pid, started_at, heartbeat_at, note) VALUES ('h', 1, 0, 0, ?)", (EVIL,))
    Path("people.csv").write_text(f"email,name\n{EVIL}@x,{EVIL}\n")
    calls = [("why", ANN), ("subscribers", "show", ANN), ("subscribers", "list"), ("outbox", "list"), ("report",),
             ("gift", "show", code), ("send", "--dry-run"), IMPORT]  # fmt: skip
    seen = [shell(*call, *more) for call in calls for more in ((), ("--json",))]
    seen += [shell("gift", "redeem", code), shell("why", f"{EVIL}@x".replace("\x00", "")), shell("bounces", "\x1b[31m")]

    text = "".join(done.out + done.err for done in seen)
    assert text.count("evil") > 15
    assert {c for c in text if not c.isprintable()} == {"\n"}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("words", [["report"], ["why", ANN, "--json"], ["why", "nobody@mail.example"]])
def test_what_is_said_is_utf8_whatever_the_locale(shell: Shell, words: list[str], encoding: str) -> None:
    """Else a server set up for Latin-1 answers with a traceback at the first line of a table."""
    shell.ask()
    with shell.funnel.session() as db:
        db.execute("UPDATE subscriber SET name = '漢 Zoë'")
    command = Path(sys.executable).with_name("funnel")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([command, *words], capture_output=True, env=environment, check=False)

    told = (done.stdout + done.stderr).decode("utf-8")
    assert "Traceback" not in told
    assert {"report": "──", "why": "漢 Zoë" if "--json" in words else "•"}[words[0]] in told
