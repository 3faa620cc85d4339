"""Returned mail: what counts as a report about mail of ours, and that no bytes at all can do harm."""

from __future__ import annotations

import random
import time
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.inbound import Report, read_report
from funnel.inbound.parts import DEEPEST
from funnel.model import EventKind
from funnel.tokens import funnel_id, mailing_of

SECRET = b"pepper" * 6
OURS = 0x2F1
MARK = funnel_id(SECRET, OURS)

RETURNED = f"""\
Return-Path: <hello@thrivehealth.example>
Message-ID: <{MARK}@thrivehealth.example>
Date: Tue, 17 Nov 2026 10:00:00 -0600
From: Maya at Thrive Health <hello@thrivehealth.example>
To: ann@patients.example
Subject: Your guide
X-Funnel-Id: {MARK}
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
"""

BODY = "\n\nHello, here is your guide.\n"


def bounce(
    fields: str,
    *,
    returned: str = RETURNED + BODY,
    kind: str = "message/rfc822",
    head: str = "",
    status_type: str = "message/delivery-status",
    words: str = "I'm sorry to have to inform you that your message could not be delivered.",
) -> bytes:
    """Return a delivery status notification."""
    text = f"""\
Return-Path: <>
From: MAILER-DAEMON@mx.thrivehealth.example (Mail Delivery System)
To: hello@thrivehealth.example
Subject: Undelivered Mail Returned to Sender
Date: Tue, 17 Nov 2026 10:00:05 -0600
Message-Id: <20261117160005.4F2A1@mx.thrivehealth.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
{head}Content-Type: multipart/report; report-type=delivery-status; boundary="4F2A0.1794931205/mx"

This is a MIME-encapsulated message.

--4F2A0.1794931205/mx
Content-Type: text/plain; charset=us-ascii

{words}

--4F2A0.1794931205/mx
Content-Description: Delivery report
Content-Type: {status_type}

{fields}
--4F2A0.1794931205/mx
Content-Type: {kind}

{returned}
--4F2A0.1794931205/mx--
"""
    return text.replace("\n", "\r\n").encode()


POSTFIX = """\
Reporting-MTA: dns; mx.thrivehealth.example
X-Postfix-Queue-ID: 4F2A0
X-Postfix-Sender: rfc822; hello@thrivehealth.example
Arrival-Date: Tue, 17 Nov 2026 10:00:01 -0600 (CST)

Final-Recipient: rfc822; ann@patients.example
Original-Recipient: rfc822;ann@patients.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.patients.example
Diagnostic-Code: smtp; 550 5.1.1 <ann@patients.example>: Recipient address
    rejected: User unknown in virtual mailbox table
"""

EXIM = """\
Reporting-MTA: dns; relay.host.example

Action: failed
Final-Recipient: rfc822;ann@patients.example
Status: 5.0.0
Remote-MTA: dns; mx.patients.example
Diagnostic-Code: smtp; 550 No such user here
"""

EXCHANGE = """\
Reporting-MTA: dns;AM6PR04MB4567.eurprd04.prod.outlook.example
Received-From-MTA: dns;mx.thrivehealth.example
Arrival-Date: Tue, 17 Nov 2026 16:00:02 +0000

Original-Recipient: rfc822;ann@patients.example
Final-Recipient: rfc822;ANN@patients.example
Action: failed (mailbox not found)
Status: 5.1.10 (bad destination)
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@patients.example not found
"""

DELAYED = """\
Reporting-MTA: dns; mx.thrivehealth.example

Final-Recipient: rfc822; ann@patients.example
Action: delayed
Status: 4.4.1
Diagnostic-Code: X-Postfix; connect to mx.patients.example[192.0.2.7]:25: Connection timed out
Will-Retry-Until: Sun, 22 Nov 2026 10:00:01 -0600
"""

SUCCESS = """\
Reporting-MTA: dns; mx.patients.example

Final-Recipient: rfc822; ann@patients.example
Action: delivered
Status: 2.1.5
"""

SEVERAL = """\
Reporting-MTA: dns; mx.thrivehealth.example

Final-Recipient: rfc822; other@patients.example
Action: delayed
Status: 4.2.2

Final-Recipient: rfc822; ann@patients.example
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 Mailbox full

Final-Recipient: rfc822; third@patients.example
Action: delivered
Status: 2.0.0
"""


