"""Events: what stops a person, what only is kept, and that stopping stops everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import feedback
from funnel.inbound import Report
from funnel.model import Event, EventKind, MailingStatus, Receipt, Status, Subscriber
from funnel.policy import STRENGTH
from funnel.store import consents, enrollments, events, mailings, subscribers
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up
from tests.test_inbound import DELAYED, POSTFIX, RETURNED, away, bounce, complaint

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

EMAIL = "Ann@patients.example"
LATER = NOW + timedelta(hours=3)


@pytest.fixture
def funnel(tmp_path: Path) -> Funnel:
    """Return a funnel in which Ann confirmed and the guide went out to her."""
    clock = Clock()
    funnel = make_funnel(tmp_path, now=clock)
    sign_up(funnel, EMAIL)
    confirm(funnel, EMAIL)
    with funnel.session() as db, db.transaction():
        way = enrollments.latest(db, ann(funnel).id, "series")
        assert way is not None
        number = mailings.add(db, way.id, "guide", "guide", MailingStatus.SENDING, due=NOW, now=NOW)
        assert number == 1
        mailings.finish(db, number, MailingStatus.SENT, now=NOW)
    clock.tick(hours=3)
    return funnel


def ann(funnel: Funnel) -> Subscriber:
    with funnel.session(readonly=True) as db:
        return funnel.find_person(db, EMAIL)


def kinds(funnel: Funnel) -> list[EventKind]:
    with funnel.session(readonly=True) as db:
        return [event.kind for event in events.of(db, ann(funnel).id)]


def report(**changes: object) -> Report:
    """Return a report that Ann's address is dead, or another one."""
    dead = Report(1, EventKind.BOUNCED, "dsn", "r1", "5.1.1", "550 5.1.1 User unknown", "ann@patients.example")
    return replace(dead, **changes)  # type: ignore[arg-type]


def take_in(funnel: Funnel, found: Report) -> str:
    with funnel.session() as db:
        return feedback.take_in(db, funnel.context, found, LATER)


def assert_stopped(funnel: Funnel, status: Status) -> None:
    """Check that nothing more goes to Ann, by any way."""
    person = ann(funnel)
    with funnel.session(readonly=True) as db:
        assert (person.status, person.stopped_at) == (status, LATER)
        assert all(way.next_at is None for way in enrollments.of(db, person.id))
        assert events.suppressed(db, *funnel.context.suppression_hashes("ann@patients.example")) == (str(status), LATER)
        assert list(funnel.sender(db).would_send(LATER + timedelta(days=60), 0)) == []


# --- reports that came by mail -----------------------------------------------------------------


def returned(funnel: Funnel, make: bytes) -> bytes:
    """Return a message of the corpus as if it were about Ann's mail."""
    from funnel.tokens import funnel_id
    from tests.test_inbound import MARK

    return make.replace(MARK.encode(), funnel_id(funnel.context.keys.pepper, 1).encode())


def test_a_dead_address_stops_the_person(funnel: Funnel) -> None:
    said = funnel.take_in_bounce(returned(funnel, bounce(POSTFIX)))

    assert said == "recorded: bounced, the address does not exist"
    assert_stopped(funnel, Status.BOUNCED)
    assert kinds(funnel)[-1] is EventKind.BOUNCED
    assert funnel.take_in_bounce(returned(funnel, bounce(POSTFIX))) == "recorded before"


