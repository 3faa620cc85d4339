"""Ask one DNS server for one kind of record (RFC 1035): what the standard library cannot do."""

from __future__ import annotations

import secrets
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {"A": 1, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28}
#: Our offer to take a longer answer at once (RFC 6891).
ROOM = 1232
OFFER = b"\0" + struct.pack("!HHIH", 41, ROOM, 0, 0)
NO_SUCH_NAME = 3
#: A name goes on elsewhere at most so often; more is a ring.
MOST_JUMPS = 20
ADDRESS_LENGTHS = {1: 4, 28: 16}


class SilentError(Exception):
    """The DNS server does not answer, or says nothing that can be read."""


class Resolver:
    """Looks names up at one server. Once it was silent it is not asked again: that would take minutes."""

    def __init__(self, server: tuple[str, int], *, patience: float = 3.0) -> None:
        self.server = server
        self.patience = patience
        self.dead = ""

    def look_up(self, name: str, kind: str) -> list[str]:
        """Return the records of a kind, empty when there are none; raises SilentError."""
        if self.dead:
            raise SilentError(self.dead)
        try:
            question = labels(name) + struct.pack("!HH", KINDS[kind], 1)
        except ValueError:
            return []  # no name at all, so nothing stands under it
        try:
            return self._asked(question, KINDS[kind])
        except (OSError, UnicodeError) as fault:
            self.dead = f"the DNS server {self.server[0]} does not answer ({fault})"
        except (ValueError, IndexError, struct.error):
            self.dead = f"the DNS server {self.server[0]} says nothing that can be read"
        raise SilentError(self.dead) from None

    def _asked(self, question: bytes, kind: int) -> list[str]:
        number = secrets.token_bytes(2)
        message = number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 1) + question + OFFER
        answer = self._by_udp(message, question)
        if answer[2] & 0x02:  # it was cut off
            answer = self._by_tcp(message)
        code = answer[3] & 0x0F
        if code not in {0, NO_SUCH_NAME}:
            raise SilentError(f"the DNS server {self.server[0]} refuses to say (code {code})")
        return list(records(answer, kind))

    def _by_udp(self, message: bytes, question: bytes) -> bytes:
        family = socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET
        for last in (False, True):
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.settimeout(self.patience)
                sock.connect(self.server)  # only this server's answers are taken
                sock.send(message)
                try:
                    while True:
                        answer = sock.recv(65_535)
                        if answer[:2] == message[:2] and answer[12 : 12 + len(question)].lower() == question.lower():
                            return answer
                except TimeoutError:
                    if last:
                        raise
        raise AssertionError("the loop returns or raises")

    def _by_tcp(self, message: bytes) -> bytes:
        with socket.create_connection(self.server, self.patience) as sock, sock.makefile("rb") as stream:
            sock.sendall(struct.pack("!H", len(message)) + message)
            return stream.read(struct.unpack("!H", stream.read(2))[0])


def system_server(file: Path = Path("/etc/resolv.conf")) -> tuple[str, int] | None:
    """Return the DNS server this machine asks first, or None when it names none."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return (found[0].partition("%")[0], 53) if found else None


def labels(name: str) -> bytes:
    """Return a name as it stands in a message; raises ValueError for one that cannot."""
    parts = [part.encode("ascii") for part in name.rstrip(".").split(".")]
    if not all(0 < len(part) < 64 for part in parts) or sum(map(len, parts)) + len(parts) > 254:
        raise ValueError(name)
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def records(answer: bytes, kind: int) -> Iterator[str]:
    """Yield the records of a kind in an answer; raises ValueError, IndexError or struct.error for nonsense."""
    questions, answers = struct.unpack("!HH", answer[4:8])
    place = 12
    for _ in range(questions):
        place = read_name(answer, place)[1] + 4
    for _ in range(answers):
        place = read_name(answer, place)[1]
        found, _, _, length = struct.unpack("!HHIH", answer[place : place + 10])
        place += 10
        if place + length > len(answer):
            raise ValueError("cut off")
        if found == kind:
            yield _spelled(answer, place, length, kind)
        place += length


def _spelled(answer: bytes, place: int, length: int, kind: int) -> str:
    """Return the value of one record as text: ``10 mx.example`` for MX, the strings joined for TXT."""
    value = answer[place : place + length]
    if kind in ADDRESS_LENGTHS:
        return socket.inet_ntop(socket.AF_INET if kind == KINDS["A"] else socket.AF_INET6, value)
    if kind == KINDS["MX"]:
        return f"{struct.unpack('!H', value[:2])[0]} {read_name(answer, place + 2)[0]}"
    if kind == KINDS["TXT"]:
        pieces, at = [], 0
        while at < len(value):
            pieces.append(value[at + 1 : at + 1 + value[at]])
            at += 1 + value[at]
        return b"".join(pieces).decode("utf-8", "replace")
    return read_name(answer, place)[0]


def read_name(message: bytes, place: int) -> tuple[str, int]:
    """Return a name and where it ends; raises ValueError for one that runs in a ring."""
    parts: list[str] = []
    end, jumps = 0, 0
    while length := message[place]:
        if length >= 0xC0:
            end = end or place + 2
            place = (length & 0x3F) << 8 | message[place + 1]
            jumps += 1
            if jumps > MOST_JUMPS:
                raise ValueError("a ring")
        else:
            parts.append(message[place + 1 : place + 1 + length].decode("ascii", "replace").lower())
            place += 1 + length
    return ".".join(parts), end or place + 1
