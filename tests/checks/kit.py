"""Funnels with something wrong on purpose, and what the check says about them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from funnel.app import Funnel
from funnel.checks import check
from funnel.compose.source import Mail
from funnel.config import load_config
from funnel.model import Kind
from tests.kit import NOW, SETTINGS, Clock, as_toml, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.model import Finding, Level

REAL: dict[str, dict[str, Any]] = {
    "clinic": {"from_address": "hello@quietclinic.com", "postal_address": "7 Elm Road, Springfield, IL 62701"},
    "site": {"base_url": "https://go.quietclinic.com"},
    "transport": {"kind": "smtp"},
    "transport.smtp": {"host": "mail.quietclinic.com"},
}


def make_real(folder: Path, **changed: dict[str, Any]) -> Funnel:
    """Return a funnel with settings of a real clinic, and some sections changed."""
    make_funnel(folder)
    tables = {
        name: SETTINGS.get(name, {}) | REAL.get(name, {}) | changed.get(name, {}) for name in {**SETTINGS, **REAL}
    }
    (folder / "funnel.toml").write_text(as_toml(tables))
    return Funnel(load_config(folder / "funnel.toml"), clock=Clock())


def found(funnel: Funnel) -> list[Finding]:
    """Return what is found, leaving the guide out."""
    return check(funnel, NOW, guide=False)


def says(funnel: Funnel, level: Level | None = None) -> str:
    """Return what is found as lines, of one level when it is given."""
    return "\n".join(str(finding) for finding in found(funnel) if level in {None, finding.level})


def mail(folder: Path, body: str = "Hello", subject: str = "Hello", more: str = "") -> None:
    """Write the first mail of the series anew."""
    (folder / "emails" / "series" / "guide.md").write_text(
        f'+++\nsubject = "{subject}"\npreheader = "p"\nkind = "guide"\n{more}+++\n{body}\n'
    )


LETTER = Mail(
    sequence="series", name="guide", kind=Kind.DRIP, subjects=("Hello",), preheader="p", section="", guide_page="",
    body="Hello", file="emails/series/guide.md", first_line=6,
)  # fmt: skip


def letter(body: str = "Hello", **changed: Any) -> Mail:
    """Return a mail that stands in no file."""
    return replace(LETTER, body=body, **changed)
