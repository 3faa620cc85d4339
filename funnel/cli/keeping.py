"""Commands that keep the database: backup, restore."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel.cli.output import json_option, many, on_terminal, print_json, say, table, the_funnel
from funnel.config import read_secret, secret_file
from funnel.errors import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.keeping import Contents, Restored, Resumed


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
def backup_command(file: Path, *, force: bool, as_json: bool) -> int:
    """Write a whole, checked copy of the database to FILE, while everything goes on. Only you can read it.

    It holds people and their addresses, not the keys: back up funnel.secret, funnel.toml, emails/ and guide/ too,
    and the keys apart from the database.

    \b
    Example:  funnel backup /mnt/backups/funnel-2027-01-15.db
    """
    funnel = the_funnel()
    now = funnel.clock()
    contents = _backed_up(funnel, file, now, force=force)
    _note(funnel, now)
    if as_json:
        print_json({"file": str(file), **asdict(contents)})
    else:
        say(f"{_held(contents)} in {file}, {contents.size / 1e6:,.1f} MB, checked.")
        say(f"The keys are not in it: keep a copy of {secret_file(funnel.config).name} elsewhere.")
    return 0


def _backed_up(funnel: Funnel, file: Path, now: datetime, *, force: bool) -> Contents:
    """Make the backup, with a progress bar when a person is watching."""
    from funnel.keeping import back_up

    path = funnel.database_path
    if not on_terminal():
        return back_up(path, file, now=now, force=force)
    with click.progressbar(length=100, label="Backing up") as bar:
        return back_up(
            path, file, now=now, force=force,
            told=lambda left, pages: bar.update(max(0, int(100 * (pages - left) / max(pages, 1)) - bar.pos)),
        )  # fmt: skip


def _note(funnel: Funnel, now: datetime) -> None:
    """Let the database know of the backup, for “funnel doctor”; who may only read it is told."""
    from funnel.keeping import note

    try:
        note(funnel.database_path, now)
    except StoreError as fault:
        click.echo(f"The backup is good, but is not on record, so “funnel doctor” will miss it: {fault}", err=True)


def _held(contents: Contents) -> str:
    return f"{many(contents.people, 'person', 'people')} and {many(contents.mailings, 'mail', 'mails')}"


@click.command("restore")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--resume", "resuming", is_flag=True, help="Settle what went out since, and let sending go on.")
@click.option(
    "--nothing-since", is_flag=True, help="With --resume: you know that no mail went out since the copy was made."
)
@click.option("--new-keys", is_flag=True, help="Go on with other keys, because those of the database are lost.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore_command(file: Path | None, *, resuming: bool, nothing_since: bool, new_keys: bool, yes: bool) -> int:
    """Put the backup FILE in the place of the database. Sending then waits until you say --resume.

    The replaced database is kept beside it. Who left since the backup is taken off again, as the send journal
    (funnel.db.sent) knows. --resume shows what went out since and asks; what went out is recorded as sent, and what
    nobody knows is held (funnel outbox list). Stop “funnel serve” first.

    A database is not used with other keys than its own. If those are lost for good, --new-keys lets it go on: who
    left stays off, but whom you blocked and who was forgotten cannot be known any more.

    \b
    Example:  funnel restore /mnt/backups/funnel-2027-01-15.db
              funnel restore --resume
    """
    if new_keys:
        if file is not None or resuming:
            raise click.UsageError("--new-keys goes alone.")
        return _with_new_keys(the_funnel(), yes=yes)
    if file is None and not resuming:
        raise click.UsageError("Name a backup, or say --resume.")
    if nothing_since and not resuming:
        raise click.UsageError("--nothing-since goes with --resume.")
    funnel = the_funnel()
    if file is not None:
        _restore(funnel, file, yes=yes)
    if resuming:
        _resume(funnel, nothing_since=nothing_since, yes=yes)
    return 0


def _with_new_keys(funnel: Funnel, *, yes: bool) -> int:
    from funnel.founding import write_keys
    from funnel.keeping import take_new_keys

    if not yes:
        say("Links in mails already sent stop working, and nobody will know whom you blocked, or who asked to be")
        say("forgotten. If there are no keys, new ones are made.")
        click.confirm("Go on without the old keys?", abort=True)
    if read_secret("FUNNEL_SECRET") is None:
        write_keys(secret_file(funnel.config))  # keys that are there are kept
    done = take_new_keys(funnel.database_path, funnel.context, funnel.clock())
    if done is None:
        say("These are the database’s own keys; nothing was changed.")
        return 0
    stay = many(done.stopped, "person who left stays off", "people who left stay off")
    keep = many(done.gifts, "gift is still its holder’s", "gifts are still their holders’")
    say(f"Taken: {stay}, {keep}.")
    if done.unknown:
        lost = many(done.unknown, "address that gets no mail is", "addresses that get no mail are")
        say(f"{lost} not known any more: import no list that may name such people.")
    return 0


def _restore(funnel: Funnel, file: Path, *, yes: bool) -> None:
    from funnel.keeping import restore

    if not yes:
        click.confirm(f"Put {file.name} in the place of the database, which is kept?", abort=True)
    done = restore(funnel.database_path, file, funnel.context, now=funnel.clock())
    say(f"Restored: {_held(done.contents)}, as of {_at(done.known)}.")
    _tell_of_restored(funnel, done)
    say("Sending waits. When you are ready:  funnel restore --resume")


def _tell_of_restored(funnel: Funnel, done: Restored) -> None:
    if done.kept is not None:
        say(f"The database that was there is {done.kept.name}; remove it when you no longer need it.")
    if done.stops.people:
        off = many(done.stops.people, "who left since is off again", "who left since are off again")
        say(f"{off}, {done.stops.erased:,} of them forgotten again.")
    _tell_of_codes(funnel, done.codes, whole=done.whole)


def _tell_of_codes(funnel: Funnel, codes: int, *, whole: bool) -> None:
    """Say what became of the clinic's own codes that were given since."""
    if codes:
        given = many(codes, "gift code that was given since is its", "gift codes that were given since are their")
        say(f"{given} {'holder’s' if codes == 1 else 'holders’'} again.")
    if not whole and funnel.config.gift.source == "pool":
        say("The send journal does not know all gift codes given since, so some look free that are not: before")
        say("“funnel serve” starts, say “funnel gift withdraw”, and import codes that nobody can have.")


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "an unknown time"


