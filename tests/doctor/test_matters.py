"""Each matter by itself: from what was seen to what is said of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.config import Smtp
from funnel.doctor.backup import check_backup
from funnel.doctor.database import can_damage, check_database
from funnel.doctor.files import MB, Disk, File, check_disk, check_files
from funnel.doctor.finding import State
from funnel.doctor.inspect import aligned, inspect
from funnel.doctor.running import check_running, spoken
from funnel.doctor.server import check_server
from funnel.doctor.web import Answer, check_web
from funnel.store.health import Health
from funnel.store.runs import Run
from funnel.transport.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from funnel.doctor.finding import Finding

NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RUN = Run(7, "host", 1, NOW - MINUTE, NOW, {}, "")
GOOD = Health((3, 51, 3), "wal", "", 4096, NOW - MINUTE, RUN, 0, None, "", NOW - DAY)


def said(findings: Iterable[Finding]) -> dict[str, State]:
    """Return the gravest state of each matter; whatever is wrong says what to do."""
    found: dict[str, State] = {}
    for finding in findings:
        assert finding.says.endswith((".", ")."))
        assert finding.fix or finding.state in {State.OK, State.UNKNOWN}
        found[finding.about] = min(finding.state, found.get(finding.about, finding.state), key=list(State).index)
    return found


# --- database ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.6.23", False), ("3.7.0", True), ("3.40.1", True), ("3.44.5", True), ("3.44.6", False), ("3.45.0", True),
        ("3.50.6", True), ("3.50.7", False), ("3.51.2", True), ("3.51.3", False), ("3.52.0", False), ("4.0.0", False),
    ],
)  # fmt: skip
def test_which_sqlite_can_damage_a_database(version: str, *, expected: bool) -> None:
    major, minor, patch = map(int, version.split("."))

    assert can_damage((major, minor, patch)) is expected


def test_the_old_fault_matters_only_with_a_log_beside_the_file() -> None:
    old = replace(GOOD, sqlite=(3, 40, 1))

    assert said(check_database(GOOD, "funnel.db")) == {"funnel.db": State.OK, "SQLite": State.OK}
    assert said(check_database(old, "funnel.db"))["SQLite"] is State.WARNING
    assert said(check_database(replace(old, journal="delete"), "funnel.db"))["SQLite"] is State.OK


def test_damage_is_an_error() -> None:
    assert said(check_database(replace(GOOD, damage="row 3 missing"), "funnel.db"))["funnel.db"] is State.ERROR


# --- backup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "state", "words"),
    [
        (None, State.WARNING, "No “funnel backup” of this database is on record."),
        (NOW, State.OK, "was made less than a minute ago."),
        (NOW + 5 * MINUTE, State.OK, "was made less than a minute ago."),
        (NOW - 7 * DAY, State.OK, "was made 7 days ago."),
        (NOW - 7 * DAY - MINUTE / 60, State.WARNING, "on record was made 7 days ago."),
        (NOW + 6 * MINUTE, State.WARNING, "is of 2026-11-17, which is still to come."),
    ],
)
def test_how_old_the_newest_backup_is(last: datetime | None, state: State, words: str) -> None:
    found = check_backup(last, NOW)

    assert said([found]) == {"backup": state}
    assert words in found.says


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode", "state"),
    [
        ("people", 0o600, None), ("people", 0o640, State.WARNING), ("people", 0o644, State.ERROR),
        ("secret", 0o400, None), ("secret", 0o640, State.ERROR), ("secret", 0o604, State.ERROR),
        ("settings", 0o644, None), ("settings", 0o664, State.WARNING), ("settings", 0o666, State.ERROR),
        ("folder", 0o755, None), ("folder", 0o777, State.ERROR),
    ],
)  # fmt: skip
def test_who_may_read_and_write(kind: str, mode: int, state: State | None) -> None:
    found = said(check_files([File("x", kind, mode), File("y", "secret", 0o600)]))

    assert found == ({"files": State.OK} if state is None else {"x": state})


def test_a_file_of_another_user_is_told() -> None:
    assert said(check_files([File("x", "people", 0o600, ours=False)])) == {"x": State.WARNING}
    assert list(check_files([])) == []


@pytest.mark.parametrize(
    ("free", "size", "state"),
    [
        (10 * MB, 0, State.ERROR), (30 * MB, 0, State.WARNING), (199 * MB, MB, State.WARNING), (200 * MB, MB, State.OK),
        (900 * MB, 500 * MB, State.WARNING), (1_000 * MB, 500 * MB, State.OK),
    ],
)  # fmt: skip
def test_there_is_room_for_a_copy(free: int, size: int, state: State) -> None:
    assert check_disk(Disk(free, size)).state is state


# --- running -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "about", "state"),
    [
        ({}, "cron", State.OK),
        ({"last_tick": None}, "cron", State.WARNING),
        ({"last_tick": NOW - 30 * MINUTE}, "cron", State.OK),
        ({"last_tick": NOW - 31 * MINUTE}, "cron", State.ERROR),
        ({"last_tick": NOW + MINUTE}, "clock", State.OK),
        ({"last_tick": NOW + 6 * MINUTE}, "clock", State.ERROR),
        ({"last_run": replace(RUN, started_at=NOW + DAY)}, "clock", State.ERROR),
        ({"last_run": replace(RUN, started_at=NOW - DAY, finished_at=None)}, "last run", State.WARNING),
        ({"rests_until": NOW + MINUTE, "rests_because": "550 <ann@mail.example>"}, "sending", State.ERROR),
        ({"unsettled": 3}, "outbox", State.WARNING),
    ],
)
def test_sending_goes_on(change: dict[str, object], about: str, state: State) -> None:
    health = replace(GOOD, **change)  # type: ignore[arg-type]
    found = list(check_running(health, NOW, 30 * MINUTE))

    assert said(found)[about] is state
    assert {f.about for f in found if f.state is not State.OK} == ({about} if state is not State.OK else set())
    assert not any("@" in f.says for f in found)


@pytest.mark.parametrize(
    "change", [{"rests_until": NOW}, {"last_run": None}, {"last_run": replace(RUN, finished_at=None)}]
)
def test_what_is_over_or_still_going_is_well(change: dict[str, object]) -> None:
    found = said(check_running(replace(GOOD, **change), NOW, 30 * MINUTE))  # type: ignore[arg-type]

    assert set(found.values()) == {State.OK}


@pytest.mark.parametrize(
    ("length", "words"),
    [(5, "less than a minute"), (60, "1 minute"), (7_199, "1 hour"), (7_200, "2 hours"), (90_000, "1 day")],
)
def test_times_are_said_in_words(length: float, words: str) -> None:
    assert spoken(timedelta(seconds=length)) == words


# --- mail server ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "probe", "state"),
    [
        ({}, Probe({"size": "1000000", "pipelining": ""}), State.OK),
        ({}, Probe({"size": "0"}), State.OK),
        ({}, Probe({"SIZE": "100000"}), State.ERROR),
        ({}, Probe({}, "The mail server cannot be reached (refused); nothing was sent."), State.ERROR),
        ({"security": "none"}, Probe({}), State.ERROR),
        ({"security": "none", "host": "127.0.0.1"}, Probe({}), State.OK),
    ],
)
def test_the_mail_server(settings: dict[str, str], probe: Probe, state: State) -> None:
    smtp = replace(Smtp(host="mail.example", user="clinic"), **settings)  # type: ignore[arg-type]

    assert said(check_server(smtp, probe)) == {"mail server": state}


# --- web address ---------------------------------------------------------------------------------

FINE = Answer(200, json.dumps({"ok": True, "store": True}), format_datetime(NOW))
SLOW = {"clock": State.WARNING}
HTTPS = "https://go.clinic.example"


@pytest.mark.parametrize(
    ("base", "answer", "sends", "expected"),
    [
        (HTTPS, FINE, True, {"web address": State.OK}),
        ("http://127.0.0.1:8040", FINE, True, {"web address": State.ERROR}),
        ("http://127.0.0.1:8040", FINE, False, {"web address": State.WARNING}),
        (HTTPS, Answer(fault="refused"), True, {"web address": State.ERROR}),
        (HTTPS, replace(FINE, status=503, body='{"store": false}'), True, {"web address": State.ERROR}),
        (HTTPS, replace(FINE, body="<h1>Welcome to nginx</h1>"), True, {"web address": State.ERROR}),
        (HTTPS, replace(FINE, body="[]"), True, {"web address": State.ERROR}),
        (HTTPS, replace(FINE, certificate_until=NOW + 15 * DAY), True, {"web address": State.OK}),
        (HTTPS, replace(FINE, certificate_until=NOW + 13 * DAY), True, {"web address": State.WARNING}),
        (
            HTTPS,
            replace(FINE, date=format_datetime(NOW - DAY)),
            True,
            {"web address": State.OK, "clock": State.WARNING},
        ),
        (HTTPS, replace(FINE, date="yesterday"), True, {"web address": State.OK}),
        (HTTPS, replace(FINE, date="Tue, 17 Nov 2026 16:00:00 -0000"), True, {"web address": State.OK}),
    ],
)
def test_the_web_address(base: str, answer: Answer, *, sends: bool, expected: dict[str, State]) -> None:
    assert said(check_web(base, answer, NOW, sends=sends)) == expected


# --- a mail as it was received ---------------------------------------------------------------------

RECEIVED = """\
Authentication-Results: mx.mail.example; spf=pass smtp.mailfrom=relay.example;
 dkim=pass header.d=clinic.example; dkim=fail header.d=relay.example; dmarc=pass header.from=clinic.example
