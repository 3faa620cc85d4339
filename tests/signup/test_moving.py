"""Another address: asked at the new one, moved by its reader only, with everything that is a person's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import feedback, gifts, report, signup
from funnel.errors import AddressError, NotFoundError
from funnel.model import Event, EventKind, MailingStatus, Receipt, Status, Subscriber
from funnel.preview import parts_of
from funnel.signup.moving import BusyError
from funnel.store import consents, enrollments, events, mailings, moves, subscribers
from funnel.transport.memory import MemoryTransport
from tests.kit import Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from collections.abc import Callable
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
    return funnel.links.confirm(way.id, way.anchor_at).token


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
    stop = funnel.links.unsubscribe(ann.id).token

    assert funnel.unsubscribe_by_token(stop, receipt(funnel, "withdrawn"))
    assert person(funnel, NEW).status is Status.UNSUBSCRIBED


def test_the_old_address_is_free_again(funnel: Funnel, clock: Clock) -> None:
    ann = person(funnel, OLD)
    ask(funnel)
    clock.tick(minutes=1)
    press(funnel, token(funnel))
    clock.tick(days=1)

    assert join(funnel, clock, OLD).id != ann.id


def test_pressing_twice_is_the_same_as_once(funnel: Funnel, clock: Clock) -> None:
    ask(funnel)
    link = token(funnel)
    first = press(funnel, link)
    with funnel.session(readonly=True) as db:
        before = list(db.connection.iterdump())
    second = press(funnel, link)

    assert (first.again, second.again, second.subscriber_id) == (False, True, first.subscriber_id)
    with funnel.session(readonly=True) as db:
        assert list(db.connection.iterdump()) == before
    funnel.unsubscribe(first.subscriber_id, receipt(funnel, "withdrawn"))
    with pytest.raises(NotFoundError):
        press(funnel, link)


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


def test_of_two_who_ask_for_one_address_each_mail_moves_who_asked_for_it(funnel: Funnel, clock: Clock) -> None:
    ben = join(funnel, clock, "ben@mail.example")
    ask(funnel)
    anns = token(funnel)
    clock.tick(days=1, minutes=1)
    ask(funnel, who="ben@mail.example")
    bens = token(funnel)
    press(funnel, anns)

    assert person(funnel, "ben@mail.example").id == ben.id
    with pytest.raises(NotFoundError):
        press(funnel, bens)


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
        (way,) = enrollments.of(db, pending.id)
        assert moves.by_id(db, way.id) is not None
        signup.purge(db, funnel.context, clock.now + timedelta(days=31))
        left = subscribers.by_id(db, pending.id)
        assert moves.by_id(db, way.id) is None
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
    assert figures.people["erased"] == 0
    assert sum(figures.people.values()) == 1


# --- what may go wrong -------------------------------------------------------------------------


class Interrupting(MemoryTransport):
    """Does something between the claim of a mail and its way out."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], object] = list

    def open(self) -> None:
        self.between()
        super().open()


def test_a_mail_on_its_way_is_never_sent_to_half_of_each_address(tmp_path: Path, clock: Clock) -> None:
    out = Interrupting()
    funnel = make_funnel(tmp_path, now=clock, transport=out)
    join(funnel, clock, OLD)
    ask(funnel)
    run(funnel)
    link = token(funnel)

    def meanwhile() -> None:
        with pytest.raises(BusyError):
            press(funnel, link)

    out.between = meanwhile
    clock.tick(days=3)
    run(funnel)
    assert out.accepted[-1].recipient == OLD
    assert press(funnel, link).moved


