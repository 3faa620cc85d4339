"""What may be typed as an address, which spellings are one person, and what a page may show of it."""

from __future__ import annotations

import string
import subprocess
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from funnel.address import (
    Address,
    base_key,
    keyed_hash,
    mask,
    parse_address,
    shorten,
    tag_for_log,
)
from funnel.errors import AddressError


def domain_of(octets: int) -> str:
    """Return a domain of exactly so many octets, in labels of at most 63."""
    labels = []
    left = octets - 4
    while left > 0:
        size = min(63, left) if left != 64 else 62
        labels.append("d" * size)
        left -= size + 1
    name = ".".join([*labels, "com"])
    assert len(name) == octets, (octets, len(name))
    return name


def refusal(text: str, *, samples: bool = False) -> str:
    """Return the sentence with which ``text`` is refused, and empty when it is not."""
    try:
        parse_address(text, samples=samples)
    except AddressError as error:
        return str(error)
    return ""


# --- how long it may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "domain", "fits"),
    [
        (63, 20, True),
        (64, 20, True),
        (65, 20, False),
        (64, 188, True),
        (64, 189, True),  # 254 in all
        (64, 190, False),
        (1, 251, True),
        (1, 252, True),
        (1, 253, False),
        (64, 255, False),
        (64, 256, False),
    ],
)
def test_lengths_are_counted_in_octets(local: int, domain: int, *, fits: bool) -> None:
    """ADR-1: local part 64, whole address 254."""
    assert (refusal("a" * local + "@" + domain_of(domain)) == "") is fits


@pytest.mark.parametrize(("label", "fits"), [(63, True), (64, False)])
def test_a_label_has_63_octets_at_most(label: int, *, fits: bool) -> None:
    assert (refusal("kim@" + "a" * label + ".com") == "") is fits


@pytest.mark.parametrize("letters", ["ü", "漢", "𝔘"])
def test_a_domain_is_measured_as_it_goes_over_the_wire(letters: str) -> None:
    """ADR-1: 60 such letters make a label far over 63 octets of A-label."""
    found = refusal(f"kim@{letters * 60}.com")

    assert found or len(parse_address(f"kim@{letters * 60}.com").key) <= 254


def test_the_address_as_sent_fits_too() -> None:
    """ADR-1: 230 characters typed, but more than 254 octets on the wire."""
    typed = "k" * 60 + "@" + ".".join(["bücher" + "a" * 40] * 4) + ".com"

    assert len(typed) <= 254
    assert "longer" in refusal(typed) or "too long" in refusal(typed)


# --- spellings of one person -------------------------------------------------------------------


@pytest.mark.parametrize(
    "spellings",
    [
        ["Kim@Clinic.com", "kim@clinic.com", "KIM@CLINIC.COM", "  kim@clinic.com\n"],
        ["kim@bücher.de", "kim@xn--bcher-kva.de", "kim@BÜCHER.de", "kim@bu\u0308cher.de", "kim@XN--BCHER-KVA.de"],
        ["kim@faß.de", "Kim@xn--fa-hia.de"],
    ],
)
def test_spellings_of_one_address_are_one_person(spellings: list[str]) -> None:
    """ADR-2: NFC, A-label, lower case."""
    assert len({parse_address(text).key for text in spellings}) == 1


def test_mail_goes_to_the_local_part_as_typed() -> None:
    found = parse_address("KimLee@BÜCHER.de")

    assert found == Address("KimLee@BÜCHER.de", "kimlee@xn--bcher-kva.de")
    assert found.envelope == "KimLee@xn--bcher-kva.de"


plain_locals = st.text(string.ascii_letters + string.digits + "+_-'.", min_size=1, max_size=70)
locals_ = st.one_of(plain_locals, st.text(min_size=1, max_size=70))
domains = st.one_of(
    st.sampled_from(["clinic.com", "Bücher.DE", "例え.jp", "xn--bcher-kva.de", "a.b.c.co.uk", "ǅ.com", "ﬀ.com"]),
    st.text(string.ascii_letters + string.digits + "-.üßé漢", min_size=1, max_size=40).map(lambda name: name + ".com"),
)