def _resume(funnel: Funnel, *, nothing_since: bool, yes: bool) -> None:
    from funnel.keeping import resume

    with funnel.session() as db:
        now = funnel.clock()
        found = resume(db, funnel.context, now=now, really=False, nothing_since=nothing_since)
        if not found.why:
            say("Nothing is to be settled: sending is not held back.")
            return
        _show(funnel, found)
        if not yes:
            click.confirm("Record this, and let sending go on?", abort=True)
        resume(db, funnel.context, now=funnel.clock(), really=True, nothing_since=nothing_since)
    say("Recorded. Sending goes on with the next run.")


def _show(funnel: Funnel, found: Resumed) -> None:
    """Say what is known of the time since the database was copied."""
    say(found.why)
    say(f"It is as of {_at(found.known)}.")
    if found.batches:
        batches = many(found.batches, "batch of mail", "batches of mail")
        say(f"{batches} went out since, from {_at(found.first)} to {_at(found.last)}.")
    names = [*found.sent, *(name for name in found.held if name not in found.sent)]
    if names:
        rows = [(name, found.sent.get(name, 0), found.held.get(name, 0)) for name in names]
        say()
        table(["mail", "went out", "in doubt, held"], rows)
        say()
    if found.elsewhere:
        say(f"{found.elsewhere} more went to people, or for requests, that this database does not know.")
    if found.stops.people:
        say(many(found.stops.people, "who left since is taken off again.", "who left since are taken off again."))
    _tell_of_codes(funnel, found.codes, whole=found.whole)
    if not found.whole:
        say("The send journal does not know all of that time, so what was due in it is held: funnel outbox list.")
