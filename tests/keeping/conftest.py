"""A funnel for each test, whose mails were compiled once for all of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from funnel.store.database import open_database
from tests.keeping.kit import ANN, Shop
from tests.kit import make_funnel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Make one funnel, to be copied: that is faster than making one for each test."""
    folder = tmp_path_factory.mktemp("original") / "shop"
    make_funnel(folder)
    shop = Shop(folder)
    shop.join(ANN)
    for days in (2, 4, 4):
        shop.clock.tick(days=days)
        shop.send()
    for file in folder.glob("funnel.db*"):
        file.unlink()
    open_database(shop.path, create=True).close()
    return shop


@pytest.fixture
def shop(tmp_path: Path, original: Shop) -> Shop:
    """Give a funnel with nobody in it, which has never sent."""
    shutil.copytree(original.folder, tmp_path / "shop")
    return Shop(tmp_path / "shop", like=original)
