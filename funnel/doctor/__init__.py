"""The world around a funnel: files, database, cron, mail server, web address, DNS. Writes nothing, sends nothing.

Each matter has a module with a pure function from what was seen to findings; looking is done here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from funnel.config import load_keys, read_secret
from funnel.doctor.backup import check_backup
from funnel.doctor.database import check_database
from funnel.doctor.files import check_disk, check_files, look
from funnel.doctor.finding import Finding, State, error, ok, unknown, warning
from funnel.doctor.inspect import inspect
from funnel.doctor.names import check_names
from funnel.doctor.resolver import Resolver, system_server
from funnel.doctor.running import check_running
from funnel.doctor.server import check_server, no_server
from funnel.doctor.web import ask, check_web
from funnel.errors import FunnelError
from funnel.keeping import fit, trouble
from funnel.store.health import health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.store.database import Database

__all__ = ["Finding", "State", "examine", "inspect_mail"]


def examine(
    funnel: Funnel, now: datetime, *, offline: bool = False, dns: tuple[str, int] | None = None, selector: str = ""
) -> Iterator[Finding]:
    """Yield how each matter stands, as it is looked at; without the network when ``offline``."""
    yield ok("settings", f"{funnel.config.name} can be read and makes sense.")
    yield from _own(funnel)
    files, disk = look(funnel)
    yield from check_files(files)
    yield check_disk(disk)
    yield from _store(funnel, now)
    if offline:
        yield unknown("network", "It was left out: no mail server, no web address, no DNS.")
        return
    yield from _server(funnel)
    base = funnel.config.site.base_url
    yield from check_web(base, ask(base), now, sends=funnel.config.transport.kind == "smtp")
    yield from _names(funnel, dns, selector)


def inspect_mail(funnel: Funnel, raw: bytes) -> list[Finding]:
    """Return what a mail tells as it was received."""
    c = funnel.config
    pages = (c.site.base_url, c.site.privacy_url, c.clinic.website, c.clinic.booking_url, c.content.article_url)
    return inspect(raw, {urlsplit(page).hostname or "" for page in pages})


def _own(funnel: Funnel) -> Iterator[Finding]:
    """Yield whether what belongs to the funnel itself is there."""
    matters: tuple[tuple[str, Callable[[], object], str, str], ...] = (
        (
            "keys",
            lambda: load_keys(funnel.config),
            "The keys that sign links are there.",
            "",
        ),
        ("mails", lambda: funnel.library, "The mails and their sequences can be read.", "Run “funnel check”."),
        ("guide", funnel.require_guide, "The guide is built.", ""),
    )
    for about, try_it, good, fix in matters:
        try:
            try_it()
        except FunnelError as fault:
            yield error(about, str(fault), fix)
        else:
            yield ok(about, good)
    if not funnel.config.alerts.to:
        yield warning("alerts", "Nobody is told when something stops.", "Set alerts.to to an address of yours.")


def _store(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    try:
        with funnel.session(readonly=True) as db:
            found, held_back, ours = health(db), trouble(db), _keys_fit(funnel, db)
    except FunnelError as fault:
        yield error("database", str(fault), "")
        return
    yield from check_database(found, funnel.database_path.name)
    yield check_backup(found.last_backup, now)
    if not ours:
        fix = "Put the old ones back; if they are lost, see “funnel restore --help”."
        yield error("keys", "They are not the keys this database was made with.", fix)
    if held_back:
        yield error("sending", f"It is held back. {held_back}", "See “funnel restore --help”.")
    yield from check_running(found, now, timedelta(minutes=funnel.config.alerts.cron_silent_minutes))


def _keys_fit(funnel: Funnel, db: Database) -> bool:
    """Return whether the keys are the database's; that there are none is told elsewhere."""
    try:
        return fit(db, funnel.keys)
    except FunnelError:
        return True


def _server(funnel: Funnel) -> Iterator[Finding]:
    from funnel.transport.probe import probe

    transport = funnel.config.transport
    if transport.kind != "smtp":
        yield no_server(transport.kind)
        return
    try:
        password = read_secret("FUNNEL_SMTP_PASSWORD")
    except FunnelError as fault:
        yield error("mail server", str(fault), "Mend that file.")
        return
    if transport.smtp.user and not password:
        fix = "Set FUNNEL_SMTP_PASSWORD_FILE as cron does, and run this again."
        yield error("mail server", "Here is no password for it.", fix)
        return
    yield from check_server(transport.smtp, probe(transport.smtp, password or "", funnel.config.domain))


def _names(funnel: Funnel, dns: tuple[str, int] | None, selector: str) -> Iterator[Finding]:
    if funnel.config.sample:
        yield unknown("DNS", f"{funnel.config.domain} is a name for samples; nobody can look it up.")
        return
    server = dns or system_server()
    if server is None:
        yield unknown("DNS", "This machine names no DNS server.", "Name one with --dns.")
        return
    reply = funnel.config.reply_to.rpartition("@")[2]
    yield from check_names(funnel.config.domain, reply, Resolver(server).look_up, selector)
