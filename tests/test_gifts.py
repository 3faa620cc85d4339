"""Gift codes: read back however they are spoken, used once, and one for each person for ever."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel import signup
from funnel.address import parse_address
from funnel.config import Clinic, Config, GiftSettings, Site
from funnel.context import Context
from funnel.errors import GiftError
from funnel.gifts import ALPHABET, check_character, issue, look_up, new_code, of_person, read_code, redeem, usable
from funnel.model import GiftStatus, Status
from funnel.store import events, subscribers
from funnel.store import gifts as rows
from funnel.store.database import Database, open_database
from funnel.tokens import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 5, 4, 17, 5, tzinfo=UTC)
DAY = timedelta(days=1)
#: The last second, in Chicago, of the 42nd day after NOW.
LAST = datetime(2026, 6, 16, 4, 59, 59, tzinfo=UTC)
codes = st.text(ALPHABET, min_size=12, max_size=12).map(lambda body: body + check_character(body))


def context(**changes: object) -> Context:
    clinic = Clinic("Mill", "1 Mill Lane", "Ann", "ann@mill.example", "America/Chicago")
    config = replace(Config(clinic, Site("https://go.mill.example")), gift=replace(GiftSettings(), **changes))  # type: ignore[arg-type]
    return Context(config, Keys((b"k" * 32,), b"pepper"), {}, config.calendar)


@pytest.fixture
def ctx() -> Context:
    return context()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "funnel.db", create=True) as opened:
        yield opened


def person(db: Database, email: str = "kim@clinic.example") -> int:
    address = parse_address(email, samples=True)
    with db.transaction():
        return subscribers.add(db, address, zone="UTC", locale="en", source="test", now=NOW).id


def gift_code(db: Database, ctx: Context, subscriber_id: int, now: datetime = NOW) -> str:
    with db.transaction():
        gift = issue(db, ctx, subscriber_id, now)
    assert gift is not None
    return gift.code


def refusal(db: Database, ctx: Context, code: str, now: datetime = NOW) -> str:
    with pytest.raises(GiftError) as caught:
        redeem(db, ctx, code, by="desk", now=now)
    return str(caught.value)


# --- the code ----------------------------------------------------------------------------------


def test_two_hundred_thousand_codes_are_all_different_and_all_good() -> None:
    """SEC-19: 60 random bits; a collision among so many has a chance of two in a hundred million."""
    made = [new_code() for _ in range(200_000)]
    used = Counter(character for code in made[:20_000] for character in code.replace("-", "")[:12])

    assert len(set(made)) == len(made)
    assert all(read_code(code) == code for code in made[::100])
    assert set(used) == set(ALPHABET)
    assert all(6_800 < n < 8_200 for n in used.values()), "every character as likely as the others"


def test_a_code_has_nothing_that_sounds_or_looks_like_another() -> None:
    assert len(ALPHABET) == 32
    assert not set("ILOU") & set(ALPHABET)


@settings(max_examples=30)
@given(codes)
def test_every_single_wrong_character_is_noticed(code: str) -> None:
    """All 13 x 31 of them, the check character too."""
    for place, wrong in product(range(13), ALPHABET):
        changed = code[:place] + wrong + code[place + 1 :]
        if changed != code:
            with pytest.raises(GiftError, match="One character of this code is wrong"):
                read_code(changed)


def test_swapped_neighbours_are_noticed_but_for_one_pair() -> None:
    """Of all 992 ordered pairs of different characters only ``0Z`` and ``Z0`` swap unnoticed."""
    unnoticed = set()
    for a, b in product(ALPHABET, repeat=2):
        for place in range(11):
            body = "7K3M9QXAP2VD"
            one, other = body[:place] + a + b + body[place + 2 :], body[:place] + b + a + body[place + 2 :]
            if a != b and check_character(one) == check_character(other):
                unnoticed.add(a + b)

    assert unnoticed == {"0Z", "Z0"}


@given(codes, st.data())
def test_a_code_is_read_however_it_is_spoken_or_typed(code: str, data: st.DataObject) -> None:
    spoken = {"0": "0Oo", "1": "1IilL"}
    typed = ""
    for character in code:
        typed += data.draw(st.sampled_from(["", "-", " ", ".", "–", "\n"]))
        typed += data.draw(st.sampled_from(spoken.get(character, character + character.lower())))

    assert read_code(typed).replace("-", "") == code
    assert read_code(read_code(typed)) == read_code(typed)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "this one has 0"),
        ("7K3M", "this one has 4"),
        ("7K3M-9QXA-P2VD-55", "this one has 14"),
        ("7K3M-9QXA-P2VD-U", "No gift code has the character U; please read it again."),
        ("７K3M-9QXA-P2VD-5", "No gift code has the character ７"),
        ("7K3M-9QXA-P2VD-é", "No gift code has the character É"),
        ("'; DROP TABLE gift; --", "(?i)code"),
        ("x" * 1_000_000, "this one has 1000000"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_code_is_said_kindly(typed: str, says: str) -> None:
    with pytest.raises(GiftError, match=says):
        read_code(typed)


@given(st.text(max_size=30))
def test_no_text_is_anything_but_a_code_or_a_sentence(text: str) -> None:
    try:
        found = read_code(text)
    except GiftError:
        return
    assert len(found) == 16


# --- one for each person, for ever -------------------------------------------------------------


def test_a_person_has_one_code_however_often_it_is_issued(db: Database, ctx: Context) -> None:
    kim, lee = person(db), person(db, "lee@clinic.example")
    first = gift_code(db, ctx, kim)

    assert gift_code(db, ctx, kim, NOW + 300 * DAY) == first
    assert gift_code(db, ctx, lee) != first
    found = of_person(db, ctx, kim)
    assert found is not None
    assert (found.code, found.expires_at) == (first, LAST)


def test_a_code_is_not_made_from_the_address(tmp_path: Path, ctx: Context) -> None:
    made = set()
    for name in ("one.db", "two.db"):
        with open_database(tmp_path / name, create=True) as db:
            made.add(gift_code(db, ctx, person(db)))

    assert len(made) == 2


def test_tags_and_case_do_not_farm_gifts(db: Database, ctx: Context) -> None:
    """SEC-25: one gift for a base address."""
    first = gift_code(db, ctx, person(db, "kim@clinic.example"))

    assert gift_code(db, ctx, person(db, "kim+one@clinic.example")) == first
    assert gift_code(db, ctx, person(db, "KIM+two@clinic.example")) == first
    assert gift_code(db, ctx, person(db, "k.im@clinic.example")) != first


def test_gifts_for_tags_can_be_allowed(db: Database) -> None:
    ctx = context(per_base_address=False)
    found = [gift_code(db, ctx, person(db, email)) for email in ("kim@clinic.example", "kim+x@clinic.example")]

    assert found[0] != found[1]


def test_leaving_and_coming_back_brings_the_same_code(db: Database, ctx: Context) -> None:
    kim = person(db)
    first = gift_code(db, ctx, kim)
    with db.transaction():
        subscribers.stop(db, kim, Status.UNSUBSCRIBED, NOW)
        subscribers.confirm(db, kim, NOW + DAY)

    assert gift_code(db, ctx, kim, NOW + DAY) == first


def test_being_forgotten_and_coming_back_brings_no_second_gift(db: Database, ctx: Context) -> None:
    kim = person(db)
    first = gift_code(db, ctx, kim)
    redeem(db, ctx, first, by="desk", now=NOW)
    signup.erase(db, ctx, kim, now=NOW, operator="staff")
    again = person(db)

    assert of_person(db, ctx, kim) is None
    assert again != kim
    assert gift_code(db, ctx, again, NOW + DAY) == first
    assert look_up(db, first).subscriber_id is None
    assert "was used" in refusal(db, ctx, first, NOW + DAY)


# --- used once ---------------------------------------------------------------------------------


def test_a_code_is_good_once(db: Database, ctx: Context) -> None:
    code = gift_code(db, ctx, person(db))
    used = redeem(db, ctx, code.lower().replace("-", " "), by="Dana", now=NOW)

    assert (used.status, used.redeemed_at, used.redeemed_by) == (GiftStatus.REDEEMED, NOW, "Dana")
    assert refusal(db, ctx, code, NOW + DAY) == "This code was used on 04 May 2026 at 12:05 (Dana)."
    assert look_up(db, code) == used, "the second try changed nothing"


def test_using_a_code_is_on_record_once(db: Database, ctx: Context) -> None:
    kim = person(db)
    code = gift_code(db, ctx, kim)
    redeem(db, ctx, code, by="Dana", now=NOW)
    refusal(db, ctx, code)

    assert [event.kind for event in events.of(db, kim)] == ["redeemed"]


@pytest.mark.parametrize("clerks", [2, 8])
def test_of_clerks_at_the_same_moment_one_wins(tmp_path: Path, ctx: Context, clerks: int) -> None:
    """SEC-19: real threads, each with its own connection to the one file."""
    file = tmp_path / "funnel.db"
    with open_database(file, create=True) as db:
        code = gift_code(db, ctx, person(db))
    start = threading.Barrier(clerks)
    told: list[str] = []

    def clerk(name: str) -> None:
        with open_database(file) as own:
            start.wait(60)
            try:
                told.append(redeem(own, ctx, code, by=name, now=NOW).redeemed_by)
            except GiftError as error:
                told.append(str(error))

    threads = [threading.Thread(target=clerk, args=(f"clerk {n}",)) for n in range(clerks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [words for words in told if words.startswith("clerk")]

    assert len(told) == clerks
    assert len(winners) == 1
    assert {words for words in told if words not in winners} == {
        f"This code was used on 04 May 2026 at 12:05 ({winners[0]})."
    }


def test_a_code_is_good_until_the_second_it_expires(db: Database, ctx: Context) -> None:
    code = gift_code(db, ctx, person(db))
    end = LAST

    assert refusal(db, ctx, code, end) == "This code expired on 15 June 2026."
    assert redeem(db, ctx, code, by="desk", now=end - timedelta(seconds=1)).status is GiftStatus.REDEEMED


def test_the_last_day_is_told_as_the_clinic_s_calendar_has_it(db: Database, ctx: Context) -> None:
    """03:00 UTC on the 16th is still the evening of the 15th in Chicago."""
    code = gift_code(db, ctx, person(db), datetime(2026, 5, 5, 3, tzinfo=UTC))

    assert "15 June 2026" in refusal(db, ctx, code, NOW + 90 * DAY)


def test_a_code_marked_expired_stays_so_when_the_clock_goes_back(db: Database, ctx: Context) -> None:
    """F-43: no second life, and no redemption on record that never took place."""
    kim = person(db)
    code = gift_code(db, ctx, kim)
    with db.transaction():
        assert rows.expire(db, NOW + 43 * DAY) == 1

    assert refusal(db, ctx, code, NOW) == "This code expired on 15 June 2026."
    assert look_up(db, code).status is GiftStatus.EXPIRED
    assert not list(events.of(db, kim))


def test_a_void_code_says_why(db: Database, ctx: Context) -> None:
    code = gift_code(db, ctx, person(db))
    db.execute("UPDATE gift SET status = 'void', note = 'given twice by mistake'")

    assert refusal(db, ctx, code) == "This code was cancelled: given twice by mistake."
    db.execute("UPDATE gift SET note = ''")
    assert refusal(db, ctx, code) == "This code was cancelled: no reason noted."


def test_a_used_code_without_a_moment_is_still_used(db: Database, ctx: Context) -> None:
    """As a repair by hand may leave it."""
    kim = person(db)
    code = gift_code(db, ctx, kim)
    db.execute("UPDATE gift SET status = 'redeemed', redeemed_at = NULL")

    assert refusal(db, ctx, code) == "This gift code cannot be used."
    assert not list(events.of(db, kim))


def test_an_unknown_code_is_not_a_used_one(db: Database, ctx: Context) -> None:
    assert refusal(db, ctx, new_code()) == "There is no such gift code; please check it with the guest."


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        ("issued", 0, True),
        ("sent", 41, True),
        ("sent", 42, True),  # its last day counts to the end
        ("sent", 43, False),
        ("redeemed", 0, False),
        ("void", 0, False),
        ("expired", 0, False),
    ],
)
def test_what_can_still_be_used(db: Database, ctx: Context, status: str, age: int, *, expected: bool) -> None:
    code = gift_code(db, ctx, person(db))
    moment = int(NOW.timestamp()) if status == "redeemed" else None
    db.execute("UPDATE gift SET status = ?, redeemed_at = ?", (status, moment))

    assert usable(look_up(db, code), NOW + age * DAY) is expected
    assert usable(None, NOW) is False


def test_expiring_takes_only_what_is_over(db: Database, ctx: Context) -> None:
    used, fresh = (gift_code(db, ctx, person(db, f"{name}@clinic.example")) for name in ("kim", "lee"))
    redeem(db, ctx, used, by="desk", now=NOW)

    assert rows.expire(db, LAST - timedelta(seconds=1)) == 0
    assert rows.expire(db, LAST) == 1
    assert (look_up(db, used).status, look_up(db, fresh).status) == (GiftStatus.REDEEMED, GiftStatus.EXPIRED)
