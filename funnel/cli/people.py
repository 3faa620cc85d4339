"""Commands about people: why, subscribers."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from funnel import feedback
from funnel.cli.output import (
    json_option,
    many,
    now_option,
    plain,
    print_json,
    say,
    table,
    the_funnel,
    the_moment,
    write_new,
)
from funnel.model import Receipt, Status
from funnel.schedule import zone
from funnel.store import subscribers as rows

if TYPE_CHECKING:
    from funnel.app import Funnel
    from funnel.report import Answer, Line


@click.command("why")
@click.argument("email")
@json_option
@now_option
def why_command(email: str, *, as_json: bool, at: str | None) -> int:
    """Say why the person at EMAIL got, or did not get, each mail, and what is to come.

    \b
    Example:  funnel why ann@clinic.example
    """
    from funnel.report import why

    funnel = the_funnel()
    now = the_moment(at, funnel)
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, email)
        answer = why(db, funnel.context, funnel.sender(db), person, now)
    if as_json:
        print_json(answer)
    else:
        _print(answer, funnel)
    return 0


def _print(answer: Answer, funnel: Funnel) -> None:
    person = answer.person
    say(f"{person.email}: {person.status}" + (f" until {person.paused_until:%d %B %Y}" if person.paused_until else ""))
    say(f"lives in {person.zone}; times below are theirs")
    for word, value in (("gift", answer.gift), ("suppressed", answer.suppressed), ("tags", ", ".join(answer.tags))):
        if value:
            say(f"{word}: {value}")
    for title, lines in (("What happened", answer.past), ("What is to come", answer.ahead)):
        say(f"\n{title}")
        table(["when", "what", "why"], [(_when(line, person.zone), line.what, line.why) for line in lines])
    if not funnel.library.sequences:
        say("There is no sequence.")


def _when(line: Line, name: str) -> str:
    return line.at.astimezone(zone(name)).strftime("%a %d %b %Y %H:%M") if line.at else "–"


@click.group("subscribers")
def subscribers_command() -> None:
    """Add, list, import, export, unsubscribe and erase people.

    \b
    Example:  funnel subscribers list --status confirmed
    """


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "staff"


@subscribers_command.command("add")
@click.argument("email")
@click.option("--proof", required=True, metavar="TEXT", help="Where and how they asked: kept as the receipt.")
@click.option("--zone", "where", default="", metavar="NAME", help="Their time zone, like America/Denver.")
def subscribers_add(email: str, *, proof: str, where: str) -> int:
    """Ask the person at EMAIL to confirm, as the form would.

    \b
    Example:  funnel subscribers add ann@clinic.example --proof "asked at the desk, 3 May"
    """
    from funnel.signup import Request, ask

    funnel = the_funnel()
    request = Request(email=email, wording=f"Added by {_me()}: {proof}", zone=where, form="desk")
    with funnel.session() as db:
        ask(db, funnel.context, request, funnel.clock())
    say("If this address may be asked, the confirmation goes out with the next run of “funnel send”.")
    return 0


@subscribers_command.command("list")
@click.option("--status", type=click.Choice([str(s) for s in Status]), help="Only these.")
@click.option("--tag", default="", metavar="TAG", help="Only people with this tag.")
@click.option("--limit", type=click.IntRange(1), default=None, metavar="N", help="At most N.")
@json_option
def subscribers_list(*, status: str | None, tag: str, limit: int | None, as_json: bool) -> int:
    """List people in the order they came.

    \b
    Example:  funnel subscribers list --status pending --json
    """
    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        wanted = Status(status) if status else None
        people = list(rows.each(db, status=wanted, tag=tag, limit=limit or -1))
    if as_json:
        print_json(people)
    elif people:
        cells = [(p.email or "(erased)", p.status, p.zone, f"{p.created_at:%Y-%m-%d}", p.source) for p in people]
        table(["address", "status", "zone", "since", "from"], cells)
    else:
        say("Nobody yet.")
    return 0


@subscribers_command.command("show")
@click.argument("email")
@json_option
def subscribers_show(email: str, *, as_json: bool) -> int:
    """Show all that is kept about one person, receipts of consent included (access request).

    \b
    Example:  funnel subscribers show ann@clinic.example --json
    """
    from funnel.report import all_about

    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        kept = all_about(db, funnel.context, funnel.find_person(db, email))
    if as_json:
        print_json(kept)
        return 0
    for title, value in kept.items():
        say(f"\n{title}")
        _show(value)
    say("\nGive this to nobody but the person themselves: check who is asking.")
    return 0


def _show(value: Any) -> None:
    items = value if isinstance(value, list) else [value]
    for item in items or ["none"]:
        pairs = plain(item)
        if isinstance(pairs, dict):
            pairs = "; ".join(f"{k}: {v}" for k, v in pairs.items() if v not in {None, ""})
        say(f"  {pairs or 'none'}")


@subscribers_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--basis", required=True, metavar="TEXT", help="Why you may mail them, like “asked on paper, 2026”.")
@click.option("--proof", required=True, metavar="TEXT", help="Where the proof is kept.")
@click.option(
    "--confirmed", is_flag=True, help="They confirmed elsewhere; without this they are only kept, not mailed."
)
@click.option("--into", default="", metavar="SEQUENCE", help="Enter them into a sequence; without it, into none.")
@click.option("--not-patients", is_flag=True, help="You have read the note about patient lists, and these are none.")
@click.option("--apply", "really", is_flag=True, help="Do it; without this it is a dry run.")
@json_option
def subscribers_import(
    file: Path, *, basis: str, proof: str, confirmed: bool, into: str, not_patients: bool, really: bool, as_json: bool
) -> int:
    """Import people from a CSV FILE with a column email; all of it or nothing. A dry run unless --apply.

    \b
    Columns:  email (needed), name, zone, locale, tags
    Example:  funnel subscribers import people.csv --basis "asked at the fair" --proof "sheet 12" --not-patients
    Exit:     0 good, 1 refused: one line for each faulty row, nothing changed
    """
    from funnel.importing import Import, import_people

    funnel = the_funnel()
    plan = Import(
        file, basis=basis, proof=proof, confirmed=confirmed, into=into, not_patients=not_patients, operator=_me()
    )
    with funnel.session() as db:
        result = import_people(db, funnel.context, plan, now=funnel.clock(), really=really)
    if as_json:
        print_json(result)
    else:
        say(str(result))
    return 1 if result.faults else 0


@subscribers_command.command("export")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .csv or .json file.")
@click.option("--status", type=click.Choice([str(s) for s in Status]), help="Only these.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def subscribers_export(*, out: Path, status: str | None, force: bool) -> int:
    """Write people to a CSV or JSON file that only you can read.

    Cells that a spreadsheet would run as a formula get a ' in front.

    \b
    Example:  funnel subscribers export --out people.csv
    """
    from funnel.importing import export_people

    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        people = rows.each(db, status=Status(status) if status else None)
        content, count = export_people(people, as_json=out.suffix == ".json")
    write_new(out, content, force=force)
    say(f"{many(count, 'person', 'people')} written to {out}.")
    return 0


@subscribers_command.command("unsubscribe")
@click.argument("email")
@click.option("--reason", default="told us", show_default=True, metavar="TEXT", help="How they told you.")
def subscribers_unsubscribe(email: str, *, reason: str) -> int:
    """Stop all mail to the person at EMAIL, at once.

    \b
    Example:  funnel subscribers unsubscribe ann@clinic.example --reason "by telephone"
    """
    funnel = the_funnel()
    now = funnel.clock()
    receipt = Receipt(act="withdrawn", at=now, operator=_me(), detail=reason)
    with funnel.session() as db:
        person = funnel.find_person(db, email)
        news = feedback.unsubscribe(db, funnel.context, person.id, now=now, receipt=receipt)
    say("Done: no more mail goes to this address." if news else f"They were {person.status} already; nothing changed.")
    return 0


@subscribers_command.command("erase")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask; it cannot be undone.")
def subscribers_erase(email: str, *, yes: bool) -> int:
    """Forget the person at EMAIL. Only a keyed hash stays, so that nobody mails them again by mistake.

    \b
    Example:  funnel subscribers erase ann@clinic.example
    """
    funnel = the_funnel()
    if not yes:
        click.confirm("This cannot be undone. Forget this person?", abort=True)
    funnel.erase(email, _me())
    say("Forgotten. Backups made before today still hold them: keep no backup longer than 30 days.")
    return 0
