"""The weekly mail to staff: each Monday, truthful, without a name, and no part of anybody's figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import report
from funnel.compose.source import load_library
from funnel.errors import ContentError
from funnel.model import EventKind, MailingStatus, Receipt
from funnel.preview import parts_of
from funnel.store import enrollments, runs, subscribers
from funnel.transport.memory import MemoryTransport
from tests.compose.kit import header_lines
from tests.kit import Clock, confirm, make_funnel, sign_up
from tests.sender.test_run import live

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

#: A Tuesday morning in Chicago.
TUESDAY = datetime(2026, 6, 2, 15, tzinfo=UTC)
DESK = "desk@thrivehealth.example"


@pytest.fixture
def clock() -> Clock:
    return Clock(TUESDAY)


@pytest.fixture
def out() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, out: MemoryTransport) -> Funnel:
    return make_funnel(tmp_path, now=clock, transport=out, alerts={"to": DESK})


def run(funnel: Funnel) -> None:
    with funnel.session() as db:
        list(funnel.sender(db).send_due())


def to_desk(out: MemoryTransport) -> list[bytes]:
    return [mail.message for mail in out.accepted if mail.recipient == DESK]


def test_it_comes_each_monday_at_nine_where_the_clinic_is(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    run(funnel)
    happened = live(funnel, clock, days=22)

    assert [(at, o.step) for at, o in happened] == [
        (datetime(2026, 6, 8, 14, tzinfo=UTC) + timedelta(weeks=n), "digest") for n in range(3)
    ]
    assert len(to_desk(out)) == 3


def test_it_tells_the_week_without_a_name(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    run(funnel)
    for name in ("ann", "ben", "kim"):
        sign_up(funnel, f"{name}@mail.example")
    clock.tick(minutes=5)
    for name in ("ann", "ben"):
        confirm(funnel, f"{name}@mail.example")
    run(funnel)
    with funnel.session(readonly=True) as db:
        ann = funnel.find_person(db, "ann@mail.example")
    funnel.downloaded(ann)
    clock.tick(seconds=20)
    funnel.unsubscribe(ann.id, Receipt("withdrawn", clock.now))
    live(funnel, clock, days=7)

    (message,) = to_desk(out)
    _, text = parts_of(message)
    assert "3 asked, 2 confirmed, 1 opened the guide, 0 used their gift" in text
    assert "1 unsubscribed or taken off the list, 0 bounced, 0 complained" in text
    assert "1 person unsubscribed within a minute of a mail" in text  # UNS-15
    assert "the week up to 8 June 2026" in text
    assert not any(name in message.decode() for name in ("ann@", "ben@", "kim@"))


def test_it_carries_no_way_out_of_a_list_and_says_how_to_stop_it(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    run(funnel)
    live(funnel, clock, days=8)

    (message,) = to_desk(out)
    assert not any(name.lower().startswith("list-unsubscribe") for name, _ in header_lines(message))
    assert "To stop it, empty that setting" in parts_of(message)[1]


def test_staff_are_no_subscriber(funnel: Funnel, clock: Clock) -> None:
    run(funnel)
    sign_up(funnel, DESK)  # the desk may try its own form
    clock.tick(minutes=5)
    confirm(funnel, DESK)
    with funnel.session(readonly=True) as db:
        figures = report.make_report(db, funnel.context, clock.now)
        known = list(subscribers.each(db))

    assert sum(figures.people.values()) == 1
    assert [person.source for person in known] != ["staff"]
    assert len(known) == 1


def test_weeks_nobody_was_here_are_not_made_up_for(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    run(funnel)
    clock.tick(days=30)
    run(funnel)
    run(funnel)

    assert len(to_desk(out)) == 1
    with funnel.session(readonly=True) as db:
        way = enrollments.latest(db, int(runs.get(db, "staff") or 0), "staff")
    assert way is not None
    assert way.next_at is not None
    assert way.next_at > clock.now


def test_without_an_address_there_is_none(tmp_path: Path, clock: Clock, out: MemoryTransport) -> None:
    funnel = make_funnel(tmp_path, now=clock, transport=out)
    run(funnel)
    live(funnel, clock, days=20)

    assert out.accepted == []


def test_emptying_the_setting_ends_it_and_another_address_takes_over(
    tmp_path: Path, funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    run(funnel)
    other = make_funnel(tmp_path, now=clock, transport=out, alerts={"to": "boss@thrivehealth.example"})
    run(other)
    live(other, clock, days=8)
    assert [mail.recipient for mail in out.accepted] == ["boss@thrivehealth.example"]

    nobody = make_funnel(tmp_path, now=clock, transport=out)
    run(nobody)
    live(nobody, clock, days=20)
    assert len(out.accepted) == 1


def test_what_needs_somebody_is_said(funnel: Funnel, clock: Clock) -> None:
    with funnel.session() as db:
        sign_up(funnel, "ann@mail.example")
        clock.tick(minutes=1)
        run(funnel)
        with db.transaction():
            db.execute("UPDATE mailing SET status = 'uncertain'")
            db.execute("UPDATE run SET note = 'The mail server refuses us'")
        lines = "\n".join(report.week(db, TUESDAY, TUESDAY + timedelta(days=7)))

    assert "1 mail waits for a decision" in lines
    assert "the last run said: The mail server refuses us" in lines
    assert "1 of unknown fate" in lines


def test_peace_is_said_too(funnel: Funnel) -> None:
    with funnel.session() as db:
        assert report.week(db, TUESDAY, TUESDAY + timedelta(days=7))[-1] == "For you: nothing. All is in order."


@pytest.mark.parametrize(
    ("sequence", "change", "says"),
    [
        ("series", 'every = "week"', 'every = "week" belongs to the sequence “staff”'),
        ("staff", 'every = "day"', 'every = "week" belongs to the sequence “staff”'),
    ],
)
def test_only_staff_are_written_to_each_week(funnel: Funnel, sequence: str, change: str, says: str) -> None:
    emails = funnel.config.path("emails")
    file = emails / sequence / "sequence.toml"
    lines = [line for line in file.read_text().split("\n") if not line.startswith("every")]
    file.write_text("\n".join([change, *lines]))

    with pytest.raises(ContentError, match=says):
        load_library(emails)


def test_a_digest_in_a_series_is_refused(funnel: Funnel) -> None:
    emails = funnel.config.path("emails")
    mail = emails / "series" / "decide.md"
    mail.write_text(mail.read_text().replace('kind = "drip"', 'kind = "digest"'))

    with pytest.raises(ContentError, match="go to staff"):
        load_library(emails)


def test_statuses_of_the_digest_are_on_the_books(funnel: Funnel, clock: Clock) -> None:
    run(funnel)
    live(funnel, clock, days=8)
    with funnel.session(readonly=True) as db:
        figures = report.make_report(db, funnel.context, clock.now)

    staff = next(step for step in figures.steps if step.sequence == "staff")
    assert staff.by_status == {str(MailingStatus.SENT): 1}
    assert figures.adds_up
    assert EventKind.SENT not in figures.funnel
