"""What would go wrong, found before anything goes out: settings, mails for everybody who could get them, guide."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from funnel.compose.message import LARGEST_HTML
from funnel.compose.quoted import quoted_printable
from funnel.compose.words import figures_in
from funnel.errors import FunnelError
from funnel.guide.palette import LEAST, contrast
from funnel.model import Due, Finding, Kind, Level, Status, Step
from funnel.preview import parts_of, render_sample
from funnel.schedule import next_open, zone
from funnel.store import enrollments, subscribers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.compose.source import Mail
    from funnel.store.database import Database

#: Warn here; above LARGEST_HTML nothing is sent (MSG-8).
LARGE_HTML = 70_000
#: Words no mail of a clinic should promise with.
CLAIMS = re.compile(
    r"\b(cure[sd]?|guarantee[ds]?|miracle|breakthrough|lasting relief|permanent(ly)?|toxins?|detox|heal faster"
    r"|regenerat\w+|painless|safe for everyone|instantly|risk-free|act now|last chance)\b",
    re.IGNORECASE,
)
#: Words that name or hint at a condition must not stand where others can read them (HLT-2).
CONDITIONS = re.compile(
    r"\b(pain|ache\w*|aching|back|disc|needl\w+|spine|sciatica|injur\w+|chronic|symptom\w*|headache|diagnos\w+)\b",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(r"sample|your (street|address|clinic)|lorem|xxx|todo", re.IGNORECASE)


def check(funnel: Funnel, now: datetime, *, guide: bool = True) -> list[Finding]:
    """Return what is wrong with a funnel, the gravest first. Writes nothing and sends nothing."""
    findings = [*_settings(funnel, now), *_theme(funnel), *_mails(funnel, now)]
    known = {finding.says for finding in findings}  # what is wrong for all is not repeated for each
    findings += [finding for finding in _people(funnel, now) if finding.says not in known]
    if guide:
        findings += _guide(funnel)
    return sorted(findings, key=lambda finding: finding.level is not Level.ERROR)


def _error(where: str, says: str, fix: str) -> Finding:
    return Finding(Level.ERROR, where, says, fix)


def _warning(where: str, says: str, fix: str) -> Finding:
    return Finding(Level.WARNING, where, says, fix)


def _told(where: str, error: FunnelError, fix: str) -> Finding:
    """Return an error as a finding; one that says itself where it is, says it once."""
    says = str(error).removesuffix(".")
    if says.startswith(where):
        where, _, says = says.partition(": ")
    return _error(where, says, fix)


def _settings(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    config = funnel.config
    try:
        next_open(now, zone(config.clinic.time_zone), config.calendar)
    except FunnelError as error:
        yield _error("funnel.toml: sending", str(error), "open a day or widen the window")
    real = config.transport.kind == "smtp" and not config.sample
    if PLACEHOLDER.search(config.clinic.postal_address):
        level = _error if real else _warning
        yield level("funnel.toml: clinic.postal_address", "looks like a placeholder", "write your real postal address")
    if config.site.base_url.startswith("http://") and real:
        yield _error("funnel.toml: site.base_url", "is not https", "links in mails must be https")
    if config.clinic.from_address.startswith(("no-reply", "noreply")) and not config.clinic.reply_to:
        yield _warning("funnel.toml: clinic.from_address", "cannot be answered", "set clinic.reply_to")
    if config.transport.kind == "outbox":
        yield _warning("funnel.toml: transport.kind", "mail is kept in a folder, not sent", 'set it to "smtp" to send')


def _theme(funnel: Funnel) -> Iterator[Finding]:
    """Yield each pair of colours in which words cannot be read well (WCAG 2.2 AA)."""
    for words, ground, one, other in funnel.library.theme.pairs():
        found = contrast(one, other)
        if found < LEAST:
            yield _error(
                f"emails/theme.toml: {words}",
                f"{one} on {ground} {other} has a contrast of {found:.1f} to 1",
                f"make one darker or lighter, to at least {LEAST} to 1",
            )


# --- mails -------------------------------------------------------------------------------------


def _mails(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with each mail, filled in for a sample person."""
    for mail in funnel.library.mails.values():
        yield from _words(mail)
        try:
            rendered = render_sample(funnel, mail, now=now)
        except FunnelError as error:
            yield _told(mail.file, error, "mend it before anything goes out")
            continue
        html, text = parts_of(rendered.message)
        yield from _size(mail, html)
        yield from _links(funnel, mail, html, text)
        yield from _page(funnel, mail)
        yield from _figures(funnel, mail)
    for name, sequence in funnel.library.sequences.items():
        used = {step.name for step in sequence.steps}
        for mail in funnel.library.mails.values():
            if mail.sequence == name and mail.name not in used:
                yield _warning(mail.file, "no step names this mail", f"add a [[step]] to emails/{name}/sequence.toml")