def complaint(feedback: str = "abuse", *, returned: str = RETURNED + BODY, more: str = "") -> bytes:
    """Return a complaint as a feedback loop sends it."""
    return f"""\
From: <feedback@arf.mailbox.example>
To: <abuse@thrivehealth.example>
Date: Wed, 18 Nov 2026 08:00:00 +0000
Subject: FW: Your guide
Message-ID: <fbl-77@arf.mailbox.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1_13d"

--part1_13d
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--part1_13d
Content-Type: message/feedback-report

Feedback-Type: {feedback}
User-Agent: SomeGenerator/1.0
Version: 1
{more}Source-IP: 192.0.2.1

--part1_13d
Content-Type: message/rfc822
Content-Disposition: inline

{returned}
--part1_13d--
""".encode()


def away(
    *, mark: str = MARK, automatic: str = "auto-replied (vacation)", sender: str = "ann@patients.example"
) -> bytes:
    """Return an out-of-office note."""
    return f"""\
From: Ann <{sender}>
To: hello@thrivehealth.example
Subject: Out of office: Your guide
Date: Tue, 17 Nov 2026 16:00:09 +0000
Message-ID: <vac1@patients.example>
In-Reply-To: <{mark}@thrivehealth.example>
Auto-Submitted: {automatic}
Precedence: bulk
Content-Type: text/plain

I am away until Monday. User unknown, mailbox full, 550 5.1.1.
""".encode()


def read(raw: bytes) -> Report:
    found = read_report(raw, SECRET)
    assert found is not None
    return found


# --- what counts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kind", "status", "says"),
    [
        (bounce(POSTFIX), EventKind.BOUNCED, "5.1.1", "550 5.1.1 <ann@patients.example>: Recipient address rejected"),
        (bounce(EXIM), EventKind.BOUNCED, "5.0.0", "550 No such user here"),
        (bounce(EXCHANGE), EventKind.BOUNCED, "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient"),
        (bounce(DELAYED), EventKind.DEFERRED, "4.4.1", "connect to mx.patients.example[192.0.2.7]:25"),
        (bounce(SUCCESS), EventKind.DELIVERED, "2.1.5", ""),
        (bounce(SEVERAL), EventKind.BOUNCED, "5.2.2", "552 5.2.2 Mailbox full"),
        (bounce(SUCCESS.replace("delivered", "relayed")), EventKind.DELIVERED, "2.1.5", ""),
        (bounce(POSTFIX, returned=RETURNED, kind="text/rfc822-headers"), EventKind.BOUNCED, "5.1.1", "550 5.1.1"),
        (bounce(POSTFIX, returned=RETURNED, kind="message/rfc822-headers"), EventKind.BOUNCED, "5.1.1", "550 5.1.1"),
        (bounce(POSTFIX, status_type="message/global-delivery-status"), EventKind.BOUNCED, "5.1.1", "550 5.1.1"),
        (bounce(POSTFIX.replace("rfc822; ann", "utf-8; ann")), EventKind.BOUNCED, "5.1.1", "550 5.1.1"),
    ],
)  # fmt: skip
def test_delivery_reports(raw: bytes, kind: EventKind, status: str, says: str) -> None:
    found = read(raw)

    assert (found.mailing_id, found.kind, found.source, found.status) == (OURS, kind, "dsn", status)
    assert found.recipient.lower() == "ann@patients.example"
    assert found.diagnostic.startswith(says)
    assert "action: " in found.raw.lower()


def test_line_ends_make_no_difference() -> None:
    assert read(bounce(POSTFIX)) == read(bounce(POSTFIX).replace(b"\r\n", b"\n"))


def test_the_mark_survives_in_the_message_id_alone() -> None:
    without = RETURNED.replace(f"X-Funnel-Id: {MARK}\n", "")
    assert read(bounce(POSTFIX, returned=without + BODY)).mailing_id == OURS


def test_a_report_for_several_without_our_recipient_tells_of_the_first() -> None:
    hidden = RETURNED.replace("To: ann@patients.example", "To: undisclosed-recipients:;")
    found = read(bounce(SEVERAL, returned=hidden + BODY))
    assert (found.kind, found.recipient) == (EventKind.DEFERRED, "other@patients.example")


