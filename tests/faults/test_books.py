"""The books are worth nothing if they cannot be found wrong: each lie about a good run is told."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.books import faults_of
from tests.faults.world import PEOPLE, Scene, a_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.world import Stage


@pytest.fixture(scope="module")
def sent(stage: Stage) -> Iterator[Scene]:
    """Give a funnel that has sent everything."""
    with a_scene(stage) as scene:
        scene.send()
        yield scene


@contextmanager
def lying(scene: Scene, sql: str) -> Iterator[None]:
    """Let the database of a scene lie for a while."""
    with scene.funnel.session() as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        truth = scene.database.read_bytes()
        db.execute(sql)
    yield
    scene.database.write_bytes(truth)


def altered(scene: Scene, index: int, **values: object) -> Scene:
    """Return a scene whose ledger has one line that differs."""
    taken = list(scene.world.taken)
    taken[index] = replace(taken[index], **values)  # type: ignore[arg-type]
    return replace(scene, world=replace(scene.world, taken=taken))


def of_ledger(scene: Scene, *taken: int) -> Scene:
    """Return a scene whose ledger has these lines."""
    return replace(scene, world=replace(scene.world, taken=[scene.world.taken[i] for i in taken]))


ALL = range(len(PEOPLE))


def test_a_good_run_has_no_fault(sent: Scene) -> None:
    assert faults_of(sent) == []
    assert len(sent.world.taken) == len(PEOPLE)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda s: of_ledger(s, *ALL[1:]), "is called sent, but nobody took it"),
        (lambda s: of_ledger(s, *ALL, 0), "was taken 2 times with 0 doubts"),
        (lambda s: altered(s, 3, recipient="other@mail.example"), "went to another address"),
        (lambda s: altered(s, 3, mark="f.f"), "taken, but not in our books"),
    ],
    ids=["lost", "doubled", "misled", "unknown"],
)
def test_a_ledger_that_differs_is_told(sent: Scene, spoil: Callable[[Scene], Scene], told: str) -> None:
    assert any(told in fault for fault in faults_of(spoil(sent)))


def test_mail_after_a_stop_is_told(sent: Scene) -> None:
    first = sent.world.taken[0]

    assert faults_of(sent, {first.recipient: first.at}) == []
    assert faults_of(sent, {first.recipient: first.at - 1}) == [f"mailed after the stop: {first.recipient}"]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE mailing SET status = 'sending' WHERE id = 4", "is still open"),
        ("UPDATE mailing SET status = 'failed' WHERE id = 7", "was taken, but our books say failed"),
        ("DELETE FROM gift WHERE id = 4", "no gift code"),
        ("UPDATE gift SET subscriber_id = (SELECT subscriber_id FROM gift WHERE id = 1)", "two gift codes"),
        ("DELETE FROM subscriber WHERE id = 2", "reference to nobody"),
    ],
)
def test_a_database_that_lies_is_told(sent: Scene, sql: str, told: str) -> None:
    with lying(sent, sql):
        assert any(told in fault for fault in faults_of(sent))
    assert faults_of(sent) == []
