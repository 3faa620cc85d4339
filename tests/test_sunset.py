"""Stay or go: who was asked whether to stay and did nothing for two weeks leaves the list without another mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import report
from funnel.compose.source import load_library
from funnel.errors import ContentError
from funnel.model import EventKind, Facts, Kind, MailingStatus, Status, Step
from funnel.policy import Leave, Skip, Stop, may_send
from funnel.store import enrollments, events, mailings
from tests.kit import Clock, confirm, make_funnel, sign_up
from tests.sender.test_run import live

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.model import Subscriber

MONDAY = datetime(2026, 6, 1, 17, tzinfo=UTC)
ANN = "ann@mail.example"


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY)


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock) -> Funnel:
    """Ann asked for the guide and confirmed."""
    made = make_funnel(tmp_path, now=clock)
    sign_up(made, ANN)
    clock.tick(minutes=5)
    confirm(made, ANN)
    return made


def ann(funnel: Funnel) -> Subscriber:
    with funnel.session(readonly=True) as db:
        return funnel.find_person(db, ANN)


def mails(funnel: Funnel) -> dict[str, tuple[MailingStatus, str]]:
    """Return what became of each step of Ann's series."""
    with funnel.session(readonly=True) as db:
        way = enrollments.latest(db, ann(funnel).id, "series")
        assert way is not None
        return {m.step: (m.status, m.reason) for m in mailings.of_enrollment(db, way.id)}


def test_no_answer_in_two_weeks_ends_it_without_another_mail(funnel: Funnel, clock: Clock) -> None:
    live(funnel, clock, days=55)
    assert mails(funnel)["stay-or-go"][0] is MailingStatus.SENT
    assert ann(funnel).status is Status.CONFIRMED

    sent = live(funnel, clock, days=3)

    assert [o.status for _, o in sent] == [MailingStatus.SKIPPED]
    assert ann(funnel).status is Status.UNSUBSCRIBED
    assert mails(funnel)["sunset"] == (MailingStatus.SKIPPED, "no answer to “stay-or-go”; taken off the list")
    assert live(funnel, clock, days=365) == []
    with funnel.session(readonly=True) as db:
        figures = report.make_report(db, funnel.context, clock.now)
    assert figures.suppressed == {"sunset": 1}
    assert figures.adds_up


@pytest.mark.parametrize("answer", ["downloaded", "paused", "keep"])
def test_any_sign_of_life_since_the_question_keeps_a_person(funnel: Funnel, clock: Clock, answer: str) -> None:
    live(funnel, clock, days=50)
    with funnel.session() as db:
        kind = {"downloaded": EventKind.DOWNLOADED, "paused": EventKind.PAUSED, "keep": EventKind.RESUBSCRIBED}[answer]
        from funnel.model import Event

        with db.transaction():
            events.add(db, Event("funnel", "sign", kind, clock.now, ann(funnel).id))

    live(funnel, clock, days=20)

    assert ann(funnel).status is Status.CONFIRMED
    assert mails(funnel)["sunset"] == (MailingStatus.SKIPPED, "was not asked, or answered")


def test_who_was_never_asked_stays(funnel: Funnel, clock: Clock) -> None:
    """Somebody who used the pages late in the series gets the other last mail, and is nobody's sunset."""
    live(funnel, clock, days=20)
    funnel.downloaded(ann(funnel))

    live(funnel, clock, days=60)

    assert mails(funnel)["stay-or-go"][0] is MailingStatus.SKIPPED
    assert ann(funnel).status is Status.CONFIRMED


def test_after_the_sunset_a_person_may_come_back(funnel: Funnel, clock: Clock) -> None:
    live(funnel, clock, days=60)
    assert ann(funnel).status is Status.UNSUBSCRIBED

    sign_up(funnel, ANN)
    clock.tick(minutes=5)
    confirm(funnel, ANN)

    assert ann(funnel).status is Status.CONFIRMED


def test_a_dry_run_says_who_would_leave(funnel: Funnel, clock: Clock) -> None:
    live(funnel, clock, days=55)
    with funnel.session(readonly=True) as db:
        planned = funnel.sender(db).would_send(clock.now + timedelta(days=3))

    assert [(p.step, p.would) for p in planned] == [("sunset", "take off the list")]


def test_the_rule_itself() -> None:
    step = Step("sunset", Kind.SUNSET, unanswered="stay-or-go")

    def verdict(status: Status, *, unanswered: bool) -> object:
        facts = Facts(unanswered=unanswered)
        return may_send(step, status, suppressed=False, paused_until=None, facts=facts, now=MONDAY)

    assert isinstance(verdict(Status.CONFIRMED, unanswered=True), Leave)
    assert isinstance(verdict(Status.CONFIRMED, unanswered=False), Skip)
    assert isinstance(verdict(Status.UNSUBSCRIBED, unanswered=True), Stop)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ('mail = "guide"\nunanswered = "stay-or-go"', "sends no mail"),
        ('unanswered = "nothing"', "which is not here"),
        ('unanswered = "guide"\nwhen = "engaged"', "sends no mail"),
    ],
)
def test_a_sunset_that_cannot_work_is_refused(funnel: Funnel, step: str, says: str) -> None:
    emails = funnel.config.path("emails")
    file = emails / "series" / "sequence.toml"
    file.write_text(file.read_text().partition("# No mail:")[0] + f'[[step]]\n{step}\nafter = "60 days"\n')

    with pytest.raises(ContentError, match=says):
        load_library(emails)


def test_a_sunset_before_its_question_is_refused(funnel: Funnel) -> None:
    emails = funnel.config.path("emails")
    file = emails / "series" / "sequence.toml"
    file.write_text('[[step]]\nmail = "guide"\n[[step]]\nunanswered = "decide"\n[[step]]\nmail = "decide"\n')

    with pytest.raises(ContentError, match="must come after"):
        load_library(emails)
