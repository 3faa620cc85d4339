"""Fill a compiled mail for one person and make the message of it.

Deterministic: the same person, mail, version and moment give the same bytes, which retries need (MSG-6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from funnel.compose.message import (
    LARGEST_HTML,
    Letter,
    assembled,
    fixed_headers,
    gated,
    message_bytes,
    names_of,
    personal_headers,
)
from funnel.compose.quoted import quoted_template
from funnel.compose.source import Library, Mail, load_library
from funnel.compose.stencil import Stencil, fits, mark, names_in, slots
from funnel.compose.template import Compiled, compile_mail, environment
from funnel.errors import ContentError
from funnel.model import PERSONAL, Kind, Rendered
from funnel.profile import direction
from funnel.tokens import funnel_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from jinja2 import Environment, Template
    from jinja2.runtime import Context

LARGEST_FIELD = 2_000
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
    compiled: Compiled
    subjects: list[Template | str]
    preheader: Template | str
    html: Template
    text: Template
    feedback_id: str
    personal: tuple[str, ...]  #: the fields it names that differ from person to person
    common: tuple[str, ...] | None  #: the others; None when it does more with a personal one than show it
    alike: list[object]  #: what the common ones were when the stencils were cut
    stencils: dict[tuple[object, ...], Stencil]


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
    ) -> Rendered:
        """Return the message of one mail to one person.

        Raises ContentError when a field is missing or the result may not be sent as it is.
        """
        mail = self.library.mail(sequence, name)
        parts = self._parts(mail)
        variant = mailing_id % len(parts.subjects)
        values = _bounded(dict(fields), parts.personal)
        subject = parts.subjects[variant]
        if prefix or not isinstance(subject, str) or not isinstance(parts.preheader, str):
            context = parts.html.new_context(values, shared=True)
            values["subject"] = prefix + self._fill(subject, context, mail)
            values["preheader"] = self._fill(parts.preheader, context, mail)
        else:
            values["subject"], values["preheader"] = subject, parts.preheader
        values["dir"] = direction(str(values.get("lang", "")))
        letter = self._letter(mail, parts, values, to=to, mailing_id=mailing_id, date=date)
        message = self._by_stencil(mail, parts, letter, values) or self._written(mail, parts, letter, values)
        return Rendered(letter.message_id, letter.subject, message, parts.compiled.version, canonical=True)

    def wanted(self, sequence: str, name: str) -> frozenset[str]:
        """Return the personal fields that a mail names, all that have to be made for it."""
        return frozenset(self._parts(self.library.mail(sequence, name)).personal)

    def _letter(
        self, mail: Mail, parts: _Parts, values: Mapping[str, object], *, to: str, mailing_id: int, date: datetime
    ) -> Letter:
        """Return all of a message but its two parts; raises ContentError when nobody could stop such mail."""
        message_id, own_id = self._ids(mailing_id)
        unsubscribe = "" if mail.kind in NO_WAY_OUT else str(values.get("unsubscribe_url", ""))
        if not unsubscribe and mail.kind not in NO_WAY_OUT:
            raise ContentError(f"{mail.file}: it cannot be sent without an unsubscribe link.")
        return Letter(
            message_id=message_id,
            date=date,
            from_name=self.sender.from_name,
            from_address=self.sender.from_address,
            to_address=to,
            reply_to=self.sender.reply_to,
            subject=str(values["subject"]),
            html="",
            text="",
            funnel_id=own_id,
            list_id=self.sender.list_id,
            feedback_id=parts.feedback_id,
            unsubscribe_url=unsubscribe,
        )

    def _written(self, mail: Mail, parts: _Parts, letter: Letter, values: dict[str, object]) -> bytes:
        """Return the message, every part of it filled in."""
        self._fill_parts(mail, parts, letter, values)
        return message_bytes(letter)

    def _fill_parts(self, mail: Mail, parts: _Parts, letter: Letter, values: dict[str, object]) -> None:
        context = parts.html.new_context(_bounded(values, values), shared=True)
        letter.html, letter.text = self._fill(parts.html, context, mail), self._fill(parts.text, context, mail)

    def _by_stencil(self, mail: Mail, parts: _Parts, letter: Letter, values: dict[str, object]) -> bytes | None:
        """Return the message by a stencil, cut now when there is none that fits; None when it takes more than that."""
        if parts.common is None:
            return None
        alike = [values.get(name) for name in parts.common]
        if parts.alike != alike or len(parts.stencils) > MOST_STENCILS:
            parts.alike, parts.stencils = alike, {}
        own = [values.get(name) for name in parts.personal]
        if any(type(value) is not str for value in own):
            return None
        headers = personal_headers(letter)
        fit = (letter.unsubscribe_url == "", *map(bool, own))
        stencil = parts.stencils.get(fit)
        if stencil is None:
            stencil = parts.stencils[fit] = self._cut(mail, parts, letter, values)
        message = stencil.filled({**values, **headers})
        return gated(message, stencil.names) if len(message) <= LARGEST_HTML else None

    def _cut(self, mail: Mail, parts: _Parts, letter: Letter, values: dict[str, object]) -> Stencil:
        self._fill_parts(mail, parts, letter, slots(values))
        headers = fixed_headers(letter) | {name: mark("head", name) for name in personal_headers(letter)}
        return Stencil(assembled(headers, letter.text, letter.html), names_of(headers))

    def compiled(self, mail: Mail) -> Compiled:
        """Return the compiled form of a mail."""
        return self._parts(mail).compiled

    def _parts(self, mail: Mail) -> _Parts:
        key = (mail.sequence, mail.name)
        if key not in self._ready:
            compiled = compile_mail(mail, self.library, self._cache)
            html = self._env = self._env or environment()
            plain = html.overlay(autoescape=False)
            pages = compiled.html + compiled.text
            named = names_in(html, pages, *compiled.subjects, compiled.preheader) | {"unsubscribe_url"}
            self._ready[key] = _Parts(
                compiled,
                [_words(plain, subject) for subject in compiled.subjects],
                _words(plain, compiled.preheader),
                quoted_template(html, compiled.html),
                quoted_template(plain, compiled.text),
                f"{mail.kind}:{self.sender.feedback_id}",
                tuple(sorted(named & PERSONAL)),
                tuple(sorted(named - PERSONAL)) if fits(html, pages) else None,
                [],
                {},
            )
        return self._ready[key]

    def _fill(self, template: Template | str, context: Context, mail: Mail) -> str:
        try:
            return template if isinstance(template, str) else "".join(template.root_render_func(context))
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ContentError(f"{mail.file}: it cannot be filled in: {error}.") from None

    def _ids(self, mailing_id: int) -> tuple[str, str]:
        """Return the Message-ID and our own id of a mailing: unguessable, the same at every try."""
        own = funnel_id(self._secret, mailing_id)
        return f"{own}@{self.sender.domain}", own


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