def test_a_complaint_stops_the_person_at_once(funnel: Funnel) -> None:
    redacted = RETURNED.replace("ann@patients.example", "redacted")

    said = funnel.take_in_bounce(returned(funnel, complaint(returned=redacted)))

    assert said == "recorded: complained, no more mail goes to this person"
    assert_stopped(funnel, Status.COMPLAINED)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (bounce(DELAYED), "recorded: a delay, nothing stops"),
        (away(), "recorded: an automatic answer, nothing stops"),
        (bounce(POSTFIX.replace("ann@", "bob@")), "about somebody else than the mail was for; ignored"),
        (bounce(POSTFIX).replace(b"X-Funnel-Id: 2f1", b"X-Funnel-Id: 2f2").replace(b"<2f1", b"<2f2"),
         "no report about mail of ours"),
        (b"Subject: hello\n\nhello", "no report about mail of ours"),
    ],
)  # fmt: skip
def test_all_else_stops_nobody(funnel: Funnel, raw: bytes, said: str) -> None:
    assert funnel.take_in_bounce(returned(funnel, raw)) == said

    assert ann(funnel).status is Status.CONFIRMED
    with funnel.session(readonly=True) as db:
        assert events.suppressions(db) == {}


@pytest.mark.parametrize(
    ("status", "diagnostic", "said"),
    [
        ("5.2.2", "552 5.2.2 Mailbox full", "not delivered, the mailbox was full or busy; nothing stops"),
        ("4.4.7", "delivery time expired", "not delivered, the mailbox was full or busy; nothing stops"),
        ("5.7.26", "550-5.7.26 unauthenticated, no SPF or DKIM", "not delivered, we are refused as a sender"),
        ("5.7.1", "554 5.7.1 blocked using a block list", "not delivered, we are refused as a sender"),
        ("5.0.0", "554 Message refused as spam", "not delivered, "),
        ("5.0.0", "550 No such user here", "bounced, the address does not exist"),
        ("5.1.1", "", "bounced, the address does not exist"),
        ("5.1.10", "550 5.1.10 RecipientNotFound", "bounced, the address does not exist"),
    ],
)
def test_only_a_dead_address_stops(funnel: Funnel, status: str, diagnostic: str, said: str) -> None:
    assert take_in(funnel, report(status=status, diagnostic=diagnostic)).startswith(f"recorded: {said}")

    dead = said.startswith("bounced")
    assert ann(funnel).status is (Status.BOUNCED if dead else Status.CONFIRMED)
    assert kinds(funnel)[-1] is (EventKind.BOUNCED if dead else EventKind.REJECTED)


@pytest.mark.parametrize("kind", [EventKind.DEFERRED, EventKind.DELIVERED, EventKind.AUTORESPONDED])
def test_whatever_they_quote_other_reports_stop_nobody(funnel: Funnel, kind: EventKind) -> None:
    assert take_in(funnel, report(kind=kind)).startswith("recorded: ")
    assert ann(funnel).status is Status.CONFIRMED
    assert kinds(funnel)[-1] is kind


@pytest.mark.parametrize("recipient", ["", "bob@patients.example", "ann+x@patients.example", "ann@patients"])
def test_a_report_about_another_address_is_ignored(funnel: Funnel, recipient: str) -> None:
    before = kinds(funnel)

    assert take_in(funnel, report(recipient=recipient)) == "about somebody else than the mail was for; ignored"
    assert (ann(funnel).status, kinds(funnel)) == (Status.CONFIRMED, before)


def test_a_report_about_a_mailing_that_never_was(funnel: Funnel) -> None:
    assert take_in(funnel, report(mailing_id=99)) == "about no mail of ours"


def test_a_report_about_somebody_forgotten_changes_nothing(funnel: Funnel) -> None:
    number = ann(funnel).id
    funnel.erase(EMAIL, "maya")

    assert take_in(funnel, report()) == "about somebody else than the mail was for; ignored"
    take_in(funnel, report(kind=EventKind.COMPLAINED, source="arf", recipient=""))
    with funnel.session(readonly=True) as db:
        person = subscribers.by_id(db, number)
    assert person is not None
    assert (person.status, person.email) == (Status.ERASED, "")


