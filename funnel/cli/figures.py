"""The report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from funnel.cli.output import json_option, many, now_option, print_json, say, table, the_funnel, the_moment
from funnel.model import MailingStatus

if TYPE_CHECKING:
    from funnel.app import Funnel
    from funnel.report import Report


@click.command("report")
@json_option
@now_option
def report_command(*, as_json: bool, at: str | None) -> int:
    """What happened, in figures that add up: people, mails, gifts, and what is open.

    \b
    Example:  funnel report --json
    Exit:     0 the sums match, 1 they do not: then something is lost, and we want to know
    """
    from funnel.keeping import trouble
    from funnel.report import make_report

    funnel = the_funnel()
    with funnel.session(readonly=True) as db:
        report = make_report(db, funnel.context, the_moment(at, funnel))
        held_back = trouble(db)
    if as_json:
        from dataclasses import asdict

        print_json({**asdict(report), "adds_up": report.adds_up, "held_back": held_back})
    else:
        _print(report, funnel)
        if held_back:
            say(f"Sending is held back. {held_back} See “funnel restore --help”.")
    return 0 if report.adds_up else 1


def _print(report: Report, funnel: Funnel) -> None:
    say(f"{funnel.config.clinic.name}, {funnel.day(report.at)}\n")
    table(["people", "now"], [(word, n) for word, n in report.people.items() if n])
    say()
    table(["on the way", "people"], report.funnel.items())
    say()
    words = [str(status) for status in MailingStatus if any(str(status) in s.by_status for s in report.steps)]
    head = ["mail", "entered", *words, "to come", "ended before", "adds up"]
    rows = [
        (f"{s.sequence}/{s.step}", s.entered, *(s.by_status.get(w, 0) for w in words), s.ahead, s.left, _yes(s.adds_up))
        for s in report.steps
    ]
    table(head, rows)
    say()
    if report.gifts:
        table(["gift codes", ""], sorted(report.gifts.items()))
        say()
    _print_open(report, funnel)


def _print_open(report: Report, funnel: Funnel) -> None:
    """Say what needs somebody's eye."""
    say(f"{report.due_now} due now, {report.uncertain} of unknown fate, {report.held} held (funnel outbox list).")
    if report.without_code:
        say(f"Of the held, {many(report.without_code, 'waits', 'wait')} for a gift code.")
    if report.stock:
        say(str(report.stock))
    if report.last_tick is None:
        say("The sender has never run: set up cron (docs/operator.md).")
        return
    minutes = int((report.at - report.last_tick).total_seconds() // 60)
    silent = minutes > funnel.config.alerts.cron_silent_minutes
    say(f"The sender last ran {many(minutes, 'minute', 'minutes')} ago{': is cron alive?' if silent else '.'}")
    if report.last_run and report.last_run.note:
        say(f"Its last word: {report.last_run.note}")


def _yes(good: bool) -> str:
    return "yes" if good else "NO"
