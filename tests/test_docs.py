"""The documentation names what there is: commands, options, settings, files. UPDATE_DOCS=1 writes docs/commands.md."""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from funnel.cli import group
from funnel.config import Config
from tests.cli.shell import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[1]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])
COMMANDS = TOP / "docs" / "commands.md"
HEAD = """\
# Every command

Generated from `--help` by `UPDATE_DOCS=1 ./run test tests/test_docs.py`; edit the help in `funnel/cli/`, not this page.

Exit codes, unless a command says more: 0 done, 1 refused or something was found, 2 a setting or an option is wrong,
75 try again later.
"""


def help_of(name: str) -> str:
    """Return what ``funnel NAME --help`` prints, 100 columns wide."""
    result = CliRunner().invoke(group.group, [*name.split(), "--help"], prog_name="funnel", terminal_width=100)
    return "\n".join(line.rstrip() for line in result.output.rstrip().split("\n"))


def page() -> str:
    """Return the text of docs/commands.md."""
    parts = [f"## funnel {name}\n\n```text\n{help_of(name)}\n```\n" for name in commands()]
    return "\n".join([HEAD, f"```text\n{help_of('')}\n```\n", *parts])


def test_the_page_of_commands_is_their_help() -> None:
    if os.environ.get("UPDATE_DOCS"):
        COMMANDS.write_text(page(), "utf-8")

    assert COMMANDS.read_text("utf-8") == page(), "run: UPDATE_DOCS=1 ./run test tests/test_docs.py"


def code_in(text: str) -> Iterator[str]:
    """Yield each line of code in a page of Markdown, and each piece of code in its words."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.split("\n")
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def uses(text: str) -> Iterator[list[str]]:
    """Yield the words after each ``funnel`` that is a command somebody would type."""
    for code in code_in(text):
        for piece in re.split(r"&&|\|\||;|\s\|\s", code.partition("  #")[0]):
            found = re.search(r"(?:^|[\s/(])funnel((?:\s+[^\s]+)+)", " " + piece.strip())
            if found:
                yield [word.strip("…,.)\"'") for word in found[1].split()]


def said(path: Path) -> list[tuple[str, list[str]]]:
    """Return the commands a page names, with the words after each, and what is no command as one."""
    found = []
    for words in uses(path.read_text("utf-8")):
        if path == COMMANDS or not re.fullmatch(r"[a-z]+", words[0]):
            continue
        inner = " ".join(words[:2])
        found.append((inner, words[2:]) if inner in commands() else (words[0], words[1:]))
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_in_the_documentation_exist_with_their_options(path: Path) -> None:
    known = commands()
    for name, words in said(path):
        assert name in known, f"{path.name}: funnel {name}"
        options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in options, f"{path.name}: funnel {name} {word}"


def test_the_readme_names_the_commands_of_a_day() -> None:
    """The search above finds them, so it would also find a wrong one."""
    names = {name for name, _ in said(TOP / "README.md")}

    assert {"init", "check", "send", "report", "why", "gift redeem", "subscribers erase", "preview"} <= names


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings as they are made from their words."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        file = path.parent / unquote(parts.path) if parts.path else path
        assert file.exists(), f"{path.name}: {target}"
        assert not parts.fragment or parts.fragment in anchors(file), f"{path.name}: {target}"


def settings(kind: type = Config, path: str = "") -> Iterator[str]:
    """Yield every key of the settings as one writes it: ``transport.smtp.port``."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        yield path + entry.name
        if isinstance(hints[entry.name], type) and is_dataclass(hints[entry.name]):
            yield from settings(hints[entry.name], f"{path}{entry.name}.")


def test_settings_in_the_documentation_exist() -> None:
    known = set(settings())
    sections = {key for key in known if "." not in key}
    named = {
        (path.name, word)
        for path in PAGES
        for code in code_in(path.read_text("utf-8"))
        for word in re.findall(r"(?<![\w./@-])[a-z_]+(?:\.[a-z_]+)+(?![\w./@-])", code)
        if word.partition(".")[0] in sections - {"folder", "name"}
    }

    ours = {(page, word) for page, word in named if not word.endswith((".toml", ".md", ".db", ".secret", ".name"))}
    assert {(page, word) for page, word in ours if word not in known and not word.startswith("clinic.")} == set()
    assert ("operator.md", "site.trusted_proxies") in ours


def test_the_table_of_settings_in_toml_blocks_is_read_by_the_program() -> None:
    """A block of settings in the operator's page must not hold a key nobody knows."""
    import tomllib

    known = set(settings())
    for block in re.findall(r"^```toml\n(.*?)^```", (TOP / "docs" / "operator.md").read_text("utf-8"),
                            re.MULTILINE | re.DOTALL):  # fmt: skip
        for key in flat(tomllib.loads(block)):
            assert key in known, key


def flat(table: dict[str, object], path: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield path + key
        if isinstance(value, dict) and path + key != "sending.on_uncertain":
            yield from flat(value, f"{path}{key}.")


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    text = (TOP / "CHANGELOG.md").read_text("utf-8")

    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)
    assert text.index("## [Unreleased]") == text.index("## [")
