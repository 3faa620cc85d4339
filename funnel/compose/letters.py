"""Fill a compiled mail for one person and make the message of it.

Deterministic: the same person, mail, version and moment give the same bytes, which retries need (MSG-6).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

from jinja2 import TemplateError

from funnel.compose.message import (
    LARGEST_HTML,
    Letter,
    addr_spec,
    assembled,
    date_header,
    fixed_headers,
    gated,
    head_of,
    message_bytes,
    names_of,
    personal_headers,
    unstructured,
)
from funnel.compose.quoted import quoted_template
from funnel.compose.source import Library, Mail, load_library
from funnel.compose.stencil import NoFitError, Stencil, fits, link_mark, mark, names_in, slots
from funnel.compose.template import Compiled, compile_mail, environment
from funnel.errors import ContentError
from funnel.model import PERSONAL, Kind, Link, LinkColumn, Rendered, of_one
from funnel.profile import direction
from funnel.tokens import funnel_id, funnel_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from jinja2 import Environment, Template
    from jinja2.runtime import Context

    from funnel.compose.message import Head
    from funnel.compose.stencil import Hole
    from funnel.model import Column

LARGEST_FIELD = 2_000
#: Personal fields that the composer makes itself.
HEADLINES = frozenset({"subject", "preheader"})
#: More than there are ways to leave the fields of one mail empty, in any mail we know.
MOST_STENCILS = 64
#: Which of a mail's personal fields somebody has; a stencil is for one of these, and one of the mail's subjects.
Fit = tuple[bool, ...]
#: Mail that is no series: a confirmation stops by itself (UNS-14), and staff stop theirs in the settings.
NO_WAY_OUT = frozenset({Kind.CONFIRM, Kind.DIGEST})


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose name the mails carry."""

    from_name: str
    from_address: str
    reply_to: str
    list_id: str
    feedback_id: str

    @property
    def domain(self) -> str:
        """Return the domain of the sender's address."""
        return self.from_address.rpartition("@")[2]


@dataclass(slots=True)
class _Parts:
    mail: Mail
    compiled: Compiled
    subjects: list[Template | str]
    preheader: Template | str
    plain: list[bool]  #: for each subject, whether it and the preheader are the same for everybody
    html: Template
    text: Template
    feedback_id: str
    personal: tuple[str, ...]  #: the fields it names that differ from person to person
    wanted: frozenset[str]  #: the same ones, as those who make them ask for them
    common: tuple[str, ...] | None  #: the others; None when it does more with a personal one than show it
    source: Mapping[str, object] | None = None  #: what the common ones came from when the stencils were cut
    alike: list[object] = field(default_factory=list)  #: and what they were
    stencils: dict[tuple[int, Fit], _Cut] = field(default_factory=dict)  #: by the subject's number, too


class _Cut(NamedTuple):
    """A stencil, and what finds its headers."""

    stencil: Stencil
    head: Head


class _Copy(NamedTuple):
    """What else tells one message from all others of the same mail."""

    to: str
    mailing_id: int
    date: datetime


class _Filling(NamedTuple):
    """A stencil, what fills it for each of many people, and whether each copy has to be read again for its headers."""

    cut: _Cut
    rows: list[tuple[bytes, ...]]
    read_again: bool


@dataclass(slots=True)
class _Sheet:
    """All that goes into the copies of a mail, column by column, and which fields each person has."""

    columns: dict[str, Column]
    fits: Sequence[Fit]
    made: dict[Hole, Sequence[bytes]] = field(default_factory=dict)  #: what was made of the columns
    fillings: dict[tuple[int, Fit], _Filling | None] = field(default_factory=dict)


@dataclass(slots=True)
class Merge:
    """One mail and many people: what each copy is made of. Made by ``Composer.merge``."""

    parts: _Parts
    fields: Mapping[str, object]
    own: Mapping[str, Column]
    to: Sequence[str]
    mailing_ids: Sequence[int]
    date: datetime
    common: _Sheet | None = None  #: of all copies, whatever their subject
    sheets: dict[int, _Sheet | None] = field(default_factory=dict)  #: by the subject's number

    @property
    def version(self) -> str:
        """The fingerprint of the mail's source."""
        return self.parts.compiled.version

    def column(self, name: str) -> Column | None:
        """Return one field of everybody, or None when it is missing or no text."""
        column = self.own.get(name)
        if column is None:
            alike = self.fields.get(name)
            return [alike] * len(self.to) if type(alike) is str else None
        return column

    def fields_of(self, place: int) -> dict[str, object]:
        """Return every field of one of them."""
        return {**self.fields, **{name: of_one(column, place) for name, column in self.own.items()}}

    def copy(self, place: int) -> _Copy:
        """Return what else tells the copy of one of them from the others."""
        return _Copy(self.to[place], self.mailing_ids[place], self.date)


