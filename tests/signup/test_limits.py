"""How often one connection may ask: counted in the store, under hashes, and never for those who want to stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel import signup
from funnel.model import Receipt
from funnel.signup import Request, TooManyError
from funnel.signup.limits import ALL, EACH, Limit, network_of
from funnel.store import quotas
from tests.kit import NOW, WORDING, Clock, confirm, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

IP = "203.0.113.9"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock) -> Funnel:
    return make_funnel(tmp_path, now=clock)


def ask(funnel: Funnel, n: int, ip: str = IP) -> None:
    funnel.ask(Request(email=f"p{n}@mail.example", wording=WORDING, ip=ip))


def people(funnel: Funnel) -> int:
    with funnel.session(readonly=True) as db:
        return int(db.value("SELECT count(*) FROM subscriber"))


def test_a_sixth_request_in_a_minute_is_too_many_and_leaves_nothing(funnel: Funnel, clock: Clock) -> None:
    """SEC-2."""
    for n in range(5):
        ask(funnel, n)
    with funnel.session(readonly=True) as db:
        before = list(db.connection.iterdump())
    with pytest.raises(TooManyError) as refused:
        ask(funnel, 6)

    assert people(funnel) == 5
    with funnel.session(readonly=True) as db:
        assert list(db.connection.iterdump()) == before
    clock.tick(seconds=refused.value.wait)
    ask(funnel, 6)
    assert people(funnel) == 6


def test_twenty_in_an_hour_is_enough(funnel: Funnel, clock: Clock) -> None:
    """SEC-2: whoever waits a minute each time still meets the limit of the hour."""
    for n in range(20):
        ask(funnel, n)
        clock.tick(seconds=61)
    with pytest.raises(TooManyError) as refused:
        ask(funnel, 21)
    assert 60 < refused.value.wait <= 3600
    ask(funnel, 21, ip="203.0.113.10")


def test_the_count_survives_a_restart(funnel: Funnel, clock: Clock, tmp_path: Path) -> None:
    for n in range(5):
        ask(funnel, n)
    with pytest.raises(TooManyError):
        ask(make_funnel(tmp_path, now=clock), 6)


def test_everybody_together_has_a_limit_too(funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-2, SEC-28."""
    monkeypatch.setitem(ALL, "signup", Limit(8, 3600))
    for n in range(8):
        ask(funnel, n, ip=f"203.0.113.{n}")
    with pytest.raises(TooManyError):
        ask(funnel, 9, ip="203.0.113.99")
    funnel.again(Request(email="p1@mail.example", wording="", ip="203.0.113.99"))  # another purpose, another count


def test_this_machine_and_no_address_are_not_counted(funnel: Funnel) -> None:
    for n, ip in enumerate(["127.0.0.1", "::1", "", "nonsense"] * 8):
        ask(funnel, n, ip=ip)
    assert people(funnel) == 32


def test_no_address_is_kept_and_old_counts_go(funnel: Funnel, clock: Clock) -> None:
    """LAW-1, LAW-8."""
    ask(funnel, 1, ip="198.51.100.77")
    with funnel.session(readonly=True) as db:
        rows = [tuple(row) for row in db.all("SELECT * FROM quota")]
    assert len(rows) == 3
    assert "198.51.100.77" not in str(rows)
    clock.tick(hours=1, seconds=1)
    with funnel.session() as db:
        signup.purge(db, funnel.context, clock.now)
        assert db.value("SELECT count(*) FROM quota") == 0


def test_two_windows_of_one_visitor_share_no_key(funnel: Funnel, clock: Clock) -> None:
    """Who keeps an old copy of the table cannot follow a visitor from hour to hour."""
    seen: list[str] = []
    for _ in range(2):
        with funnel.session() as db, db.transaction():
            signup.take(db, funnel.context, "signup", IP, clock.now)
            seen += [row["key"] for row in db.all("SELECT key FROM quota")]
        clock.tick(hours=1, seconds=1)
    assert len(seen) == len(set(seen)) == 6


