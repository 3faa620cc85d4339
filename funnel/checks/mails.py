"""Each mail on its own: as it is written, and filled in for a sample person as a reader gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.checks.clients import check_clients
from funnel.checks.findings import at, error, line_of, told, warning
from funnel.checks.needs import shown
from funnel.checks.parts import check_parts, read_page
from funnel.checks.people import hole, missing
from funnel.checks.wording import check_reading, check_words, own_text
from funnel.compose.words import SIGNATURE
from funnel.errors import FunnelError, StoreError
from funnel.model import Due, Enrollment, Status, Step, Subscriber
from funnel.preview import NOBODY, parts_of, render_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.app import Funnel
    from funnel.checks.guide import Pointers
    from funnel.compose.source import Mail
    from funnel.model import Finding


def check_written(funnel: Funnel, pointers: Pointers) -> Iterator[Finding]:
    """Yield what is wrong with each mail as it is written."""
    for mail in funnel.library.mails.values():
        lines = _lines(funnel, mail)
        yield from check_words(mail, lines)
        yield from pointers.check(mail, lines)
    yield from _unused(funnel)


def check_filled(funnel: Funnel, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with each mail filled in for a sample person; raises StoreError without a database."""
    pages: dict[tuple[str, str], str] = {}
    for place, mail in funnel.library.mails.items():
        try:
            html, text = parts_of(render_sample(funnel, mail, now=now).message)
            yield from _holes(funnel, mail, now)
        except StoreError:
            raise
        except FunnelError as fault:
            yield told(mail.file, fault, "mend it before anything goes out")
            continue
        pages[place] = html
        yield from check_parts(mail, read_page(html), html, text, funnel.config)
        yield from check_reading(mail, own_text(text, funnel.library.layout_text, _signature(funnel)))
    yield from check_clients(funnel.library, pages)


def _lines(funnel: Funnel, mail: Mail) -> list[str]:
    """Return the lines of a mail's file, to find in which one something stands."""
    file = funnel.library.folder / mail.sequence / f"{mail.name}.md"
    return file.read_text("utf-8").replace("\r\n", "\n").split("\n")


def _signature(funnel: Funnel) -> str:
    clinic = funnel.config.clinic
    return SIGNATURE.replace("{{ clinic.from_name }}", clinic.from_name).replace("{{ clinic.name }}", clinic.name)


def _holes(funnel: Funnel, mail: Mail, now: datetime) -> Iterator[Finding]:
    """Yield each field a mail shows although not everybody has it; a gift is what people are checked for."""
    lines = _lines(funnel, mail)
    wanted = shown(funnel.composer.compiled(mail))
    with funnel.session(readonly=True) as db:
        fields = funnel.fields.of(db, _due(funnel, mail, now), now)
    for name in missing(funnel, wanted, fields):
        if not name.startswith("gift_"):
            where = at(mail.file, line_of(lines, rf"\{{\{{\s*{name}\b"))
            yield error(where, hole(name), f"write it as {{% if {name} %}}…{{% endif %}}, or fill it in")


def _due(funnel: Funnel, mail: Mail, now: datetime) -> Due:
    """Return a mail as it would be due for somebody of whom nothing is known but the address."""
    c = funnel.config.clinic
    person = Subscriber(NOBODY, "you@example.com", Status.CONFIRMED, c.time_zone, c.locale, now, confirmed_at=now)
    way = Enrollment(NOBODY, person.id, mail.sequence, 0, now, mail.name, now)
    return Due(way, person, Step(mail.name, mail.kind), suppressed=False)


def _unused(funnel: Funnel) -> Iterator[Finding]:
    """Yield each mail that no step sends."""
    for name, sequence in funnel.library.sequences.items():
        used = {step.name for step in sequence.steps}
        for mail in funnel.library.mails.values():
            if mail.sequence == name and mail.name not in used:
                yield warning(mail.file, "no step names this mail", f"add a [[step]] to emails/{name}/sequence.toml")
