"""The sample funnel rendered the same everywhere, and letters filled with whatever breaks mail programs."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from funnel.compose.letters import Composer, Sender
from funnel.guide.source import known_anchors, load
from funnel.model import Kind
from funnel.preview import NOBODY, render_sample
from funnel.profile import direction
from tests.compose.kit import NASTY, fields, mail_of
from tests.kit import TOP, make_funnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.compose.source import Library, Mail
    from funnel.model import Rendered

#: A Tuesday, ten in the morning at the sample clinic; fixed, because it stands in the mails.
NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
SITE = "https://go.thrivehealth.example"
ADDRESS = "hello@thrivehealth.example"
#: Figures keep this shape here, so that no mail depends on pictures being drawn.
SHAPE = [536, 320]
#: The longest field a letter passes on, and so the longest that must not make it too large.
LONGEST = 2_000

#: More that breaks into headers, markup, templates or quoted-printable.
ODD = [
    *NASTY,
    "=?utf-8?q?a=0D=0A_b?=\r\n =?utf-8?b?DQpCY2M6IGV2ZQ==?=",
    "=?UTF-8?Q?=0d=0a=0d=0a<h1>?=",
    "=?utf-8*en?q?x=0AY:_z?=",
    "{{ ''.__class__.__mro__ }}{% raw %}",
    "{%- if name -%}",
    "javascript:alert(1)",
    "</title></style><script>",
    "=3D=0D=0A=",
    "=",
    "a =\r\nX-Evil: 1",
    "=E2=80",
    "=ZZ =0",
    "tab\tand space \t \n end ",
    "a\x00b\x01\x02\x7f",
    "\x0b\x0c\x1c\x1d\x1e\x85",
    "one\u2028two\u2029three",
    "\udcff\ud83d lone",
    "\ud800\udc00 split",
    "\ufeff\ufffe\uffff",
    "👨‍👩‍👧‍👦🏴‍☠️",
    "Z\u0351\u036b\u0343 e\u0301" * 40,
    "مرحبا שלום",
    "\u202dKim\u202c\u2068Lee\u2069\u061c",
    "Kim <kim@a.example>, eve@evil.example",
    '"; eve@evil.example <',
    "a(b\\",
    "\r\n.\r\n",
    "\n\n\n",
    "\r\n--=_funnel_4000000000000000\r\n",
    "Content-Type: text/html\r\n\r\n<p>",
    "x@y.example\r\n",
]

#: Where characters are picked from: controls, ASCII, Latin, general punctuation, surrogates, emoji, all.
RANGES = [
    range(0x20), range(0x20, 0x7F), range(0x7F, 0x100), range(0x2000, 0x2070), range(0xD800, 0xE000),
    range(0x1F300, 0x1FB00), range(0x110000),
]  # fmt: skip


def sample_funnel(folder: Path) -> Funnel:
    """Return a funnel of the checkout's mails; page numbers come from the guide's plan, whether it is built or not."""
    funnel = make_funnel(folder, now=NOW, site={"base_url": SITE})
    made = funnel.config.path(funnel.config.guide.output)
    made.mkdir(parents=True)
    figures = {file.stem: SHAPE for file in (TOP / "guide" / "figures").glob("fig-*.svg")}
    (made / "pages.json").write_text(json.dumps(known_anchors(load(TOP / "guide"))))
    (made / "figures.json").write_text(json.dumps(figures))
    return funnel


def render_all(funnel: Funnel) -> dict[str, Rendered]:
    """Return every mail as the sample person gets it, by its name in file names: ``series-guide``."""
    return {f"{m.sequence}-{m.name}": render_sample(funnel, m, now=NOW) for m in funnel.library.mails.values()}


# --- strange letters ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter to compose, and whether it may be refused."""

    number: int
    mail: Mail
    fields: dict[str, object]
    from_name: str
    to: str = "kim@mail.example"
    broken: bool = False  #: something that must be an address or a link is none
    large: bool = False  #: something is so long that the mail may get too large

    def compose(self, composer: Composer) -> Rendered:
        """Return the letter as it would be sent; raises ContentError when it may not be."""
        composer.sender = replace(composer.sender, from_name=self.from_name)
        mail = self.mail
        return composer.render(
            mail.sequence, mail.name, self.fields, to=self.to, mailing_id=NOBODY + self.number, date=NOW
        )


