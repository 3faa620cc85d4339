"""The sample's mails, compiled once for all tests here: that is what takes long."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.checks.kit import found
from tests.kit import make_funnel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of compiled mails."""
    folder = tmp_path_factory.mktemp("compiled")
    found(make_funnel(folder))
    return folder / ".funnel"


@pytest.fixture(autouse=True)
def _compiled(compiled: Path, tmp_path: Path) -> None:
    shutil.copytree(compiled, tmp_path / ".funnel")
