"""Another address: asked at the new one, moved by its reader only, with everything that is a person's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import gifts, report, signup
from funnel.errors import AddressError, NotFoundError
from funnel.model import Event, EventKind, MailingStatus, Receipt, Status, Subscriber
from funnel.preview import parts_of
from funnel.store import consents, enrollments, events, moves, subscribers
from funnel.transport.memory import MemoryTransport
from tests.kit import Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

OLD, NEW = "ann@mail.example", "ann.new@home.example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, out: MemoryTransport) -> Funnel:
    """Ann is in the series, two mails of it in."""
    made = make_funnel(tmp_path, now=clock, transport=out)
    join(made, clock, OLD)
    for _ in range(2):
        clock.tick(days=3)
        run(made)
    return made


def join(funnel: Funnel, clock: Clock, email: str) -> Subscriber:
    sign_up(funnel, email)
    clock.tick(minutes=2)
    confirm(funnel, email)
    run(funnel)
    return person(funnel, email)


def run(funnel: Funnel) -> None:
    with funnel.session() as db:
        list(funnel.sender(db).send_due())


def person(funnel: Funnel, email: str) -> Subscriber:
    with funnel.session(readonly=True) as db:
        return funnel.find_person(db, email)


def receipt(funnel: Funnel, act: str = "requested") -> Receipt:
    return Receipt(act, funnel.clock(), wording="Send my emails there", ip="203.0.113.5", detail="a new address")


def ask(funnel: Funnel, email: str = NEW, who: str = OLD) -> None:
    funnel.ask_to_move(person(funnel, who), email, receipt(funnel))


def token(funnel: Funnel, email: str = NEW) -> str:
    with funnel.session(readonly=True) as db:
        pending = funnel.find_person(db, email)
        way = enrollments.latest(db, pending.id, signup.MOVE)
    assert way is not None
    return funnel.links.confirm(way.id, way.anchor_at).rpartition("/")[2]


def press(funnel: Funnel, link: str) -> signup.Confirmed:
    return funnel.confirm(link, receipt(funnel, "confirmed"))


def test_the_new_address_is_asked_and_nothing_changes_until_it_answers(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    before = len(out.accepted)
    ask(funnel)
    clock.tick(minutes=1)
    run(funnel)

    (mail,) = out.accepted[before:]
    assert mail.recipient == NEW
    assert "asked at 127.0.0.1 to have our emails come to this address" in parts_of(mail.message)[1]
    clock.tick(days=3)
    run(funnel)
    assert out.accepted[-1].recipient == OLD
    assert person(funnel, NEW).status is Status.PENDING


def test_moving_keeps_all_that_is_a_persons_own(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    ann = person(funnel, OLD)
    gift = funnel.gift_of(ann)
    with funnel.session() as db, db.transaction():
        subscribers.add_tag(db, ann.id, "vip")
    ask(funnel)
    clock.tick(minutes=1)
    done = press(funnel, token(funnel))

    moved = person(funnel, NEW)
    assert (done.subscriber_id, done.moved, moved.id) == (ann.id, True, ann.id)
    assert (moved.status, moved.confirmed_at) == (Status.CONFIRMED, ann.confirmed_at)
    assert funnel.gift_of(moved) == gift
    with pytest.raises(Exception, match="Nobody with the address"):
        person(funnel, OLD)
    with funnel.session() as db:
        assert subscribers.tags_of(db, ann.id) == ("vip",)
        acts = [(r.act, r.detail) for r in consents.of(db, ann.id)]
        assert acts[-2:] == [("requested", "a new address"), ("confirmed", "a new address")]
        assert events.suppressions(db) == {}
        assert report.make_report(db, funnel.context, clock.now).adds_up
        assert gift is not None
        assert gifts.redeem(db, funnel.context, gift.code, by="Eve", now=clock.now).subscriber_id == ann.id
    clock.tick(days=3)
    run(funnel)
    assert out.accepted[-1].recipient == NEW


def test_old_links_keep_working(funnel: Funnel, clock: Clock) -> None:
    ann = person(funnel, OLD)
    ask(funnel)
    clock.tick(minutes=1)
    press(funnel, token(funnel))
    stop = funnel.links.unsubscribe(ann.id).rpartition("/")[2]

    assert funnel.unsubscribe_by_token(stop, receipt(funnel, "withdrawn"))
    assert person(funnel, NEW).status is Status.UNSUBSCRIBED


def test_the_old_address_is_free_again(funnel: Funnel, clock: Clock) -> None:
    ann = person(funnel, OLD)
    ask(funnel)
    clock.tick(minutes=1)
    press(funnel, token(funnel))
    clock.tick(days=1)

    assert join(funnel, clock, OLD).id != ann.id


def test_pressing_twice_is_over_the_second_time(funnel: Funnel, clock: Clock) -> None:
    ask(funnel)
    link = token(funnel)
    press(funnel, link)
    with pytest.raises(NotFoundError):
        press(funnel, link)
    assert person(funnel, NEW).status is Status.CONFIRMED


@pytest.mark.parametrize("how", ["unsubscribed", "erased", "complained"])
def test_who_left_meanwhile_is_not_moved(funnel: Funnel, clock: Clock, how: str) -> None:
    """SEC-42: stopping wins, and nobody forgotten comes back."""
    ann = person(funnel, OLD)
    ask(funnel)
    link = token(funnel)
    with funnel.session() as db:
        if how == "unsubscribed":
            funnel.unsubscribe(ann.id, receipt(funnel, "withdrawn"))
        elif how == "erased":
            signup.erase(db, funnel.context, ann.id, now=clock.now, operator="Eve")
        else:
            from funnel import feedback

            feedback.apply(db, funnel.context, Event("arf", "1", EventKind.COMPLAINED, clock.now, ann.id), clock.now)
    with pytest.raises(NotFoundError):
        press(funnel, link)
    with funnel.session(readonly=True) as db:
        left = subscribers.by_id(db, ann.id)
    assert left is not None
    assert left.email in {OLD, ""}


def test_an_address_of_somebody_else_gets_nothing_and_changes_nothing(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    """SEC-1: known, stopped, blocked and one's own address all look the same: nothing is said, nothing is sent."""
    ben = join(funnel, clock, "ben@mail.example")
    gone = join(funnel, clock, "gone@mail.example")
    funnel.unsubscribe(gone.id, receipt(funnel, "withdrawn"))
    before = len(out.accepted)
    for email in ("ben@mail.example", "gone@mail.example", OLD):
        ask(funnel, email)
    run(funnel)

    assert len(out.accepted) == before
    assert person(funnel, "ben@mail.example") == ben


