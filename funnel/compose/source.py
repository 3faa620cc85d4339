"""Read ``emails/``: sequences, mails, layout. Everything is checked here, before anything is sent."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.compose.theme import Theme, dress, load_theme
from funnel.compose.words import refuse_unknown, with_sizes
from funnel.errors import ConfigError, ContentError
from funnel.model import Condition, Kind, Sequence, Step
from funnel.settings import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The sequences a funnel cannot do without, and the kind of their first mail.
REQUIRED = {"confirm": Kind.CONFIRM, "series": Kind.GUIDE, "again": Kind.GUIDE}
#: Sequences that start anew each time a person asks, whatever their file says.
ASKED_FOR = ("confirm", "again")
#: The sequence that goes to the clinic's own address, not to people.
STAFF = "staff"
#: What a mail may be called; the name is its identity for ever.
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FENCE = "+++"


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The settings on top of a mail."""

    kind: str
    subject: str = ""
    subjects: tuple[str, ...] = ()
    preheader: str = ""
    section: str = ""  #: id of the article's section it was drawn from
    guide_page: str = ""  #: id of a chapter, figure or worksheet in the guide


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as written: ``emails/<sequence>/<name>.md``."""

    sequence: str
    name: str
    kind: Kind
    subjects: tuple[str, ...]
    preheader: str
    section: str
    guide_page: str
    body: str
    file: str
    first_line: int  #: line of the file at which the body starts


@dataclass(frozen=True, slots=True)
class StepTable:
    """One ``[[step]]`` of sequence.toml: a mail, or the sunset of those who left one unanswered."""

    mail: str = ""
    after: str = "0 days"
    at: str = ""
    when: str = "always"
    stale: str = "send"
    unanswered: str = ""


@dataclass(frozen=True, slots=True)
class SequenceTable:
    """The whole of sequence.toml."""

    step: tuple[StepTable, ...]
    title: str = ""
    repeatable: bool = False
    every: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """All the clinic's words: sequences by name, mails by (sequence, name), the layout in the clinic's look."""

    sequences: dict[str, Sequence]
    mails: dict[tuple[str, str], Mail]
    layout_html: str = ""
    layout_text: str = ""
    styles: str = ""
    folder: Path = field(default_factory=Path)
    theme: Theme = field(default_factory=Theme)

    def mail(self, sequence: str, name: str) -> Mail:
        """Return one mail; raises ContentError when there is none of that name."""
        found = self.mails.get((sequence, name))
        if found is None:
            raise ContentError(f"emails/{sequence}/{name}.md is missing, and sequence.toml there names it.")
        return found

    def find(self, name: str) -> Mail:
        """Return a mail by ``name`` or ``sequence/name``; raises ContentError naming what there is."""
        sequence, _, short = name.rpartition("/")
        found = [m for (s, n), m in self.mails.items() if n == short and sequence in {"", s}]
        if len(found) != 1:
            known = ", ".join(f"{s}/{n}" for s, n in self.mails)
            raise ContentError(f"There is {'no' if not found else 'more than one'} mail “{name}”; there are: {known}.")
        return found[0]


def load_library(folder: Path, sizes: Mapping[str, tuple[int, int]] | None = None) -> Library:
    """Return everything in an ``emails/`` folder; ``sizes`` are those of the guide's figures, once it is built.

    Raises ContentError naming file, line or key, and the remedy.
    """
    if not folder.is_dir():
        raise ContentError(
            f"The folder {folder.name}/ is missing; [content] emails must name the folder of your mails."
        )
    theme = load_theme(folder)
    sequences: dict[str, Sequence] = {}
    mails: dict[tuple[str, str], Mail] = {}
    for file in sorted(folder.glob("*/sequence.toml"), key=_place):
        name = file.parent.name
        found = {m.name: m for m in _mails_in(file.parent)}
        sequences[name] = _sequence(file, name, found)
        for mail in found.values():
            mails[name, mail.name] = replace(mail, body=with_sizes(mail.body, sizes or {}, theme.widest))
    _require(sequences, folder)
    return Library(
        sequences,
        mails,
        layout_html=_layout(folder, "layout.html", theme),
        layout_text=_read(folder / "_layout" / "layout.txt"),
        styles=_layout(folder, "mail.css", theme),
        folder=folder,
        theme=theme,
    )


def _layout(folder: Path, name: str, theme: Theme) -> str:
    file = folder / "_layout" / name
    return dress(_read(file), theme, folder, _shown(file))


def _place(file: Path) -> tuple[int, str]:
    """Return where a sequence stands in lists: the three every funnel has first, in the order people meet them."""
    name = file.parent.name
    return (list(REQUIRED).index(name) if name in REQUIRED else len(REQUIRED), name)


def _require(sequences: dict[str, Sequence], folder: Path) -> None:
    for name, kind in REQUIRED.items():
        if name not in sequences:
            raise ContentError(f"{folder.name}/{name}/sequence.toml is missing; a funnel cannot do without it.")
        first = sequences[name].steps[0]
        if first.kind is not kind:
            raise ContentError(f"{folder.name}/{name}: its first mail must be of kind “{kind}”, not “{first.kind}”.")


def _mails_in(folder: Path) -> list[Mail]:
    return [read_mail(file) for file in sorted(folder.glob("*.md"))]


def read_mail(file: Path) -> Mail:
    """Return the mail in one Markdown file; raises ContentError naming file, key and remedy."""
    shown = _shown(file)
    if not NAME.fullmatch(file.stem):
        raise ContentError(f"{shown}: a mail's name is small letters, digits and single hyphens.")
    head, body, first_line = split_front_matter(_read(file), shown)
    try:
        front = fill(FrontMatter, head, "", shown)
    except ConfigError as error:
        raise ContentError(str(error)) from None
    subjects = (front.subject,) if front.subject else front.subjects
    if not 1 <= len(subjects) <= 2 or not all(s.strip() for s in subjects):
        raise ContentError(f'{shown}: give one subject = "…", or two to compare: subjects = ["…", "…"].')
    if front.kind not in MAIL_KINDS:
        raise ContentError(f"{shown}: kind “{front.kind}” is unknown; use one of {', '.join(MAIL_KINDS)}.")
    refuse_unknown(body, shown, first_line)
    return Mail(
        sequence=file.parent.name,
        name=file.stem,
        kind=Kind(front.kind),
        subjects=subjects,
        preheader=front.preheader,
        section=front.section,
        guide_page=front.guide_page,
        body=body,
        file=shown,
        first_line=first_line,
    )


def split_front_matter(text: str, shown: str) -> tuple[dict[str, object], str, int]:
    """Return the TOML between two ``+++`` lines, the rest, and the line the rest starts at.

    Raises ContentError when the fence is missing or the TOML is broken.
    """
    lines = text.replace("\r\n", "\n").lstrip("\ufeff").split("\n")
    if lines[0].strip() != FENCE or FENCE not in [line.strip() for line in lines[1:]]:
        raise ContentError(f"{shown}: the file must start with its settings between two lines of {FENCE}.")
    end = [line.strip() for line in lines[1:]].index(FENCE) + 1
    try:
        head = tomllib.loads("\n".join(lines[1:end]))
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{shown}: the settings between the {FENCE} lines are not valid TOML: {error}.") from None
    return head, "\n".join(lines[end + 1 :]), end + 2


def _sequence(file: Path, name: str, mails: dict[str, Mail]) -> Sequence:
    """Return the sequence in sequence.toml; every step must have its mail."""
    shown = _shown(file)
    try:
        table = fill(SequenceTable, tomllib.loads(_read(file)), "", shown)
    except ConfigError as error:
        raise ContentError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{shown} is not valid TOML: {error}.") from None
    if not table.step:
        raise ContentError(f"{shown} has no [[step]]; name at least one mail.")
    steps = tuple(_step(step, mails, shown, i) for i, step in enumerate(table.step, 1))
    _in_order(steps, shown)
    if table.every not in {"", "week"} or (table.every == "week") != (name == STAFF):
        raise ContentError(f'{shown}: every = "week" belongs to the sequence “{STAFF}”, and to no other.')
    if any((step.kind is Kind.DIGEST) != (name == STAFF) for step in steps):
        raise ContentError(
            f"{shown}: mails of kind “digest” go to staff: they belong in emails/{STAFF}/, and only they."
        )
    again = table.repeatable or name in (*ASKED_FOR, STAFF)
    return Sequence(name, steps, title=table.title or name, repeatable=again, weekly=name == STAFF)


def _in_order(steps: tuple[Step, ...], shown: str) -> None:
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise ContentError(f"{shown}: the mail “{name}” is named twice; a person gets each mail once.")
    for i, step in enumerate(steps):
        if step.unanswered and step.unanswered not in names[:i]:
            raise ContentError(f"{shown}: unanswered = “{step.unanswered}” must come after the step of that mail.")
    for before, after in pairwise(steps):
        if (after.days, after.delay) < (before.days, before.delay):
            raise ContentError(
                f"{shown}: “{after.name}” would be due before “{before.name}”; put steps in order of time."
            )


def _step(table: StepTable, mails: dict[str, Mail], shown: str, number: int) -> Step:
    where = f"{shown}: step {number}"
    if table.unanswered:
        return _sunset(table, mails, where)
    mail = mails.get(table.mail)
    if mail is None:
        known = ", ".join(sorted(mails)) or "none"
        named = (
            f"names the mail “{table.mail}”, but there is no {table.mail}.md here" if table.mail else "names no mail"
        )
        raise ContentError(f"{where} {named} (there are: {known}).")
    if table.when not in set(Condition):
        raise ContentError(f"{where}: when = “{table.when}” is unknown; use one of {', '.join(Condition)}.")
    if table.stale not in {"send", "skip"}:
        raise ContentError(f'{where}: stale must be "send" or "skip", not “{table.stale}”.')
    days, delay = parse_after(table.after, where)
    return Step(
        name=table.mail,
        kind=mail.kind,
        days=days,
        delay=delay,
        at=_at(table.at, where),
        when=Condition(table.when),
        skip_if_stale=table.stale == "skip",
    )


def _sunset(table: StepTable, mails: dict[str, Mail], where: str) -> Step:
    """Return the step without a mail that takes people off the list who left a question unanswered."""
    if table.mail or table.when != "always" or table.stale != "send":
        raise ContentError(f"{where}: a step with unanswered = “…” sends no mail; give it after and at only.")
    if table.unanswered not in mails:
        raise ContentError(f"{where}: unanswered names the mail “{table.unanswered}”, which is not here.")
    days, delay = parse_after(table.after, where)
    return Step("sunset", Kind.SUNSET, days, delay, _at(table.at, where), unanswered=table.unanswered)


#: What a mail may be for; a sunset is no mail.
MAIL_KINDS = [kind for kind in Kind if kind is not Kind.SUNSET]
UNITS = {"day": "days", "days": "days", "hour": "hours", "hours": "hours", "minute": "minutes", "minutes": "minutes"}


def parse_after(text: str, where: str) -> tuple[int, timedelta]:
    """Return "3 days", "2 hours" or "1 day 6 hours" as whole days and the rest."""
    parts = re.findall(r"([0-9]{1,4})\s*([a-z]+)", text)
    spoken = " ".join(f"{number} {unit}" for number, unit in parts)
    if not parts or re.sub(r"\s+", "", spoken) != re.sub(r"\s+", "", text) or any(u not in UNITS for _, u in parts):
        raise ContentError(f'{where}: after = “{text}” is not a length of time like "3 days" or "2 hours".')
    sums = {"days": 0, "hours": 0, "minutes": 0}
    for number, unit in parts:
        sums[UNITS[unit]] += int(number)
    return sums["days"], timedelta(hours=sums["hours"], minutes=sums["minutes"])


def _at(text: str, where: str) -> time | None:
    if not text:
        return None
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        return time.fromisoformat(text)
    raise ContentError(f'{where}: at = “{text}” is not a time of day like "09:30".')


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ContentError(f"{_shown(file)} is missing.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"{_shown(file)} cannot be read: {error}.") from None


def _shown(file: Path) -> str:
    """Return a file as messages name it: its last three parts, never the whole path."""
    return "/".join(file.parts[-3:])
