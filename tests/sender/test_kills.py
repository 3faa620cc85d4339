"""Real runs, killed with SIGKILL at moments drawn by lot; the server's ledger says who got what."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from benchmarks.kills import judge, killed_again_and_again, shop
from funnel.demo.mailserver import MailServer

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE, KILLS = 700, 4


@pytest.mark.parametrize("treatment", ["hold", "retry"])
def test_however_often_a_run_is_killed_nobody_is_doubled_or_forgotten(tmp_path: Path, treatment: str) -> None:
    """P2, P3, F-32: the large form of this is benchmarks/kills.py."""
    with MailServer(extensions=("PIPELINING", "8BITMIME")) as server:
        settings = shop(tmp_path / "shop", server.port, PEOPLE, treatment)
        story = killed_again_and_again(settings, PEOPLE, KILLS, 7, lambda: len(server.ledger))
        judge(story, settings, [(taken.recipient, digest(taken.content)) for taken in server.ledger])

    assert story.faults(treatment) == []
    assert sum(kill.sent > 0 for kill in story.kills) >= 2, "hardly any kill came while mail was going out"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
