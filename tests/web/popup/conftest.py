"""One clinic's site and one funnel for all tests of a module; the database is shared, addresses are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.popup.kit import Place, open_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

GUIDE = '[guide]\ntitle = "Finding Relief: Dry Needling for Chronic Pain and Injuries"\n'


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(tmp_path_factory.mktemp("place"), browser, GUIDE) as place:
        yield place
