"""Every function of the store, found by looking: on a locked file it works or says so; alone it does what it says."""

from __future__ import annotations

import contextlib
import inspect
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from funnel.address import parse_address
from funnel.errors import StoreBusyError
from funnel.model import Enrollment, Event, EventKind, MailingStatus, Receipt, Status
from funnel.store import bulk, consents, database, enrollments, events, figures, gifts, mailings, runs, subscribers
from funnel.store.database import moment, open_database
from tests.store.rows import NOW, START, one_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.store.database import Database

LATER = moment(START + 86_400)
#: What each parameter gets, by its name; where one name means different things, by function.
VALUES: dict[str, Any] = {
    "act": "requested", "address": parse_address("ben@mail.example", samples=True), "after": 0, "anchor": NOW,
    "at": NOW, "before": LATER, "by": "Anna", "code": "AAAA-AAAA-AAAA-A", "confirmed_at": None, "counts": {"sent": 1},
    "due": NOW, "enrollment_id": 1, "event": Event("funnel", "new:1", EventKind.CAPTURED, NOW, 1), "evidence": "seen",
    "expires": LATER, "gift_id": 1, "holder": "somebody", "host": "here", "key": "ann@mail.example",
    "key_hash": "hash", "key_hashes": "hash", "kind": "drip", "kinds": (EventKind.CAPTURED,), "limit": 5,
    "locale": "en", "mailing_id": 1, "message": b"bytes", "next_at": NOW, "next_step": "guide",
    "now": NOW, "people": [("ben@mail.example", "ben@mail.example", "", "UTC", "en")], "pid": 1, "reason": "told us",
    "receipt": Receipt("withdrawn", NOW, wording="other words"), "run_id": 1, "sequence": "series", "since": NOW,
    "source": "/", "status": Status.CONFIRMED, "step": "guide", "subscriber_id": 1, "tag": "vip", "tags": ["vip"],
    "until": ("guide",), "value": "1", "words": "words", "zone": "UTC",
    "attempted": False, "email": "desk@mail.example", "enrollment": Enrollment(1, 1, "series", 0, NOW, "guide", NOW),
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "mailings.add": {"status": MailingStatus.SENDING, "step": "next"},
    "mailings.finish": {"status": MailingStatus.SENT},
    "mailings.in_status": {"status": MailingStatus.SENDING},
    "mailings.put_off": {"until": LATER},
    "mailings.sending_of_dead_runs": {"run_id": 7},
    "figures.people_between": {"until": LATER},
    "figures.mailings_between": {"until": LATER},
    "figures.quick_stops": {"until": LATER},
    "subscribers.pause": {"until": LATER},
    "figures.people_with": {"kind": EventKind.CAPTURED},
    "bulk.enter_all": {"due": {"UTC": NOW}, "sequence": "other"},
}
ROOMS = (bulk, consents, enrollments, events, figures, gifts, mailings, runs, subscribers)
FUNCTIONS = {
    f"{room.__name__.rpartition('.')[2]}.{name}": function
    for room in ROOMS
    for name, function in inspect.getmembers(room, inspect.isfunction)
    if function.__module__ == room.__name__
    and not name.startswith("_")
    and next(iter(inspect.signature(function).parameters)) == "db"
    and name != "staging"
}


def call(name: str, db: Database) -> object:
    """Call a function with something fitting for each parameter that has no default."""
    chosen = VALUES | OWN.get(name, {})
    places: list[Any] = [db]
    named: dict[str, Any] = {}
    for parameter in list(inspect.signature(FUNCTIONS[name]).parameters.values())[1:]:
        if parameter.default is not parameter.empty:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = chosen[parameter.name]
        else:
            places.append(chosen[parameter.name])
    result = FUNCTIONS[name](*places, **named)
    return list(result) if inspect.isgenerator(result) else result


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "funnel.db"
    with open_database(path, create=True) as db:
        one_of_each(db)
    return path


