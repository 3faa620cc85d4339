"""What is said on one SMTP connection once it is open (RFC 5321), without a socket: replies in, bytes and answers out.

What an answer means depends on the stage it comes at: before the final dot nothing was accepted; after
it, silence or garbage means that nobody can know (RFC 1047). Where the server offers PIPELINING (RFC
2920) MAIL, RCPT and DATA go together, right behind the message before them; the message itself always
waits for its own 354.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from io import IncrementalNewlineDecoder
from typing import TYPE_CHECKING, ClassVar

from funnel.model import Delivery, Outgoing, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

#: No reply anybody means is longer; more is a server that wants to fill our memory or our day (F-20).
REPLY_LINES = 200
LINE_BYTES = 8_192
CODE = re.compile(rb"[0-9]{3}(?:[ -]|$)")
#: Replies of one short line each, as nearly all are.
PLAIN_REPLY = re.compile(rb"([0-9]{3}) ([^\r\n]{0,500})\r\n")
PLAIN_REPLIES = re.compile(rb"(?:[0-9]{3} [^\r\n]{0,500}\r\n)+")
RSET = b"RSET\r\n"
#: The stages of an envelope; those of a message whose successor is announced behind it, and what is usually said of it.
ENVELOPE = ("mail", "rcpt", "data")
USUAL = deque(("dot", *ENVELOPE))
ALL_WELL = re.compile(
    rb"(2[0-9]{2}) ([^\r\n]{0,500})\r\n2[0-9]{2} [^\r\n]{0,500}\r\n2[0-9]{2} [^\r\n]{0,500}\r\n354 [^\r\n]{0,500}\r\n"
)
#: What may stand between < and >: nothing that could end the command or add to it (SEC-9).
PATH = re.compile(r"[!-;=?-~]+")
#: Our own signed mark, which a report about this mail brings back as Original-Envelope-Id (ENV-2).
MARK = re.compile(rb"\r\nX-Funnel-Id: ([!-~]{1,100})\r\n")


class BrokenError(Exception):
    """This connection cannot be trusted any more; the message says why."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What of the extensions we use a server has; ``size`` 0 is no limit."""

    pipelining: bool = False
    eight_bit: bool = False
    dsn: bool = False
    sizes: bool = False
    size: int = 0

    @classmethod
    def of(cls, features: Mapping[str, str]) -> Offers:
        """Return the offers in an answer to EHLO, as keyword and parameters."""
        size = features.get("size", "").strip()
        return cls(
            "pipelining" in features,
            "8bitmime" in features,
            "dsn" in features,
            "size" in features,
            int(size) if size.isascii() and size.isdigit() else 0,
        )


class Replies:
    """Cuts what a server sends into replies, with a bound on each."""

    def __init__(self) -> None:
        self._whole: deque[tuple[int, bytes]] = deque()
        self._rest = b""
        self._said: list[bytes] = []
        self._fault = ""

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        if not (self._rest or self._said) and PLAIN_REPLIES.fullmatch(data):
            self._whole += [(int(code), words) for code, words in PLAIN_REPLY.findall(data)]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if len(line) >= LINE_BYTES or len(self._said) >= REPLY_LINES:
                self._fault = "the reply has no end"
                return
            self._take(line.rstrip(b"\r"))
        if len(self._rest) >= LINE_BYTES:
            self._fault = "a line of the reply has no end"

    def _take(self, line: bytes) -> None:
        code = int(line[:3]) if CODE.match(line) else -1
        words = line[4:] if code >= 0 else line
        self._said.append(words)
        if code < 0 or line[3:4] != b"-":
            self._whole.append((code, b"\n".join(self._said)))
            self._said.clear()

    @property
    def quiet(self) -> bool:
        """True when nothing more has come in."""
        return not (self._whole or self._rest or self._said)

    def cut(self) -> tuple[int, bytes] | None:
        """Return code and words of the next whole reply, or None; -1 is no code.

        Raises BrokenError where a line or a reply has no end.
        """
        if self._whole:
            return self._whole.popleft()
        if self._fault:
            raise BrokenError(self._fault)
        return None


