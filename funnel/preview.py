"""Show a mail before it goes: a page with html, text and raw, and marked copies to oneself. Records nothing."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from funnel.address import parse_address
from funnel.model import Due, Enrollment, Kind, Outgoing, Status, Step, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.compose.source import Mail
    from funnel.model import Rendered, Reply

#: Numbers no database hands out: links of a preview belong to nobody.
NOBODY = 2**62
SAMPLE_CODE = "7K3M-9QXA-P2VD-5"


def render_sample(
    funnel: Funnel, mail: Mail, *, now: datetime, email: str | None = None, to: str = "", test: int = 0
) -> Rendered:
    """Return a mail filled in for a person, or for a sample person whose links lead nowhere.

    ``test`` is the number of a copy that really goes out: it is marked as one, and gets a Message-ID of its own.
    """
    if email:
        with funnel.session(readonly=True) as db:
            person = funnel.find_person(db, email)
            fields = dict(funnel.fields.of(db, _due(mail, person, now), now))
    else:
        person = _somebody(funnel, now)
        with funnel.session(readonly=True) as db:
            fields = dict(funnel.fields.of(db, _due(mail, person, now), now))
        if mail.kind not in {Kind.CONFIRM, Kind.DIGEST}:
            expires = funnel.day(now + timedelta(days=funnel.config.gift.expires_days))
            fields |= {"gift_code": SAMPLE_CODE, "gift_expires": expires}
    if test:
        fields["test_banner"] = "This is a test copy. Its links do nothing."
    return funnel.composer.render(
        mail.sequence, mail.name, fields, to=to or person.email, mailing_id=NOBODY + test, date=now,
        prefix="[TEST] " if test else "",
    )  # fmt: skip


def _somebody(funnel: Funnel, now: datetime) -> Subscriber:
    c = funnel.config.clinic
    return Subscriber(NOBODY, "you@example.com", Status.CONFIRMED, c.time_zone, c.locale, now, confirmed_at=now)


def _due(mail: Mail, person: Subscriber, now: datetime) -> Due:
    way = Enrollment(NOBODY, person.id, mail.sequence, 0, now, mail.name, now)
    return Due(way, person, Step(mail.name, mail.kind), suppressed=False)


def send_tests(funnel: Funnel, mails: Iterable[Mail], to: str) -> list[tuple[str, Reply]]:
    """Send marked copies to one address and return what was answered to each; raises TransportError."""
    address = parse_address(to, samples=funnel.config.sample)
    funnel.transport.open()
    replies: list[tuple[str, Reply]] = []
    try:
        # Mailbox providers drop a second mail with the same Message-ID, also when it is tomorrow's test.
        first = int(funnel.clock().timestamp() * 1000)
        for number, mail in enumerate(mails, first):
            rendered = render_sample(funnel, mail, now=funnel.clock(), to=address.envelope, test=number)
            envelope = Outgoing(NOBODY + number, funnel.config.clinic.from_address, address.envelope, rendered.message)
            replies.append((f"{mail.sequence}/{mail.name}", funnel.transport.deliver(envelope)))
    finally:
        funnel.transport.close()
    return replies


# --- the page ----------------------------------------------------------------------------------


def write_preview(funnel: Funnel, mails: Iterable[Mail], out: Path, *, email: str | None = None) -> Path:
    """Write each mail as .html, .txt and .eml and one page that shows them all; returns the page."""
    now = funnel.clock()
    out.mkdir(parents=True, exist_ok=True)
    cards = []
    for mail in mails:
        rendered = render_sample(funnel, mail, now=now, email=email)
        html, text = parts_of(rendered.message)
        html = with_pictures(funnel, html)
        stem = f"{mail.sequence}-{mail.name}"
        for suffix, content in ((".html", html.encode()), (".txt", text.encode()), (".eml", rendered.message)):
            (out / (stem + suffix)).write_bytes(content)
        cards.append(_card(mail, rendered, html, text))
    page = out / "index.html"
    page.write_text(PAGE.replace("<!-- cards -->", "\n".join(cards)), "utf-8")
    return page


def parts_of(message: bytes) -> tuple[str, str]:
    """Return the HTML and the text part of a message, as a mail reader decodes them."""
    from email import message_from_bytes, policy

    parsed = message_from_bytes(message, policy=policy.default)
    bodies = {kind: parsed.get_body((kind,)) for kind in ("html", "plain")}
    html, plain = (str(body.get_content()) if body else "" for body in bodies.values())
    return html, plain


def with_pictures(funnel: Funnel, html: str) -> str:
    """Return a mail's HTML with our pictures inside it, to look at without a server."""

    def inside(found: re.Match[str]) -> str:
        png = funnel.picture(found[1])
        return f'src="data:image/png;base64,{base64.b64encode(png).decode()}"' if png else found[0]

    return re.sub(rf'src="{re.escape(funnel.links.home)}f/([^"/]+)"', inside, html)


def _card(mail: Mail, rendered: Rendered, html: str, text: str) -> str:
    name = f"{mail.sequence}/{mail.name}"
    subjects = " · or · ".join(escape(s) for s in mail.subjects)
    shown = (("on a phone", 375, by_day(html)), ("at night", 375, at_night(html)), ("on a desktop", 640, by_day(html)))
    frames = "".join(_frame(name, *how) for how in shown)
    raw = escape(rendered.message.decode("ascii", "replace"))
    return (
        f'<section><h2>{escape(name)}</h2><p class="s">{subjects}</p>'
        f'<p class="m">{len(rendered.message):,} bytes · {escape(mail.kind)} · {escape(mail.preheader)}</p>'
        f'<div class="row">{frames}</div>'
        f"<details><summary>Text</summary><pre>{escape(text)}</pre></details>"
        f"<details><summary>Raw</summary><pre>{raw}</pre></details></section>"
    )


def _frame(name: str, where: str, width: int, html: str) -> str:
    data = "data:text/html;charset=utf-8;base64," + base64.b64encode(html.encode()).decode()
    return f'<iframe title="{escape(name)} {where}" width="{width}" src="{data}" sandbox></iframe>'


NIGHT = "@media (prefers-color-scheme: dark)"


def by_day(html: str) -> str:
    """Return a mail as it looks by day, whatever the reader's own setting is."""
    return html.replace(NIGHT, "@media not all").replace('content="light dark"', 'content="light"')


def at_night(html: str) -> str:
    """Return a mail as it looks in dark mode, whatever the reader's own setting is."""
    return html.replace(NIGHT, "@media all").replace('content="light dark"', 'content="dark"')


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Mails</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 92rem; padding: 0 1rem;
       color: #1f2a2e; background: #fbf9f5 }
h2 { color: #0f5257; margin: 2.5rem 0 0 } .s { font-size: 1.1rem; margin: .2rem 0 }
details { margin: .6rem 0 } .m { color: #5b6670; margin: 0 0 1rem } .row { display: flex; gap: 1rem; overflow: auto }
iframe { border: 1px solid #aab4b6; border-radius: 10px; height: 720px; background: #fff; flex: none }
pre { white-space: pre-wrap; background: #fff; border: 1px solid #aab4b6; border-radius: 10px; padding: 1rem;
      overflow: auto }
@media (prefers-color-scheme: dark) { body { background: #141b1e; color: #e8eceb } h2 { color: #8fd0cb }
  .m { color: #aab4b6 } pre { background: #1d262a } }
</style><h1>Mails</h1>
<!-- cards --></html>
"""
