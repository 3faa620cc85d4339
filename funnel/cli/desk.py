"""Commands for the front desk: gift codes."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from funnel import gifts
from funnel.cli.output import json_option, print_json, say, table, the_funnel

if TYPE_CHECKING:
    from funnel.app import Funnel
    from funnel.model import Gift


@click.group("gift")
def gift_command() -> None:
    """Redeem a gift code, or look one up.

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


@gift_command.command("status")
@json_option
def gift_status(*, as_json: bool) -> int:
    """Count the codes by status.

    \b
    Example:  funnel gift status --json
    """
    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        counts = {str(status): n for status, n in gifts.counts(db).items()}
    if as_json:
        print_json(counts)
    elif counts:
        table(["status", "codes"], sorted(counts.items()))
    else:
        say("No gift code has been issued yet.")
    return 0
