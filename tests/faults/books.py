"""Whether our books and those of the world agree: what has to hold after any fault and one good run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from funnel.report import make_report
from funnel.tokens import mailing_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.world import Entry, Scene

MAILINGS = """SELECT m.id, m.status, m.doubts, m.step, s.email_key FROM mailing m
                JOIN enrollment e ON e.id = m.enrollment_id JOIN subscriber s ON s.id = e.subscriber_id"""
GIFTLESS = """SELECT s.email_key FROM subscriber s
               WHERE s.status = 'confirmed' AND s.id IN (SELECT subscriber_id FROM enrollment WHERE sequence = 'series')
                 AND s.id NOT IN (SELECT subscriber_id FROM gift WHERE subscriber_id IS NOT NULL)"""


def faults_of(scene: Scene, stopped: Mapping[str, float] | None = None) -> list[str]:
    """Return what is wrong in the database, or between it and the ledger of the world; nothing when all is well.

    ``stopped`` has the moments at which people's stops were answered: nothing may have been taken for them later.
    """
    return [*_of_the_database(scene), *_of_the_ledger(scene), *_of_the_stops(scene, stopped or {})]


def _of_the_database(scene: Scene) -> list[str]:
    """P1, P2: whole, everybody in exactly one state, one gift code each."""
    found = [f"integrity: {row}" for row in scene.rows("PRAGMA integrity_check") if row != ("ok",)]
    found += [f"reference to nobody: {row}" for row in scene.rows("PRAGMA foreign_key_check")]
    found += [f"no gift code: {row}" for row in scene.rows(GIFTLESS)]
    twice = "SELECT subscriber_id FROM gift GROUP BY subscriber_id HAVING count(*) > 1 AND subscriber_id NOT NULL"
    found += [f"two gift codes: {row}" for row in scene.rows(twice)]
    funnel = scene.funnel
    with funnel.session(readonly=True) as db:
        if not make_report(db, funnel.context, funnel.clock()).adds_up:
            found.append("the report does not add up")
    return found


def _of_the_ledger(scene: Scene) -> list[str]:
    """P3, P4: what was taken is in our books, and what our books call sent was taken."""
    copies = copies_of(scene)
    found: list[str] = []
    for number, status, doubts, step, email in scene.rows(MAILINGS):
        if number in scene.earlier:
            continue
        taken = copies.pop(number, [])
        found += [f"{step} to {email} {what}" for what in _of_one(str(status), int(str(doubts)), str(email), taken)]
    return found + [f"taken, but not in our books: {entries[0].recipient}" for entries in copies.values()]


def _of_one(status: str, doubts: int, email: str, taken: list[Entry]) -> list[str]:
    """Return what is wrong with one mail."""
    wrong = {
        "is still open": status == "sending",
        "is called sent, but nobody took it": status == "sent" and not taken,
        f"was taken, but our books say {status}": bool(taken) and status != "sent" and not doubts,
        f"was taken {len(taken)} times with {doubts} doubts": len(taken) > 1 + min(doubts, 1),
        "went to another address": any(entry.recipient != email for entry in taken),
        "was different the second time": len({entry.content for entry in taken}) > 1,
    }
    return [what for what, is_so in wrong.items() if is_so]


def _of_the_stops(scene: Scene, stopped: Mapping[str, float]) -> list[str]:
    """P5: nothing after an answered stop."""
    return [
        f"mailed after the stop: {entry.recipient}"
        for entry in scene.world.taken
        if entry.at > stopped.get(entry.recipient, entry.at)
    ]


def copies_of(scene: Scene) -> dict[object, list[Entry]]:
    """Return what the world took of each mail of ours; marks that are not ours are under None."""
    pepper = scene.funnel.context.keys.pepper
    copies: dict[object, list[Entry]] = defaultdict(list)
    for entry in scene.world.taken:
        copies[mailing_of(pepper, entry.mark)].append(entry)
    return copies


def doubts(scene: Scene) -> int:
    """Return how often the fate of a mail was unknown."""
    return int(str(scene.value("SELECT coalesce(sum(doubts), 0) FROM mailing")))


def doubled(scene: Scene) -> list[str]:
    """Return who got a mail twice."""
    return [entries[0].recipient for entries in copies_of(scene).values() if len(entries) > 1]


def missed(scene: Scene, people: tuple[str, ...]) -> list[str]:
    """Return who of these got nothing."""
    got = {entry.recipient for entry in scene.world.taken}
    return [email for email in people if email not in got]
