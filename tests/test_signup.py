"""From the form to a confirmed person and to being forgotten: who is asked, who is let in, what is kept."""

from __future__ import annotations

import base64
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from funnel import feedback, gifts
from funnel.errors import AddressError, FunnelError, NotFoundError
from funnel.model import Event, EventKind, Receipt, Status, Subscriber
from funnel.signup import Request
from funnel.store import consents, enrollments, events, subscribers
from funnel.store.consents import wording_hash
from funnel.tokens import ExpiredTokenError
from tests.kit import WORDING, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

ANN = "Ann.Lee@Mail.Example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock) -> Funnel:
    return make_funnel(tmp_path, now=clock)


def person_of(funnel: Funnel, email: str = ANN) -> Subscriber:
    with funnel.session() as db:
        return funnel.find_person(db, email)


def requests(funnel: Funnel, name: str = "confirm") -> int:
    with funnel.session() as db:
        return int(db.value("SELECT count(*) FROM enrollment WHERE sequence = ?", (name,)))


def link_of(funnel: Funnel) -> str:
    """Return the token of the newest confirmation link."""
    with funnel.session() as db:
        asked = enrollments.latest(db, funnel.find_person(db, ANN).id, "confirm")
    assert asked is not None
    return funnel.links.confirm(asked.id, asked.anchor_at).token


def stop(funnel: Funnel, clock: Clock) -> None:
    assert funnel.unsubscribe(person_of(funnel).id, Receipt(act="withdrawn", at=clock.now))


# --- asking ------------------------------------------------------------------------------------


def test_a_new_address_leaves_a_person_a_receipt_and_a_request(funnel: Funnel, clock: Clock) -> None:
    """LAW-1: the exact words by hash, form version, page without query, time, IP."""
    funnel.ask(Request(email=ANN, wording=WORDING, zone="Asia/Tokyo", page="/back-pain", ip="192.0.2.7", agent="phone"))

    person = person_of(funnel)
    assert (person.status, person.email, person.zone) == (Status.PENDING, ANN, "Asia/Tokyo")
    with funnel.session() as db:
        (receipt,) = consents.of(db, person.id)
        kept = db.value("SELECT hash FROM wording")
    assert (receipt.act, receipt.wording, receipt.page, receipt.ip) == ("requested", WORDING, "/back-pain", "192.0.2.7")
    assert receipt.at == clock.now
    assert kept == wording_hash(WORDING)
    assert requests(funnel) == 1


@pytest.mark.parametrize("other", ["ann.lee@mail.example", "ANN.LEE@MAIL.EXAMPLE", " Ann.Lee@mail.example "])
def test_two_spellings_are_one_person_and_one_request_a_day(funnel: Funnel, clock: Clock, other: str) -> None:
    """ADR-2, SEC-2: one confirmation per address in 24 hours, three in 30 days."""
    sign_up(funnel, ANN)
    sign_up(funnel, other)
    assert requests(funnel) == 1
    for _ in range(10):
        clock.tick(hours=25)
        sign_up(funnel, other)

    assert requests(funnel) == 3
    with funnel.session() as db:
        assert db.value("SELECT count(*) FROM subscriber") == 1


def test_a_plus_tag_is_another_person(funnel: Funnel) -> None:
    """ADR-3: consent is never inferred from a look-alike."""
    sign_up(funnel, ANN)
    sign_up(funnel, "ann.lee+x@mail.example")
    assert requests(funnel) == 2


def test_what_a_form_sends_in_is_kept_only_when_it_is_what_it_should_be(funnel: Funnel) -> None:
    """HLT-1, SEC-3."""
    form = Request(email=ANN, wording=WORDING, zone="Mars/Base", locale="<b>", page="/p?email=x@y", name="http://spam")
    funnel.ask(form)
    person = person_of(funnel)

    assert person.zone == funnel.config.clinic.time_zone
    assert person.locale == funnel.config.clinic.locale
    assert (person.source, person.name) == ("", "")


def test_nonsense_is_refused_with_a_sentence_and_nothing_is_kept(funnel: Funnel) -> None:
    with pytest.raises(AddressError, match="no @ sign"):
        sign_up(funnel, "ann.mail.example")
    with funnel.session() as db:
        assert db.value("SELECT count(*) FROM subscriber") == 0


# --- confirming --------------------------------------------------------------------------------


def test_confirming_twice_is_the_same_as_once(funnel: Funnel) -> None:
    """F-51."""
    sign_up(funnel, ANN)
    assert not confirm(funnel, ANN).again
    assert confirm(funnel, ANN).again

    with funnel.session() as db:
        assert db.value("SELECT count(*) FROM gift") == 1
        assert len([r for r in consents.of(db, 1) if r.act == "confirmed"]) == 1
    assert requests(funnel, "series") == 1


def test_twenty_confirmations_at_once_make_one_series_and_one_gift(funnel: Funnel) -> None:
    """F-50: the same link from many sides in the same moment."""
    sign_up(funnel, ANN)
    token = link_of(funnel)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: funnel.confirm(token, Receipt(act="confirmed", at=funnel.clock())), range(20)))

    assert sum(not each.again for each in done) == 1
    assert requests(funnel, "series") == 1
    with funnel.session() as db:
        assert db.value("SELECT count(*) FROM gift") == 1


