"""Fill a compiled mail for one person and make the message of it.

Deterministic: the same person, mail, version and moment give the same bytes, which retries need (MSG-6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from funnel.compose.message import Letter, message_bytes
from funnel.compose.quoted import quoted_template
from funnel.compose.source import Library, Mail, load_library
from funnel.compose.template import Compiled, compile_mail, environment
from funnel.errors import ContentError
from funnel.model import Kind, Rendered
from funnel.profile import direction
from funnel.tokens import funnel_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from jinja2 import Environment, Template
    from jinja2.runtime import Context

LARGEST_FIELD = 2_000
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
        values = dict(fields)
        for key, value in fields.items():
            if type(value) is str and len(value) > LARGEST_FIELD:
                values[key] = value[:LARGEST_FIELD]
        context = parts.html.new_context(values, shared=True)
        values["subject"] = prefix + self._fill(parts.subjects[variant], context, mail)
        values["preheader"] = self._fill(parts.preheader, context, mail)
        values["dir"] = direction(str(values.get("lang", "")))
        message_id, own_id = self._ids(mailing_id)
        unsubscribe = "" if mail.kind in NO_WAY_OUT else str(values.get("unsubscribe_url", ""))
        if not unsubscribe and mail.kind not in NO_WAY_OUT:
            raise ContentError(f"{mail.file}: it cannot be sent without an unsubscribe link.")
        letter = Letter(
            message_id=message_id,
            date=date,
            from_name=self.sender.from_name,
            from_address=self.sender.from_address,
            to_address=to,
            reply_to=self.sender.reply_to,
            subject=str(values["subject"]),
            html=self._fill(parts.html, context, mail),
            text=self._fill(parts.text, context, mail),
            funnel_id=own_id,
            list_id=self.sender.list_id,
            feedback_id=parts.feedback_id,
            unsubscribe_url=unsubscribe,
        )
        return Rendered(message_id, letter.subject, message_bytes(letter), parts.compiled.version)

    def compiled(self, mail: Mail) -> Compiled:
        """Return the compiled form of a mail."""
        return self._parts(mail).compiled

    def _parts(self, mail: Mail) -> _Parts:
        key = (mail.sequence, mail.name)
        if key not in self._ready:
            compiled = compile_mail(mail, self.library, self._cache)
            self._env = self._env or environment()
            html = self._env
            plain = html.overlay(autoescape=False)
            self._ready[key] = _Parts(
                compiled,
                [_words(plain, subject) for subject in compiled.subjects],
                _words(plain, compiled.preheader),
                quoted_template(html, compiled.html),
                quoted_template(plain, compiled.text),
                f"{mail.kind}:{self.sender.feedback_id}",
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


def _words(env: Environment, source: str) -> Template | str:
    """Return a template, or just what it says when that is the same for everybody."""
    template = env.from_string(source)
    return template if "{" in source else template.render()


__all__ = ["Composer", "Sender", "load_library"]
