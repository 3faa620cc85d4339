"""The funnel every test of the pages starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.shop import Shop, make_shop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)