def test_a_mail_that_goes_again_names_the_new_address_only(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    ann = person(funnel, OLD)
    ask(funnel)
    with funnel.session() as db, db.transaction():
        (mailing, *_) = mailings.of_enrollment(db, enrollments.of(db, ann.id)[1].id)
        mailings.keep_bytes(db, mailing.id, f"To: {OLD}\r\n\r\nHello".encode())
        db.execute("UPDATE mailing SET status = 'deferred', retry_at = 0 WHERE id = ?", (mailing.id,))
    press(funnel, token(funnel))
    run(funnel)
    assert out.accepted[-1].recipient == NEW
    assert OLD.encode() not in out.accepted[-1].message


def test_the_address_named_last_counts_so_a_slip_gives_nobody_the_mails(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    before = len(out.accepted)
    ask(funnel, "ann.nwe@home.example")
    slip = token(funnel, "ann.nwe@home.example")
    ask(funnel)
    run(funnel)
    assert [mail.recipient for mail in out.accepted[before:]] == [NEW]
    with pytest.raises(NotFoundError):
        press(funnel, slip)
    press(funnel, token(funnel))
    with pytest.raises(NotFoundError):
        press(funnel, slip)


@pytest.mark.parametrize("act", ["stop", "erase"])
def test_after_a_stop_no_mail_goes_to_the_new_address(
    funnel: Funnel, clock: Clock, out: MemoryTransport, act: str
) -> None:
    """P5; and of who is erased the address typed last goes too (LAW-5)."""
    ask(funnel)
    before = len(out.accepted)
    if act == "stop":
        funnel.unsubscribe(person(funnel, OLD).id, receipt(funnel, "withdrawn"))
    else:
        funnel.erase(OLD, "Eve")
    run(funnel)
    assert len(out.accepted) == before
    with funnel.session(readonly=True) as db:
        assert any(NEW in line for line in db.connection.iterdump()) == (act == "stop")


def test_erasing_leaves_who_asked_for_the_guide_with_that_address(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, NEW)
    clock.tick(days=1, minutes=1)
    ask(funnel)
    funnel.erase(OLD, "Eve")
    assert confirm(funnel, NEW).subscriber_id == person(funnel, NEW).id


def test_a_stop_taken_back_leaves_the_request_good(funnel: Funnel, clock: Clock) -> None:
    ann = person(funnel, OLD)
    ask(funnel)
    run(funnel)
    funnel.unsubscribe(ann.id, receipt(funnel, "withdrawn"))
    funnel.choose(ann, "undo", receipt(funnel, "restored"))
    assert press(funnel, token(funnel)).subscriber_id == ann.id


def test_who_signed_up_by_themselves_meanwhile_stays_who_they_are(funnel: Funnel, clock: Clock) -> None:
    ask(funnel)
    link = token(funnel)
    clock.tick(days=1, minutes=1)
    sign_up(funnel, NEW)
    other = confirm(funnel, NEW).subscriber_id
    with pytest.raises(NotFoundError):
        press(funnel, link)
    assert person(funnel, OLD).id != other == person(funnel, NEW).id


def test_one_address_is_asked_three_times_a_month(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    """SEC-2."""
    before = len(out.accepted)
    for _ in range(8):
        ask(funnel)
        run(funnel)
        clock.tick(days=1, minutes=1)
    assert sum(mail.recipient == NEW for mail in out.accepted[before:]) == 3


def test_one_person_names_five_addresses_a_day(funnel: Funnel, clock: Clock) -> None:
    for n in range(8):
        ask(funnel, f"new{n}@home.example")
        clock.tick(minutes=2)
    with funnel.session(readonly=True) as db:
        known = [subscribers.by_key(db, f"new{n}@home.example") is not None for n in range(8)]
    assert known == [True] * 5 + [False] * 3


# --- gifts -------------------------------------------------------------------------------------


def holders(funnel: Funnel) -> set[str]:
    with funnel.session(readonly=True) as db:
        return {row["holder"] for row in db.all("SELECT holder FROM gift")}


def test_moving_back_and_forth_brings_no_second_code(funnel: Funnel, clock: Clock) -> None:
    """SEC-25: of somebody erased a code is left at the new address; the two change places, and none gets free."""
    join(funnel, clock, NEW)
    funnel.erase(NEW, "Eve")
    with funnel.session() as db, db.transaction():
        db.execute("DELETE FROM suppression")
    mine, before = funnel.gift_of(person(funnel, OLD)), holders(funnel)
    ask(funnel)
    press(funnel, token(funnel))

    moved = funnel.gift_of(person(funnel, NEW))
    assert mine is not None
    assert moved is not None
    assert (moved.code, holders(funnel)) == (mine.code, before)
    clock.tick(days=1)
    join(funnel, clock, OLD)
    assert holders(funnel) == before


def test_a_mailbox_with_the_gift_of_somebody_else_cannot_be_moved_to(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    """SEC-25: ben+x is Ben's mailbox, and has Ben's code."""
    ben = join(funnel, clock, "ben@mail.example")
    before = len(out.accepted)
    ask(funnel, "ben+x@mail.example")
    run(funnel)
    assert len(out.accepted) == before
    assert funnel.gift_of(ben) is not None


def test_another_spelling_of_ones_own_mailbox_keeps_the_gift(funnel: Funnel) -> None:
    mine = funnel.gift_of(person(funnel, OLD))
    ask(funnel, "ann+clinic@mail.example")
    press(funnel, token(funnel, "ann+clinic@mail.example"))
    assert funnel.gift_of(person(funnel, "ann+clinic@mail.example")) == mine


def test_the_forms_do_not_mail_an_address_that_a_move_has_just_named(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    """SEC-2: one confirmation a day for each address, by whichever way; and "send it again" sends nothing new."""
    ask(funnel)
    run(funnel)
    before = len(out.accepted)
    funnel.again(signup.Request(NEW, wording=""))
    sign_up(funnel, NEW)
    clock.tick(minutes=1)
    run(funnel)
    assert len(out.accepted) == before

    clock.tick(days=1, minutes=1)
    funnel.again(signup.Request(NEW, wording=""))
    run(funnel)
    assert [mail for mail in out.accepted[before:] if mail.recipient == NEW] == []
    sign_up(funnel, NEW)
    run(funnel)
    assert len([mail for mail in out.accepted[before:] if mail.recipient == NEW]) == 1


def test_a_complaint_or_a_bounce_ends_the_question_at_the_new_address(
    funnel: Funnel, clock: Clock, out: MemoryTransport
) -> None:
    """P5: whoever gets no mail any more is asked nothing anywhere."""
    ann = person(funnel, OLD)
    ask(funnel)
    with funnel.session() as db:
        feedback.apply(db, funnel.context, Event("dsn", "1", EventKind.BOUNCED, clock.now, ann.id), clock.now)
    clock.tick(minutes=1)
    run(funnel)
    assert [mail for mail in out.accepted if mail.recipient == NEW] == []
