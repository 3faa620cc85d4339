"""Every command explains itself, and the group knows its commands without loading them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from funnel.cli import group
from tests.cli.shell import commands

TOP = Path(__file__).resolve().parents[2]
ALL = commands()
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(group.group, [*name.split(), "--help"], prog_name="funnel")

    assert result.exit_code == 0
    assert re.search(rf"Example: +funnel {name.split(maxsplit=1)[0]}\b", result.output), result.output
    assert result.output.startswith(f"Usage: funnel {name} ")


@pytest.mark.parametrize("name", LEAVES)
def test_every_example_is_of_that_very_command(name: str) -> None:
    example = (LEAVES[name].help or "").partition("Example:")[2].split("\n")[0]

    assert example.strip().startswith(f"funnel {name}")


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    silent = [p.name for p in LEAVES[name].params if isinstance(p, click.Option) and not p.help]

    assert silent == []


def test_the_table_says_what_the_commands_say() -> None:
    with click.Context(group.group) as context:
        shown = group.group.get_help(context)
    for name, (_, text) in group.COMMANDS.items():
        assert isinstance(group.group.get_command(context, name), click.Command)
        assert name in shown
        assert text.split()[0] in shown


def test_a_command_nobody_knows_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert group.run(["sned"]) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if isinstance(command, click.Group)])
def test_a_group_alone_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.run([name]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert group.run([]) == 2
    assert "Every day:" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["--version", "--help", "-h"])
def test_the_shim_at_the_top_is_the_command(argument: str) -> None:
    shim = subprocess.run([sys.executable, TOP / "cli.py", argument], capture_output=True, text=True)
    command = subprocess.run(
        [Path(sys.executable).with_name("funnel"), argument], capture_output=True, text=True, cwd=TOP
    )

    assert (shim.returncode, shim.stdout) == (0, command.stdout)
    assert shim.stdout


def test_a_reader_that_went_away_is_no_fault() -> None:
    """F-17: ``funnel --help | head -1``."""
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' '{TOP / 'cli.py'}' --help | head -1"], capture_output=True, text=True
    )

    assert done.stdout.startswith("Usage:")
    assert "Traceback" not in done.stderr
