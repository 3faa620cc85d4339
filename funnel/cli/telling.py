"""How a run of the sender is told: a bar for a person, lines of JSON for a log, one line for cron.

What is told is never worth a mail: when nobody takes the words, because a pipe was closed or a disk is full,
sending goes on (F-17). A log holds counts and the words of a server, never an address, a link or a code.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

import click

from funnel.cli.output import on_terminal, print_json, safe
from funnel.errors import FunnelError, RunActiveError
from funnel.model import MailingStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from funnel.model import Outcome
    from funnel.sender import Sender

#: Seconds between two lines of a log while mail goes, and between two looks of the bar.
EVERY = 5.0
BLINK = 0.1
#: What a server may quote of a mail: addresses, links, tokens, gift codes.
PRIVATE = re.compile(r"<[^<>]*>?|\S*@\S*|\S+://\S*|[\w-]{24,}|\b[0-9A-Za-z]{4}(?:-[0-9A-Za-z]{4}){2}-[0-9A-Za-z]\b")
WORDS = [status for status in MailingStatus if status is not MailingStatus.SENDING]


def private(text: str) -> str:
    """Return text fit for a log: what might be an address, a link or a code that we make is an ellipsis."""
    return safe(PRIVATE.sub("…", " ".join(text.split())))[:500]


def fit(sender: Sender, text: str) -> str:
    """Return text fit for a log, in which no code of the clinic's own is quoted either."""
    from funnel.gifts import without_codes

    return private(without_codes(sender.db, text))


def tell(text: str, *, err: bool = False) -> bool:
    """Print one line, and return whether anybody took it; never raises for a stream that is gone or full."""
    try:
        click.echo(safe(text), err=err)
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def whatever_becomes_of_stdout() -> Iterator[None]:
    """Let what nobody took at the end of the block be forgotten, so that the exit code tells of mail only."""
    try:
        yield
    finally:
        try:
            flush = getattr(sys.stdout, "flush", None)  # there is none when it was closed from the start
            if flush:
                flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Teller(Protocol):
    """What one run is told by; a block that ends also when the run fails."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, however the run ended."""

    def begin(self, sender: Sender, most: int) -> None:
        """Tell that a run begins that deals with at most so many steps; 0 is all."""

    def heard(self, outcome: Outcome) -> None:
        """Take in what became of one mail."""

    def end(self, sender: Sender, fault: str) -> None:
        """Tell how the run ended; ``fault`` is why it stopped early, if it did."""


def teller(*, log: bool, as_json: bool, quiet: bool) -> Teller:
    """Return who tells of a run."""
    if log:
        return Log()
    return Bar(as_json=as_json, quiet=quiet) if on_terminal() and not as_json else Summary(as_json=as_json, quiet=quiet)


def counted(tally: Counter[MailingStatus]) -> dict[str, int]:
    """Return how many mails ended in each status."""
    return {str(status): tally[status] for status in WORDS}


def estimate(sender: Sender, most: int) -> int:
    """Return about how many steps this run will deal with; costs as much as there are due."""
    from funnel.store.figures import due_count

    return min(due_count(sender.db, sender.clock()), most or sys.maxsize)


