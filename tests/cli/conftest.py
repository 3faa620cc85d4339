"""A prompt for each test, in a folder of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.shell import Shell, make_shop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one funnel, to be copied: that is faster than making one for each test."""
    folder = tmp_path_factory.mktemp("original") / "shop"
    make_shop(folder)
    return folder


@pytest.fixture
def shell(tmp_path: Path, original: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Give a prompt in a funnel with nobody in it."""
    folder = tmp_path / "shop"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    return Shell(folder, capsys)
