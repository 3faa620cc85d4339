"""Questions to a real DNS server on loopback, and nonsense from it."""

from __future__ import annotations

import contextlib
import struct
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.doctor.resolver import Resolver, SilentError, labels, read_name, records, system_server
from tests.doctor.names import NameServer, record

if TYPE_CHECKING:
    from pathlib import Path

LONG = "v=DKIM1; k=rsa; p=" + "A" * 400
ZONE = {
    ("clinic.example", "TXT"): ["v=spf1 -all", "", LONG, "grüß Gott"],
    ("clinic.example", "MX"): ["10 mx1.clinic.example", "0 "],
    ("clinic.example", "A"): ["192.0.2.1"],
    ("clinic.example", "AAAA"): ["2001:db8::1"],
    ("www.clinic.example", "CNAME"): ["clinic.example"],
}


@pytest.mark.parametrize("cut", [False, True])
def test_each_kind_of_record_is_read(*, cut: bool) -> None:
    """By TCP when the answer is too long for UDP."""
    with NameServer(ZONE, cut=cut) as server:
        look_up = Resolver(server.address).look_up
        for (name, kind), values in ZONE.items():
            assert look_up(name, kind) == values
            assert look_up(name.upper() + ".", kind) == values
        assert look_up("www.clinic.example", "TXT") == []
        assert look_up("nobody.example", "MX") == []


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".example", ".".join(["abcdefgh"] * 40)])
def test_what_is_no_name_has_no_records(name: str) -> None:
    with NameServer() as server:
        assert Resolver(server.address).look_up(name, "A") == []
        assert server.asked == []


def test_a_silent_server_is_asked_twice_and_then_never_again() -> None:
    """With DNS down the doctor must not take minutes."""
    with NameServer(spoil=lambda _: b"") as server:
        resolver = Resolver(server.address, patience=0.1)
        begun = time.monotonic()
        for name in ("a.example", "b.example", "c.example"):
            with pytest.raises(SilentError, match="does not answer"):
                resolver.look_up(name, "A")
        assert time.monotonic() - begun < 5
        assert len(server.asked) == 2


def test_another_answer_than_the_one_asked_for_is_not_taken() -> None:
    """Somebody who guesses our question cannot answer it for the server."""
    foreign = (lambda answer: b"\0\0" + answer[2:], lambda answer: answer.replace(b"clinic", b"spoofs"))
    for spoil in foreign:
        with NameServer(ZONE, spoil=spoil) as server, pytest.raises(SilentError):
            Resolver(server.address, patience=0.1).look_up("clinic.example", "A")


def test_a_refusal_is_no_empty_answer() -> None:
    with NameServer(ZONE, spoil=lambda answer: answer[:3] + b"\x85" + answer[4:]) as server:
        resolver = Resolver(server.address)
        with pytest.raises(SilentError, match="code 5"):
            resolver.look_up("clinic.example", "A")


def test_an_answer_cut_short_says_so() -> None:
    with NameServer(ZONE, spoil=lambda answer: answer[:-2]) as server, pytest.raises(SilentError, match="read"):
        Resolver(server.address).look_up("clinic.example", "A")


def test_names_that_run_in_a_ring_end() -> None:
    with pytest.raises(ValueError, match="ring"):
        read_name(b"\0" * 12 + b"\xc0\x0c", 12)


@given(st.binary(max_size=200), st.sampled_from([1, 5, 15, 16, 28]))
def test_no_bytes_make_anything_but_records_or_a_known_fault(raw: bytes, kind: int) -> None:
    for answer in (raw, b"\0\0\x81\x80\0\0\0\x01\0\0\0\0" + raw):
        with contextlib.suppress(ValueError, IndexError, struct.error):
            assert all(isinstance(text, str) for text in records(answer, kind))


@given(st.text(st.characters(codec="utf-8"), max_size=600))
def test_every_text_comes_back(text: str) -> None:
    answer = b"\0\0\x81\x80\0\0\0\x01\0\0\0\0" + labels("a.example") + record("TXT", text)

    assert list(records(answer, 16)) == [text]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# none\nsearch example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n", ("192.0.2.1", 53)),
        ("nameserver fe80::1%eth0\n", ("fe80::1", 53)),
        ("options edns0\n", None),
    ],
)
def test_the_server_of_this_machine_is_found(tmp_path: Path, text: str, found: object) -> None:
    (tmp_path / "resolv.conf").write_text(text)

    assert system_server(tmp_path / "resolv.conf") == found
    assert system_server(tmp_path / "missing") is None