class Conversation:
    """One connection's transactions, one recipient each.

    ``sent`` is the mail whose message is out and whose answer is awaited; ``coming`` the one whose
    envelope is on its way; ``clear`` says that it got its 354. ``settled`` collects mails with their
    answers, ``out`` what has to be sent.
    """

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self.replies = Replies()
        self.sent: Outgoing | None = None
        self.coming: Outgoing | None = None
        self.clear = False
        self.settled: list[tuple[Outgoing, Reply]] = []
        self.out: list[bytes] = []
        self.messages = 0
        self.heard = 0
        self._refusal: Reply | None = None
        self._awaited: deque[str] = deque()
        self._todo: deque[tuple[str, bytes]] = deque()
        self._unclean = False

    @property
    def idle(self) -> bool:
        """True when a mail may be offered and nothing is awaited."""
        return not (self._awaited or self.coming)

    @property
    def awaits(self) -> str:
        """The stage whose reply comes next, or nothing."""
        return self._awaited[0] if self._awaited else ""

    def offer(self, mail: Outgoing) -> int:
        """Say the envelope of a mail, behind the message that is going out if there is one; returns its octets.

        All at once to a server that offers PIPELINING, else one command a reply.
        """
        self.coming, self._refusal = mail, None
        sender, recipient = _parameters(mail, self.offers)
        text = f"MAIL FROM:<{mail.sender}>{sender}\r\nRCPT TO:<{mail.recipient}>{recipient}\r\nDATA\r\n"
        lines = text.encode("ascii")
        if not self._unclean and self.offers.pipelining:
            self._awaited += ENVELOPE
            self.out.append(lines)
            return len(lines)
        before = len(self.out)
        if self._unclean:
            self._todo.append(("rset", RSET))
            self._unclean = False
        self._todo += zip(ENVELOPE, lines.splitlines(keepends=True), strict=True)
        self._speak()
        return sum(map(len, self.out[before:]))

    def _speak(self) -> None:
        """Say what may be said."""
        while self._todo and (self.offers.pipelining or not self._awaited):
            stage, line = self._todo.popleft()
            self._awaited.append(stage)
            self.out.append(line)

    def content(self, following: Outgoing | None = None) -> int:
        """Send the message of the mail that is clear to go, and behind it the envelope of the mail that follows.

        Returns how many octets stand behind the message.
        """
        mail = self.coming
        if mail is None or not self.clear:
            raise AssertionError("no 354 came")
        self.sent, self.coming, self.clear = mail, None, False
        self.out += _on_the_wire(mail)
        self._awaited.append("dot")
        return self.offer(following) if following else 0

    def hear(self, data: bytes) -> bool:
        """Take what the server sent, and return whether it is just that a message was taken and the next may come.

        Raises BrokenError when nothing more may be said on this connection.
        """
        if self._awaited == USUAL and self.replies.quiet and self._hear_all_well(data):
            return True
        self.replies.feed(data)
        while (reply := self.replies.cut()) is not None:
            if not self._awaited:
                raise BrokenError("the server speaks without being asked")
            stage = self._awaited.popleft()
            self.heard += 1
            self._answers[stage](self, stage, *reply)
        if (self.clear or self.idle) and not self.replies.quiet:
            raise BrokenError("the server answers before it is asked")
        return False

    def _hear_all_well(self, data: bytes) -> bool:
        """Hear that a message was taken and the next may come, when it is that and nothing else; return whether."""
        found = ALL_WELL.fullmatch(data)
        mail = self.sent
        if found is None or mail is None:
            return False
        self.heard += len(USUAL)
        self._awaited.clear()
        self.sent, self.clear = None, True
        self._settle(mail, Reply(Delivery.ACCEPTED, int(found[1]), clean(found[2]), "dot"))
        return True

    def _reset(self, _: str, code: int, words: bytes) -> None:
        if code != 250:
            raise BrokenError(f"{code} {clean(words)}")
        self._speak()

    def _nobody(self, _: str, code: int, words: bytes) -> None:
        """Hear the answer to a message without recipient and content (RFC 2920, 3.1): nothing hangs on it."""
        if code // 100 not in {2, 4, 5} or code == 421:
            raise BrokenError(f"{code} {clean(words)}")

    def _envelope(self, stage: str, code: int, words: bytes) -> None:
        """Hear the answer to MAIL or RCPT; the first refusal counts."""
        if code // 100 == 2:
            if self._todo:
                self._speak()
            return
        if code == 421 and stage == "mail" and self.messages:
            raise BrokenError(clean(words))  # it had enough of this connection, not of this mail
        self._refusal = self._refusal or verdict(stage, code, words)
        if not _refuses(code):
            self._end(self._refusal)
            raise BrokenError(clean(words))
        if not self.offers.pipelining:
            self._todo.clear()
            self._unclean = True
            self._end(self._refusal)

    def _data(self, stage: str, code: int, words: bytes) -> None:
        """Hear the answer to DATA: the message may go, or it ends here."""
        if code == 354 and not self._refusal:
            self.clear = True
            return
        self._end(self._refusal or verdict(stage, code, words))
        if code == 354:
            self.out.append(b".\r\n")
            self._awaited.append("nobody")
        elif _refuses(code):
            self._unclean = True
        else:
            raise BrokenError(clean(words))

    def _dot(self, stage: str, code: int, words: bytes) -> None:
        mail, self.sent = self.sent, None
        if mail is None:
            raise AssertionError("nothing was sent")
        self._settle(mail, verdict(stage, code, words))
        if code // 100 != 2:
            self._unclean = self.coming is None
            if not _refuses(code):
                raise BrokenError(clean(words))

    _answers: ClassVar = {
        "rset": _reset,
        "nobody": _nobody,
        "mail": _envelope,
        "rcpt": _envelope,
        "data": _data,
        "dot": _dot,
    }

    def _end(self, reply: Reply) -> None:
        """Settle the mail whose envelope was on its way."""
        mail, self.coming = self.coming, None
        if mail is None:
            raise AssertionError("nothing was offered")
        self._settle(mail, reply)

    def _settle(self, mail: Outgoing, reply: Reply) -> None:
        self.messages += 1
        self.settled.append((mail, reply))

    def lost(self, why: str) -> Outgoing | None:
        """Settle what the end of the connection settles; return the mail that may go on another one (F-35).

        That is a mail on a connection that worked before, or whose MAIL was never answered: it was not
        this mail that ended it.
        """
        if self.sent:
            self._settle(self.sent, Reply(Delivery.UNKNOWN, 0, why, "dot"))
            self.sent = None
        mail, stage = self.coming, self._stage()
        if mail and self._refusal:
            self._end(self._refusal)
        elif mail and not self.messages and stage != "mail":
            self._end(Reply(Delivery.TRANSIENT, 0, why, stage))
        mail, self.coming = self.coming, None
        return mail

    def _stage(self) -> str:
        """Return how far the envelope on its way has come."""
        if self.clear:
            return "data"
        return next((stage for stage in self._awaited if stage in {"mail", "rcpt", "data"}), "mail")


