"""A link opens one thing for one person, until its time: nothing else that looks like it does."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.tokens import (
    BODY,
    TOKEN_BYTES,
    ExpiredTokenError,
    Keys,
    Purpose,
    UnknownTokenError,
    funnel_id,
    key_id,
    mailing_of,
    sign,
    verify,
)

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
KEYS = Keys((NEW, OLD), b"pepper")
SPELLING = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

subjects = st.integers(0, 2**64 - 1)
purposes = st.sampled_from(Purpose)
#: The form holds whole minutes, from 2020 on.
expiries = st.datetimes(datetime(2026, 5, 4, 12, 2), datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda t: t.replace(tzinfo=UTC)
)


def raw_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(keys: Keys, purpose: Purpose, token: str) -> bool:
    try:
        verify(keys, purpose, token, NOW)
    except UnknownTokenError:
        return True
    return False


@given(purposes, subjects, st.none() | expiries)
def test_a_token_names_its_subject_again(purpose: Purpose, subject: int, expires: datetime | None) -> None:
    token = sign(KEYS, purpose, subject, expires)

    assert verify(KEYS, purpose, token, NOW) == subject
    assert len(token) == 39
    assert set(token) <= set(SPELLING)


@given(purposes, st.lists(subjects, max_size=8), st.integers(0, 2**32 - 1))
def test_tokens_made_together_are_those_made_alone(purpose: Purpose, many: list[int], minutes: int) -> None:
    signer = KEYS.signers[purpose]

    assert signer.tokens(many, minutes) == [signer.token(one, minutes).encode() for one in many]
    assert [raw_of(token.decode())[: BODY.size] for token in signer.tokens(many, minutes)] == [
        BODY.pack(key_id(NEW), minutes, one) for one in many
    ]


@settings(max_examples=20)
@given(purposes, subjects, st.none() | expiries)
def test_every_flipped_bit_is_refused(purpose: Purpose, subject: int, expires: datetime | None) -> None:
    """SEC-5: flip each of the 232 bits; none is accepted, and none opens as merely expired."""
    raw = raw_of(sign(KEYS, purpose, subject, expires))
    for bit in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        assert refused(KEYS, purpose, spelled(bytes(forged))), bit


@pytest.mark.parametrize(("meant", "tried"), list(permutations(Purpose, 2)))
def test_a_link_for_one_thing_opens_nothing_else(meant: Purpose, tried: Purpose) -> None:
    assert refused(KEYS, tried, sign(KEYS, meant, 7))


def test_the_newest_key_signs_and_older_ones_verify() -> None:
    before = sign(Keys((OLD,), b"p"), Purpose.UNSUBSCRIBE, 7)
    after = sign(KEYS, Purpose.UNSUBSCRIBE, 7)

    assert verify(KEYS, Purpose.UNSUBSCRIBE, before, NOW) == 7
    assert raw_of(after)[0] == key_id(NEW)
    assert verify(Keys((NEW,), b"p"), Purpose.UNSUBSCRIBE, after, NOW) == 7
    assert refused(Keys((NEW,), b"p"), Purpose.UNSUBSCRIBE, before)
    assert refused(Keys((OTHER,), b"p"), Purpose.UNSUBSCRIBE, after)


def test_two_keys_with_one_id_both_verify_and_the_newest_signs() -> None:
    """An id is one byte: a rotation meets an old one once in 256 times, and no link may die of it."""
    twin = next(key for key in (n.to_bytes(32) for n in range(1, 99_999)) if key_id(key) == key_id(OLD))
    both = Keys((twin, OLD), b"p")
    made = sign(both, Purpose.DOWNLOAD, 7)

    assert verify(both, Purpose.DOWNLOAD, sign(Keys((OLD,), b"p"), Purpose.DOWNLOAD, 6), NOW) == 6
    assert verify(Keys((twin,), b"p"), Purpose.DOWNLOAD, made, NOW) == 7
    assert refused(Keys((OLD,), b"p"), Purpose.DOWNLOAD, made)


def test_the_pepper_has_no_part_in_links() -> None:
    assert verify(Keys((OLD,), b"two"), Purpose.FORM, sign(Keys((OLD,), b"one"), Purpose.FORM, 1), NOW) == 1


@pytest.mark.parametrize("seconds", [0, 1, 29, 59])
def test_a_link_ends_within_the_minute_it_is_said_to(seconds: int) -> None:
    """SEC-6: never good after its time, and at most a minute less."""
    end = datetime(2026, 5, 11, 9, 0, seconds, tzinfo=UTC)
    token = sign(KEYS, Purpose.CONFIRM, 7, end)
    minute = end.replace(second=0)

    assert verify(KEYS, Purpose.CONFIRM, token, minute - timedelta(microseconds=1)) == 7
    for late in (minute, end, end + timedelta(days=9999)):
        with pytest.raises(ExpiredTokenError) as caught:
            verify(KEYS, Purpose.CONFIRM, token, late)
        assert caught.value.subject == 7


def test_a_link_without_an_end_has_none() -> None:
    token = sign(KEYS, Purpose.UNSUBSCRIBE, 7)

    assert verify(KEYS, Purpose.UNSUBSCRIBE, token, datetime(2999, 1, 1, tzinfo=UTC)) == 7


@pytest.mark.parametrize("year", [1970, 2019, 2020])
def test_a_link_that_ended_long_ago_is_not_one_without_end(year: int) -> None:
    with pytest.raises(ExpiredTokenError):
        verify(KEYS, Purpose.CONFIRM, sign(KEYS, Purpose.CONFIRM, 7, datetime(year, 1, 1, tzinfo=UTC)), NOW)


def test_a_forged_expiry_is_no_proof_of_the_subject() -> None:
    raw = raw_of(sign(KEYS, Purpose.UNSUBSCRIBE, 7))
    kid, _, _ = BODY.unpack(raw[: BODY.size])

    assert refused(KEYS, Purpose.UNSUBSCRIBE, spelled(BODY.pack(kid, 1, 8) + raw[BODY.size :]))


@given(st.text())
def test_any_text_is_no_link_and_no_crash(text: str) -> None:
    assert refused(KEYS, Purpose.CONFIRM, text)


@given(st.text(alphabet=SPELLING, min_size=39, max_size=39))
def test_text_of_the_right_shape_is_no_link_either(text: str) -> None:
    assert refused(KEYS, Purpose.CONFIRM, text)


@given(st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES))
def test_bytes_of_the_right_length_are_no_link_either(raw: bytes) -> None:
    assert refused(KEYS, Purpose.CONFIRM, spelled(raw))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + "=",
        lambda t: t + "==",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t[:20] + "\n" + t[20:],
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: t.replace("-", "+").replace("_", "/"),
        lambda t: t.swapcase(),
        lambda t: t[:5] + "\u200b" + t[5:],
        lambda t: "".join(chr(ord(c) + 0xFEE0) for c in t),  # full-width letters
        lambda t: "\ud800" + t[1:],
        lambda t: "",
    ],
)
def test_a_token_has_one_spelling(change: object) -> None:
    token = next(t for n in range(999) if {"-", "_"} <= set(t := sign(KEYS, Purpose.CONFIRM, n)))

    assert callable(change)
    assert refused(KEYS, Purpose.CONFIRM, change(token))


def test_the_last_character_has_no_second_spelling() -> None:
    """39 characters hold 234 bits and a token 232: the two left over must be zero."""
    token = sign(KEYS, Purpose.CONFIRM, 7)
    accepted = [c for c in SPELLING if not refused(KEYS, Purpose.CONFIRM, token[:-1] + c)]

    assert accepted == [token[-1]]


def test_neighbours_share_nothing_that_helps_to_guess() -> None:
    tags = [raw_of(sign(KEYS, Purpose.CONFIRM, n))[BODY.size :] for n in range(2000)]
    bits = random.Random(7).sample(range(128), 40)
    ones = [sum(tag[bit // 8] >> bit % 8 & 1 for tag in tags) for bit in bits]

    assert len(set(tags)) == len(tags)
    assert all(800 < n < 1200 for n in ones)


def test_keys_do_not_show_themselves() -> None:
    """SEC-21: an exception or a debugger that prints the keys prints no secret."""
    assert repr(KEYS) == "Keys()"
    assert "nnnn" not in f"{KEYS}"


# --- the mark of a mail ------------------------------------------------------------------------


@given(st.integers(0, 2**56), st.binary(min_size=16, max_size=32))
def test_a_mark_names_its_mailing_again_and_only_to_its_maker(mailing_id: int, secret: bytes) -> None:
    mark = funnel_id(secret, mailing_id)

    assert mailing_of(secret, mark) == mailing_id
    assert mailing_of(secret, f"  {mark.upper()}\r\n") == mailing_id
    assert mailing_of(secret + b"x", mark) is None
    assert mailing_of(secret, funnel_id(secret, mailing_id + 1).split(".")[0] + "." + mark.split(".")[1]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1",
        "1.",
        ".a",
        "1.é",
        "é.aaaaaaaaaaaaaaaa",
        "f" * 5000 + ".a",
        "1_0." + "a" * 16,
        "-1." + "a" * 16,
        "1." + "a" * 16,
    ],
)
def test_what_comes_back_in_a_bounce_may_be_anything(text: str) -> None:
    assert mailing_of(OLD, text) is None


@given(st.text())
def test_no_text_is_a_mark_by_chance(text: str) -> None:
    assert mailing_of(OLD, text) is None
