"""The command line: parse, one call, print. Nothing is decided here.

Cron asks "is anything due?" every minute, so that one question is answered before anything heavy is
imported; every other command is loaded when it is called.
"""

from __future__ import annotations

import os
import sys

#: A cron line that only ever says this much is answered by two index look-ups.
PLAIN_SEND = (["send"], ["send", "--quiet"])


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code: 0 done, 1 findings or refused, 2 usage, 75 try again later."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in PLAIN_SEND and _nothing_due():
        if arguments == PLAIN_SEND[0] and os.environ.get("FUNNEL_LOG") != "json":
            sys.stdout.write("Nothing is due.\n")
        return
    from funnel.cli.group import run

    sys.exit(run(arguments))


def _nothing_due() -> bool:
    """True when the database says so; False sends whoever asks to the full command, which explains faults."""
    import time

    from funnel.store.tick import nothing_due

    return nothing_due(os.environ.get("FUNNEL_CONFIG") or "funnel.toml", int(time.time()))
