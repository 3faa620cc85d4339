"""What records of a domain mean: each rule with a record that keeps it and one that breaks it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from funnel.doctor.finding import State
from funnel.doctor.names import check_dkim, check_dmarc, check_mx, check_names, check_spf, look_ups, tags
from funnel.doctor.resolver import Resolver
from tests.doctor.names import NameServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from funnel.doctor.finding import Finding

KEY_2048 = base64.b64encode(b"\0" * 294).decode()
KEY_1024 = base64.b64encode(b"\0" * 162).decode()
KEY_512 = base64.b64encode(b"\0" * 94).decode()
GOOD = {
    ("clinic.example", "MX"): ["10 mx.clinic.example"],
    ("clinic.example", "TXT"): ["google-site-verification=x", "v=spf1 include:relay.example ~all"],
    ("relay.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    ("resend._domainkey.clinic.example", "TXT"): [f"p={KEY_2048}"],
    ("_dmarc.clinic.example", "TXT"): ["v=DMARC1; p=none; rua=mailto:d@clinic.example"],
}


class Zone(dict[tuple[str, str], list[str]]):
    """Records by name and kind."""

    def look_up(self, name: str, kind: str) -> list[str]:
        return self.get((name, kind), [])


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_good_domain_is_good_at_a_real_server() -> None:
    with NameServer(GOOD) as server:
        found = list(check_names("clinic.example", "clinic.example", Resolver(server.address).look_up))

    assert [(finding.about, finding.state) for finding in found] == [
        (about, State.OK) for about in ("MX", "SPF", "DKIM", "DMARC")
    ]


def test_a_silent_server_is_said_once() -> None:
    with NameServer(spoil=lambda _: b"") as server:
        look_up = Resolver(server.address, patience=0.05).look_up
        found = only(check_names("clinic.example", "other.example", look_up))

    assert found.state is State.UNKNOWN
    assert "does not answer" in found.says


def test_an_empty_zone_misses_everything() -> None:
    found = list(check_names("clinic.example", "clinic.example", Zone().look_up))

    assert [(f.about, f.state) for f in found] == [
        ("MX", State.ERROR), ("SPF", State.ERROR), ("DKIM", State.UNKNOWN), ("DMARC", State.ERROR),
    ]  # fmt: skip
    assert all(f.fix for f in found)


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ("v=spf1 include:relay.example ~all", State.OK),
        ("v=spf1 redirect=relay.example", State.OK),
        ("V=SPF1 A MX -ALL", State.OK),
        ("v=spf1", State.WARNING),
        ("v=spf1 a", State.WARNING),
        ("v=spf1 +all", State.ERROR),
        ("v=spf1 all", State.ERROR),
        ("v=spf1 ?all", State.ERROR),
        ("v=spf10 -all", State.ERROR),  # another record
        ("v=spf1 " + "exists:%{i}.x.example " * 11 + "-all", State.ERROR),
        ("v=spf1 " + "ip4:192.0.2.1 " * 30 + "-all", State.OK),
    ],
)
def test_spf(record: str, state: State) -> None:
    assert only(check_spf("clinic.example", Zone({("clinic.example", "TXT"): [record]}).look_up)).state is state


def test_two_spf_records_are_none() -> None:
    zone = Zone({("clinic.example", "TXT"): ["v=spf1 -all", "v=spf1 a -all"]})
    assert "2 SPF records" in only(check_spf("clinic.example", zone.look_up)).says


def test_look_ups_are_counted_through_and_a_ring_ends() -> None:
    zone = Zone({("a.example", "TXT"): ["v=spf1 mx a:x.example include:b.example -all"],
                 ("b.example", "TXT"): ["v=spf1 ptr ip6:::1 exists:y.example ~all"],
                 ("ring.example", "TXT"): ["v=spf1 include:ring.example -all"]})  # fmt: skip

    assert look_ups(zone["a.example", "TXT"][0], zone.look_up) == 5
    assert look_ups(zone["ring.example", "TXT"][0], zone.look_up) == 11


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (f"v=DKIM1; k=rsa; p={KEY_2048}", State.OK),
        (f"p={KEY_2048[:100]} {KEY_2048[100:]}", State.OK),
        (f"v=DKIM1; k=ed25519; p={base64.b64encode(b'0' * 32).decode()}", State.OK),
        (f"v=DKIM1; t=y; p={KEY_2048}", State.WARNING),
        (f"v=DKIM1; p={KEY_1024}", State.WARNING),
        (f"v=DKIM1; p={KEY_512}", State.ERROR),
        ("v=DKIM1; p=", State.ERROR),
        ("v=DKIM1; p=###", State.ERROR),
    ],
)
def test_dkim(record: str, state: State) -> None:
    zone = Zone({("own._domainkey.clinic.example", "TXT"): [record]})

    assert only(check_dkim("clinic.example", zone.look_up, "own")).state is state
    assert only(check_dkim("clinic.example", zone.look_up)).state is State.UNKNOWN
    assert only(check_dkim("clinic.example", zone.look_up, "other")).state is State.ERROR


@pytest.mark.parametrize(
    ("name", "records", "state"),
    [
        ("_dmarc.mail.clinic.example", ["v=DMARC1; p=reject"], State.OK),
        ("_dmarc.clinic.example", ["v=DMARC1;p=quarantine"], State.OK),
        ("_dmarc.example", ["v=DMARC1; p=none"], State.ERROR),  # not the clinic's
        ("_dmarc.clinic.example", ["v=DMARC1; p=nonsense"], State.ERROR),
        ("_dmarc.clinic.example", ["v=DMARC1"], State.ERROR),
        ("_dmarc.clinic.example", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], State.ERROR),
        ("_dmarc.clinic.example", ["p=none"], State.ERROR),
    ],
)
def test_dmarc_of_the_domain_or_of_what_it_is_part_of(name: str, records: list[str], state: State) -> None:
    found = only(check_dmarc("mail.clinic.example", Zone({(name, "TXT"): records}).look_up))
    assert found.state is state


@pytest.mark.parametrize(
    ("kind", "value", "state"),
    [
        ("MX", "10 mx.example", State.OK),
        ("A", "192.0.2.1", State.OK),
        ("AAAA", "::1", State.OK),
        ("MX", "0 ", State.ERROR),
    ],
)
def test_whom_nobody_can_answer(kind: str, value: str, state: State) -> None:
    zone = Zone({("clinic.example", kind): [value]})

    assert only(check_mx({"clinic.example": None}, zone.look_up)).state is state


def test_tags_are_read_as_mailboxes_read_them() -> None:
    assert tags(" V=DKIM1 ; p = a b\tc; ;n=x=y") == {"v": "DKIM1", "p": "abc", "n": "x=y"}