@pytest.mark.parametrize(
    "found", [report(), report(kind=EventKind.DEFERRED), report(status="5.2.2", diagnostic="full")]
)
def test_a_report_proves_that_a_mail_of_unknown_fate_went_out(funnel: Funnel, found: Report) -> None:
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = 'uncertain'")

    take_in(funnel, found)

    with funnel.session(readonly=True) as db:
        mailing = mailings.by_id(db, 1)
    assert mailing is not None
    assert mailing.status is MailingStatus.SENT
    assert mailing.reason.startswith("dsn said ")


# --- events of any order -----------------------------------------------------------------------

STOPPING = [EventKind.BOUNCED, EventKind.UNSUBSCRIBED, EventKind.COMPLAINED]
OTHERS = [EventKind.DELIVERED, EventKind.DEFERRED, EventKind.OPENED, EventKind.CLICKED, EventKind.REJECTED]


@given(st.lists(st.tuples(st.sampled_from(STOPPING + OTHERS), st.integers(1, 4)), max_size=8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_strongest_event_wins_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[EventKind, int]]
) -> None:
    funnel = make_funnel(tmp_path_factory.mktemp("events"))
    sign_up(funnel, EMAIL)
    confirm(funnel, EMAIL)
    number = ann(funnel).id
    seen: set[int] = set()
    strongest = Status.CONFIRMED
    for kind, copy in told:
        with funnel.session() as db:
            news = feedback.apply(db, funnel.context, Event("hook", str(copy), kind, NOW, number), LATER)
        assert news == (copy not in seen)
        if news and kind in STOPPING:
            strongest = max(strongest, Status(str(kind)), key=lambda status: STRENGTH[status])
        seen.add(copy)
    assert ann(funnel).status is strongest
    if strongest is not Status.CONFIRMED:
        assert_stopped(funnel, strongest) if ann(funnel).stopped_at == LATER else pytest.fail("no moment")


def test_stopping_settles_what_waits_for_another_try(funnel: Funnel) -> None:
    with funnel.session() as db, db.transaction():
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = 1")
        mailings.keep_bytes(db, 1, b"a mail")

    assert funnel.unsubscribe(ann(funnel).id, Receipt(act="withdrawn", at=LATER))

    with funnel.session(readonly=True) as db:
        mailing = mailings.by_id(db, 1)
        assert mailing is not None
        assert (mailing.status, mailing.reason, mailing.retry_at) == (MailingStatus.SKIPPED, "unsubscribed", None)
        assert mailings.kept_bytes(db, 1) is None
    assert_stopped(funnel, Status.UNSUBSCRIBED)


def test_leaving_twice_is_the_same_as_once(funnel: Funnel) -> None:
    number = ann(funnel).id
    assert funnel.unsubscribe(number, Receipt(act="withdrawn", at=LATER))
    assert not funnel.unsubscribe(number, Receipt(act="withdrawn", at=LATER))
    assert not funnel.unsubscribe(9999, Receipt(act="withdrawn", at=LATER))

    with funnel.session(readonly=True) as db:
        assert [receipt.act for receipt in consents.of(db, number)].count("withdrawn") == 1
    assert kinds(funnel).count(EventKind.UNSUBSCRIBED) == 1


def test_a_pause_begins_and_ends(funnel: Funnel) -> None:
    assert funnel.pause(ann(funnel), 14, Receipt(act="paused", at=LATER))
    assert (ann(funnel).status, ann(funnel).paused_until) == (Status.PAUSED, LATER + timedelta(days=14))
    assert funnel.pause(ann(funnel), 0, Receipt(act="resumed", at=LATER))
    assert (ann(funnel).status, ann(funnel).paused_until) == (Status.CONFIRMED, None)
    assert kinds(funnel)[-2:] == [EventKind.PAUSED, EventKind.RESUMED]

    funnel.unsubscribe(ann(funnel).id, Receipt(act="withdrawn", at=LATER))
    assert not funnel.pause(ann(funnel), 14, Receipt(act="paused", at=LATER))
    assert ann(funnel).status is Status.UNSUBSCRIBED
