"""Fill a compiled mail for one person and make the message of it.

Deterministic: the same person, mail, version and moment give the same bytes, which retries need (MSG-6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

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
from funnel.model import PERSONAL, Kind, Link, Rendered
from funnel.profile import direction
from funnel.tokens import funnel_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from jinja2 import Environment, Template
    from jinja2.runtime import Context

    from funnel.compose.message import Head

LARGEST_FIELD = 2_000
#: Personal fields that the composer makes itself.
HEADLINES = frozenset({"subject", "preheader"})
#: More than there are ways to leave the fields of one mail empty, in any mail we know.
MOST_STENCILS = 64
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
    stencils: dict[tuple[object, ...], _Fit] = field(default_factory=dict)


class _Fit(NamedTuple):
    """A stencil, what finds its headers, and its subject when that is the same for everybody."""

    stencil: Stencil
    head: Head
    subject: str


class _Copy(NamedTuple):
    """What else tells one message from all others of the same mail."""

    to: str
    mailing_id: int
    date: datetime


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
        parts = self._of(sequence, name)
        copy = _Copy(to, mailing_id, date)
        if own is None or parts.source is not fields:
            self._compare(parts, fields)
        own = fields if own is None else own
        if parts.common is None:
            values = {name: str(value) if type(value) is Link else value for name, value in {**fields, **own}.items()}
            return self._written(parts, *self._letter(parts, values, copy, prefix))
        made = None if prefix else self._by_stencil(parts, fields, own, copy)
        return made or self._written(parts, *self._letter(parts, {**fields, **own}, copy, prefix))

    def wanted(self, sequence: str, name: str) -> frozenset[str]:
        """Return the personal fields that a mail names, all that have to be made for it."""
        return self._of(sequence, name).wanted

    # --- by a stencil --------------------------------------------------------------------------

    def _by_stencil(
        self, parts: _Parts, fields: Mapping[str, object], own: Mapping[str, object], copy: _Copy
    ) -> Rendered | None:
        """Return the message by a stencil, cut now when there is none that fits; None when it takes more than that."""
        variant = copy.mailing_id % len(parts.subjects)
        values = self._personal(parts, fields, own, variant)
        if values is None:
            return None
        fit = (variant, *map(bool, values.values()))
        cut = parts.stencils.get(fit)
        if cut is None:
            if len(parts.stencils) >= MOST_STENCILS:
                parts.stencils.clear()
            cut = parts.stencils[fit] = self._cut(parts, {**fields, **own}, values, copy)
        values["To"], values["Date"] = addr_spec(copy.to), date_header(copy.date)
        values["id"] = funnel_id(self._secret, copy.mailing_id)
        try:
            message = cut.stencil.filled(values)
        except (NoFitError, UnicodeEncodeError):
            return None
        if len(message) > LARGEST_HTML:
            return None
        subject = str(values.get("subject", cut.subject))
        return Rendered(subject, gated(message, cut.head), parts.compiled.version, canonical=True)

    def _compare(self, parts: _Parts, fields: Mapping[str, object]) -> None:
        """Forget the stencils when what is alike for everybody is not what it was."""
        alike = [fields.get(name) for name in parts.common or ()]
        if parts.alike != alike:
            parts.alike, parts.stencils = alike, {}
        parts.source = fields

    def _personal(
        self, parts: _Parts, fields: Mapping[str, object], own: Mapping[str, object], variant: int
    ) -> dict[str, object] | None:
        """Return the personal fields a mail names, with a subject that names some; None when one is no text or link."""
        values: dict[str, object] = {}
        for name in parts.personal:
            value = own.get(name)
            if type(value) is str:
                values[name] = value if len(value) <= LARGEST_FIELD else value[:LARGEST_FIELD]
            elif type(value) is Link:
                values[name] = value
            else:
                return None
        if parts.plain[variant]:
            return values
        subject, preheader = self._headlines(parts, {**fields, **values}, variant)
        return {**values, "subject": subject, "preheader": preheader, "Subject": unstructured(subject)}

    def _headlines(self, parts: _Parts, values: dict[str, object], variant: int) -> tuple[str, str]:
        """Return subject and preheader as one person reads them."""
        context = parts.html.new_context(values, shared=True)
        return self._fill(parts.subjects[variant], context, parts), self._fill(parts.preheader, context, parts)

    def _cut(self, parts: _Parts, fields: dict[str, object], own: dict[str, object], copy: _Copy) -> _Fit:
        """Return a stencil for those for whom the same fields are empty; raises ContentError."""
        letter, values = self._letter(parts, fields, copy)
        holes = slots(values)
        headers = fixed_headers(letter) | personal_headers(letter)
        headers |= {"To": mark("head", "To"), "Date": mark("head", "Date"), "X-Funnel-Id": mark("head", "id")}
        headers["Message-ID"] = f"<{mark('head', 'id')}@{self.sender.domain}>"
        if "subject" in own:
            headers["Subject"] = mark("head", "Subject")
        else:
            holes |= {"subject": letter.subject, "preheader": values["preheader"]}
        if letter.unsubscribe_url:
            headers["List-Unsubscribe"] = f"<{link_mark('unsubscribe_url', values['unsubscribe_url'])}>"
        self._fill_parts(parts, letter, holes)
        message = assembled(headers, letter.text, letter.html)
        return _Fit(Stencil(message, values), head_of(names_of(headers)), letter.subject)

    # --- every part filled in anew -------------------------------------------------------------

    def _written(self, parts: _Parts, letter: Letter, values: dict[str, object]) -> Rendered:
        self._fill_parts(parts, letter, values)
        return Rendered(letter.subject, message_bytes(letter), parts.compiled.version, canonical=True)

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
