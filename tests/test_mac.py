"""Our authentication code is the standard library's, for every key and every message."""

from __future__ import annotations

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from funnel.mac import Mac


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
@example(key=b"k" * 64, messages=[b"", b"x"])
@example(key=b"k" * 65, messages=[b"x", b"x"])
def test_codes_are_those_of_the_standard(key: bytes, messages: list[bytes]) -> None:
    """RFC 2104; a key is used for many messages, and none leaves a trace in the next."""
    mac = Mac(key)
    assert mac.of_each(messages) == [hmac.digest(key, message, "sha256") for message in messages]
