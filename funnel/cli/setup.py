"""Commands that set a funnel up: init, demo, check, serve."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel.app import Funnel
from funnel.cli.loop import sender_beside
from funnel.cli.output import json_option, many, on_terminal, open_file, print_json, say, the_funnel
from funnel.model import Level

if TYPE_CHECKING:
    from funnel.demo.story import Story


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[DIR]")
@click.option("--defaults", is_flag=True, help="Ask nothing: the sample clinic, to be edited later.")
@click.option(
    "--set", "given", multiple=True, metavar="KEY=VALUE", help='Answer a question, like clinic.name="My Clinic".'
)
@click.option("--no-guide", is_flag=True, help="Do not build the guide now.")
def init_command(folder: Path, *, defaults: bool, given: tuple[str, ...], no_guide: bool) -> int:
    """Make a new funnel in DIR: settings, keys, database, your own copy of the mails and the guide.

    Where settings are but no database, as after a fresh checkout of your own, it makes database and keys only.

    \b
    Example:  funnel init shop --defaults
    """
    from funnel.founding import QUESTIONS, found

    answers = dict(_pair(item) for item in given)
    known = (folder / "funnel.toml").exists()
    if not (defaults or known) and on_terminal():
        say("A few questions; Enter keeps what stands in brackets, everything can be changed in funnel.toml later.")
        answers |= {key: click.prompt(text, default=answers.get(key, "")) for key, text in QUESTIONS}
        answers = {key: value for key, value in answers.items() if value}
    config = found(folder, answers)
    if known:
        say(f"The funnel in {folder} has a new, empty database now, and keys; what was there is as it was.")
    else:
        say(f"A new funnel is in {folder}: funnel.toml, emails/, guide/, the database and its keys.")
    if not no_guide:
        funnel = Funnel(config)
        built = funnel.build_guide()
        say(f"The guide is built: {built.pages} pages.")
    say(f"Keep {Path(config.store.path).stem}.secret safe and backed up: links in mails live and die with it.")
    say("\nNext:  cd " + str(folder) + " && funnel check && funnel serve")
    return 0


def _pair(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or "." not in key:
        raise click.UsageError(f"--set takes KEY=VALUE, like clinic.phone=555-0100, not “{item}”.")
    return key.strip(), value


@click.command("check")
@click.option("--no-guide", is_flag=True, help="Leave the guide out.")
@json_option
def check_command(*, no_guide: bool, as_json: bool) -> int:
    """Check settings, sequences, every mail for everybody who could get it, links, sizes, claims and the guide.

    \b
    Example:  funnel check
    Exit:     0 good or warnings only, 1 errors: mend them before anything goes out
    """
    from funnel.checks import check

    funnel = the_funnel()
    findings = check(funnel, funnel.clock(), guide=not no_guide)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            say(f"{finding.level}: {finding}")
        mails, rest = many(len(funnel.library.mails), "mail", "mails"), len(findings) - errors
        say(f"{mails} checked: {many(errors, 'error', 'errors')}, {many(rest, 'warning', 'warnings')}.")
    return 1 if errors else 0


@click.command("serve")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; else site.listen.")
@click.option("--send", "sending", is_flag=True, help="Also send what is due, in a process of its own; no cron needed.")
def serve_command(*, listen: str | None, sending: bool) -> int:
    """Serve the form and the pages a subscriber touches, until stopped. Put a proxy with https in front.

    \b
    Example:  funnel serve --listen 127.0.0.1:8040
    One machine, no cron:  funnel serve --send
    """
    from funnel.web import serve

    funnel = the_funnel()
    with sender_beside(str(funnel.config.file)) if sending else nullcontext():
        serve(
            funnel, listen=listen,
            ready=lambda where: say(f"Serving {funnel.config.site.base_url} on {where}; stop with Ctrl+C."),
        )  # fmt: skip
    return 0


@click.command("demo")
@click.option("--open", "show", is_flag=True, help="Open the page at the end.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where the page goes."
)
@json_option
def demo_command(*, show: bool, out: Path, as_json: bool) -> int:
    """Run the whole funnel on a sample clinic: real pages, a real mail server, a virtual clock over 45 days.

    Needs no network and asks nothing; it ends in a table and one page to look at.

    \b
    Example:  funnel demo --open
    """
    from funnel.demo import write_page

    story = _played(quiet=as_json)
    page = write_page(story, out)
    if as_json:
        print_json(story.summary())
    else:
        say(story.table())
        say(f"\nEverything, mail by mail and day by day: {page}")
    if show:
        open_file(page)
    return 0 if story.adds_up else 1


def _played(*, quiet: bool) -> Story:
    """Run the demo behind a progress bar."""
    from funnel.demo import DAYS, play

    if quiet or not on_terminal():
        return play()
    with click.progressbar(length=DAYS, label="45 days") as bar:
        return play(tick=lambda: bar.update(1))
