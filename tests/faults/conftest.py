"""One funnel for all tests of this folder, set up anew for each; and no test without strace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.trace import need_strace
from tests.faults.world import make_stage

if TYPE_CHECKING:
    from tests.faults.world import Stage


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip where there is no strace."""
    need_strace()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Give a funnel of nine people, each with one mail due."""
    return make_stage(tmp_path_factory.mktemp("stage"))