@pytest.mark.parametrize("feedback", ["abuse", "fraud", "Abuse"])
def test_complaints(feedback: str) -> None:
    found = read(complaint(feedback, more="Original-Rcpt-To: <ann@patients.example>\n"))

    assert (found.mailing_id, found.kind, found.source) == (OURS, EventKind.COMPLAINED, "arf")
    assert found.recipient == "ann@patients.example"
    assert found.diagnostic == feedback.lower()


def test_a_redacted_complaint_is_known_by_its_mark() -> None:
    redacted = RETURNED.replace("ann@patients.example", "redacted")
    assert read(complaint(returned=redacted + BODY)).mailing_id == OURS


def test_out_of_office() -> None:
    found = read(away())
    assert (found.mailing_id, found.kind, found.source) == (OURS, EventKind.AUTORESPONDED, "reply")


def test_copies_are_known_and_different_reports_are_not() -> None:
    raws = [bounce(POSTFIX), bounce(DELAYED), bounce(SUCCESS), complaint(), away()]
    assert len({read(raw).event_id for raw in raws}) == len(raws)
    assert read(bounce(POSTFIX)) == read(b"Received: from elsewhere\r\nX-Copy: 2\r\n" + bounce(POSTFIX))


def test_raw_text_is_short_and_fit_to_keep() -> None:
    odd = POSTFIX.replace("User unknown", "\x07\x00 \x1b[31m " + "é" * 5000)
    found = read(bounce(odd))
    assert len(found.raw) <= 2000
    assert len(found.diagnostic) <= 500
    assert all(c.isprintable() or c == "\n" for c in found.raw)
    assert found.raw.encode()


# --- what does not -----------------------------------------------------------------------------

OTHER = funnel_id(b"another secret" * 3, OURS)
FORGED = MARK[:-1] + ("a" if MARK[-1] != "a" else "b")


@pytest.mark.parametrize("mark", [OTHER, FORGED, "", "2f1", f"{OURS:x}.", "2f2." + MARK.partition(".")[2], "é.ü" * 9])
def test_without_our_mark_nothing_counts(mark: str) -> None:
    foreign = RETURNED.replace(MARK, mark) + BODY
    assert read_report(bounce(POSTFIX, returned=foreign), SECRET) is None
    assert read_report(complaint(returned=foreign), SECRET) is None


def test_a_mark_elsewhere_than_in_the_returned_mail_does_not_count() -> None:
    foreign = RETURNED.replace(MARK, OTHER)
    raw = bounce(POSTFIX, returned=foreign + BODY, head=f"X-Funnel-Id: {MARK}\n", words=f"X-Funnel-Id: {MARK}")
    assert read_report(raw, SECRET) is None
    assert read_report(bounce(POSTFIX, returned=foreign + f"\n\nX-Funnel-Id: {MARK}\n"), SECRET) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 100,
        RETURNED.encode() + BODY.encode(),  # our own mail, come back by an alias
        complaint("not-spam"),
        complaint("auth-failure"),
        complaint(""),
        bounce(POSTFIX.replace("Action: failed", "Action: exploded")),
        bounce(POSTFIX.replace("Action: failed\n", "")),
        bounce(""),
        away(automatic="no"),
        away(automatic="auto-generated"),
        away(mark=FORGED),
        away(sender="MAILER-DAEMON@patients.example"),
        b"Subject: Re: Your guide\nIn-Reply-To: <" + MARK.encode() + b"@x.example>\n\nThank you!",
        bounce(POSTFIX) + b"x" * 2_000_000,
    ],
)
def test_other_mail_is_no_report(raw: bytes) -> None:
    assert read_report(raw, SECRET) is None


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8])
def test_a_report_cut_short_never_says_more_than_the_whole(share: float) -> None:
    raw = bounce(POSTFIX)
    found = read_report(raw[: int(len(raw) * share)], SECRET)
    assert found is None or replace(found, raw="", diagnostic="") == replace(read(raw), raw="", diagnostic="")


def nested(depth: int) -> bytes:
    """Return a bounce inside so many parts."""
    inner = bounce(POSTFIX).partition(b"MIME-Version: 1.0\r\n")[2]
    for level in range(depth):
        edge = b"edge%d" % level
        inner = b'Content-Type: multipart/mixed; b="%s"\r\n\r\n--%s\r\n%s\r\n--%s--\r\n' % (edge, edge, inner, edge)
        inner = inner.replace(b'b="', b'boundary="', 1)
    return b"Message-ID: <1@x.example>\r\nMIME-Version: 1.0\r\n" + inner


