"""What is said on a connection, without one: replies cut, parameters made, mails settled."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from funnel.model import Delivery, Outgoing
from funnel.transport.conversation import (
    BrokenError,
    Conversation,
    Offers,
    Replies,
    clean,
    impossible,
    unwelcome,
    verdict,
    xtext,
)

ALL = Offers.of({"pipelining": "", "8bitmime": "", "dsn": "", "size": "1000"})
NONE = Offers()
MAIL = Outgoing(7, "hello@clinic.example", "ann@mail.example", b"Subject: x\r\nX-Funnel-Id: 1f.a+b=\r\n\r\nHello\r\n")

WORDS = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=30)
REPLIES = st.lists(st.tuples(st.integers(200, 599), st.lists(WORDS, min_size=1, max_size=3)), max_size=6)


def on_the_wire(code: int, lines: list[str]) -> bytes:
    return b"".join(f"{code}{'-' if i < len(lines) - 1 else ' '}{line}\r\n".encode() for i, line in enumerate(lines))


def cut(data: bytes, ends: list[int]) -> list[tuple[int, bytes]]:
    """Return the replies in what comes in pieces that end there."""
    replies, found, begin = Replies(), [], 0
    for end in [*sorted(ends), len(data)]:
        replies.feed(data[begin:end])
        begin = max(begin, end)
        while (reply := replies.cut()) is not None:
            found.append(reply)
    assert replies.quiet
    return found


@given(said=REPLIES, ends=st.lists(st.integers(0, 400), max_size=8))
def test_replies_are_the_same_however_they_come_in(said: list[tuple[int, list[str]]], ends: list[int]) -> None:
    data = b"".join(on_the_wire(code, lines) for code, lines in said)

    assert cut(data, ends) == [(code, "\n".join(lines).encode()) for code, lines in said]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"250\r\n", (250, b"")),
        (b"250 ok\n", (250, b"ok")),
        (b"250ok\r\n", (-1, b"250ok")),
        (b"2500 ok\r\n", (-1, b"2500 ok")),
        (b"25\r\n", (-1, b"25")),
        (b"hello?\r\n", (-1, b"hello?")),
        (b"\r\n", (-1, b"")),
        ("²50 ok\r\n".encode(), (-1, "²50 ok".encode())),
    ],
)
def test_only_three_digits_are_a_code(line: bytes, expected: tuple[int, bytes]) -> None:
    assert cut(line, []) == [expected]


@given(data=st.binary(max_size=40_000), ends=st.lists(st.integers(0, 40_000), max_size=4))
@example(data=b"x" * 8_192, ends=[])
@example(data=b"250-x\r\n" * 201, ends=[])
@example(data=b"250-" + b"x" * 9_000 + b"\r\n", ends=[5])
def test_nothing_a_server_says_is_kept_without_end(data: bytes, ends: list[int]) -> None:
    """F-20, SEC-39."""
    replies = Replies()
    begin = 0
    try:
        for end in [*sorted(ends), len(data)]:
            replies.feed(data[begin:end])
            begin = max(begin, end)
            while replies.cut() is not None:
                pass
    except BrokenError:
        return
    assert len(replies._rest) < 8_192
    assert len(replies._said) <= 200


@given(text=st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126)))
def test_xtext_can_be_read_back(text: str) -> None:
    coded = xtext(text)

    assert "=" not in coded
    assert coded.replace("+3D", "=").replace("+2B", "+") == text


@given(text=st.text(max_size=2_000) | st.binary(max_size=2_000))
def test_words_of_a_server_are_one_short_printable_line(text: str | bytes) -> None:
    cleaned = clean(text)

    assert cleaned.isprintable()
    assert len(cleaned) <= 500
    assert cleaned == " ".join(cleaned.split(" "))


@given(code=st.integers(-1, 599))
def test_only_two_hundreds_after_the_dot_are_acceptance(code: int) -> None:
    """P4."""
    assert (verdict("dot", code, b"").delivery is Delivery.ACCEPTED) is (200 <= code < 300)
    assert (verdict("dot", code, b"").delivery is Delivery.UNKNOWN) is (code < 200 or 300 <= code < 400)
    for stage in ("mail", "rcpt", "data"):
        assert verdict(stage, code, b"").delivery in {Delivery.PERMANENT, Delivery.TRANSIENT}


# --- what is offered is used, and nothing else --------------------------------------------------


def test_what_is_not_offered_is_not_said() -> None:
    talk = Conversation(NONE)
    talk.offer(MAIL)
    talk.hear(b"250 ok\r\n")

    assert talk.out == [b"MAIL FROM:<hello@clinic.example>\r\n", b"RCPT TO:<ann@mail.example>\r\n"]


def test_reports_are_asked_for_with_our_mark() -> None:
    """ENV-2: a report brings the mark back, and headers are enough."""
    talk = Conversation(ALL)
    talk.offer(Outgoing(7, MAIL.sender, "a+b=c@mail.example", MAIL.message))

    assert b"".join(talk.out).splitlines() == [
        f"MAIL FROM:<hello@clinic.example> SIZE={len(MAIL.message)} ENVID=1f.a+2Bb+3D RET=HDRS".encode(),
        b"RCPT TO:<a+b=c@mail.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@mail.example",
        b"DATA",
    ]


@pytest.mark.parametrize(
    "message",
    [b"Subject: x\r\n\r\n\r\nX-Funnel-Id: body\r\n", b"X: y\r\nX-Funnel-Id: " + b"=" * 40 + b"\r\n\r\n", b"no header"],
)
def test_without_a_mark_of_fitting_length_none_is_given(message: bytes) -> None:
    talk = Conversation(ALL)
    talk.offer(Outgoing(7, MAIL.sender, MAIL.recipient, message))

    assert b"ENVID" not in talk.out[0]
    assert b" RET=HDRS" in talk.out[0]


def test_eight_bit_is_said_or_refused() -> None:
    """F-37: never silently mangled."""
    mail = Outgoing(7, MAIL.sender, MAIL.recipient, "Subject: x\r\n\r\nÄ\r\n".encode())
    talk = Conversation(Offers(eight_bit=True))
    talk.offer(mail)

    assert talk.out == [b"MAIL FROM:<hello@clinic.example> BODY=8BITMIME\r\n"]
    assert unwelcome(mail, talk.offers) is None
    refused = unwelcome(mail, NONE)
    assert refused is not None
    assert (refused.delivery, refused.stage) == (Delivery.PERMANENT, "data")


@pytest.mark.parametrize(
    ("size", "fits"), [("", True), ("0", True), ("much", True), ("²", True), ("1000", True), ("10", False)]
)
def test_a_message_larger_than_the_server_takes_is_not_tried(size: str, fits: bool) -> None:
    assert (unwelcome(MAIL, Offers.of({"size": size})) is None) is fits


ENDS = st.lists(st.sampled_from([b"a", b"\r\n", b"\r\n", b"\r", b"\n", b"\x85", b"."]), max_size=12).map(b"".join)


@given(message=ENDS)
def test_every_bare_line_end_is_found(message: bytes) -> None:
    """SEC-9."""
    rest = message.replace(b"\r\n", b"")
    mail = Outgoing(1, MAIL.sender, MAIL.recipient, message)

    assert (impossible(mail) is None) is (b"\r" not in rest and b"\n" not in rest)


# --- pipelining (RFC 2920) --------------------------------------------------------------------------


def offered(offers: Offers = ALL) -> Conversation:
    talk = Conversation(offers)
    talk.offer(MAIL)
    talk.out.clear()
    return talk


def test_a_refused_recipient_behind_a_354_gets_a_lone_dot() -> None:
    """RFC 2920, 3.1: the server waits for a message that goes to nobody."""
    talk = offered()
    talk.hear(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")

    assert talk.out == [b".\r\n"]
    assert [(mail, reply.code, reply.stage) for mail, reply in talk.settled] == [(MAIL, 550, "rcpt")]
    assert not talk.clear
    assert not talk.idle
    talk.hear(b"554 no valid recipients\r\n")
    assert talk.idle
    talk.offer(MAIL)
    assert not talk.out[1].startswith(b"RSET")


def test_a_refused_envelope_is_reset_before_the_next() -> None:
    talk = offered()
    talk.hear(b"250 ok\r\n550 no\r\n503 to whom?\r\n")
    talk.offer(MAIL)

    assert talk.out[0] == b"RSET\r\n"
    assert talk.settled[0][1].code == 550


def test_the_first_refusal_counts() -> None:
    talk = offered()
    talk.hear(b"451 later\r\n503 from whom?\r\n503 to whom?\r\n")

    assert [(reply.code, reply.stage) for _, reply in talk.settled] == [(451, "mail")]


CODES = st.sampled_from([b"250", b"250", b"250", b"354", b"354", b"251", b"221", b"421", b"451", b"550", b"199", b"25"])
SPOKEN = st.lists(st.tuples(CODES, st.sampled_from([b" ", b" ", b" ", b"-"]), st.sampled_from([b"ok", b"", b"go\xff"])))
ALL_IS_WELL = [(b"250", b" ", b"taken"), (b"250", b" ", b"ok"), (b"250", b" ", b"ok"), (b"354", b" ", b"go")]


def heard(*pieces: bytes) -> tuple[object, ...]:
    """Return where a conversation stands that has a message out and the next one announced."""
    talk = offered()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.content()
    talk.offer(MAIL._replace(mailing_id=8))
    talk.out.clear()
    try:
        for piece in pieces:
            talk.hear(piece)
    except BrokenError:
        talk.clear = False  # nothing more is said here, whatever was heard last
        return ("broken", [reply for _, reply in talk.settled])
    return (talk.settled, talk.out, talk.clear, talk.idle, talk.awaits, talk.heard, talk.sent, talk.coming)


@given(said=SPOKEN)
@example(said=ALL_IS_WELL)
@example(said=[*ALL_IS_WELL[:2], (b"550", b" ", b"no"), ALL_IS_WELL[3]])
@example(said=[ALL_IS_WELL[0], (b"451", b" ", b"no"), *ALL_IS_WELL[2:]])
@example(said=[(b"550", b" ", b"no"), *ALL_IS_WELL[1:]])
@example(said=[*ALL_IS_WELL[:3], (b"250", b" ", b"ok")])
@example(said=[*ALL_IS_WELL, (b"250", b" ", b"ok")])
def test_what_is_heard_at_once_means_what_it_means_bit_by_bit(said: list[tuple[bytes, bytes, bytes]]) -> None:
    """Four good answers in one piece are the usual thing, and are taken in at one look."""
    data = b"".join(code + between + words + b"\r\n" for code, between, words in said)

    assert heard(data) == heard(*(data[i : i + 1] for i in range(len(data))))


def test_what_was_half_said_belongs_to_what_comes_then() -> None:
    """However well that sounds by itself."""
    data = b"".join(code + between + words + b"\r\n" for code, between, words in ALL_IS_WELL)

    assert heard(b"55", data) == heard(b"55" + data)
    assert heard(b"250-well, \r\n", data) == heard(b"250-well, \r\n" + data)


@pytest.mark.parametrize("early", [b"250 ok\r\n", b"2", b"\r\n"])
def test_more_than_a_354_stops_the_message(early: bytes) -> None:
    """F-36: somebody answers before the dot; nothing has gone yet."""
    talk = offered()
    with pytest.raises(BrokenError, match="asked"):
        talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n" + early)

    assert talk.lost("x") is None
    assert [reply.delivery for _, reply in talk.settled] == [Delivery.TRANSIENT]


def test_nothing_may_be_said_unasked() -> None:
    with pytest.raises(BrokenError, match="without being asked"):
        Conversation(ALL).hear(b"421 idle for too long\r\n")


def test_a_message_waits_for_its_354() -> None:
    with pytest.raises(AssertionError):
        offered().content()