class Summary:
    """One line at the end, or one JSON value."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def begin(self, sender: Sender, most: int) -> None:
        """Say nothing yet."""

    def heard(self, outcome: Outcome) -> None:
        """Say nothing yet."""

    def end(self, sender: Sender, fault: str) -> None:
        """Print the counts, and why it stopped early."""
        counts = counted(sender.tally)
        if self.as_json:
            with suppress(OSError, ValueError):
                print_json({**counts, "halted": fit(sender, sender.halted)})
        elif sender.tally.total():
            tell(", ".join(f"{n} {word}" for word, n in counts.items() if n) + ".")
        elif not self.quiet:
            tell("Nothing is due.")
        if fault:
            tell(fit(sender, fault), err=True)


class Bar(Summary):
    """A bar with the rate and about how long the rest takes, then the same line as without it."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        super().__init__(as_json=as_json, quiet=quiet)
        self._bar: Any = None
        self._done = 0
        self._total = 0
        self._seen = 0.0

    def begin(self, sender: Sender, most: int) -> None:
        """Show the bar when there is something to do."""
        self._total = estimate(sender, most)
        if self._total:
            with suppress(OSError, ValueError):
                self._bar = make_bar(self._total)
                self._bar.start()

    def heard(self, outcome: Outcome) -> None:
        """Move on by one."""
        self._done += 1
        now = time.monotonic()
        if self._bar and now - self._seen >= BLINK:
            self._seen = now
            self._show()

    def _show(self) -> None:
        with suppress(OSError, ValueError):  # the terminal may be gone
            self._bar.update(0, completed=self._done, total=max(self._done, self._total), refresh=True)

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it was last."""
        self._leave()

    def _leave(self) -> None:
        if self._bar:
            self._show()
            with suppress(OSError, ValueError):
                self._bar.stop()
            self._bar = None

    def end(self, sender: Sender, fault: str) -> None:
        """Take the bar to its end, and print the counts below it."""
        self._total = self._done if not fault else self._total
        self._leave()
        super().end(sender, fault)


def make_bar(total: int) -> Any:
    """Return a bar of so many mails that is drawn only when told to, so that no thread writes beside us."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
    from rich.text import Text

    class Pace(ProgressColumn):
        """The rate, and about how long the rest takes."""

        def render(self, task: Task) -> Text:
            """Return both in words."""
            rate = f"{task.speed:,.0f} a second" if task.speed else ""
            rest = about(task.time_remaining) if task.time_remaining else ""
            return Text("  ".join(filter(None, (rate, rest))))

    bar = Progress(
        "Sending",
        BarColumn(),
        MofNCompleteColumn(),
        Pace(),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("", total=total)
    return bar


def about(seconds: float) -> str:
    """Return how long something still takes, as roughly as it is known."""
    for length, word in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.0f} {word} left"
    return f"about {max(1, round(seconds))} s left"


# --- for a log -----------------------------------------------------------------------------------


def log_wanted(option: str | None) -> bool:
    """True when lines of JSON are asked for; a slip in the environment never keeps mail back."""
    return (option or os.environ.get("FUNNEL_LOG", "")).strip().lower() == "json"


def log_line(event: str, at: str, **facts: object) -> None:
    """Print one event as a line of JSON in ASCII, whoever takes it."""
    tell(json.dumps({"at": at, "event": event, "pid": os.getpid(), **facts}))


class Log:
    """A line of JSON at the start, every few seconds while mail is written down, and at the end.

    A run that had nothing to do leaves no line.
    """

    def __init__(self) -> None:
        self._group: Counter[MailingStatus] = Counter()
        self._begun = self._last = time.monotonic()
        self._started = False
        self._total = 0
        self._sender: Sender

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Tell of mails that are written down and not yet told of, when the run failed."""
        if self._group.total():
            self._written()

    def begin(self, sender: Sender, most: int) -> None:
        """Tell how many are due, when there are any."""
        self._sender = sender
        self._total = estimate(sender, most)
        if self._total:
            self._start()

    def _start(self) -> None:
        self._started = True
        self._line("started", due=self._total)

    def heard(self, outcome: Outcome) -> None:
        """Count one, and tell of the group when it is time."""
        self._group[outcome.status] += 1
        if time.monotonic() - self._last >= EVERY:
            self._written()

    def _written(self) -> None:
        now = time.monotonic()
        n, seconds = self._group.total(), now - self._last
        counts = {word: n for word, n in counted(self._group).items() if n}
        self._line("written", **counts, **_pace(n, seconds), total=self._sender.tally.total(), due=self._total)
        self._last = now
        self._group.clear()

    def end(self, sender: Sender, fault: str) -> None:
        """Tell what was written down last, why it stopped early, and the counts of the whole run."""
        if not self._started and (sender.tally.total() or fault):
            self._start()
        if self._group.total():
            self._written()
        if fault:
            self._line("halted", reason=fit(sender, fault.removeprefix("Error: ")))
        if self._started:
            total, seconds = sender.tally.total(), time.monotonic() - self._begun
            self._line("finished", **counted(sender.tally), **_pace(total, seconds), halted=bool(fault))

    def _line(self, event: str, **facts: object) -> None:
        log_line(event, f"{self._sender.clock():%Y-%m-%dT%H:%M:%SZ}", **facts)


def _pace(n: int, seconds: float) -> dict[str, float]:
    """Return how long a number of mails took, and how many that is a second."""
    return {"seconds": round(seconds, 3), "per_second": round(n / seconds, 1) if seconds > 0 else 0.0}


def logged(drain: Callable[[], int], at: Callable[[], str]) -> int:
    """Return the exit code of a run; what a person has to mend is a line of the log, too."""
    try:
        return drain()
    except RunActiveError:
        log_line("busy", at())
        return 0
    except FunnelError as error:
        log_line("failed", at(), error=private(str(error)))
        return error.exit_code