@settings(max_examples=300)
@given(locals_, domains)
@example("kim", "ǅ.com")
@example("kim", "xn--a.com")
def test_the_canonical_form_of_a_canonical_form_is_itself(local: str, domain: str) -> None:
    """ADR-2, ADR-4: and nothing that is not plain ASCII reaches a header or RCPT."""
    typed = f"{local}@{domain}"
    assume(not refusal(typed))
    found = parse_address(typed)
    again = parse_address(found.key)

    assert again.key == found.key == found.key.lower()
    assert found.envelope.isascii()
    assert found.envelope.isprintable()
    assert " " not in found.envelope
    assert "=?" not in found.envelope
    assert found.envelope.count("@") == 1
    assert parse_address(found.envelope).key == found.key
    assert found.envelope.lower() == found.key
    assert len(found.envelope) <= 254


@given(plain_locals)
def test_the_quick_check_never_accepts_what_the_full_one_refuses(local: str) -> None:
    from email_validator import EmailNotValidError, validate_email

    typed = f"{local}@clinic.com"
    try:
        validate_email(typed, check_deliverability=False, strict=True)
    except EmailNotValidError:
        assert refusal(typed)
    else:
        assert not refusal(typed)


# --- tags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("kim+yoga@clinic.com", "kim@clinic.com"),
        ("kim+a+b@clinic.com", "kim@clinic.com"),
        ("kim@clinic.com", "kim@clinic.com"),
        ("k.i.m@clinic.com", "k.i.m@clinic.com"),
        ("kim-lee@clinic.com", "kim-lee@clinic.com"),
        ("+yoga@clinic.com", "+yoga@clinic.com"),
    ],
)
def test_the_base_address_drops_the_tag_and_nothing_else(key: str, expected: str) -> None:
    """ADR-3: dots and hyphens are part of a name; a tag is not."""
    assert base_key(key) == expected
    assert base_key(base_key(key)) == base_key(key)


def test_a_tag_makes_another_subscriber() -> None:
    assert parse_address("kim+yoga@clinic.com").key != parse_address("kim@clinic.com").key


# --- what is refused ---------------------------------------------------------------------------

REFUSED = [
    "",
    "   ",
    "kim",
    "kim@",
    "@clinic.com",
    "@",
    "@@",
    "kim@@clinic.com",
    "kim@lee@clinic.com",
    "kim lee@clinic.com",
    "kim@clinic com",
    "kim@clinic",
    "kim@localhost",
    "kim@clinic.local",
    "kim@clinic.invalid",
    "kim@clinic.localhost",
    "kim@clinic.onion",
    "kim@clinic.test",
    "kim@clinic.example",
    "kim@clinic.EXAMPLE",
    "kim@clinic.ｅxample",
    "kim@test",
    "kim@example",
    "kim@1.0.0.127.in-addr.arpa",
    "kim@[127.0.0.1]",
    "kim@[IPv6:::1]",
    "kim@127.0.0.1",
    '"kim lee"@clinic.com',
    '"kim"@clinic.com',
    "kim(at work)@clinic.com",
    "kim@(work)clinic.com",
    "kim@clinic.com(work)",
    "Kim <kim@clinic.com>",
    "<kim@clinic.com>",
    "kim@clinic.com,lee@clinic.com",
    "kim@clinic.com;lee@clinic.com",
    "mailto:kim@clinic.com",
    "kim@clinic.com?subject=x",
    ".kim@clinic.com",
    "kim.@clinic.com",
    "kim..lee@clinic.com",
    "kim@.clinic.com",
    "kim@clinic..com",
    "kim@clinic.com.",
    "kim@-clinic.com",
    "kim@clinic-.com",
    "kim@clinic.c_m",
    "kim@clin_ic.com",
    "kim@clinic.123",
    "kim\r\n.lee@clinic.com",
    "kim . lee@clinic.com",
    "kim@clinic.com\r\nBcc: eve@evil.com",
    "kim\r\nRCPT TO:<eve@evil.com>@clinic.com",
    "kim\0@clinic.com",
    "kim@clinic\0.com",
    "kim\u200b@clinic.com",
    "kim\u202e@clinic.com",
    "kim@cli\u202enic.com",
    "\ud800@clinic.com",
    "kim@\udfff.com",
    "=?utf-8?q?kim=40clinic.com?= <eve@evil.com>",
    "josé@clinic.com",
    "用户@例子.广告",
    "😀@clinic.com",
    "kim@😀",
    "kim@ⓁⓄⓃⒼ",
    "{{ 7*7 }}@clinic.com",
    "<script>alert(1)</script>@clinic.com",
    "'; DROP TABLE subscriber; --",
    "kim@xn--\u00fc.com",
    "a" * 100_000 + "@clinic.com",
    "kim@" + "a." * 50_000 + "com",
    "@" * 10_000,
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:40])
def test_what_cannot_be_mailed_is_refused_with_a_sentence(text: str) -> None:
    """ADR-5: special names, literals, quotes, comments, lists, injections: each one clear line for the visitor."""
    says = refusal(text)

    assert says.endswith(".")
    assert says.isprintable(), ascii(says)
    assert len(says) < 400


