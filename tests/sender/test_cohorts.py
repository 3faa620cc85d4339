"""What is decided once for many people is what is decided for each of them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import enroll, policy
from funnel.schedule import due_at, moved_anchor, zone
from funnel.store import enrollments, events, queue
from funnel.store.database import seconds
from tests.kit import make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.model import Due
    from funnel.sender import Sender
    from funnel.store.database import Database

#: A Monday, midday in Chicago.
NOON = datetime(2026, 6, 1, 17, 0, 30, tzinfo=UTC)
ZONES = ["America/Chicago", "Europe/London", "Asia/Kathmandu", "Pacific/Auckland", "Nowhere/Atall"]
PEOPLE = 400


@pytest.fixture
def funnel(tmp_path: Path) -> Funnel:
    return make_funnel(tmp_path, now=NOON)


def crowd(funnel: Funnel, db: Database, seed: int) -> None:
    """Enter people of every sort, each on one way whose next step is due."""
    dice, now = random.Random(seed), seconds(NOON)
    names = [step.name for step in funnel.context.sequences["series"].steps]
    for number in range(1, PEOPLE + 1):
        email = f"p{number}@mail.example" if dice.random() < 0.9 else f"p+{number}@mail.example"
        status = dice.choice(["confirmed"] * 6 + ["paused", "unsubscribed"])
        paused = now + dice.choice([-3_600, 86_400]) if status == "paused" else None
        db.execute(
            """INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at, confirmed_at,
                                       paused_until, gap_days) VALUES (?, ?, ?, ?, ?, 'en-US', '', 0, 0, ?, ?)""",
            (number, email, email, status, dice.choice(ZONES), paused, dice.choice([0, 0, 7])),
        )
        place = dice.randrange(len(names))
        behind = dice.sample(names[:place], min(place, dice.randrange(3)))
        last = dice.choice([None, now - 3_600, now - 20 * 3_600, now - 20 * 3_600 + 1, now - 30 * 86_400])
        step = dice.choice([names[place], names[place], "gone-step"])
        late = dice.choice([0, 30, 86_399, 86_400, 3 * 86_400 + 5, 40 * 86_400])
        anchor = now - dice.randrange(90 * 86_400)
        db.execute(
            """INSERT INTO enrollment (id, subscriber_id, sequence, anchor_at, next_step, next_at, last_at)
               VALUES (?, ?, 'series', ?, ?, ?, ?)""",
            (1_000 + number, number, anchor, step, now - late, last),
        )
        for name in behind:
            db.execute(
                """INSERT INTO mailing (enrollment_id, step, kind, status, due_at, claimed_at, first_at)
                   VALUES (?, ?, 'drip', 'sent', 0, 0, 0)""",
                (1_000 + number, name),
            )
        if dice.random() < 0.1:
            events.suppress(db, funnel.context.hash_of(email.replace(f"+{number}", "")), "blocked", NOON)


def plans(funnel: Funnel, sender: Sender) -> dict[int, tuple[object, ...]]:
    """Return what is to follow for each who may be mailed, each looked at alone."""
    found: dict[int, tuple[object, ...]] = {}
    for due in sender.waiting(NOON, -1):
        if isinstance(sender.decide(due, NOON), policy.Go):
            found[due.enrollment.id] = (due.step.name, *following(funnel, due))
    return found


def following(funnel: Funnel, due: Due) -> tuple[object, ...]:
    """Return what follows, worked out moment by moment: next step, when, anchor, why there is none."""
    ctx, way = funnel.context, due.enrollment
    anchor = moved_anchor(way.anchor_at, way.next_at or NOON, NOON)
    step = enroll.open_step(ctx.sequences[way.sequence], {*due.had, due.step.name})
    if step is None:
        return None, None, anchor, "done"
    calendar = replace(ctx.calendar, gap=max(ctx.calendar.gap, timedelta(days=due.gap_days)))
    return step.name, due_at(step, anchor, zone(due.subscriber.zone), calendar, NOON), anchor, ""


@pytest.mark.parametrize("seed", range(5))
def test_claims_of_many_are_those_of_each(funnel: Funnel, seed: int) -> None:
    """P1, P5: who goes, and what follows for them, for every status, zone, pause, gap, delay and step behind them."""
    with funnel.session() as db:
        with db.transaction():
            crowd(funnel, db, seed)
        sender = funnel.sender(db)
        expected = plans(funnel, sender)
        assert sender.claim_batch(PEOPLE, NOON) == PEOPLE
        claimed = {}
        for claim in sender.claims.values():
            way = enrollments.by_id(db, claim.way.id)
            assert way is not None
            assert way.last_at == NOON.replace(microsecond=0)
            claimed[way.id] = (claim.mails.step.name, way.next_step, way.next_at, way.anchor_at, way.ended)

    assert claimed == expected
    assert 20 < len(claimed) < PEOPLE - 20


def test_who_waits_longest_comes_first(funnel: Funnel) -> None:
    """Nobody is passed over for ever where more are due than a batch takes; what is shown is in that order, too."""
    with funnel.session() as db:
        with db.transaction():
            crowd(funnel, db, 1)
        rows = db.all("SELECT id, next_at FROM enrollment ORDER BY next_at, id")
        sender = funnel.sender(db)
        shown = [due.enrollment.id for due in sender.waiting(NOON, PEOPLE)]
        taken = [way.id for way in queue.due(db, NOON, PEOPLE // 2)]

    assert shown == [row[0] for row in rows]
    assert taken == shown[: PEOPLE // 2]


def test_who_is_due_on_two_ways_gets_the_mail_that_waited_longer(funnel: Funnel) -> None:
    """Whichever way they went first: the other one waits for the gap."""
    now = seconds(NOON)
    with funnel.session() as db:
        with db.transaction():
            db.execute(
                """INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at, confirmed_at)
                   VALUES (1, 'a@mail.example', 'a@mail.example', 'confirmed', 'America/Chicago', 'en-US', '', 0, 0)"""
            )
            for way, late in ((5, 60), (9, 90)):
                db.execute(
                    """INSERT INTO enrollment (id, subscriber_id, sequence, occasion, anchor_at, next_step, next_at)
                       VALUES (?, 1, 'series', ?, ?, 'the-plate', ?)""",
                    (way, way, now - 86_400, now - late),
                )
        sender = funnel.sender(db)
        sender.claim_batch(10, NOON)
    assert [claim.way.id for claim in sender.claims.values()] == [9]
