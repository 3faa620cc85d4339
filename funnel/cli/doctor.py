"""The command that looks at the world around a funnel: doctor."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel.cli.output import json_option, print_json, say, the_funnel
from funnel.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from funnel.doctor import Finding, State


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@click.option("--inspect", "file", type=click.Path(path_type=Path), metavar="EML",
              help="Look at a mail as it was received, instead.")  # fmt: skip
@click.option("--dns", metavar="ADDRESS", help="Ask this DNS server, like 9.9.9.9; else the one this machine asks.")
@click.option("--selector", default="", metavar="NAME", help="The name of your relay's DKIM key, as it shows it.")
@json_option
def doctor_command(*, offline: bool, file: Path | None, dns: str | None, selector: str, as_json: bool) -> int:
    """Look at the world around: files, disk, database, cron, clock, mail server, web address, DNS.

    Sends no mail and changes nothing. Run it once before the first mail, and whenever something seems wrong.

    \b
    Example:  funnel doctor
    Without network:  funnel doctor --offline
    A mail you received, saved as a file:  funnel doctor --inspect received.eml
    Exit:     0 good or warnings only, 1 errors
    """
    from funnel.doctor import State

    findings = _shown(_found(offline=offline, file=file, dns=dns, selector=selector), as_json=as_json)
    if as_json:
        print_json(findings)
    else:
        say("\n" + _counted([finding.state for finding in findings]) + ".")
    return 1 if any(finding.state is State.ERROR for finding in findings) else 0


def _counted(states: list[State]) -> str:
    """Return ``1 error, 2 warnings, 1 not looked at, 9 fine``."""
    words = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "unknown": ("not looked at",) * 2}
    counts = Counter(map(str, states))
    told = [f"{counts[state]} {one if counts[state] == 1 else more}" for state, (one, more) in words.items()
            if counts[state]]  # fmt: skip
    return ", ".join([*told, f"{counts['ok']} fine"])


def _found(*, offline: bool, file: Path | None, dns: str | None, selector: str) -> Iterable[Finding]:
    from funnel.doctor import Finding, State, examine, inspect_mail

    try:
        funnel = the_funnel()
    except ConfigError as fault:
        return [Finding(State.ERROR, "settings", str(fault), "Nothing else can be looked at before.")]
    if file is not None:
        return inspect_mail(funnel, file.read_bytes())
    return examine(funnel, funnel.clock(), offline=offline, dns=_server(dns), selector=selector)


def _server(typed: str | None) -> tuple[str, int] | None:
    """Return the DNS server somebody named, as ``9.9.9.9`` or ``127.0.0.1:5353``; raises BadParameter."""
    import ipaddress

    if typed is None:
        return None
    host, colon, port = typed.rpartition(":") if typed.count(":") == 1 else (typed, "", "")
    try:
        return str(ipaddress.ip_address(host)), int(port) if colon else 53
    except ValueError:
        raise click.BadParameter(f"“{typed}” is not an address like 9.9.9.9.", param_hint="--dns") from None


def _shown(findings: Iterable[Finding], *, as_json: bool) -> list[Finding]:
    """Return all findings, each printed when it is there, so that nobody waits before an empty screen."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            say(f"{finding.state:8} {finding.about}: {finding.says}")
            if finding.fix:
                say(f"{'':8} → {finding.fix}")
    return found
