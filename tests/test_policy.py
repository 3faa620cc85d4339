"""Who may be mailed, what an event does, and what a reply means: tables, and a few laws over all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import combinations_with_replacement, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.model import Condition, Delivery, EventKind, Facts, Kind, MailingStatus, Status, Step
from funnel.policy import (
    COOL_DOWN,
    GIVE_UP,
    RETRY_DELAYS,
    Fault,
    Go,
    Settled,
    Skip,
    Stop,
    Verdict,
    Wait,
    after_uncertainty,
    fault_of,
    may_ask_again,
    may_send,
    retry_at,
    settle,
    status_after,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LISTENING = {Status.CONFIRMED, Status.PAUSED}
ANY_FACTS = [Facts(*flags) for flags in product((False, True), repeat=3)]
HOUR = timedelta(hours=1)


def verdict(
    kind: Kind,
    status: Status,
    *,
    when: Condition = Condition.ALWAYS,
    suppressed: bool = False,
    paused_until: datetime | None = None,
    facts: Facts = Facts(),  # noqa: B008
) -> Verdict:
    step = Step("mail", kind, when=when)
    return may_send(step, status, suppressed=suppressed, paused_until=paused_until, facts=facts, now=NOW)


# --- may this mail go now ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in {Kind.CONFIRM, Kind.SUNSET}])
@pytest.mark.parametrize("status", Status)
def test_only_people_who_confirmed_get_anything_but_a_confirmation(kind: Kind, status: Status) -> None:
    expected = Go() if status in LISTENING else Stop(str(status))

    assert verdict(kind, status) == expected


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", Status)
def test_no_condition_or_fact_opens_what_a_suppression_closed(kind: Kind, status: Status) -> None:
    for when, facts in product(Condition, ANY_FACTS):
        found = verdict(kind, status, when=when, facts=facts, suppressed=True)
        asks_anew = kind is Kind.CONFIRM and status not in {*LISTENING, Status.ERASED}
        assert found == Go() if asks_anew else isinstance(found, Stop)


@pytest.mark.parametrize("status", Status)
def test_a_confirmation_asks_those_who_are_not_in(status: Status) -> None:
    found = verdict(Kind.CONFIRM, status)

    if status in LISTENING:
        assert found == Stop("already confirmed")
    else:
        assert found == (Stop("erased") if status is Status.ERASED else Go())


@pytest.mark.parametrize("kind", [Kind.DRIP, Kind.REMINDER, Kind.BROADCAST, Kind.DIGEST])
def test_a_pause_puts_the_series_off_until_its_last_second(kind: Kind) -> None:
    assert verdict(kind, Status.PAUSED, paused_until=NOW + HOUR) == Wait(NOW + HOUR, "paused")
    assert verdict(kind, Status.PAUSED, paused_until=NOW) == Go()
    assert verdict(kind, Status.PAUSED, paused_until=NOW - HOUR) == Go()


def test_a_pause_does_not_keep_the_guide_from_somebody_who_asked_for_it() -> None:
    assert verdict(Kind.GUIDE, Status.PAUSED, paused_until=NOW + HOUR) == Go()


@pytest.mark.parametrize("facts", ANY_FACTS)
def test_each_condition_asks_one_fact(facts: Facts) -> None:
    expected = {
        Condition.ALWAYS: True,
        Condition.GIFT_UNUSED: facts.gift_usable,
        Condition.NOT_DOWNLOADED: not facts.downloaded,
        Condition.ENGAGED: facts.engaged,
        Condition.NOT_ENGAGED: not facts.engaged,
    }
    for when, applies in expected.items():
        found = verdict(Kind.DRIP, Status.CONFIRMED, when=when, facts=facts)
        assert isinstance(found, Go if applies else Skip), when
        assert not isinstance(found, Skip) or len(found.reason) > 10


@pytest.mark.parametrize(
    ("reason", "age", "expected"),
    [
        ("unsubscribed", timedelta(0), True),
        ("erased", timedelta(0), True),
        ("bounced", timedelta(days=30) - timedelta(seconds=1), False),
        ("bounced", timedelta(days=30), True),
        ("complained", timedelta(days=90) - timedelta(seconds=1), False),
        ("complained", timedelta(days=90), True),
        ("blocked", timedelta(days=9999), False),
    ],
)
def test_who_left_may_ask_again_after_a_cool_down(reason: str, age: timedelta, *, expected: bool) -> None:
    assert may_ask_again(reason, NOW - age, NOW) is expected
    assert set(COOL_DOWN) == {"bounced", "complained"}


# --- what an event does to a status ------------------------------------------------------------

STOPPING = [EventKind.BOUNCED, EventKind.UNSUBSCRIBED, EventKind.COMPLAINED, EventKind.ERASED]
HARMLESS = [EventKind.DELIVERED, EventKind.OPENED, EventKind.DEFERRED, EventKind.CONFIRMED, EventKind.AUTORESPONDED]


@pytest.mark.parametrize("start", Status)
def test_a_status_is_a_join_whatever_order_events_come_in(start: Status) -> None:
    """WH-7: all permutations of every multiset of four events end in the same status."""
    for events in combinations_with_replacement([*STOPPING, EventKind.DELIVERED], 4):
        ends = {reduce(status_after, order, start) for order in set(permutations(events))}
        assert len(ends) == 1, (start, events)


@pytest.mark.parametrize(("status", "kind"), list(product(Status, EventKind)))
def test_an_event_twice_is_an_event_once(status: Status, kind: EventKind) -> None:
    once = status_after(status, kind)

    assert status_after(once, kind) is once
    if kind not in STOPPING:
        assert once is status, "nothing but a stop changes a status here, least of all a late delivery"


def test_complaint_beats_unsubscribe_beats_bounce() -> None:
    assert reduce(status_after, STOPPING[:3], Status.CONFIRMED) is Status.COMPLAINED
    assert status_after(Status.UNSUBSCRIBED, EventKind.BOUNCED) is Status.UNSUBSCRIBED
    assert status_after(Status.COMPLAINED, EventKind.UNSUBSCRIBED) is Status.COMPLAINED
    assert status_after(Status.ERASED, EventKind.COMPLAINED) is Status.ERASED


@given(st.sampled_from(Status), st.lists(st.sampled_from(EventKind), max_size=30))
def test_nobody_is_ever_brought_back_by_an_event(start: Status, events: list[EventKind]) -> None:
    end = reduce(status_after, events, start)

    assert not (end.listening and not start.listening)
    assert end is start or set(events) & set(STOPPING)


# --- what a reply means ------------------------------------------------------------------------

GONE, BOX, OURS, WORDS = Fault.ADDRESS, Fault.MAILBOX, Fault.SENDER, Fault.CONTENT
#: code, text, stage, whose fault it is
REPLIES: list[tuple[int, str, str, Fault]] = [
    # nobody there, by code
    (550, "5.1.1 The email account that you tried to reach does not exist. Please try double-checking", "rcpt", GONE),
    (
        550,
        "5.1.1 <kim@clinic.example>: Recipient address rejected: User unknown in virtual mailbox table",
        "rcpt",
        GONE,
    ),
    (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "rcpt", GONE),
    (550, "5.1.1 RESOLVER.ADR.RecipNotFound; not found", "data", GONE),
    (550, "5.1.2 Host unknown (Name server: host not found)", "rcpt", GONE),
    (553, "5.1.3 The recipient address <kim@..> is not a valid RFC-5321 address.", "rcpt", GONE),
    (550, "5.1.6 Recipient has moved, please try kim@new.example", "rcpt", GONE),
    (550, "5.2.1 The email account that you tried to reach is disabled.", "rcpt", GONE),
    (550, "5.2.1 The email account that you tried to reach is inactive.", "rcpt", GONE),
    (550, "#5.1.1 unknown address", "rcpt", GONE),
    # nobody there, in words
    (550, "No such user here", "rcpt", GONE),
    (550, "no such recipient", "rcpt", GONE),
    (550, "User unknown", "rcpt", GONE),
    (550, "Unknown user: kim", "rcpt", GONE),
    (550, "<kim@clinic.example> user unknown", "rcpt", GONE),
    (550, "unknown recipient", "rcpt", GONE),
    (550, "Unknown local part kim in <kim@clinic.example>", "rcpt", GONE),
    (550, "sorry, no mailbox here by that name (#5.1.1 - chkuser)", "rcpt", GONE),
    (550, "Mailbox not found", "rcpt", GONE),
    (550, "Invalid recipient <kim@clinic.example>", "rcpt", GONE),
    (550, "invalid mailbox", "rcpt", GONE),
    (550, "Requested action not taken: mailbox unavailable", "rcpt", GONE),
    (550, "5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", "rcpt", GONE),
    (550, "account is disabled", "rcpt", GONE),
    (550, "This address doesn't exist.", "rcpt", GONE),
    (550, "This account does not exist", "rcpt", GONE),
    (550, "<kim@clinic.example> is not a valid mailbox", "rcpt", GONE),
    (550, "Unrouteable address", "rcpt", GONE),
    (
        554,
        "5.7.1 <kim@clinic.example>: Recipient address rejected: User unknown in local recipient table",
        "rcpt",
        GONE,
    ),
    (550, "<full.house@clinic.example>: no such user", "rcpt", GONE),
    (550, "<dmarc@clinic.example>: user unknown", "rcpt", GONE),
    (550, "no such user; see https://clinic.example/blocked?quota=full", "rcpt", GONE),
    # full, busy, greylisted, not now
    (452, "4.2.2 The email account that you tried to reach is over quota.", "rcpt", BOX),
    (552, "5.2.2 The email account that you tried to reach is over quota", "rcpt", BOX),
    (552, "5.2.2 mailbox full", "rcpt", BOX),
    (552, "Mailbox size limit exceeded: quota", "rcpt", BOX),
    (552, "Requested mail action aborted: exceeded storage allocation", "data", BOX),
    (450, "4.7.1 Greylisting in action, please come back later", "rcpt", BOX),
    (451, "4.7.1 <kim@clinic.example>: Recipient address rejected: Greylisted for 5 minutes", "rcpt", BOX),
    (450, "Graylisted - sender verification pending", "rcpt", BOX),
    (421, "4.7.0 Temporary System Problem. Try again later", "data", BOX),
    (450, "4.2.1 The user you are trying to contact is receiving mail too quickly.", "rcpt", BOX),
    (550, "5.2.1 The user you are trying to contact is receiving mail at a rate that prevents more", "rcpt", BOX),
    (451, "4.3.0 Mail server temporarily rejected message", "data", BOX),
    (452, "4.3.1 Insufficient system storage", "data", BOX),
    (452, "4.5.3 Too many recipients", "rcpt", BOX),
    (450, "5.1.1 user unknown", "rcpt", BOX),
    (450, "Requested mail action not taken: mailbox unavailable", "rcpt", BOX),
    (550, "5.4.1 Recipient address rejected: Access denied.", "rcpt", BOX),
    (550, "5.4.4 Unable to route: no mail hosts for domain", "rcpt", BOX),
    (550, "5.3.0 unknown user (system error)", "rcpt", BOX),
    (550, "mailbox temporarily unavailable", "rcpt", BOX),
    (550, "5.2.2 user unknown", "rcpt", BOX),
    (554, "relay not permitted", "rcpt", BOX),
    # we are refused: nobody is suppressed
    (550, "5.7.26 This mail has been blocked because the sender is unauthenticated.", "data", OURS),
    (
        550,
        "5.7.26 Unauthenticated email from clinic.example is not accepted due to domain's DMARC policy.",
        "data",
        OURS,
    ),
    (421, "4.7.0 Our system has detected an unusual rate of unsolicited mail from your IP address.", "data", OURS),
    (421, "4.7.28 Gmail has detected an unusual rate of mail", "data", OURS),
    (550, "5.7.25 The IP address sending this message does not have a PTR record setup", "data", OURS),
    (550, "5.7.515 Access denied, sending domain CLINIC.EXAMPLE doesn't meet the required level", "data", OURS),
    (
        550,
        "5.7.1 Unfortunately, messages from [203.0.113.9] weren't sent; they are on our block list (S3150).",
        "mail",
        OURS,
    ),
    (421, "RP-001 The mail server IP connecting to Outlook.com has exceeded the rate limit allowed.", "data", OURS),
    (554, "5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org", "rcpt", OURS),
    (554, "5.7.1 <[203.0.113.9]>: Client host rejected: Access denied", "rcpt", OURS),
    (450, "4.7.25 Client host rejected: cannot find your hostname, [203.0.113.9]", "rcpt", OURS),
    (550, "5.1.8 <hello@clinic.example>: Sender address rejected: Domain not found", "rcpt", OURS),
    (550, "5.1.0 <hello@clinic.example>: Sender address rejected: User unknown in virtual mailbox table", "rcpt", OURS),
    (550, "5.1.1 Sender address rejected: user unknown", "rcpt", OURS),
    (501, "5.1.8 Domain of sender address hello@clinic.example does not exist", "rcpt", OURS),
    (553, "sorry, your envelope sender domain does not exist", "rcpt", OURS),
    (550, "Sender verify failed: no such user here", "rcpt", OURS),
    (504, "5.5.2 <mail>: Helo command rejected: Host not found", "rcpt", OURS),
    (550, "5.7.1 SPF check failed", "rcpt", OURS),
    (550, "Message rejected: DKIM signature invalid", "data", OURS),
    (553, "5.7.1 [BL21] Connections will not be accepted from 203.0.113.9 (reputation)", "rcpt", OURS),
    (421, "4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume or user complaints", "mail", OURS),
    (530, "5.7.0 Authentication required", "mail", OURS),
    (554, "No such user, or blocked for bad reputation", "rcpt", OURS),
    (535, "5.7.8 Username and Password not accepted", "auth", OURS),
    (554, "no", "connect", OURS),
    (550, "user unknown", "mail", OURS),
    (550, "Rejected: [5.1.1.9] is on a blacklist", "rcpt", OURS),
    # this message is refused
    (552, "5.3.4 Message size exceeds fixed limit", "mail", WORDS),
    (552, "5.2.3 Message length exceeds administrative limit", "data", WORDS),
    (552, "message too large", "data", WORDS),
    (554, "Message contains a virus", "data", WORDS),
    (554, "This looks like spam to us", "data", WORDS),
    (554, "5.6.0 message content rejected", "data", WORDS),
    (550, "5.6.7 SMTPUTF8 needed", "rcpt", WORDS),
    (554, "Transaction failed", "data", WORDS),
    (550, "user unknown", "data", WORDS),
    # a 5yz alone says nothing about the address
    (550, "", "rcpt", BOX),
    (550, "no", "rcpt", BOX),
    (554, "Rejected by 5.1.1.23", "rcpt", BOX),
    (550, "Rejected (filter 2.5.1.1)", "rcpt", BOX),
    (550, "Mail for this mailbox unavailable due to policy restrictions", "rcpt", BOX),
]


def test_the_table_is_long_and_asks_no_question_twice() -> None:
    assert len({reply[:3] for reply in REPLIES}) == len(REPLIES) >= 60


@pytest.mark.parametrize(("code", "text", "stage", "expected"), REPLIES)
def test_whose_fault_a_refusal_is(code: int, text: str, stage: str, expected: Fault) -> None:
    """BNC-2, BNC-3: only "nobody there" suppresses; a refusal of us suppresses nobody."""
    assert fault_of(code, text, stage) is expected


@pytest.mark.parametrize(("code", "text", "stage", "expected"), REPLIES)
def test_shouting_or_whispering_changes_nothing(code: int, text: str, stage: str, expected: Fault) -> None:
    assert fault_of(code, text.lower(), stage) is expected
    assert fault_of(code, text.upper(), stage) is expected


replies = st.tuples(
    st.integers(400, 599),
    st.text() | st.sampled_from([reply[1] for reply in REPLIES]),
    st.sampled_from(["connect", "hello", "tls", "auth", "mail", "rcpt", "data"]),
)


@given(replies)
def test_no_answer_for_now_and_none_to_our_name_is_a_dead_address(reply: tuple[int, str, str]) -> None:
    code, text, stage = reply
    if code < 500 or stage not in {"rcpt", "data"}:
        assert fault_of(code, text, stage) is not Fault.ADDRESS


@given(st.integers(500, 599), st.integers(0, 9), st.integers(0, 60), st.sampled_from(["rcpt", "data"]))
def test_an_enhanced_code_alone_is_hard_only_when_it_is_on_the_list(
    code: int, subject: int, detail: int, stage: str
) -> None:
    enhanced = f"5.{subject}.{detail}"
    hard = enhanced in {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}

    assert (fault_of(code, enhanced, stage) is Fault.ADDRESS) is hard


# --- trying again ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "age", "wait"),
    [
        (0, timedelta(0), timedelta(minutes=5)),
        (1, timedelta(0), timedelta(minutes=5)),
        (2, HOUR, timedelta(minutes=30)),
        (3, HOUR, timedelta(hours=2)),
        (4, HOUR, timedelta(hours=6)),
        (5, HOUR, timedelta(hours=24)),
        (99, timedelta(hours=48), timedelta(hours=24)),
        (99, timedelta(hours=48, seconds=1), None),
        (1, timedelta(hours=71, minutes=55), timedelta(minutes=5)),
        (1, timedelta(hours=71, minutes=55, seconds=1), None),
        (1, timedelta(days=400), None),
    ],
)
def test_waits_grow_and_end_after_72_hours(attempts: int, age: timedelta, wait: timedelta | None) -> None:
    """F-25: 5 min, 30 min, 2 h, 6 h, 24 h; at most 72 h in all."""
    assert retry_at(attempts, NOW - age, NOW) == (None if wait is None else NOW + wait)


def test_a_mail_refused_for_ever_is_tried_seven_times_at_most() -> None:
    now, tries = NOW, 1
    while (again := retry_at(tries, NOW, now)) is not None:
        assert now < again <= NOW + GIVE_UP
        now, tries = again, tries + 1

    assert tries == 7
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)


# --- what becomes of a mailing -----------------------------------------------------------------


def settled(delivery: Delivery, code: int, text: str, stage: str, *, age: timedelta = timedelta(0)) -> Settled:
    return settle(delivery, code, text, stage, attempts=1, first=NOW - age, now=NOW)


@given(st.sampled_from(Delivery), replies, st.integers(0, 9), st.integers(0, 100))
def test_sent_means_accepted_and_suppressed_means_refused_for_good(
    delivery: Delivery, reply: tuple[int, str, str], attempts: int, hours: int
) -> None:
    """P4: nothing but a 2yz is ``sent``; BNC-3: what is our fault suppresses nobody."""
    found = settle(delivery, *reply, attempts=attempts, first=NOW - hours * HOUR, now=NOW)

    assert (found.status is MailingStatus.SENT) == (delivery is Delivery.ACCEPTED)
    assert (found.status is MailingStatus.UNCERTAIN) == (delivery is Delivery.UNKNOWN)
    assert (found.retry_at is not None) == (found.status is MailingStatus.DEFERRED)
    assert found.status is MailingStatus.SENT or found.reason
    if found.suppress:
        assert delivery is Delivery.PERMANENT
        assert fault_of(*reply) is Fault.ADDRESS
        assert not found.halt
    if delivery in {Delivery.PERMANENT, Delivery.TRANSIENT}:
        assert found.halt == (fault_of(*reply) is Fault.SENDER)


def test_a_dead_address_fails_and_is_suppressed() -> None:
    found = settled(Delivery.PERMANENT, 550, "5.1.1 no such user", "rcpt")

    assert found == Settled(MailingStatus.FAILED, "no such address", suppress=True)


def test_a_refusal_of_us_keeps_the_mail_and_stops_the_run() -> None:
    found = settled(Delivery.PERMANENT, 550, "5.7.515 Access denied", "data")

    assert (found.status, found.halt, found.suppress) == (MailingStatus.DEFERRED, True, False)


def test_a_full_mailbox_fails_without_suppression() -> None:
    found = settled(Delivery.PERMANENT, 552, "5.2.2 mailbox full", "rcpt")

    assert (found.status, found.suppress, found.halt) == (MailingStatus.FAILED, False, False)


def test_not_now_becomes_never_after_three_days() -> None:
    late = settled(Delivery.TRANSIENT, 450, "4.2.2 full", "rcpt", age=timedelta(hours=72))

    assert (late.status, late.reason, late.suppress) == (MailingStatus.FAILED, "refused for three days", False)


def test_a_lost_answer_is_never_guessed_at() -> None:
    found = settled(Delivery.UNKNOWN, 0, "timed out", "dot")

    assert found.status is MailingStatus.UNCERTAIN
    assert "may have arrived" in found.reason


@pytest.mark.parametrize("kind", Kind)
def test_a_lost_guide_is_worse_than_two_and_all_else_waits(kind: Kind) -> None:
    """P3: twice at most, and only for what a person waits for."""
    assert after_uncertainty(kind, {}) == ("retry" if kind in {Kind.CONFIRM, Kind.GUIDE} else "hold")
    assert after_uncertainty(kind, {kind.value: "hold"}) == "hold"
    assert after_uncertainty(kind, {kind.value: "retry"}) == "retry"


@pytest.mark.parametrize(
    ("text", "stage", "certain"),
    [
        ("5.7.26 This mail is unauthenticated", "dot", True),
        ("5.7.515 Access denied", "dot", True),
        ("5.7.1 blocked using a blocklist", "rcpt", True),
        ("5.1.8 sender address rejected", "mail", True),
        ("5.7.1 message refused by policy", "rcpt", False),
        ("5.7.0 not allowed", "dot", False),
    ],
)
def test_only_words_about_us_halt_a_run_at_the_first_refusal(text: str, stage: str, certain: bool) -> None:
    """BNC-3: one recipient's filter may be vague; three of those are a pattern."""
    settled = settle(Delivery.PERMANENT, 550, text, stage, attempts=1, first=NOW, now=NOW)

    assert (settled.halt, settled.suspect) == (certain, not certain)
    assert not settled.suppress