def strange_composer(funnel: Funnel) -> Composer:
    """Return a composer of the sample's mails and of one more, which names every field there is."""
    sender = Sender("Maya", ADDRESS, ADDRESS, "news.thrivehealth.example", "series:funnel:thrivehealth")
    return Composer(_with_everything(funnel.library), sender, b"s" * 32, funnel.config.path(".funnel/mails"))


def _with_everything(library: Library) -> Library:
    known = fields()
    plain = [name for name, value in known.items() if isinstance(value, str)]
    clinic = known["clinic"]
    assert isinstance(clinic, dict)
    body = "\n\n".join(
        [*(f"{name}: {{{{ {name} }}}}" for name in plain), *(f"{key}: {{{{ clinic.{key} }}}}" for key in clinic)]
    )
    subjects = ("{{ name }}", "{{ gift_name }} from {{ clinic.name }}: {{ guide_title }}")
    mail = replace(mail_of(body, subjects=subjects, preheader="{{ name }} {{ gift_name }}"), name="everything")
    return replace(library, mails=library.mails | {("series", "everything"): mail})


def strange_letters(funnel: Funnel, library: Library, seed: int) -> Iterator[Letter]:
    """Yield letters without end, each mail in turn, the same ones for the same seed."""
    pick = random.Random(seed)
    mails = list(library.mails.values())
    plain = fields(page={key.replace("-", "_"): str(n) for key, n in funnel.guide_pages.items()})
    number = 0
    while True:
        yield _letter(pick, number, mails[number % len(mails)], plain)
        number += 1


def _letter(pick: random.Random, number: int, mail: Mail, plain: dict[str, object]) -> Letter:
    values = {key: _fill(pick, value) for key, value in plain.items()}
    values["dir"] = direction(str(values["lang"]))  # follows from the language, whatever is given
    values["unsubscribe_url"] = f"{SITE}/u/{'t' * pick.randint(20, 400)}"
    letter = Letter(number, mail, values, odd(pick) if pick.random() < 0.5 else "Maya")
    letter = replace(letter, large=_longest([*values.values(), letter.from_name]) > LONGEST)
    return _break(pick, letter) if pick.random() < 0.03 else letter


def _fill(pick: random.Random, value: object) -> object:
    """Return a field with something odd in the place of one text in three, and of up to three in a table."""
    if isinstance(value, dict):
        return value | {key: _fill(pick, value[key]) for key in pick.sample(sorted(value), 3)}
    if isinstance(value, list):
        return [odd(pick) for _ in range(pick.randint(0, 3))]
    return odd(pick) if pick.random() < 0.33 else value


def _longest(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_longest, inner), default=0)


def _break(pick: random.Random, letter: Letter) -> Letter:
    """Return a letter with something odd where only an address or a link may stand."""
    text = next(text for text in iter(lambda: odd(pick), None) if text)
    if letter.mail.kind is Kind.DRIP and pick.random() < 0.5:
        return replace(letter, fields=letter.fields | {"unsubscribe_url": text}, broken=True)
    return replace(letter, to=text, broken=True)


def odd(pick: random.Random) -> str:
    """Return something nobody is called; one in a hundred is longer than any field may be."""
    luck = pick.random()
    if luck < 0.01:
        return pick.choice(ODD) * pick.randint(1, 4) + "x" * 10_000
    if luck < 0.15:
        return "".join(chr(code) for span in RANGES for code in pick.choices(span, k=pick.randint(0, 9)))
    texts = [text for text in (pick.choice(ODD), pick.choice(ODD)) if len(text) < 400]
    return "".join(texts[: pick.randint(1, 2)])
