"""What has to be said goes out whole and in its order, however little of it the network takes at a time."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from funnel.transport.line import Line


@pytest.mark.parametrize("gathers", [True, False])
def test_what_is_said_while_the_server_is_slow_comes_after_what_is_left(gathers: bool) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    line = Line(ours, {}, timeout=30, after_dot=30)
    line._gathers = line._gathers and gathers
    said = [b"a" * 300_000, b"b" * 10, b"c" * 300_000, b"d" * 10]
    got = b""
    with closing(ours), closing(theirs):
        theirs.settimeout(10)
        for first, second in (said[:2], said[2:]):
            line.talk.out += [first, second]
            line.send()
            assert line.clogged
            assert line.talk.out == []
            got += theirs.recv(65_536)  # so that there is room again, and still something left
        while len(got) < sum(map(len, said)):
            line.send()
            got += theirs.recv(65_536)
    assert got == b"".join(said)
    assert not line.clogged
