"""What two mail readers get out of a message is what was put in: headers, text and page.

The readers are Python's own and fast-mail-parser, which share nothing. What was put in is filled in a second time by
Jinja alone, so that neither our quoted-printable nor our headers are their own judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import parseaddr
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from fast_mail_parser import parse_email

from funnel.compose.letters import LARGEST_FIELD
from funnel.compose.template import environment
from funnel.errors import ContentError
from tests.compose.kit import as_sent
from tests.mails.kit import ADDRESS, strange_composer, strange_letters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import Template

    from funnel.app import Funnel
    from funnel.compose.letters import Composer
    from funnel.model import Rendered
    from tests.mails.kit import Letter

STRANGE = 400
#: What no header shows: controls, line and paragraph separators, direction marks.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Read:
    """A message as a reader shows it."""

    subject: str
    from_name: str
    from_address: str
    to: str
    text: str
    html: str


def by_python(message: bytes) -> Read:
    """Return the message as the standard library reads it; fails when it finds anything wrong.

    The name is read by the older of its two parsers: the newer leaves a blank between two encoded-words (RFC 2047 6.2).
    """
    found = message_from_bytes(message, policy=policy.default)
    name, address = parseaddr(message_from_bytes(message)["From"])
    (sender,), (to,) = found["From"].addresses, found["To"].addresses
    text, html = (bytes(part.get_payload(decode=True)).decode("utf-8") for part in found.iter_parts())
    assert (found.defects, sender.addr_spec) == ([], address)
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    shown = str(make_header(decode_header(name)))
    return Read(str(found["Subject"]), shown, address, to.addr_spec, _lf(text), _lf(html))


def by_the_other(message: bytes) -> Read:
    """Return the message as fast-mail-parser reads it; fails when it had to mend anything."""
    found = parse_email(message, strict=True)
    (text,), (html,), (to,) = found.text_plain, found.text_html, found.to
    assert found.from_ is not None
    assert found.attachments == []
    return Read(found.subject, found.from_.display_name or "", found.from_.address, to.address, _lf(text), _lf(html))


def _lf(text: str) -> str:
    """Return text as lines, without a byte order mark that comes first, which fast-mail-parser drops."""
    return text.replace("\r\n", "\n").removesuffix("\n").removeprefix("\ufeff")


@cache
def template(source: str, *, escape: bool) -> Template:
    """Return what a mail says as Jinja reads it, without our encoding."""
    return environment().overlay(autoescape=escape).from_string(source)


def composed(composer: Composer, letter: Letter) -> Read:
    """Return what was put in, filled in by Jinja as it comes."""
    compiled = composer.compiled(letter.mail)
    values = {key: v[:LARGEST_FIELD] if isinstance(v, str) else v for key, v in letter.fields.items()}
    subject = template(compiled.subjects[letter.number % len(compiled.subjects)], escape=False).render(values)
    preheader = template(compiled.preheader, escape=False).render(values)
    values |= {"subject": subject, "preheader": preheader}
    text = template(compiled.text, escape=False).render(values)
    html = template(compiled.html, escape=True).render(values)
    return Read(_shown(subject), _shown(letter.from_name), ADDRESS, letter.to, _lf(as_sent(text)), _lf(as_sent(html)))


def _shown(text: str) -> str:
    return " ".join(HIDDEN.sub(" ", text).encode("utf-8", "replace").decode().split())


def words(text: str) -> set[str]:
    """Return the words of a text, small and without what stands around them."""
    return set(re.findall(r"\w+", text.lower()))


# --- every mail --------------------------------------------------------------------------------


def test_both_readers_see_every_mail_alike(rendered: dict[str, Rendered]) -> None:
    """MSG-2, MSG-7."""
    for name, mail in rendered.items():
        read = by_python(mail.message)

        assert read == by_the_other(mail.message), name
        assert (read.subject, read.from_address) == (mail.subject, ADDRESS), name
        assert read.from_name == "Maya at Thrive Health", name


def test_the_text_says_what_the_page_says(rendered: dict[str, Rendered]) -> None:
    """MSG-7: of the words on the page, less its title and preheader, few are missing in the text."""
    for name, mail in rendered.items():
        read = by_python(mail.message)
        page = re.sub(
            r"<head>.*?</head>|<div class=\"preheader\".*?</div>|<[^>]*>|&\w+;", " ", read.html, flags=re.DOTALL
        )

        assert len(words(page)) > 60, name
        assert len(words(page) - words(read.text)) <= 3, (name, words(page) - words(read.text))


# --- strange ones ------------------------------------------------------------------------------


def sent(funnel: Funnel) -> Iterator[tuple[bytes, Read]]:
    """Yield strange messages, and what was put into each."""
    composer = strange_composer(funnel)
    for letter in islice(strange_letters(funnel, composer.library, 2), STRANGE):
        try:
            message = letter.compose(composer).message
        except ContentError:
            continue
        yield message, composed(composer, letter)


def test_both_readers_see_strange_letters_as_they_were_put_in(funnel: Funnel) -> None:
    """MSG-1, MSG-3: nothing is lost, added or decoded on the way, whatever people are called."""
    count = 0
    for message, put_in in sent(funnel):
        assert by_python(message) == put_in
        assert by_the_other(message) == put_in
        count += 1

    assert count > STRANGE * 0.8


# --- that it can fail --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "was", "becomes"),
    [
        ("subject", b"Subject: ", b"Subject: Re: "),
        ("from_name", b"From: ", b"From: Dr "),
        ("from_address", b"<hello@", b"<help@"),
        ("to", b"To: you", b"To: me"),
        (
            "text",
            b"plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
            b"plain\r\n\r\n=C3=A9",
        ),
        ("html", b"</h1>", b"!</h1>"),
    ],
)
def test_each_part_is_really_read(rendered: dict[str, Rendered], part: str, was: bytes, becomes: bytes) -> None:
    message = rendered["series-how-fast"].message
    for read in (by_python, by_the_other):
        before, after = read(message), read(message.replace(was, becomes, 1))

        assert getattr(before, part) != getattr(after, part)
        assert replace(after, **{part: getattr(before, part)}) == before
