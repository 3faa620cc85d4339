"""Commands about mail: send, preview, test, bounces."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel.cli.loop import Stop, gentle, keep_sending
from funnel.cli.output import (
    json_option,
    now_option,
    open_file,
    print_json,
    say,
    table,
    the_funnel,
    the_moment,
)
from funnel.cli.telling import log_wanted, logged, teller, whatever_becomes_of_stdout
from funnel.errors import FunnelError, TransportError
from funnel.store.tick import leave_note

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.cli.telling import Teller


@click.command("send")
@click.option("--dry-run", is_flag=True, help="Only say what would go to whom, and why; nothing is changed.")
@click.option("--limit", type=click.IntRange(0), default=0, metavar="N", help="Deal with at most N steps; 0 is all.")
@click.option("--quiet", is_flag=True, help="Say nothing when nothing was due; for cron.")
@click.option("--loop", is_flag=True, help="Send whenever something is due, until stopped; instead of cron.")
@click.option("--clock-ok", is_flag=True, help="The clock went ahead by days, and is right now: send by it.")
@click.option("--beside", is_flag=True, hidden=True, help="With --loop: end when the process that started it does.")
@click.option(
    "--log",
    type=click.Choice(["plain", "json"]),
    help="json: a line for each thing that happens, without names and addresses. Else FUNNEL_LOG, else plain.",
)
@json_option
@now_option
def send_command(
    *,
    dry_run: bool,
    limit: int,
    quiet: bool,
    loop: bool,
    clock_ok: bool,
    beside: bool,
    log: str | None,
    as_json: bool,
    at: str | None,
) -> int:
    """Send what is due now. Safe to run every minute, and twice at once.

    \b
    Example:  funnel send --dry-run
    Without cron:  funnel send --loop --log json
    Exit:     0 done, 1 the server refuses us as a sender or somebody must look, 75 no mail could go, try later
    """
    funnel = the_funnel()
    if dry_run:
        return _dry_run(funnel, the_moment(at, funnel), limit, as_json=as_json)
    if at:
        raise click.UsageError("--now goes with --dry-run only; real mail goes at the real time.")
    if clock_ok:
        _trust_clock(funnel)
    stop = Stop()
    lines = log_wanted(log) and not as_json

    def drain(anew: Funnel, *, quiet: bool) -> int:
        return _drain(anew, limit, stop, teller(log=lines, as_json=as_json, quiet=quiet))

    with gentle(stop.set), whatever_becomes_of_stdout():
        if loop:
            # The settings and the words are read anew each time.
            return keep_sending(
                funnel, _with_log(lambda: drain(the_funnel(), quiet=True), funnel, lines), stop, beside=beside
            )
        return _with_log(lambda: drain(funnel, quiet=quiet), funnel, lines)()


def _trust_clock(funnel: Funnel) -> None:
    from funnel.keeping.clock import this_machine, trust_clock

    with funnel.session() as db:
        trust_clock(db, funnel.clock(), this_machine())


def _with_log(drain: Callable[[], int], funnel: Funnel, lines: bool) -> Callable[[], int]:
    """Return a drain that leaves its faults in the log, too, when lines are wanted."""
    return (lambda: logged(drain, lambda: f"{funnel.clock():%Y-%m-%dT%H:%M:%SZ}")) if lines else drain


def _drain(funnel: Funnel, limit: int, stop: Stop, told: Teller) -> int:
    """Send what is due and return the exit code; ``stop`` ends it after the mail on the wire."""
    from funnel.keeping.clock import check_clock, this_machine

    funnel.require_guide()
    leave_note(str(funnel.config.file), str(funnel.database_path))
    with funnel.session() as db, told:
        check_clock(db, funnel.clock(), this_machine())
        sender = funnel.sender(db)
        sender.stop = stop
        most = limit or funnel.config.sending.per_run
        try:
            told.begin(sender, most)
            for outcome in sender.send_due(most):
                told.heard(outcome)
        except TransportError as error:
            told.end(sender, f"Error: {error}")
            return error.exit_code
        told.end(sender, sender.halted)
        return 1 if sender.halted else 0


def _dry_run(funnel: Funnel, now: datetime, limit: int, *, as_json: bool) -> int:
    with funnel.session(readonly=True) as db:
        planned = funnel.sender(db).would_send(now, limit)
        people = {item.subscriber_id: funnel.shown_address(db, item.subscriber_id) for item in planned}
    if as_json:
        print_json([{**asdict(item), "to": people[item.subscriber_id]} for item in planned])
    elif not planned:
        say("Nothing is due.")
    else:
        head = ["to", "mail", "would", "why"]
        table(head, [(people[i.subscriber_id], f"{i.sequence}/{i.step}", i.would, i.why) for i in planned])
        say(f"\n{len(planned)} due at {now:%Y-%m-%d %H:%M} UTC. Nothing was sent or changed.")
    return 0


# --- looking at mails --------------------------------------------------------------------------


@click.command("preview")
@click.argument("mail", required=False)
@click.option("--all", "every", is_flag=True, help="Every mail of every sequence.")
@click.option("--as", "email", metavar="EMAIL", help="Filled in for this person; else for a sample person.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("preview"), show_default=True, help="Folder.")
@click.option("--open", "show", is_flag=True, help="Open the page in your browser.")
def preview_command(mail: str | None, *, every: bool, email: str | None, out: Path, show: bool) -> int:
    """Write a page that shows MAIL as html, text and raw. Nothing is sent or recorded.

    \b
    Example:  funnel preview series/guide --open
    """
    from funnel.preview import write_preview

    funnel = the_funnel()
    if bool(mail) == every:
        raise click.UsageError("Name one mail, like series/guide, or give --all.")
    mails = list(funnel.library.mails.values()) if every else [funnel.library.find(mail or "")]
    page = write_preview(funnel, mails, out, email=email)
    say(f"{len(mails)} {'mail' if len(mails) == 1 else 'mails'} written to {page}.")
    if show:
        open_file(page)
    return 0


@click.command("test")
@click.argument("mail", required=False)
@click.option("--all", "every", is_flag=True, help="Every mail of every sequence.")
@click.option("--to", "to", required=True, metavar="ME", help="Where the marked copy goes.")
def test_command(mail: str | None, *, every: bool, to: str) -> int:
    """Send a copy marked [TEST] to yourself. Its links do nothing to anybody; nothing is recorded.

    \b
    Example:  funnel test series/guide --to me@clinic.example
    """
    from funnel.preview import send_tests

    funnel = the_funnel()
    if bool(mail) == every:
        raise click.UsageError("Name one mail, like series/guide, or give --all.")
    mails = list(funnel.library.mails.values()) if every else [funnel.library.find(mail or "")]
    replies = send_tests(funnel, mails, to)
    for name, reply in replies:
        say(f"{name}: {reply.delivery} ({reply})")
    return 0 if all(reply.delivery == "accepted" for _, reply in replies) else 1


@click.command("bounces")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@json_option
def bounces_command(files: tuple[Path, ...], *, as_json: bool) -> int:
    """Take in bounce messages: FILES in raw mail form, or - for standard input.

    \b
    Example:  funnel bounces bounce.eml
    Exit:     0 done, 1 nothing in them was about mail of ours
    """
    funnel = the_funnel()
    results = []
    for file in files:
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise FunnelError(f"{file.name} cannot be read: {error.strerror}.") from None
        results.append((str(file), funnel.take_in_bounce(raw)))
    if as_json:
        print_json([{"file": file, "result": result} for file, result in results])
    else:
        for name, result in results:
            say(f"{name}: {result}")
    return 0 if any("recorded" in result for _, result in results) else 1
