"""One self-contained page that shows the story: timelines, mails, figures, guide. No script, no network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.demo.cast import OPENING
from funnel.model import MailingStatus
from funnel.schedule import zone

if TYPE_CHECKING:
    from datetime import datetime

    from markupsafe import Markup

    from funnel.demo.story import Life, Mail, Moment, Story

LEFT, RIGHT = 90.0, 1020.0
STOPPED = {"unsubscribed", "bounced", "complained"}


@dataclass(frozen=True, slots=True)
class Lane:
    """One visitor's line in the picture."""

    name: str
    start: float
    stop: float
    marks: list[Markup]


def write_page(story: Story, out: Path) -> Path:
    """Write ``index.html`` into ``out`` and return it."""
    from jinja2 import Environment, StrictUndefined

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = env.from_string(Path(__file__).with_name("page.html").read_text("utf-8"))
    page = template.render(
        story=story,
        words=[str(s) for s in MailingStatus if any(life.counts[str(s)] for life in story.lives)],
        lanes=[_lane(life, story) for life in story.lives],
        days=[(f"{_x(OPENING + timedelta(days=day), story):.0f}", day) for day in range(0, story.days + 1, 5)],
        mondays=[f"{_x(at, story):.1f}" for at in _mondays(story)],
        moments_of=_moments,
        gift_of=lambda life: life.answer.gift if life.answer else "",
        mails=_one_of_each(story.mails),
        guide=base64.b64encode(story.guide).decode(),
    )
    out.mkdir(parents=True, exist_ok=True)
    file = out / "index.html"
    file.write_text(page, "utf-8")
    return file


def _x(at: datetime, story: Story) -> float:
    """Return where a moment lies from left to right."""
    return LEFT + (RIGHT - LEFT) * ((at - OPENING) / timedelta(days=story.days))


def _mondays(story: Story) -> list[datetime]:
    days = [OPENING + timedelta(days=n) for n in range(story.days)]
    return [day.replace(hour=0, minute=0) for day in days if day.weekday() == 0]


def _lane(life: Life, story: Story) -> Lane:
    ended = _ended_at(life)
    marks = [_mark(moment, story) for moment in life.moments]
    if ended:
        marks.append(_svg('<path d="M{x} -9V9" class="end"><title>no more mail</title></path>', _x(ended, story), ""))
    stop = _x(ended, story) if ended else RIGHT
    return Lane(life.visitor.name, round(_x(life.visitor.arrival, story), 1), round(stop, 1), marks)


def _ended_at(life: Life) -> datetime | None:
    return life.answer.person.stopped_at if life.answer and life.status in STOPPED else None


SHAPES = {
    "mail": '<circle cx="{x}" cy="0" r="5" class="mail"><title>{what}</title></circle>',
    "machine": '<circle cx="{x}" cy="0" r="8" class="machine"><title>{what}</title></circle>',
    "trouble": '<path d="M{x} -7l6 11h-12z" class="trouble"><title>{what}</title></path>',
    "act": '<rect x="{x}" y="-5" width="10" height="10" class="act"><title>{what}</title></rect>',
}


def _mark(moment: Moment, story: Story) -> Markup:
    return _svg(SHAPES[moment.kind], _x(moment.at, story), moment.what)


def _svg(shape: str, x: float, what: str) -> Markup:
    from markupsafe import Markup

    return Markup(shape).format(x=f"{x:.1f}", what=what)  # noqa: S704 - the shapes above, values escaped


def _moments(life: Life) -> list[tuple[str, str, str]]:
    """Return what the visitor did and what the program did about it, in one order of time."""
    here = zone(life.visitor.zone)
    acted = [(m.at, m.what, "") for m in life.moments if m.kind != "mail"]
    done = [(line.at, line.what, line.why) for line in life.answer.past if line.at] if life.answer else []
    rows = sorted([*acted, *done], key=lambda row: row[0])
    ahead = [("to come", line.what, line.why) for line in life.answer.ahead] if life.answer else []
    return [(f"{at.astimezone(here):%a %d %b %H:%M}", what, why) for at, what, why in rows] + ahead


def _one_of_each(mails: list[Mail]) -> list[Mail]:
    """Return one mail of each name, in the order they first arrived."""
    found: dict[str, Mail] = {}
    for mail in sorted(mails, key=lambda m: m.at.astimezone(UTC)):
        found.setdefault(mail.name, mail)
    return list(found.values())
