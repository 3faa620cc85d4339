"""Proof of work (``signup.proof_of_work``): the browser does a little arithmetic before a form is taken in (POP-7).

The key that a form carries anyway is the question. The answer is a number that gives, with the key, a SHA-256
that begins with ``BITS`` zero bits. Finding it takes a phone a moment and a program a moment each time; looking
at it is one hash. There is nothing to see, to read or to press.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.address import keyed_hash, parse_address
from funnel.app import PAGE_LIFE
from funnel.errors import FunnelError
from funnel.store import quotas

if TYPE_CHECKING:
    from funnel.app import Funnel
    from funnel.signup import Request

#: Each bit more doubles the work. With 16 a phone of the slow kind, a fifth of a desk computer, takes about a second.
BITS = 16
ANSWER = re.compile(r"[0-9]{1,12}", re.ASCII)
HERE = Path(__file__).parent
PLACE = '"BITS"'


class WorkError(FunnelError):
    """The browser's small sum for this form is missing, wrong or used up; open the form again."""


def solved(key: str, answer: str) -> bool:
    """True when the answer is a number that solves this key."""
    if not ANSWER.fullmatch(answer):
        return False
    digest = hashlib.sha256(f"{key}:{answer}".encode()).digest()
    return int.from_bytes(digest) >> (256 - BITS) == 0


def ask(funnel: Funnel, request: Request, key: str, answer: str) -> None:
    """Take in a sign-up from a form that was shown with this key, when its work is done or none is wanted.

    Raises WorkError, and AddressError and TooManyError like ``Funnel.ask``.
    """
    if funnel.config.signup.proof_of_work:
        if not solved(key, answer):
            raise WorkError
        _spend(funnel, request.email, key)
    funnel.ask(request)


def _spend(funnel: Funnel, email: str, key: str) -> None:
    """Remember that a key was used for an address; raises WorkError when another has used it, AddressError for none.

    The same address may come again, because a double click or a lost answer is no new request.
    """
    address = parse_address(email, samples=funnel.config.sample).key
    pepper, now = funnel.context.keys.pepper, funnel.clock()
    by_all, by_this = (keyed_hash(pepper, f"work {key} {who}") for who in ("", address))
    with funnel.session() as db, db.transaction():
        counts = quotas.count(db, [(by_all, now + PAGE_LIFE), (by_this, now + PAGE_LIFE)])
        quotas.purge(db, now)
        if counts[by_all] != counts[by_this]:
            raise WorkError


def script(glue: str) -> str:
    """Return the JavaScript that does the work, and after it the file that joins it to a form."""
    both = ((HERE / name).read_text("utf-8") for name in ("work.js", glue))
    return "".join(both).replace(PLACE, str(BITS), 1)
