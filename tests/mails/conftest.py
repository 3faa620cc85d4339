"""The sample funnel, made once for all tests of its mails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.mails.kit import render_all, sample_funnel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.app import Funnel
    from funnel.model import Rendered


@pytest.fixture(scope="session")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Funnel]:
    """The checkout's mails at a fixed moment, with fixed keys."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FUNNEL_")]:
            patch.delenv(name)
        yield sample_funnel(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def rendered(funnel: Funnel) -> dict[str, Rendered]:
    """Every mail as the sample person gets it."""
    return render_all(funnel)