def _words(mail: Mail) -> Iterator[Finding]:
    for subject in mail.subjects:
        hint = CONDITIONS.search(subject)
        if hint:
            yield _error(
                mail.file, f"the subject says “{hint[0]}”, which tells others about health", "choose a neutral one"
            )
        if len(subject) > 70:
            yield _warning(mail.file, f"the subject has {len(subject)} characters", "phones show about 40")
    for number, line in enumerate(mail.body.split("\n"), mail.first_line):
        claim = CLAIMS.search(line)
        if claim:
            yield _error(
                f"{mail.file} line {number}", f"“{claim[0]}” promises what nobody can", "say it with its caution"
            )


def _size(mail: Mail, html: str) -> Iterator[Finding]:
    size = len(quoted_printable(html))
    if size > LARGE_HTML:
        yield _warning(mail.file, f"the HTML part is {size:,} bytes; Gmail cuts at {LARGEST_HTML:,}", "shorten it")


def _links(funnel: Funnel, mail: Mail, html: str, text: str) -> Iterator[Finding]:
    config = funnel.config
    ours = {urlsplit(url).hostname for url in (config.site.base_url, config.clinic.website, config.clinic.booking_url,
                                               config.content.article_url, config.site.privacy_url)}  # fmt: skip
    urls = {url.replace("&amp;", "&") for url in re.findall(r'href="([^"]*)"', html)}
    for url in sorted(urls):
        parts = urlsplit(url)
        if not url or parts.scheme not in {"http", "https", "mailto", "tel"}:
            yield _error(mail.file, f"a link leads to “{url}”", "links are https, mailto or tel")
        elif parts.scheme in {"http", "https"} and parts.hostname not in ours:
            yield _warning(mail.file, f"a link leaves for {parts.hostname}", "make sure it is meant")
        if parts.scheme in {"http", "https"} and url not in text:
            yield _warning(mail.file, f"the text part lacks the link {url[:60]}", "both parts must say the same")
    if mail.kind is not Kind.CONFIRM and "/u/" not in html:
        yield _error(mail.file, "has no unsubscribe link", "put {{ unsubscribe_url }} into emails/_layout/layout.html")


def _page(funnel: Funnel, mail: Mail) -> Iterator[Finding]:
    pages = funnel.guide_pages
    if mail.guide_page and pages and mail.guide_page not in pages:
        yield _error(mail.file, f"the guide has no “{mail.guide_page}”", "name a chapter, figure or worksheet of it")


def _figures(funnel: Funnel, mail: Mail) -> Iterator[Finding]:
    for name in figures_in(mail.body):
        if funnel.figures and name not in funnel.figures:
            yield _error(mail.file, f"the guide has no figure “{name}”", "name one of guide/figures")


# --- everybody who could get them --------------------------------------------------------------


def _people(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield mails that cannot be written for a particular person."""
    try:
        with funnel.session(readonly=True) as db:
            for person in subscribers.each(db):
                if person.status.listening:
                    yield from _person(funnel, db, person.id, now)
    except FunnelError as error:
        yield _error("database", str(error), "see docs/operator.md")


def _person(funnel: Funnel, db: Database, subscriber_id: int, now: datetime) -> Iterator[Finding]:
    for way in enrollments.of(db, subscriber_id):
        person = subscribers.by_id(db, subscriber_id)
        sequence = funnel.library.sequences.get(way.sequence)
        if sequence is None or way.next_step is None or person is None or person.status is Status.ERASED:
            continue
        names = [step.name for step in sequence.steps]
        start = names.index(way.next_step) if way.next_step in names else 0
        for step in sequence.steps[start:]:
            yield from _one(funnel, db, Due(way, person, step, suppressed=False), step, now)


def _one(funnel: Funnel, db: Database, due: Due, step: Step, now: datetime) -> Iterator[Finding]:
    try:
        funnel.composer.render(
            due.enrollment.sequence, step.name, funnel.fields(db, due, now),
            to="person@example.com", mailing_id=1, date=now,
        )  # fmt: skip
    except FunnelError as error:
        who = funnel.shown_address(db, due.subscriber.id)
        where = f"{due.enrollment.sequence}/{step.name} for {who}"
        mail = funnel.library.mail(due.enrollment.sequence, step.name)
        yield _error(where, _told(mail.file, error, "").says, "mend the mail or the person")


def _guide(funnel: Funnel) -> Iterator[Finding]:
    from funnel.guide import check as check_guide

    source = funnel.config.path(funnel.config.content.guide)
    out = funnel.config.path(funnel.config.guide.output)
    if not (out / "guide.pdf").exists():
        yield _error("guide", "has not been built", "run “funnel guide build”")
        return
    try:
        yield from check_guide(source, funnel.guide_settings, out)
    except FunnelError as error:
        yield _error("guide", str(error), "mend it and run “funnel guide build”")