class Composer:
    """Turns a step and a person's fields into bytes; compiles each mail at most once."""

    def __init__(self, library: Library, sender: Sender, secret: bytes, cache: Path | None = None) -> None:
        self.library = library
        self.sender = sender
        self._secret = secret
        self._cache = cache
        self._env: Environment | None = None
        self._ready: dict[tuple[str, str], _Parts] = {}

    def render(
        self,
        sequence: str,
        name: str,
        fields: Mapping[str, object],
        *,
        to: str,
        mailing_id: int,
        date: datetime,
        prefix: str = "",
        own: Mapping[str, object] | None = None,
    ) -> Rendered:
        """Return the message of one mail to one person.

        ``own`` are those of the fields that are this person's, when they are kept apart; ``fields`` had better be
        one and the same mapping for everybody then, and nobody may change it.
        Raises ContentError when a field is missing or the result may not be sent as it is.
        """
        if own is None:  # and then they may have been changed since
            fields, own = dict(fields), fields
        parts = self._of(sequence, name)
        if prefix:
            message = self._whole(parts, {**fields, **own}, _Copy(to, mailing_id, date), prefix)
        else:
            columns = {field: _column_of_one(value) for field, value in own.items()}
            merge = self.merge(sequence, name, fields, columns, to=(to,), mailing_ids=(mailing_id,), date=date)
            message = self.one_of(merge, 0)
        values = _bounded({**fields, **own}, parts.personal)
        subject, _ = self._headlines(parts, values, mailing_id % len(parts.subjects))
        return Rendered(prefix + subject, message, parts.compiled.version)

    def wanted(self, sequence: str, name: str) -> frozenset[str]:
        """Return the personal fields that a mail names, all that have to be made for it."""
        return self._of(sequence, name).wanted

    # --- by a stencil --------------------------------------------------------------------------

    def merge(
        self,
        sequence: str,
        name: str,
        fields: Mapping[str, object],
        own: Mapping[str, Column],
        *,
        to: Sequence[str],
        mailing_ids: Sequence[int],
        date: datetime,
    ) -> Merge:
        """Return all that is needed to write one mail to many people, whose own fields come column by column.

        ``fields`` are alike for everybody; they had better be the same mapping from one call to the next, and nobody
        may change it.
        """
        parts = self._of(sequence, name)
        if parts.source is not fields:
            self._compare(parts, fields)
        made = Merge(parts, fields, own, to, mailing_ids, date)
        if parts.common is not None:
            with suppress(ContentError):  # it is one person's, who is found when every copy is written whole
                made.common = self._common_sheet(made)
        return made

    def one_of(self, merge: Merge, place: int) -> bytes:
        """Return the message to one of many; raises ContentError when it may not be sent as it is.

        It is plain ASCII, with no bare CR or LF and no line that starts with a dot.
        """
        variant = merge.mailing_ids[place] % len(merge.parts.subjects)
        if variant not in merge.sheets:
            merge.sheets[variant] = self._sheet(merge, variant)
        sheet = merge.sheets[variant]
        if sheet is not None:
            fit = (variant, sheet.fits[place])
            if fit not in sheet.fillings:
                sheet.fillings[fit] = self._filling(merge, sheet, fit, place)
            filling = sheet.fillings[fit]
            if filling is not None:
                message = filling.cut.stencil.filled(filling.rows[place])
                if len(message) <= LARGEST_HTML:
                    return gated(message, filling.cut.head) if filling.read_again else message
        return self._whole(merge.parts, merge.fields_of(place), merge.copy(place))

    def _sheet(self, merge: Merge, variant: int) -> _Sheet | None:
        """Return what the copies with one subject are made from; None when that takes more than a stencil."""
        try:
            if merge.common is not None and not merge.parts.plain[variant]:
                return self._own_subjects(merge, merge.common, variant)
        except ContentError:
            return None  # it is one person's, who is found when every copy is written whole
        return merge.common

    def _common_sheet(self, merge: Merge) -> _Sheet | None:
        """Return what all copies are made from, whatever their subject."""
        columns: dict[str, Column] = {}
        for name in merge.parts.personal:
            column = _bounded_column(merge.column(name))
            if column is None:
                return None
            columns[name] = column
        fits = _fits(columns)
        columns["To"] = [addr_spec(address) for address in merge.to]
        columns["Date"] = [date_header(merge.date)] * len(merge.to)
        columns["id"] = LinkColumn("", funnel_ids(self._secret, merge.mailing_ids))
        return _Sheet(columns, fits)

    def _own_subjects(self, merge: Merge, sheet: _Sheet, variant: int) -> _Sheet:
        """Return what copies are made from whose subject or preheader is each person's own."""
        parts = merge.parts
        everybody = (_bounded(merge.fields_of(place), parts.personal) for place in range(len(merge.to)))
        found = [self._headlines(parts, values, variant) for values in everybody]
        own: dict[str, Column] = {
            "subject": [subject for subject, _ in found],
            "preheader": [preheader for _, preheader in found],
            "Subject": [unstructured(subject) for subject, _ in found],
        }
        fits = [before + after for before, after in zip(sheet.fits, _fits(own), strict=True)]
        return _Sheet(sheet.columns | own, fits, sheet.made.copy())

    def _filling(self, merge: Merge, sheet: _Sheet, fit: tuple[int, Fit], place: int) -> _Filling | None:
        """Return a stencil that fits one of many, cut now when there is none, and what fills it; None if none does."""
        parts = merge.parts
        cut = parts.stencils.get(fit)
        if cut is None:
            if len(parts.stencils) >= MOST_STENCILS:
                parts.stencils.clear()
            own_subject = "Subject" in sheet.columns
            cut = self._cut(parts, merge.fields_of(place), merge.copy(place), own_subject=own_subject)
            parts.stencils[fit] = cut
        try:
            rows = cut.stencil.rows(sheet.columns, sheet.made)
        except (NoFitError, UnicodeEncodeError):
            return None
        speaks_for_all = cut.stencil.adds_no_line(sheet.columns) and cut.head(cut.stencil.filled(rows[place]))
        return _Filling(cut, rows, read_again=not speaks_for_all)

    def _compare(self, parts: _Parts, fields: Mapping[str, object]) -> None:
        """Forget the stencils when what is alike for everybody is not what it was."""
        alike = [fields.get(name) for name in parts.common or ()]
        if parts.alike != alike:
            parts.alike, parts.stencils = alike, {}
        parts.source = fields

    def _headlines(self, parts: _Parts, values: dict[str, object], variant: int) -> tuple[str, str]:
        """Return subject and preheader as one person reads them."""
        context = parts.html.new_context(values, shared=True)
        return self._fill(parts.subjects[variant], context, parts), self._fill(parts.preheader, context, parts)

    def _cut(self, parts: _Parts, fields: dict[str, object], copy: _Copy, *, own_subject: bool) -> _Cut:
        """Return a stencil for those for whom the same fields are empty; raises ContentError."""
        letter, values = self._letter(parts, fields, copy)
        holes = slots(values)
        headers = fixed_headers(letter) | personal_headers(letter)
        headers |= {"To": mark("head", "To"), "Date": mark("head", "Date"), "X-Funnel-Id": mark("token", "id")}
        headers["Message-ID"] = f"<{mark('token', 'id')}@{self.sender.domain}>"
        if own_subject:
            headers["Subject"] = mark("head", "Subject")
        else:
            holes |= {"subject": letter.subject, "preheader": values["preheader"]}
        if letter.unsubscribe_url:
            headers["List-Unsubscribe"] = f"<{link_mark('unsubscribe_url', values['unsubscribe_url'])}>"
        self._fill_parts(parts, letter, holes)
        message = assembled(headers, letter.text, letter.html)
        return _Cut(Stencil(message, {**values, "id": Link("", letter.funnel_id)}), head_of(names_of(headers)))

    # --- every part filled in anew -------------------------------------------------------------

    def _whole(self, parts: _Parts, fields: dict[str, object], copy: _Copy, prefix: str = "") -> bytes:
        """Return a message, every part of it filled in anew; raises ContentError."""
        if parts.common is None:
            fields = {name: str(value) if type(value) is Link else value for name, value in fields.items()}
        letter, values = self._letter(parts, fields, copy, prefix)
        self._fill_parts(parts, letter, values)
        return message_bytes(letter)

    def _letter(
        self, parts: _Parts, fields: dict[str, object], copy: _Copy, prefix: str = ""
    ) -> tuple[Letter, dict[str, object]]:
        """Return all of a message but its two parts, and all that fills these.

        Raises ContentError when nobody could stop such mail.
        """
        mail, values = parts.mail, _bounded(fields, parts.personal)
        subject, values["preheader"] = self._headlines(parts, values, copy.mailing_id % len(parts.subjects))
        values["subject"] = prefix + subject
        values["dir"] = direction(str(values.get("lang", "")))
        unsubscribe = "" if mail.kind in NO_WAY_OUT else str(values.get("unsubscribe_url", ""))
        if not unsubscribe and mail.kind not in NO_WAY_OUT:
            raise ContentError(f"{mail.file}: it cannot be sent without an unsubscribe link.")
        own_id = funnel_id(self._secret, copy.mailing_id)
        letter = Letter(
            message_id=f"{own_id}@{self.sender.domain}",
            date=copy.date,
            from_name=self.sender.from_name,
            from_address=self.sender.from_address,
            to_address=copy.to,
            reply_to=self.sender.reply_to,
            subject=prefix + subject,
            html="",
            text="",
            funnel_id=own_id,
            list_id=self.sender.list_id,
            feedback_id=parts.feedback_id,
            unsubscribe_url=unsubscribe,
        )
        return letter, values

    def _fill_parts(self, parts: _Parts, letter: Letter, values: dict[str, object]) -> None:
        context = parts.html.new_context(_bounded(values, values), shared=True)
        letter.html, letter.text = self._fill(parts.html, context, parts), self._fill(parts.text, context, parts)

    def compiled(self, mail: Mail) -> Compiled:
        """Return the compiled form of a mail."""
        return self._of(mail.sequence, mail.name).compiled

    def _of(self, sequence: str, name: str) -> _Parts:
        return self._ready.get((sequence, name)) or self._prepared(self.library.mail(sequence, name))

    def _prepared(self, mail: Mail) -> _Parts:
        compiled = compile_mail(mail, self.library, self._cache)
        html = self._env = self._env or environment()
        plain = html.overlay(autoescape=False)
        pages = compiled.html + compiled.text
        named = names_in(html, pages, *compiled.subjects, compiled.preheader) | {"unsubscribe_url"}
        subjects = [_words(plain, subject) for subject in compiled.subjects]
        preheader = _words(plain, compiled.preheader)
        parts = self._ready[mail.sequence, mail.name] = _Parts(
            mail, compiled, subjects, preheader,
            plain=[isinstance(subject, str) and isinstance(preheader, str) for subject in subjects],
            html=quoted_template(html, compiled.html),
            text=quoted_template(plain, compiled.text),
            feedback_id=f"{mail.kind}:{self.sender.feedback_id}",
            personal=tuple(sorted((named & PERSONAL) - HEADLINES)),
            wanted=named & PERSONAL,
            common=tuple(sorted(named - PERSONAL)) if fits(html, pages) else None,
        )  # fmt: skip
        return parts

    def _fill(self, template: Template | str, context: Context, parts: _Parts) -> str:
        try:
            return template if isinstance(template, str) else "".join(template.root_render_func(context))
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ContentError(f"{parts.mail.file}: it cannot be filled in: {error}.") from None


