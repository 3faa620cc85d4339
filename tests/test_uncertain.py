"""What a mail of unknown fate may do when the provider knows its doubles, and how its fate becomes known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.inbound import read_report
from funnel.model import EventKind, Kind
from funnel.policy import MARGIN, after_uncertainty, again_after_doubt, may_go_again
from funnel.tokens import funnel_id

DAY = timedelta(hours=24)
WORDS = st.sampled_from(["retry", "hold", "idempotent"])
TIMES = st.timedeltas(timedelta(0), timedelta(days=9))


@given(kind=st.sampled_from(Kind), given=st.dictionaries(st.sampled_from([k.value for k in Kind]), WORDS),
       remembers=TIMES, age=TIMES)  # fmt: skip
def test_it_goes_again_only_while_the_provider_knows_it(
    kind: Kind, given: dict[str, str], remembers: timedelta, age: timedelta
) -> None:
    found = after_uncertainty(kind, given, remembers, age)

    assert found in {"retry", "hold", "idempotent"}
    if found == "idempotent":
        assert age < remembers - MARGIN
    if given.get(kind.value) in {"retry", "hold"}:
        assert found == given[kind.value]
    without = {key: word for key, word in given.items() if word != "idempotent"}
    assert found in {"idempotent", after_uncertainty(kind, without)}


@pytest.mark.parametrize("kind", list(Kind))
def test_with_a_header_it_is_the_rule_for_all_and_without_for_none(kind: Kind) -> None:
    fallback = "retry" if kind in {Kind.CONFIRM, Kind.GUIDE} else "hold"

    assert after_uncertainty(kind, {}, DAY) == "idempotent"
    assert after_uncertainty(kind, {}, DAY, DAY - MARGIN) == fallback
    assert after_uncertainty(kind, {kind.value: "idempotent"}) == fallback


NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "doubts", "after", "remembers", "expected"),
    [
        (Kind.DRIP, 0, timedelta(0), timedelta(0), None),  # held
        (Kind.GUIDE, 0, timedelta(days=9), timedelta(0), timedelta(0)),  # once more
        (Kind.GUIDE, 1, timedelta(0), timedelta(0), None),  # never twice more
        (Kind.DRIP, 0, timedelta(hours=1), DAY, timedelta(0)),  # the provider drops a double
        (Kind.DRIP, 1, timedelta(hours=1), DAY, timedelta(minutes=30)),  # again, but not every minute
        (Kind.DRIP, 3, timedelta(hours=18), DAY, None),  # the next try would come too late
        (Kind.DRIP, 0, timedelta(hours=23), DAY, None),
        (Kind.GUIDE, 0, timedelta(hours=23), DAY, timedelta(0)),  # as without a header
        (Kind.GUIDE, 1, timedelta(hours=23), DAY, None),
    ],
)
def test_when_a_doubtful_mail_goes_again(
    kind: Kind, doubts: int, after: timedelta, remembers: timedelta, expected: timedelta | None
) -> None:
    found = again_after_doubt(kind, {}, remembers, doubts=doubts, attempts=doubts + 1, first=NOON, now=NOON + after)

    assert found == (None if expected is None else NOON + after + expected)


@given(kind=st.sampled_from(Kind), word=WORDS, remembers=TIMES, ages=st.lists(TIMES, min_size=1, max_size=30))
def test_a_provider_that_keeps_its_word_never_delivers_more_than_one_copy_too_many(
    kind: Kind, word: str, remembers: timedelta, ages: list[timedelta]
) -> None:
    """Every try is taken and every answer lost. Runs come when they come, also long after their time."""
    copies = doubts = 1  # the first try, at noon
    given = {kind.value: word}
    for age in sorted(ages):
        if not may_go_again(kind, given, remembers, doubts=doubts, age=age):
            continue
        if word != "idempotent" or age >= remembers:
            copies += 1
        doubts += 1

    assert copies <= (1 if word == "hold" or (word == "idempotent" and kind not in {Kind.CONFIRM, Kind.GUIDE}) else 2)


# --- evidence --------------------------------------------------------------------------------------

SECRET = b"k" * 32
#: As a relay returns it that gives each mail a Message-ID of its own.
RELAYED = """\
From: MAILER-DAEMON@relay.example
Message-ID: <0100018f-relay@relay.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Action: {action}
Final-Recipient: rfc822; ann@mail.example
Status: {status}

--b
Content-Type: text/rfc822-headers

Message-ID: <010001990c-{theirs}@relay.example>
To: ann@mail.example
X-Funnel-Id: {mark}

--b--
"""


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [("failed", "5.1.1", EventKind.BOUNCED), ("delivered", "2.0.0", EventKind.DELIVERED)],
)
def test_a_relay_that_writes_its_own_message_id_is_understood_by_our_mark(
    action: str, status: str, kind: EventKind
) -> None:
    raw = RELAYED.format(action=action, status=status, theirs="7d2c", mark=funnel_id(SECRET, 77))
    report = read_report(raw.encode(), SECRET)

    assert report is not None
    assert (report.mailing_id, report.kind) == (77, kind)


def test_a_message_id_that_looks_like_ours_does_not_outweigh_our_mark() -> None:
    raw = RELAYED.format(action="failed", status="5.1.1", theirs="x", mark=funnel_id(SECRET, 77))
    raw = raw.replace("<010001990c-x@relay.example>", f"<{funnel_id(SECRET, 5)}@clinic.example>")
    report = read_report(raw.encode(), SECRET)

    assert report is not None
    assert report.mailing_id == 77