Authentication-Results: forged.example; spf=pass; dkim=pass; dmarc=pass
DKIM-Signature: v=1; a=rsa-sha256; d=clinic.example; s=s1;
 h=From:To:Subject:List-Unsubscribe:List-Unsubscribe-Post; bh=x; b=y
DKIM-Signature: v=1; a=rsa-sha256; d=relay.example; s=s1; h=From:To; bh=x; b=y
From: "Maya" <hello@clinic.example>
To: ann@mail.example
Subject: Your guide
Date: Tue, 17 Nov 2026 16:00:00 +0000
Message-ID: <1@clinic.example>
X-Funnel-Id: 1.aabb
List-Unsubscribe: <https://go.clinic.example/u/token>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Read on: https://go.clinic.example/g/token
"""
MATTERS = ("SPF", "DKIM", "DMARC", "signature", "links")
OURS = {"go.clinic.example"}


def inspected(text: str) -> dict[str, State]:
    return said(inspect(text.encode(), OURS))


def test_a_mail_that_arrived_well_is_well() -> None:
    assert inspected(RECEIVED) == dict.fromkeys(MATTERS, State.OK)


@pytest.mark.parametrize(
    ("html", "state"),
    [
        ('<!DOCTYPE html SYSTEM "http://www.w3.org/x.dtd"><a href="https://go.clinic.example/g">x</a>', State.OK),
        ("<a HREF = https://click.relay.example/1>x</a> https://go.clinic.example/", State.WARNING),
        ('<img src="https://pixel.relay.example/1.gif">', State.WARNING),
    ],
)
def test_in_html_only_what_leads_somewhere_counts(html: str, state: State) -> None:
    head, _, _ = RECEIVED.replace("text/plain", "text/html").partition("\n\n")

    assert inspected(f"{head}\n\n{html}\n")["links"] is state


@pytest.mark.parametrize(
    ("old", "new", "about", "state"),
    [
        ("spf=pass smtp", "spf=softfail smtp", "SPF", State.ERROR),
        ("dkim=pass header", "dkim=permerror header", "DKIM", State.ERROR),
        ("dmarc=pass header", "dmarc=fail header", "DMARC", State.ERROR),
        (r"(?s)\AAuth.*?DKIM-Sig", "DKIM-Sig", "SPF", State.UNKNOWN),
        ("d=clinic.example; s", "d=other.example; s", "signature", State.ERROR),
        ("d=clinic.example; s", "d=mail.clinic.example; s", "signature", State.OK),
        (":List-Unsubscribe-Post;", ";", "signature", State.ERROR),
        ("(?m)^List.*\n", "", "signature", State.OK),
        ("(?m)^(Subject.*)\n", r"\1\n\1\n", "headers", State.ERROR),
        ("(?m)^X-Funnel.*\n", "", "headers", State.WARNING),
        ("https://go.clinic.example/g", "https://click.relay.example/g", "links", State.WARNING),
        ("https://go.clinic.example/u", "https://click.relay.example/u", "links", State.WARNING),
        (r"\Z", "x" * 110_000, "size", State.WARNING),
    ],
)
def test_what_went_wrong_on_the_way_is_told(old: str, new: str, about: str, state: State) -> None:
    changed = re.sub(old, new, RECEIVED)
    assert changed != RECEIVED

    assert inspected(changed).get(about) is state


@given(st.binary(max_size=300), st.sampled_from([b"", b"List-Unsubscribe: <https://[x>\n", RECEIVED.encode()]))
def test_no_bytes_make_anything_but_findings(raw: bytes, before: bytes) -> None:
    assert said(inspect(before + raw, OURS))


@pytest.mark.parametrize("raw", ["", "\n\n", "no mail at all"])
def test_what_is_no_mail_is_told(raw: str) -> None:
    assert inspected(raw) == {"mail": State.ERROR}


@pytest.mark.parametrize(
    ("signer", "sender", "expected"),
    [
        ("clinic.example", "clinic.example", True),
        ("CLINIC.example", "mail.clinic.example", True),
        ("mail.clinic.example", "clinic.example", True),
        ("example", "clinic.example", False),
        ("nic.example", "clinic.example", False),
        ("", "clinic.example", False),
        ("", "", False),
    ],
)
def test_whose_signature_counts(signer: str, sender: str, *, expected: bool) -> None:
    assert aligned(signer, sender) is expected