def test_one_address_is_asked_once_a_day(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    """SEC-2, whoever asks, and by whichever form."""
    join(funnel, clock, "ben@mail.example")
    before = len(out.accepted)
    ask(funnel)
    ask(funnel)
    ask(funnel, who="ben@mail.example")
    run(funnel)
    assert len(out.accepted) == before + 1


def test_of_two_who_ask_for_one_address_the_last_counts_and_only_its_reader_decides(
    funnel: Funnel, clock: Clock
) -> None:
    ben = join(funnel, clock, "ben@mail.example")
    ask(funnel)
    clock.tick(days=1, minutes=1)
    ask(funnel, who="ben@mail.example")
    press(funnel, token(funnel))

    assert person(funnel, NEW).id == ben.id
    assert person(funnel, OLD).status is Status.CONFIRMED


def test_somebody_paused_may_move_and_somebody_stopped_may_not(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    ann = person(funnel, OLD)
    funnel.pause(ann, 14, receipt(funnel, "paused"))
    ask(funnel)
    press(funnel, token(funnel))
    assert person(funnel, NEW).status is Status.PAUSED

    funnel.unsubscribe(ann.id, receipt(funnel, "withdrawn"))
    before = len(out.accepted)
    ask(funnel, "third@mail.example", who=NEW)
    run(funnel)
    assert len(out.accepted) == before


def test_text_that_is_no_address_is_told(funnel: Funnel) -> None:
    with pytest.raises(AddressError):
        ask(funnel, "not an address")


def test_a_request_nobody_answers_is_forgotten(funnel: Funnel, clock: Clock) -> None:
    """LAW-3, LAW-8."""
    ask(funnel)
    with funnel.session() as db:
        pending = funnel.find_person(db, NEW)
        assert moves.owner_of(db, pending.id) is not None
        signup.purge(db, funnel.context, clock.now + timedelta(days=31))
        assert moves.owner_of(db, pending.id) is None
        assert report.all_about(db, funnel.context, subscribers.by_id(db, pending.id) or pending)["sequences"]
        left = subscribers.by_id(db, pending.id)
    assert left is not None
    assert left.email == ""


def test_the_mail_is_on_the_books(funnel: Funnel, clock: Clock) -> None:
    ask(funnel)
    run(funnel)
    press(funnel, token(funnel))
    with funnel.session(readonly=True) as db:
        figures = report.make_report(db, funnel.context, clock.now)
    step = next(step for step in figures.steps if step.sequence == signup.MOVE)
    assert step.by_status == {str(MailingStatus.SENT): 1}
    assert figures.adds_up
