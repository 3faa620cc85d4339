"""Commands that set a funnel up: init, check, serve."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.cli import group
from funnel.config import load_config

if TYPE_CHECKING:
    from tests.cli.shell import Shell


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_makes_a_funnel_that_works(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.run(["init", "shop", "--defaults", "--no-guide"]) == 0
    assert "Next:  cd shop && funnel check" in capsys.readouterr().out
    for name, mode in {"funnel.db": 0o600, "funnel.secret": 0o600, ".": 0o700}.items():
        assert (here / "shop" / name).stat().st_mode & 0o777 == mode
    assert group.run(["--config", "shop/funnel.toml", "check", "--no-guide"]) == 0
    assert group.run(["--config", "shop/funnel.toml", "report"]) == 0


def test_init_takes_answers(here: Path) -> None:
    answers = {"clinic.name": 'The "Quiet" Clinic', "clinic.time_zone": "Asia/Kathmandu", "transport.smtp.port": "2525"}
    given = [word for key, value in answers.items() for word in ("--set", f"{key}={value}")]
    assert group.run(["init", "shop", "--no-guide", *given]) == 0
    config = load_config(here / "shop" / "funnel.toml")

    assert config.clinic.name == answers["clinic.name"]
    assert config.clinic.time_zone == "Asia/Kathmandu"
    assert config.transport.smtp.port == 2525


@pytest.mark.parametrize("answer", ["clinic.from_address=nobody", "clinic.time_zone=Mars/Base", "gift.expires_days=x"])
def test_an_answer_that_cannot_work_leaves_nothing_behind(
    here: Path, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    assert group.run(["init", "shop", "--no-guide", "--set", answer]) == 2
    assert "Error: funnel.toml" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_init_never_writes_over_anything(shell: Shell) -> None:
    before = {file: file.read_bytes() for file in shell.folder.rglob("*") if file.is_file()}
    done = shell("init", "--defaults", "--no-guide")

    assert done.code == 2
    assert "was left as it is" in done.err
    assert {file: file.read_bytes() for file in shell.folder.rglob("*") if file.is_file()} == before


def test_init_keeps_mails_keys_and_people_that_are_there(shell: Shell) -> None:
    """Somebody lost the settings only."""
    shell.ask()
    Path("funnel.toml").unlink()
    Path("emails/series/guide.md").write_text('+++\nsubject = "Mine"\nkind = "guide"\n+++\nMine\n')
    secret = Path("funnel.secret").read_bytes()

    assert shell("init", ".", "--defaults", "--no-guide").code == 0
    assert "Mine" in Path("emails/series/guide.md").read_text()
    assert Path("funnel.secret").read_bytes() == secret
    assert [person["status"] for person in shell("subscribers", "list", "--json").json] == ["pending"]


# --- check -------------------------------------------------------------------------------------


def test_check_finds_what_would_go_wrong(shell: Shell) -> None:
    assert shell("check", "--no-guide").code == 0
    Path("emails/series/guide.md").write_text(
        '+++\nsubject = "Your back pain"\nkind = "guide"\n+++\n{{ nmae }} is cured\n'
    )
    done = shell("check", "--no-guide")

    assert done.code == 1
    assert "says “back”" in done.out
    assert "line 5: “cured” promises" in done.out
    assert "nmae" in done.out


def test_check_says_when_the_guide_is_not_built(shell: Shell) -> None:
    Path("build/guide/guide.pdf").unlink()
    found = shell("check", "--json")

    assert found.code == 1
    assert [f for f in found.json if f["where"] == "guide" and "has not been built" in f["says"]]


# --- serve -------------------------------------------------------------------------------------


def serve(listen: str) -> tuple[int, str]:
    """Try to serve in a process of its own, which takes the sockets along when it ends."""
    command = [str(Path(sys.executable).with_name("funnel")), "serve", "--listen", listen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.usefixtures("shell")
def test_serving_on_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, err = serve(f"127.0.0.1:{taken.getsockname()[1]}")

    assert code == 2
    assert err.startswith("Error: Cannot listen on 127.0.0.1")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("shell")
def test_serving_on_no_port_is_told() -> None:
    code, err = serve("nonsense")

    assert code == 2
    assert "nonsense" in err
    assert "Traceback" not in err
