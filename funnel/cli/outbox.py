"""Mail that is open: list it, and decide about what nobody else can settle."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from funnel.cli.output import json_option, print_json, say, table, the_funnel

if TYPE_CHECKING:
    from funnel.outbox import Resolved


@click.group("outbox")
def outbox_command() -> None:
    """Mail that is deferred, held or of unknown fate.

    \b
    Example:  funnel outbox list --json
    """


@outbox_command.command("list")
@json_option
def outbox_list(*, as_json: bool) -> int:
    """List every mail that is not settled: to whom, since when, why, and what can be done about it.

    \b
    Example:  funnel outbox list
    """
    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        rows = funnel.open_mail(db)
    if as_json:
        print_json(rows)
    elif not rows:
        say("Every mail is settled.")
    else:
        table(list(rows[0]), [tuple(row.values()) for row in rows])
    return 0


@outbox_command.command("resolve")
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Every mail that is held or of unknown fate, instead of IDs.")
@click.option("--held", is_flag=True, help="Every mail that is held, instead of IDs.")
@click.option("--sent", "answer", flag_value="sent", help="It arrived: the mail server's log says so, or the person.")
@click.option("--resend", "answer", flag_value="resend", help="It did not: let it go once more, with the same bytes.")
@click.option("--yes", is_flag=True, help="Do not ask before deciding about many.")
@json_option
def outbox_resolve(
    ids: tuple[int, ...], *, every: bool, held: bool, answer: str | None, yes: bool, as_json: bool
) -> int:
    """Decide about mail that is held or of unknown fate, by the IDs of “funnel outbox list”.

    Mail that is held for want of a gift code goes by itself after “funnel gift import”; --all and --held leave it
    alone, and --resend with its ID lets it go without a code.

    \b
    Example:  funnel outbox resolve 17 18 --sent
    Exit:     0 done, 1 nothing can be decided about some of them; those were left as they are
    """
    from funnel.outbox import in_doubt, resolve

    if [bool(ids), every, held].count(True) != 1 or answer is None:
        raise click.UsageError("Name mails by their ID, or say --all or --held; and say --sent or --resend.")
    funnel = the_funnel()
    with funnel.session() as db:
        chosen = ids or in_doubt(db, held_only=held)
        if not ids and chosen and not yes:
            click.confirm(_question(len(chosen), answer), abort=True)
        done = resolve(db, funnel.context, chosen, sent=answer == "sent", by=_me(), now=funnel.clock())
    if as_json:
        print_json({"done": done.done, "left": dict(done.left)})
    else:
        _print(done, answer)
    return 1 if done.left else 0


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "staff"


def _mails(count: int) -> str:
    return f"{count:,} mail is" if count == 1 else f"{count:,} mails are"


def _question(count: int, answer: str) -> str:
    lets = "Record them as arrived" if answer == "sent" else "Let them go once more, though they may have arrived"
    return f"{_mails(count)} in doubt. {lets}?"


def _print(done: Resolved, answer: str) -> None:
    told = "recorded as sent" if answer == "sent" else "released, to go with the next run"
    say(f"{_mails(len(done.done))} {told}.")
    for mailing_id, why in done.left:
        say(f"Mail {mailing_id} was left as it is: {why}.")