def test_a_mailbox_is_not_bombed_by_tag_after_tag(funnel: Funnel, clock: Clock) -> None:
    """SEC-2: three tagged spellings a day get the mail, whoever asks; the rest are taken in without a word."""

    def asked() -> int:
        with funnel.session(readonly=True) as db:
            return int(db.value("SELECT count(*) FROM enrollment WHERE sequence = 'confirm'"))

    for n in range(10):
        funnel.ask(Request(email=f"Victim+{n}@mail.example", wording=WORDING, ip=f"203.0.113.{n}"))
    assert (people(funnel), asked()) == (10, 3)
    funnel.ask(Request(email="victim@mail.example", wording=WORDING))
    funnel.ask(Request(email="other+x@mail.example", wording=WORDING))
    assert asked() == 5
    clock.tick(days=1, hours=1)
    funnel.ask(Request(email="victim+9@mail.example", wording=WORDING))
    assert asked() == 6


def test_stopping_is_never_refused(funnel: Funnel, clock: Clock) -> None:
    """SEC-28: a flood of sign-ups from the same connection does not stand in the way."""
    ask(funnel, 0)
    confirm(funnel, "p0@mail.example")
    for n in range(1, 5):
        ask(funnel, n)
    with pytest.raises(TooManyError):
        ask(funnel, 5)
    assert funnel.unsubscribe(1, Receipt("withdrawn", clock.now, ip=IP))


@pytest.mark.parametrize("purpose", EACH)
def test_each_purpose_has_its_own_count(funnel: Funnel, purpose: str) -> None:
    with funnel.session() as db, db.transaction():
        for _ in range(EACH[purpose][0].most):
            signup.take(db, funnel.context, purpose, IP, NOW)
        with pytest.raises(TooManyError):
            signup.take(db, funnel.context, purpose, IP, NOW)
        for other in EACH.keys() - {purpose}:
            signup.take(db, funnel.context, other, IP, NOW)


@given(st.ip_addresses(v=4).map(str))
def test_an_old_address_counts_as_itself(ip: str) -> None:
    assert network_of(ip) in {ip, ""}
    assert (network_of(ip) == "") == ip.startswith("127.")


@given(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_new_address_counts_as_its_network(network: int, a: int, b: int) -> None:
    """SEC-2: a visitor may choose any address in a /64."""
    import ipaddress

    first, second = (str(ipaddress.IPv6Address(network << 64 | host)) for host in (a, b))
    assert network_of(first) == network_of(second) != ""
    assert network_of(str(ipaddress.IPv6Address((network ^ 1) << 64 | a or 2))) != network_of(first)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_no_window_ever_holds_more_than_its_limit(steps: list[int]) -> None:
    """The counting alone, over any waits between requests."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        funnel = make_funnel(Path(folder))
        now, let_in = datetime(2027, 1, 1, tzinfo=UTC), list[datetime]()
        with funnel.session() as db, db.transaction():
            for wait in steps:
                now += timedelta(seconds=wait)
                try:
                    signup.take(db, funnel.context, "signup", IP, now)
                except TooManyError:
                    assert let_in
                else:
                    let_in.append(now)
            assert quotas.purge(db, now + timedelta(hours=2)) >= 1
    for limit in EACH["signup"]:
        windows = [int(at.timestamp()) // limit.seconds for at in let_in]
        assert max(windows.count(window) for window in windows) <= limit.most


@pytest.mark.parametrize(
    ("email", "ip", "mails"),
    [
        ("p{}@mail.example", IP, 5),  # one visitor, many addresses
        ("ann@mail.example", "198.51.{}.{}", 1),  # many visitors, one address
        ("p{}@mail.example", "198.51.{}.{}", 1000),  # many of both: everybody's limit
    ],
)
def test_a_flood_of_requests_makes_few_mails_and_leaves_little(funnel: Funnel, email: str, ip: str, mails: int) -> None:
    """F-55: within one minute; what is left is two counts for each connection let in, and nothing of those refused."""
    refused = 0
    for n in range(1200):
        try:
            funnel.ask(Request(email=email.format(n), wording=WORDING, ip=ip.format(n // 250, n % 250)))
        except TooManyError:
            refused += 1

    with funnel.session() as db:
        assert db.value("SELECT count(*) FROM enrollment WHERE sequence = 'confirm'") == mails
        assert db.value("SELECT count(*) FROM subscriber") == mails
        counts = db.value("SELECT count(*) FROM quota")
    assert (refused, counts) == {5: (1195, 3), 1: (200, 2001), 1000: (200, 2001)}[mails]
