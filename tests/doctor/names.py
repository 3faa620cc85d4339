"""A DNS server on loopback that knows a few names, over UDP and TCP."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from funnel.doctor.resolver import KINDS, labels, read_name

if TYPE_CHECKING:
    from collections.abc import Callable

KIND_OF = {number: kind for kind, number in KINDS.items()}


@dataclass
class NameServer:
    """Answers from ``zone``, which maps a name and a kind to its records; use it in a ``with`` block.

    ``spoil`` may change an answer before it leaves; an empty one is not sent at all.
    """

    zone: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] = lambda answer: answer
    cut: bool = False  #: say over UDP that the answer is too long for it
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                message, sock = self.request
                answer = outer.spoil(outer.answer(message, cut=outer.cut))
                if answer:
                    sock.sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                message = self.rfile.read(struct.unpack("!H", self.rfile.read(2))[0])
                answer = outer.answer(message, cut=False)
                self.wfile.write(struct.pack("!H", len(answer)) + answer)

        self.udp = socketserver.UDPServer(("127.0.0.1", 0), Udp)
        self.tcp = socketserver.TCPServer(self.udp.server_address, Tcp)
        for server in (self.udp, self.tcp):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.udp, self.tcp):
            server.shutdown()
            server.server_close()

    @property
    def address(self) -> tuple[str, int]:
        """Return where it listens."""
        return "127.0.0.1", int(self.udp.server_address[1])

    def answer(self, message: bytes, *, cut: bool) -> bytes:
        """Return the answer to a question, with the names in it shortened as real servers do."""
        name, place = read_name(message, 12)
        kind = KIND_OF[struct.unpack("!H", message[place : place + 2])[0]]
        self.asked.append((name, kind))
        known = any(name == one for one, _ in self.zone)
        head = message[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3) | (0x0200 if cut else 0), 1, 0, 0, 0)
        if cut:
            return head + message[12 : place + 4]
        found = self.zone.get((name, kind), [])
        head = head[:6] + struct.pack("!H", len(found)) + head[8:]
        return head + message[12 : place + 4] + b"".join(b"\xc0\x0c" + record(kind, value) for value in found)


def record(kind: str, value: str) -> bytes:
    """Return one record as it stands in a message, without its name."""
    if kind == "TXT":
        raw = value.encode()
        data = b"".join(bytes([len(raw[i : i + 255])]) + raw[i : i + 255] for i in range(0, len(raw) or 1, 255))
    elif kind == "MX":
        number, _, host = value.partition(" ")
        data = struct.pack("!H", int(number)) + (labels(host) if host else b"\0")
    elif kind == "CNAME":
        data = labels(value)
    else:
        data = socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
    return struct.pack("!HHIH", KINDS[kind], 1, 60, len(data)) + data