def _column_of_one(value: object) -> Column:
    """Return a column with one field in it, whatever it is."""
    if type(value) is not Link:
        return cast("Column", (value,))
    return LinkColumn(value.before, [value.token.encode("utf-8")], value.behind)


def _bounded_column(column: Column | None) -> Column | None:
    """Return a column of text or links, no text being longer than any honest one; None when some are neither."""
    if column is None or isinstance(column, LinkColumn):
        return column
    if {*map(type, column)} != {str}:
        return None
    return column if max(map(len, column)) <= LARGEST_FIELD else [value[:LARGEST_FIELD] for value in column]


def _fits(columns: Mapping[str, Column]) -> list[Fit]:
    """Return which of these fields each person has."""
    return list(
        zip(
            *[[True] * len(c.tokens) if isinstance(c, LinkColumn) else map(bool, c) for c in columns.values()],
            strict=True,
        )
    )


def _bounded(values: dict[str, object], names: Iterable[str]) -> dict[str, object]:
    """Return the fields, none of those named being longer than any honest one."""
    for name in names:
        value = values.get(name)
        if type(value) is str and len(value) > LARGEST_FIELD:
            values[name] = value[:LARGEST_FIELD]
    return values


def _words(env: Environment, source: str) -> Template | str:
    """Return a template, or just what it says when that is the same for everybody."""
    template = env.from_string(source)
    return template if "{" in source else template.render()


__all__ = ["Composer", "Sender", "load_library"]
