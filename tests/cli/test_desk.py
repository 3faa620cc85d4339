"""Commands of the front desk and of the report."""

from __future__ import annotations

from tests.cli.shell import ANN, BEN, Shell


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