def test_nesting_has_an_end() -> None:
    assert read(nested(3)).mailing_id == OURS
    assert read_report(nested(30), SECRET) is None
    assert read_report(nested(DEEPEST + 1), SECRET) is None


# --- whatever the bytes are --------------------------------------------------------------------

CORPUS = [bounce(POSTFIX), bounce(EXIM), bounce(EXCHANGE), bounce(SEVERAL), complaint(), away(), nested(4)]


@given(st.sampled_from(CORPUS), st.randoms(use_true_random=False), st.integers(1, 30))
def test_mutated_reports_never_raise(raw: bytes, dice: random.Random, times: int) -> None:
    assert_sound(mutated(raw, dice, times))


@given(st.binary(max_size=2000))
def test_no_bytes_raise(raw: bytes) -> None:
    assert_sound(raw)
    assert_sound(b"Content-Type: multipart/report; boundary=x\n\n--x\n" + raw)
    assert_sound(b"Content-Type: message/delivery-status\n\n" + raw)


def mutated(raw: bytes, dice: random.Random, times: int) -> bytes:
    """Return the bytes with some changed, removed, doubled or moved."""
    content = bytearray(raw)
    for _ in range(times):
        at = dice.randrange(len(content) or 1)
        end = min(len(content), at + dice.choice((1, 1, 8, 200)))
        piece = bytes(content[at:end])
        where = dice.randrange(len(content) or 1)
        act = dice.randrange(4)
        if act == 0:
            content[at:end] = bytes(dice.choices(b'\0\r\n\t ;:="<>()=?\xff\x80aZ', k=len(piece)))
        elif act == 1:
            del content[at:end]
        else:
            content[where:where] = piece * dice.choice((1, 2, 10))
    return bytes(content)


def assert_sound(raw: bytes) -> None:
    found = read_report(raw, SECRET)
    if found is not None:
        assert found.mailing_id == OURS
        assert len(found.raw) <= 2000
        assert (found.raw + found.status + found.diagnostic + found.recipient + found.event_id).encode(
            "utf-8", "replace"
        )


def test_thousands_of_broken_reports_in_little_memory() -> None:
    dice = random.Random(9)
    tracemalloc.start()
    for number in range(800):
        assert_sound(mutated(CORPUS[number % len(CORPUS)], dice, 1 + number % 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64_000_000


@pytest.mark.parametrize(
    "raw",
    [
        b"\n" * 1_900_000,
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n" * 400_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(20_000)),
        b"Content-Type: message/rfc822\n\n" * 60_000,
        b"Content-Type: message/rfc822; boundary=\n\n" * 19 + b"x\n" * 900_000,
        bounce(POSTFIX, words="x\n" * 500_000),
        bounce("Final-Recipient: rfc822;" + "a" * 1_800_000 + "\nAction: failed\n"),
        bounce("A: b\n\n" * 250_000),
        b"In-Reply-To: " + b"<a." * 600_000 + b"\nAuto-Submitted: auto-replied\n\n",
        b"Content-Type: multipart/report; " + b"a=b; " * 300_000 + b"\n\n",
        b"Content-Type: multipart/report;\n" + b" a=b;\n" * 19_000 + b"\n",
        b"Content-Type: multipart/report; boundary*0=" + b'"\\' * 800_000 + b"\n\n",
    ],
    ids=lambda raw: raw[:40].decode(errors="replace") + f" {len(raw)}",
)
def test_hostile_mail_costs_little(raw: bytes) -> None:
    start = time.process_time()
    read_report(raw, SECRET)
    assert time.process_time() - start < 10


# --- the mark ----------------------------------------------------------------------------------


@given(st.integers(0, 2**59), st.binary(min_size=16, max_size=40))
def test_a_mark_names_its_mailing_and_only_with_its_secret(mailing_id: int, secret: bytes) -> None:
    mark = funnel_id(secret, mailing_id)

    assert mailing_of(secret, f" {mark.upper()} ") == mailing_id
    assert mailing_of(secret + b"x", mark) is None
    assert mailing_of(secret, f"{mailing_id + 1:x}.{mark.partition('.')[2]}") is None


@given(st.text())
def test_no_text_is_a_mark_by_chance(text: str) -> None:
    assert mailing_of(SECRET, text) is None
    assert mailing_of(SECRET, f"0x{MARK}") is None
    assert mailing_of(SECRET, f"0{MARK}") is None