@pytest.fixture
def path(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


@pytest.fixture
def db(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    with open_database(path) as opened, bulk.staging(opened):
        bulk.stage(opened, VALUES["people"])
        yield opened


def dump(path: Path) -> list[str]:
    with open_database(path, readonly=True) as reader:
        return list(reader.connection.iterdump())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_a_locked_file_it_works_or_says_so(db: Database, path: Path, name: str) -> None:
    """F-14: a sentence and exit code 75, and nothing is changed."""
    before = dump(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with contextlib.suppress(StoreBusyError):
        call(name, db)
    assert dump(path) == before
    other.execute("ROLLBACK")
    other.close()
    assert dump(path) == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_inside_a_transaction_that_fails_it_changes_nothing(db: Database, path: Path, name: str) -> None:
    """P1: all or nothing, whichever function the fault came after."""
    before = dump(path)
    with pytest.raises(ZeroDivisionError), db.transaction():  # noqa: PT012
        call(name, db)
        raise ZeroDivisionError

    assert dump(path) == before


#: What has no effect a second time: whether the answer then says so.
ONCE = {
    "events.add": (True, False),
    "gifts.add": (True, False),
    "gifts.redeem": (True, False),
    "gifts.expire": (0, 0),
    "mailings.finish": (True, False),
    "mailings.reclaim": (False, False),
    "enrollments.end_all": (1, 0),
    "subscribers.end_pauses": (0, 0),
    "mailings.end_open_of": (0, 0),
    "bulk.add_people": (1, 0),
}


@pytest.mark.parametrize("name", ONCE)
def test_a_second_time_is_told_from_the_first(db: Database, path: Path, name: str) -> None:
    assert call(name, db) == ONCE[name][0]
    after = dump(path)

    assert call(name, db) == ONCE[name][1]
    assert dump(path) == after


def test_a_step_is_claimed_once(db: Database) -> None:
    assert mailings.add(db, 1, "guide", "guide", MailingStatus.SENDING, due=NOW, now=NOW) is None


def test_the_weightier_reason_to_suppress_stays(db: Database) -> None:
    events.suppress(db, "hash", "unsubscribed", NOW)
    events.suppress(db, "hash", "complained", LATER)
    events.suppress(db, "hash", "unsubscribed", LATER)
    assert events.suppressed(db, "other", "hash") == ("complained", LATER)

    events.lift(db, "hash")
    assert events.suppressed(db, "hash") is None


def test_a_claim_given_back_is_as_if_it_had_not_been_taken(db: Database) -> None:
    mailings.release(db, 1)
    assert mailings.by_id(db, 1) is None


def test_a_second_try_given_back_waits_as_before(db: Database) -> None:
    mailings.finish(db, 1, MailingStatus.DEFERRED, now=NOW, retry_at=NOW)
    assert mailings.reclaim(db, 1, now=LATER, run_id=1)
    mailings.give_back(db, 1, now=LATER, attempted=False)
    found = mailings.by_id(db, 1)

    assert found is not None
    assert (found.status, found.attempts) == (MailingStatus.DEFERRED, 1)


def test_old_addresses_lose_their_end(db: Database) -> None:
    """LAW-1."""
    consents.add(db, 1, Receipt("requested", NOW, ip="2001:db8:1:2::3"))
    assert consents.truncate_ips(db, LATER) == 2
    assert [receipt.ip for receipt in consents.of(db, 1)] == ["192.0.2.0/24", "2001:db8:1::/48"]
    assert consents.truncate_ips(db, LATER) == 0


def test_words_are_archived_once_and_found_again(db: Database) -> None:
    consents.add(db, 1, Receipt("confirmed", NOW, wording="words"))
    assert db.value("SELECT count(*) FROM wording") == 1
    assert [receipt.wording for receipt in consents.of(db, 1)] == ["words", "words"]


def test_forgetting_leaves_facts_and_no_person(db: Database) -> None:
    """LAW-5."""
    mailings.keep_bytes(db, 1, b"To: ann@mail.example")
    for forget in (consents.forget, events.forget, mailings.forget, gifts.forget):
        forget(db, 1)
    subscribers.forget(db, 1, NOW)
    text = "\n".join(line for line in db.connection.iterdump() if "staged" not in line)

    assert not [word for word in ("ann@", "192.0.2.7") if word in text]
    assert len(enrollments.of(db, 1)) == len(events.of(db, 1)) == 1
