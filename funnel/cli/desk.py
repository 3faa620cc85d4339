"""Commands for the front desk, and for whoever looks after the codes: gift."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel import gifts
from funnel.cli.output import json_option, print_json, say, table, the_funnel

if TYPE_CHECKING:
    from funnel.app import Funnel
    from funnel.model import Gift


@click.group("gift")
def gift_command() -> None:
    """Redeem a gift code, look one up, or import codes of your own.

    \b
    Example:  funnel gift redeem 7K3M-9QXA-P2VD-5 --by Anna
    """


def _shown(funnel: Funnel, gift: Gift) -> dict[str, object]:
    return {
        "code": gift.code,
        "status": str(gift.status),
        "gift": funnel.config.gift.name,
        "issued": funnel.day(gift.issued_at),
        "good until": funnel.day(gift.expires_at),
        "used": f"{funnel.day(gift.redeemed_at)} by {gift.redeemed_by}" if gift.redeemed_at else "",
    }


@gift_command.command("redeem")
@click.argument("code")
@click.option("--by", metavar="NAME", help="Who redeems it; else the name you are logged in with.")
@json_option
def gift_redeem(code: str, *, by: str | None, as_json: bool) -> int:
    """Use a gift code, once. Case, spaces and hyphens in CODE do not matter.

    \b
    Example:  funnel gift redeem "7k3m 9qxa p2vd 5" --by Anna
    Exit:     0 good, 1 not good, with the reason to tell the guest
    """
    funnel = the_funnel()
    with funnel.session() as db:
        gift = gifts.redeem(db, funnel.context, code, by=by or _me(), now=funnel.clock())
    if as_json:
        print_json(_shown(funnel, gift))
    else:
        say(f"Good: {gift.code} is {funnel.config.gift.name}, and is now used.")
    return 0


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "the desk"


@gift_command.command("show")
@click.argument("code")
@json_option
def gift_show(code: str, *, as_json: bool) -> int:
    """Say whether a code is good, without using it.

    \b
    Example:  funnel gift show 7K3M-9QXA-P2VD-5
    """
    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        gift = gifts.look_up(db, code)
    shown = _shown(funnel, gift) | {"good": gifts.usable(gift, funnel.clock())}
    if as_json:
        print_json(shown)
    else:
        say("\n".join(f"{key}: {value}" for key, value in shown.items() if value != ""))
    return 0


@gift_command.command("resend")
@click.argument("email")
def gift_resend(email: str) -> int:
    """Send the gift code to EMAIL once more, with the next run. It is the same code, and still counts once.

    \b
    Example:  funnel gift resend ann@mail.example
    """
    funnel = the_funnel()
    with funnel.session() as db:
        person = funnel.find_person(db, email)
        gift = gifts.send_again(db, funnel.context, person.id, funnel.clock())
    say(f"The code goes out again with the next run; it is good until {funnel.day(gift.expires_at)}.")
    return 0


@gift_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would come of it; nothing is changed.")
@json_option
def gift_import(file: Path, *, dry_run: bool, as_json: bool) -> int:
    """Put codes of your own into the pool, from a CSV FILE with a column code, or a text FILE with one on each line.

    All of it or nothing. Codes that came in before are left as they are. People who wait for a code get theirs at
    once, in the order they confirmed, and their mail goes with the next run. For gift.source = "pool".

    \b
    Example:  funnel gift import codes.csv --dry-run
    Exit:     0 good, 1 refused: one line for each faulty line, nothing changed
    """
    from funnel.importing import import_codes

    funnel = the_funnel()
    with funnel.session() as db:
        result = import_codes(db, funnel.context, file, now=funnel.clock(), really=not dry_run)
    if as_json:
        print_json(result)
    else:
        say(str(result))
    return 1 if result.faulty else 0


@gift_command.command("withdraw")
@click.option("--yes", is_flag=True, help="Do not ask; it cannot be undone.")
def gift_withdraw(*, yes: bool) -> int:
    """Take every code that nobody has out of the pool, for good. Codes that were given stay good.

    For a list that is no longer valid, and after a restore without the send journal: codes given since look free.

    \b
    Example:  funnel gift withdraw
    """
    funnel = the_funnel()
    if not yes:
        click.confirm("This cannot be undone. Take out every code that nobody has?", abort=True)
    with funnel.session() as db:
        count = gifts.withdraw(db, funnel.clock())
    say(f"{count:,} {'code' if count == 1 else 'codes'} taken out; nobody will be given one of them.")
    return 0


@gift_command.command("status")
@json_option
def gift_status(*, as_json: bool) -> int:
    """Count the codes by status; of a pool, say how many are left and who waits.

    \b
    Example:  funnel gift status --json
    Exit:     0 enough, 1 the pool runs low: fewer than 20, or than went in the last seven days, or somebody waits
    """
    from funnel.report import codes

    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        stock = gifts.stock(db, funnel.clock(), in_use=funnel.config.gift.source == "pool")
        counts = codes(db, stock)
    if as_json:
        print_json(counts)
    else:
        _print_status(counts, stock)
    return 1 if stock and stock.low else 0


def _print_status(counts: dict[str, int], stock: gifts.Stock | None) -> None:
    if counts:
        table(["status", "codes"], sorted(counts.items()))
    else:
        say("No gift code has been issued yet.")
    if stock:
        say(str(stock))