@pytest.mark.parametrize("text", ["josé@clinic.com", "почта@clinic.com", "用户@clinic.com"])
def test_a_local_part_beyond_ascii_is_refused_and_says_why(text: str) -> None:
    """ADR-4: no header is ever written with ``=?utf-8?…`` inside an address."""
    assert "characters before the @-sign are not supported" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "kim@clinic.com",
        "kim.lee+yoga@sub.clinic.co.uk",
        "o'hara@clinic.com",
        "_@clinic.com",
        "1234567890@clinic.com",
        "a@b.co",
        "kim@123.com",
        "kim@a-b.com",
        "kim!#$%&*/=?^`{|}~@clinic.com",
        "kim@münchen.de",
    ],
)
def test_odd_but_right_addresses_are_taken(text: str) -> None:
    assert refusal(text) == ""


@pytest.mark.parametrize("text", ["kim@clinic.example", "kim@clinic.test", "Kim@Clinic.Example"])
def test_samples_are_taken_where_samples_are_allowed(text: str) -> None:
    assert parse_address(text, samples=True).key == text.lower()
    assert refusal(text)


@pytest.mark.parametrize("text", ["kim@test", "kim@example", "kim@localhost", "kim@clinic.invalid", "kim"])
def test_samples_open_no_other_door(text: str) -> None:
    assert refusal(text, samples=True)


@settings(max_examples=400)
@given(
    st.one_of(
        st.text(max_size=80),
        st.text(alphabet="@.+-\"'()<>[]:;,\\ \t\r\n\0aé漢\u202e\ud800=?", max_size=40),
        st.builds("{}@{}".format, st.text(max_size=20), st.text(max_size=20)),
    ),
    st.booleans(),
)
def test_no_text_makes_anything_but_an_address_or_a_sentence(text: str, samples: bool) -> None:
    says = refusal(text, samples=samples)

    assert says.isprintable()
    assert says == "" or says.endswith(".")


# --- what is shown -----------------------------------------------------------------------------

keys = st.builds(
    "{}@{}".format,
    st.text(string.ascii_lowercase + "+.-", min_size=2, max_size=20),
    st.sampled_from(["clinic.com", "mail.clinic.co.uk", "xn--bcher-kva.de"]),
)


@given(keys)
def test_a_mask_tells_the_first_letters_and_the_ending_only(key: str) -> None:
    local, _, domain = key.partition("@")
    ending = domain.rpartition(".")[2]

    assert mask(key) == f"{local[0]}•••@{domain[0]}•••.{ending}"
    assert mask(key) == mask(f"{local[0]}{'z' * 30}@{domain[0]}zz.{ending}"), "and not how long the rest is"


@pytest.mark.parametrize("text", ["", "kim", "kim lee", "\0", "secret-without-at"])
def test_a_mask_of_what_is_no_address_shows_nothing(text: str) -> None:
    assert mask(text) == "•••"


@given(st.binary(min_size=1), keys, keys)
def test_hashes_tell_people_apart_only_with_the_pepper(pepper: bytes, one: str, other: str) -> None:
    """LAW-6: a keyed hash, not a plain one."""
    assert (keyed_hash(pepper, one) == keyed_hash(pepper, other)) == (one == other)
    assert keyed_hash(pepper, one) != keyed_hash(pepper + b"x", one)
    assert len(keyed_hash(pepper, one)) == 64
    assert tag_for_log(pepper, one) == f"{mask(one)}#{keyed_hash(pepper, one)[:6]}"


@given(st.text(), st.integers(2, 80))
def test_shortened_text_is_one_printable_line(text: str, limit: int) -> None:
    found = shorten(text, limit)

    assert found.isprintable()
    assert len(found) == min(len(text), limit)


def test_a_plain_address_does_not_wait_for_the_validator() -> None:
    script = (
        "import sys; from funnel.address import parse_address; parse_address('kim@clinic.com');"
        "print('email_validator' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"