def _refuses(code: int) -> bool:
    """Return whether this is a refusal after which the server still listens."""
    return code // 100 in {4, 5} and code != 421


def verdict(stage: str, code: int, words: bytes) -> Reply:
    """Return what a reply at a stage means for the mail; for MAIL, RCPT and DATA, replies that refuse it."""
    family, text = code // 100, clean(words)
    if stage == "dot":
        if family == 2:
            return Reply(Delivery.ACCEPTED, code, text, stage)
        if family not in {4, 5}:
            return Reply(Delivery.UNKNOWN, code, text, stage)
        stage = "data"
    return Reply(Delivery.PERMANENT if family == 5 else Delivery.TRANSIENT, code, text, stage)


def refusal(mail: Outgoing, offers: Offers) -> Reply | None:
    """Return why a mail can go to no server, or not to one with these offers, or None."""
    fits = mail.canonical and (not offers.size or len(mail.message) <= offers.size)
    if fits and PATH.fullmatch(mail.recipient) and _path(mail.sender):
        return None  # so it is with nearly all
    return impossible(mail) or unwelcome(mail, offers)


def impossible(mail: Outgoing) -> Reply | None:
    """Return why a mail can go to no server, or None."""
    if not (PATH.fullmatch(mail.recipient) and _path(mail.sender)):
        return Reply(Delivery.PERMANENT, 0, "the address cannot be written in SMTP", "rcpt")
    if not mail.canonical and _line_ends(mail.message) not in {"\r\n", None}:
        return Reply(Delivery.PERMANENT, 0, "the message has a line that does not end in CRLF", "data")
    return None


@lru_cache(maxsize=16)
def _path(address: str) -> bool:
    return bool(PATH.fullmatch(address))


def _line_ends(message: bytes) -> str | tuple[str, ...] | None:
    """Return which ways to end a line there are; some servers take what follows a bare one for a command (SEC-9)."""
    seen = IncrementalNewlineDecoder(None, translate=False)  # four times as fast as counting
    seen.decode(message.decode("latin-1"), final=True)
    return seen.newlines


def unwelcome(mail: Outgoing, offers: Offers) -> Reply | None:
    """Return why a mail cannot go to a server with these offers, or None (F-37)."""
    if offers.size and len(mail.message) > offers.size:
        text = f"the message has {len(mail.message)} bytes, and the server takes {offers.size}"
        return Reply(Delivery.PERMANENT, 0, text, "data")
    if not (mail.canonical or offers.eight_bit or mail.message.isascii()):
        return Reply(Delivery.PERMANENT, 0, "the message needs 8BITMIME, which the server does not offer", "data")
    return None


def _parameters(mail: Outgoing, offers: Offers) -> tuple[str, str]:
    """Return what follows the addresses in MAIL and RCPT, each with a blank before it."""
    sender = f" SIZE={len(mail.message)}" if offers.sizes else ""
    if offers.eight_bit and not (mail.canonical or mail.message.isascii()):
        sender += " BODY=8BITMIME"
    if not offers.dsn:
        return sender, ""
    mark = MARK.search(mail.message, 0, mail.message.find(b"\r\n\r\n") + 2)
    envid = xtext(mark[1].decode("ascii")) if mark else ""
    if 0 < len(envid) <= 100:
        sender += f" ENVID={envid}"
    return f"{sender} RET=HDRS", f" NOTIFY=FAILURE,DELAY ORCPT=rfc822;{xtext(mail.recipient)}"


def xtext(text: str) -> str:
    """Return printable ASCII as RFC 3461 wants it in a parameter: ``+`` and ``=`` by their numbers."""
    return text.replace("+", "+2B").replace("=", "+3D")


def _on_the_wire(mail: Outgoing) -> tuple[bytes, bytes]:
    """Return a message with its dots doubled, and its end."""
    content = mail.message if mail.canonical else _stuffed(mail.message)
    return content, b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"


def _stuffed(message: bytes) -> bytes:
    content = message.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content


def clean(text: bytes | str) -> str:
    """Return a server's words fit to store and show: printable, one line, at most 500 characters (SEC-39)."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if len(words) <= 500 and words.isprintable():
        return " ".join(words.split())
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:500]
