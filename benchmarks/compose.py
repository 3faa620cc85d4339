"""One message of 30 kB, filled in and encoded, beside one run of the inliner and beside the standard library.

The page is the very page of the message, and both rivals are given it filled in already: premailer only inlines
its styles again, ``EmailMessage`` only builds and serialises. Each message of ours is to another person.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.compose.letters import Composer
from funnel.compose.source import load_library
from funnel.compose.template import _inline_styles
from funnel.model import PERSONAL, Link
from tests.compose.kit import SAMPLES, SECRET, SENDER, fields, header_lines, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from funnel.model import Rendered

SIZE = 30_000
PARAGRAPH = f"\n\n{'Words that are the same for everybody, as most words of a mail are. ' * 5}\n"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
OURS = 500
COMMON = fields()  # what is alike for everybody is one and the same thing, as in a real run
GOALS = {"premailer": 100, "EmailMessage": 50}


def long_mail(cache: Path, size: int = SIZE) -> Composer:
    """Return a composer of the sample mails, the guide's being as long as makes a message of this size."""
    library = load_library(SAMPLES)
    mail = library.mails["series", "guide"]
    for times in range(1, 200):
        long = replace(mail, body=mail.body + PARAGRAPH * times)
        composer = Composer(replace(library, mails={("series", "guide"): long}), SENDER, SECRET, cache)
        if len(message_to(composer, 1).message) >= size:
            return composer
    raise AssertionError


def message_to(composer: Composer, person: int, own: dict[str, object] | None = None) -> Rendered:
    """Return the message to one of many people."""
    return composer.render(
        "series", "guide", COMMON, own=own or own_of(person), to="p@mail.example", mailing_id=person, date=NOW
    )


def own_of(person: int) -> dict[str, object]:
    """Return what the funnel knows of a person; every link is theirs alone."""
    token = f"{person:039x}"
    return {name: COMMON[name] for name in PERSONAL} | {
        "name": f"Kim {person % 5000}",
        "guide_url": Link("https://go.mill.example/g/", token),
        "guide_page_url": Link("https://go.mill.example/g/", token, "/guide.pdf#page=12"),
        "unsubscribe_url": Link("https://go.mill.example/u/", token),
        "preferences_url": Link("https://go.mill.example/p/", token),
        "gift_code": f"7K3M-9QXA-{person:06x}",
    }


def by_library(headers: list[tuple[str, str]], text: str, page: str) -> bytes:
    """Return a message like ours as the standard library builds it."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=998))
    for name, value in headers:
        message[name] = value
    message.set_content(text)
    message.add_alternative(page, subtype="html")
    return message.as_bytes()


def microseconds(act: Callable[[], object], runs: int) -> float:
    """Return the processor time of one act, the mean of some."""
    start = time.process_time()
    for _ in range(runs):
        act()
    return (time.process_time() - start) / runs * 1e6


def rounds(composer: Composer, count: int) -> Iterator[dict[str, float]]:
    """Yield what each way takes, in turns."""
    message = message_to(composer, 1).message
    text, page = parts(message)
    ours = {"MIME-Version", "Content-Type"}
    headers = [(name, value.decode().strip()) for name, value in header_lines(message) if name not in ours]
    for turn in range(count):
        people = [(n, own_of(n)) for n in range(turn * OURS, (turn + 1) * OURS)]
        write = partial(next, (message_to(composer, *person) for person in people))
        yield {
            "premailer": microseconds(partial(_inline_styles, page), 3),
            "EmailMessage": microseconds(partial(by_library, headers, text, page), 10),
            "ours": microseconds(write, OURS),
        }


def run(count: int = 9) -> None:
    """Print microseconds and how many messages of ours fit into one of each rival, medians over the rounds."""
    with tempfile.TemporaryDirectory() as cache:
        composer = long_mail(Path(cache))
        size = len(message_to(composer, 1).message)
        found = list(rounds(composer, count))
    print(f"One message of {size:,} bytes (ratio: how many of ours in the time of one; the goal is at least)")
    print(f"{'':14}{'us':>8}{'ratio':>8}{'goal':>6}")
    for name in ("premailer", "EmailMessage", "ours"):
        ratio = statistics.median(spent[name] / spent["ours"] for spent in found)
        print(f"{name:14}{statistics.median(s[name] for s in found):>8,.0f}{ratio:>8.0f}{GOALS.get(name, 1):>6}")
    print()


if __name__ == "__main__":
    run()