def test_an_old_link_lets_nobody_back_in_after_they_left(funnel: Funnel, clock: Clock) -> None:
    """SEC-42, F-51: the last withdrawal wins; coming back needs a new request."""
    sign_up(funnel, ANN)
    old = link_of(funnel)
    confirm(funnel, ANN)
    clock.tick(hours=1)
    stop(funnel, clock)
    with pytest.raises(NotFoundError, match="asked us to stop"):
        funnel.confirm(old, Receipt(act="confirmed", at=clock.now))
    assert person_of(funnel).status is Status.UNSUBSCRIBED

    clock.tick(days=2)
    sign_up(funnel, ANN)
    with pytest.raises(FunnelError):
        funnel.confirm(old, Receipt(act="confirmed", at=clock.now))
    assert not confirm(funnel, ANN).again
    assert person_of(funnel).status is Status.CONFIRMED


def test_a_link_expires_after_its_days(funnel: Funnel, clock: Clock) -> None:
    """SEC-6, LAW-3."""
    sign_up(funnel, ANN)
    clock.tick(days=7, minutes=1)
    with pytest.raises(ExpiredTokenError):
        confirm(funnel, ANN)


def test_a_repeated_sign_up_never_undoes_a_confirmation(funnel: Funnel, clock: Clock) -> None:
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    clock.tick(days=2)
    sign_up(funnel, ANN)

    assert person_of(funnel).status is Status.CONFIRMED
    assert (requests(funnel), requests(funnel, "again")) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "days", "asked"),
    [
        (EventKind.UNSUBSCRIBED, 1, True),
        (EventKind.BOUNCED, 29, False),
        (EventKind.BOUNCED, 31, True),
        (EventKind.COMPLAINED, 89, False),
        (EventKind.COMPLAINED, 91, True),
    ],
)
def test_who_left_may_be_asked_again_after_a_fitting_while(
    funnel: Funnel, clock: Clock, kind: EventKind, days: int, asked: bool
) -> None:
    """BNC-7."""
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    clock.tick(days=1)
    with funnel.session() as db:
        assert feedback.apply(db, funnel.context, Event("test", "1", kind, clock.now, 1), clock.now)
    clock.tick(days=days)
    sign_up(funnel, ANN)

    assert requests(funnel) == 1 + asked


# --- being forgotten ---------------------------------------------------------------------------


def spellings(email: str) -> list[bytes]:
    """Return the ways an address could be left behind in a file."""
    raw = [email, email.lower(), email.upper(), urllib.parse.quote(email), urllib.parse.quote(email.lower())]
    coded = [base64.b64encode(email.encode()).decode().rstrip("=")[:-1]]
    return [text.encode() for text in (*raw, *coded)]


def test_erasing_leaves_no_trace_in_the_files(funnel: Funnel, clock: Clock, tmp_path: Path) -> None:
    """LAW-5: not in the database, not in its log, in no spelling."""
    funnel.ask(Request(email=ANN, wording=WORDING, ip="192.0.2.77", agent="a very special phone"))
    confirm(funnel, ANN)
    with funnel.session() as db:
        list(funnel.sender(db).send_due())
    funnel.erase(ANN, "desk")

    for file in tmp_path.glob("funnel.db*"):
        content = file.read_bytes()
        for trace in [*spellings(ANN), b"192.0.2.77", b"a very special phone"]:
            assert trace not in content, (file.name, trace)
    with funnel.session() as db:
        assert events.suppressions(db) == {"erased": 1}
        assert subscribers.by_id(db, 1) is not None


def test_an_erased_person_cannot_be_confirmed_by_an_old_link(funnel: Funnel) -> None:
    """SEC-42."""
    sign_up(funnel, ANN)
    token = link_of(funnel)
    funnel.erase(ANN, "desk")
    with pytest.raises(NotFoundError):
        funnel.confirm(token, Receipt(act="confirmed", at=funnel.clock()))


def test_coming_back_after_being_forgotten_brings_the_same_gift_code(funnel: Funnel, clock: Clock) -> None:
    """SEC-25: one person, one code, for ever."""
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    with funnel.session() as db:
        before = gifts.of_person(db, funnel.context, 1)
    funnel.erase(ANN, "desk")
    clock.tick(days=3)
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    with funnel.session() as db:
        after = gifts.of_person(db, funnel.context, person_of(funnel).id)

    assert before is not None
    assert after is not None
    assert before.code == after.code


def test_who_never_confirms_is_forgotten_and_ips_are_cut(funnel: Funnel, clock: Clock) -> None:
    """LAW-3, LAW-8: pending people after 30 days, IP addresses to their network after 90."""
    funnel.ask(Request(email=ANN, wording=WORDING, ip="192.0.2.77"))
    funnel.ask(Request(email="ben@mail.example", wording=WORDING, ip="2001:db8:1:2::3"))
    confirm(funnel, "ben@mail.example")
    clock.tick(days=31)
    with funnel.session() as db:
        list(funnel.sender(db).send_due())
        with pytest.raises(NotFoundError):
            funnel.find_person(db, ANN)
        assert consents.of(db, 2)[0].ip == "2001:db8:1:2::3"
    clock.now += timedelta(days=60)
    with funnel.session() as db:
        list(funnel.sender(db).send_due())
        assert consents.of(db, 2)[0].ip == "2001:db8:1::/48"


def test_the_raw_sources_of_events_are_dropped_in_time(funnel: Funnel, clock: Clock) -> None:
    """LAW-8."""
    sign_up(funnel, ANN)
    with funnel.session() as db:
        event = Event("dsn", "1", EventKind.DELIVERED, clock.now, 1, raw="the whole report")
        assert feedback.apply(db, funnel.context, event, clock.now)
    confirm(funnel, ANN)
    clock.tick(days=31)
    with funnel.session() as db:
        list(funnel.sender(db).send_due())
        assert [(e.kind, e.raw) for e in events.of(db, 1) if e.source == "dsn"] == [(EventKind.DELIVERED, "")]
