"""The address of the pages: does it answer, is it ours, is its certificate good for a while."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from funnel.doctor.finding import Finding, error, ok, warning
from funnel.doctor.running import SKEW

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0
#: A certificate should be renewed before it is this close to its end.
RENEW = timedelta(days=14)
LARGEST = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from ``/healthz``: status and body, or why nothing did."""

    status: int = 0
    body: str = ""
    date: str = ""  #: the server's own time
    fault: str = ""
    certificate_until: datetime | None = None


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nobody elsewhere: the answer is about this address."""


def ask(base_url: str) -> Answer:
    """Return what ``/healthz`` below an address answers; never raises for what the network does."""
    opener = build_opener(_Stay, ProxyHandler({}))
    try:
        with opener.open(base_url + "/healthz", timeout=PATIENCE) as reply:
            status, headers, body = reply.status, reply.headers, reply.read(LARGEST)
    except HTTPError as refusal:
        with refusal:
            status, headers, body = refusal.code, refusal.headers, refusal.read(LARGEST)
    except (OSError, ValueError, HTTPException) as fault:
        return Answer(fault=str(getattr(fault, "reason", fault)))
    until = _certificate_until(base_url)
    return Answer(status, body.decode("utf-8", "replace"), headers.get("Date", ""), certificate_until=until)


def _certificate_until(base_url: str) -> datetime | None:
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            certificate = secure.getpeercert() or {}
    except (OSError, ValueError):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def check_web(base_url: str, answer: Answer, now: datetime, *, sends: bool) -> Iterator[Finding]:
    """Yield how the address of the pages stands; ``sends`` is whether real mail with links to it goes out."""
    where = "web address"
    if base_url.startswith("http://"):
        level = error if sends else warning
        fix = "Set site.base_url to the https address that everybody can reach."
        yield level(where, f"Links in mails lead to {base_url}, which only this machine can open.", fix)
    if answer.fault:
        fix = "Start “funnel serve”, and look at your web server and at DNS."
        yield error(where, f"{base_url} does not answer ({answer.fault}).", fix)
        return
    yield _health(base_url, answer)
    if answer.certificate_until is not None and answer.certificate_until - now < RENEW:
        left = max(0, (answer.certificate_until - now).days)
        yield warning(where, f"Its certificate ends in {left} days.", "Look why it is not renewed by itself.")
    if (apart := _apart(answer.date, now)) is not None and apart > SKEW:
        yield warning("clock", f"The web server's clock and this one are {apart} apart.", "Synchronise both.")


def _health(base_url: str, answer: Answer) -> Finding:
    where = "web address"
    try:
        facts = json.loads(answer.body)
        ours = isinstance(facts, dict) and "store" in facts
    except ValueError:
        facts, ours = {}, False
    if not ours:
        fix = "Let your web server pass this address on to “funnel serve”."
        return error(where, f"Something else than Funnel answers at {base_url} (status {answer.status}).", fix)
    if not facts["store"]:
        return error(where, "The pages run, but cannot write to the database.", "See docs/operator.md.")
    return ok(where, f"{base_url} answers.")


def _apart(date: str, now: datetime) -> timedelta | None:
    try:
        return abs(parsedate_to_datetime(date) - now)
    except (ValueError, TypeError):
        return None
