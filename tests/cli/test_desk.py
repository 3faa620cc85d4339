"""Commands of the front desk and of the report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.shell import ANN, BEN, Shell

if TYPE_CHECKING:
    import pytest


def test_a_code_is_good_once(shell: Shell) -> None:
    shell.join()
    code = shell.code()
    assert shell("gift", "show", code, "--json").json["good"] is True

    first = shell("gift", "redeem", code.lower().replace("-", " "), "--by", "Anna")
    again = shell("gift", "redeem", code)
    assert first.out == f"Good: {code} is a welcome gift, and is now used.\n"
    assert again.code == 1
    assert "was used on" in again.err
    assert "(Anna)" in again.err
    assert shell("gift", "show", code, "--json").json["good"] is False
    assert "by Anna" in shell("gift", "show", code).out


def test_looking_does_not_use_a_code(shell: Shell) -> None:
    shell.join()
    for _ in range(3):
        assert "status: issued" in shell("gift", "show", shell.code()).out
    assert shell("gift", "redeem", shell.code(), "--json").json["status"] == "redeemed"


def test_codes_are_counted(shell: Shell) -> None:
    assert shell("gift", "status").out == "No gift code has been issued yet.\n"
    shell.join(ANN)
    shell.join(BEN)
    shell("gift", "redeem", shell.code(BEN))

    assert shell("gift", "status", "--json").json == {"issued": 1, "redeemed": 1}
    assert "redeemed" in shell("gift", "status").out


def test_the_report_adds_up_and_says_what_needs_an_eye(shell: Shell) -> None:
    empty = shell("report")
    assert "The sender has never run: set up cron" in empty.out

    shell.join(ANN)
    shell.ask(BEN)
    shell("send")
    report = shell("report", "--json").json
    assert report["adds_up"] is True
    assert report["people"]["confirmed"] == report["people"]["pending"] == 1
    assert report["funnel"]["asked"] == 2
    assert "The sender last ran 0 minutes ago." in shell("report").out
    assert "is cron alive?" in shell("report", "--now", "2199-01-01").out
    assert "NO" not in shell("report").out


def test_a_book_that_does_not_add_up_is_told(shell: Shell) -> None:
    """P2: the check itself can fail."""
    shell.join()
    shell("send")
    with shell.funnel.session() as db:
        db.execute("UPDATE enrollment SET next_step = NULL WHERE sequence = 'series'")
    done = shell("report")

    assert done.code == 1
    assert "NO" in done.out
    assert shell("report", "--json").json["adds_up"] is False


# --- codes of the clinic's own -----------------------------------------------------------------


def with_pool(shell: Shell) -> None:
    settings = shell.folder / "funnel.toml"
    settings.write_text(settings.read_text("utf-8") + '\n[gift]\nsource = "pool"\n', "utf-8")


def test_codes_are_imported_counted_and_used(shell: Shell) -> None:
    with_pool(shell)
    assert shell("gift", "status").code == 1
    shell.join(ANN)
    waits = shell("gift", "status")
    assert (waits.code, "1 person waits for one" in waits.out) == (1, True)

    Path("codes.csv").write_text("code\n" + "".join(f"MILL-{n:04}\n" for n in range(30)))
    tried = shell("gift", "import", "codes.csv", "--dry-run")
    assert (tried.code, "30 new" in tried.out, "dry run" in tried.out) == (0, True, True)
    done = shell("gift", "import", "codes.csv", "--json").json
    assert (done["applied"], done["new"], done["served"], done["free"]) == (True, 30, 1, 29)

    assert shell.code() == "MILL-0000"
    assert shell("gift", "redeem", "mill0000").code == 0
    enough = shell("gift", "status", "--json")
    assert (enough.code, enough.json) == (0, {"redeemed": 1, "free": 29, "pending": 0})
    assert "29 gift codes are left in the pool; 1 went in the last seven days." in shell("report").out


def test_a_faulty_list_is_refused_line_by_line(shell: Shell) -> None:
    with_pool(shell)
    Path("codes.txt").write_text("MILL-0001\n???\n")
    done = shell("gift", "import", "codes.txt")

    assert done.code == 1
    assert "codes.txt, line 2: a code has letters" in done.out
    assert shell("gift", "status", "--json").json["free"] == 0
    assert "cannot be read" in shell("gift", "import", "none.txt").err


def test_free_codes_can_be_taken_out(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pool(shell)
    Path("codes.txt").write_text("MILL-0001\nMILL-0002\n")
    shell("gift", "import", "codes.txt")
    shell.join(ANN)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert shell("gift", "withdraw").code == 130

    assert shell("gift", "withdraw", "--yes").out == "1 code taken out; nobody will be given one of them.\n"
    assert shell("gift", "withdraw", "--yes").out.startswith("0 codes taken out")
    assert shell("gift", "redeem", "MILL-0001").code == 0
    assert "was taken out of the pool" in shell("gift", "show", "MILL-0002").err
