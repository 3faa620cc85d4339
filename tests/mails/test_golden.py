"""Every mail as it goes out, kept to compare with: a change of a mail shows in review as what readers will see.

``UPDATE_GOLDEN=1 pytest tests/mails/test_golden.py`` writes what there is now; read the diff before it is kept.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.preview import parts_of
from tests.conftest import strict
from tests.mails.kit import render_all, sample_funnel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from funnel.model import Rendered

GOLDEN = Path(__file__).with_name("golden")
UPDATE = "UPDATE_GOLDEN"
HOW = f"\nIf this is meant: {UPDATE}=1 .venv/bin/pytest tests/mails/test_golden.py"
#: Lines of differences that are shown, of each file and of all.
SHOWN, SHOWN_OF_ALL = 40, 160


def files_of(rendered: Mapping[str, Rendered]) -> dict[str, bytes]:
    """Return what each file must hold: the page and the text as a mail program shows them, and the bytes."""
    files: dict[str, bytes] = {}
    for name, mail in rendered.items():
        html, text = (part.replace("\r\n", "\n") for part in parts_of(mail.message))
        files |= {f"{name}.html": html.encode(), f"{name}.txt": text.encode(), f"{name}.eml": mail.message}
    return files


def update(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder hold these files and no others."""
    folder.mkdir(exist_ok=True)
    for stale in set(folder.iterdir()) - {folder / name for name in files}:
        stale.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def differences(folder: Path, files: Mapping[str, bytes]) -> str:
    """Return, for people, how the folder differs from these files; empty when it does not."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = sorted(name for name in files.keys() & kept.keys() if files[name] != kept[name])
    said = [f"{name} is missing." for name in sorted(files.keys() - kept.keys())]
    said += [f"{name} belongs to no mail." for name in sorted(kept.keys() - files.keys())]
    said += [f"{name} is not as it was." for name in changed]
    shown = [line for name in changed for line in _cut(_diff(name, kept[name], files[name]), SHOWN)]
    return "\n".join([*said, *_cut(shown, SHOWN_OF_ALL)])


def _diff(name: str, kept: bytes, now: bytes) -> list[str]:
    before, after = (content.decode("utf-8", "backslashreplace").split("\n") for content in (kept, now))
    found = difflib.unified_diff(before, after, f"golden/{name}", f"now/{name}", lineterm="", n=1)
    return [line.replace("\r", "\\r") for line in found]


def _cut(lines: list[str], most: int) -> list[str]:
    return [*lines[:most], f"... and {len(lines) - most} lines more"] if len(lines) > most else lines


def asked_to_update() -> bool:
    """True when somebody at a prompt asked for it; CI only compares."""
    return os.environ.get(UPDATE, "") not in {"", "0"} and not strict()


def test_every_mail_is_as_it_was(rendered: dict[str, Rendered]) -> None:
    files = files_of(rendered)
    if asked_to_update():
        update(GOLDEN, files)
    said = differences(GOLDEN, files)

    assert not said, f"\n{said}\n{HOW}"


def test_mails_are_the_same_in_any_folder_and_process(rendered: dict[str, Rendered], tmp_path: Path) -> None:
    """MSG-6: the same person, mail and moment give the same bytes, whoever asks."""
    again = render_all(sample_funnel(tmp_path / "elsewhere"))

    assert differences_of(files_of(rendered), files_of(again)) == []


def differences_of(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Return the names of files that are not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


# --- that it can fail --------------------------------------------------------------------------


@pytest.fixture
def kept(rendered: dict[str, Rendered], tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """A folder that is up to date, and what it holds."""
    files = files_of(rendered)
    update(tmp_path / "golden", files)
    return tmp_path / "golden", files


def test_what_was_just_written_does_not_differ(kept: tuple[Path, dict[str, bytes]]) -> None:
    assert differences(*kept) == ""
    assert len(kept[1]) == 3 * len({Path(name).stem for name in kept[1]})


def test_a_missing_and_a_superfluous_file_are_named(kept: tuple[Path, dict[str, bytes]]) -> None:
    folder, files = kept
    (folder / "confirm-confirm.txt").unlink()
    (folder / "series-gone.eml").touch()

    assert differences(folder, files) == "confirm-confirm.txt is missing.\nseries-gone.eml belongs to no mail."
    update(folder, files)
    assert differences(folder, files) == ""


@pytest.mark.parametrize("name", ["series-guide.html", "series-guide.txt", "series-guide.eml"])
def test_one_changed_word_is_shown(kept: tuple[Path, dict[str, bytes]], name: str) -> None:
    folder, files = kept
    was = (folder / name).read_bytes()
    assert b"Your guide is ready" in was
    (folder / name).write_bytes(was.replace(b"Your guide is ready", b"Your guide was ready", 1))
    said = differences(folder, files).split("\n")

    assert said[:2] == [f"{name} is not as it was.", f"--- golden/{name}"]
    assert len([line for line in said if line.startswith("-") and "guide was ready" in line]) == 1
    assert len([line for line in said if line.startswith("+") and "guide is ready" in line]) == 1


def test_only_a_line_end_is_a_difference_too(kept: tuple[Path, dict[str, bytes]]) -> None:
    folder, files = kept
    name = "confirm-confirm.eml"
    (folder / name).write_bytes(files[name].replace(b"\r\n", b"\n"))

    assert "\\r" in differences(folder, files)
    assert "lines more" in differences(folder, files)


def test_many_differences_are_cut_short_but_every_file_is_named(kept: tuple[Path, dict[str, bytes]]) -> None:
    folder, files = kept
    said = differences(folder, {name: b"other\n" + content for name, content in files.items()})

    assert all(f"{name} is not as it was." in said for name in files)
    assert said.count("\n") <= len(files) + SHOWN_OF_ALL


@pytest.mark.parametrize(
    ("given", "ci", "meant"), [("", "", False), ("0", "", False), ("1", "", True), ("1", "1", False)]
)
def test_only_a_person_updates(monkeypatch: pytest.MonkeyPatch, given: str, ci: str, meant: bool) -> None:
    monkeypatch.setenv(UPDATE, given)
    monkeypatch.setenv("CI", ci)

    assert asked_to_update() is meant
