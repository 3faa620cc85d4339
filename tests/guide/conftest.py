"""A small guide of eleven pages for the edge cases, and the real one, built once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel import guide
from funnel.guide import GuideSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from funnel.guide import Built

REAL = Path(__file__).resolve().parents[2] / "guide"
SETTINGS = GuideSettings(
    title="Finding Relief: Dry Needling for Chronic Pain and Injuries",
    edition="First edition, 2026",
    reviewer="",
    clinic_name="Thrive Health Acupuncture",
    address="12 Harbor Street, Suite 4\nPortland, OR 97201",
    phone="(503) 555-0142",
    website="https://thrivehealth.example",
    booking_url="https://thrivehealth.example/book",
    gift_name="A printable pain and activity diary",
    guide_url="https://thrivehealth.example/guide",
)
PLAN = """subtitle = "For tests"
pages = 11
[[part]]
made = "cover"
pages = [1, 1]
[[part]]
file = "chapters/02-help.md"
[[part]]
made = "contents"
pages = [3, 4]
[[part]]
file = "chapters/05-ch01.md"
[[part]]
made = "glossary"
pages = [7, 8]
[[part]]
made = "references"
pages = [9, 10]
[[part]]
file = "chapters/11-back.md"
"""
HELP = """+++
id = "help"
title = "Get help now"
pages = [2, 2]
+++
::: emergency
- Call 911 for this. [R48 M]
:::
"""
HEAD = """+++
id = "ch01"
number = 1
title = "Back pain is common"
short = "How common"
pages = [5, 6]
short_answer = "It is common and mostly not dangerous."
+++
"""
FIRST = """About 39 in 100 adults had it [R41]. It's a "[sore]{.idx} spot" {dots:2}, see page {page:fig-01}.

| Sign | What to do |
|---|---|
| Ache | Walk |
"""
SECOND = """
---

## The spine {#ch01-spine}

![A bar that shows ten.](fig-01 "Ten of them.")

::: worksheet w1 Body map
My goal: ____

- [ ] It aches

| Day | Pain |
|---|---|
| Monday | |

____ 2
:::

::: try
Walk for a while. [CLINIC_NAME] can help.
:::

::: ask
"Which one fits me?"
:::
"""
BACK = """+++
id = "back"
title = "Goodbye"
pages = [11, 11]
+++
**[CLINIC_NAME]**, [CLINIC_ADDRESS], [CLINIC_PHONE], [CLINIC_URL], [GUIDE_URL], [REVIEWER], [EDITION]

[GIFT_NAME], [BOOKING_URL]
"""
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 200"><title>Ten</title>
<pattern id="p" width="4" height="4"/><rect width="9" height="9" fill="url(#p)"/>
<text x="9" y="40" font-family="'Source Sans 3'" font-size="20">10</text></svg>"""


class SmallGuide:
    """A guide in a folder of its own, to be broken in one place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("template", "fonts"):
            shutil.copytree(REAL / name, root / name)
        self.write("guide.toml", PLAN)
        self.write("chapters/02-help.md", HELP)
        self.body(FIRST)
        self.write("chapters/11-back.md", BACK)
        self.write("figures/cover.svg", PICTURE)
        self.write("figures/fig-01.svg", PICTURE)
        self.write("glossary.toml", '[[term]]\nterm = "Disc"\nmeans = "A cushion."\n')
        self.write("references.toml", _references())

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace ``old``, which must be there, by ``new``."""
        text = (self.root / name).read_text("utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def body(self, text: str) -> None:
        """Make this the text of the chapter's first page."""
        self.write("chapters/05-ch01.md", f"{HEAD}{text}{SECOND}")


def _references() -> str:
    rows = {"R41": "V", "R48": "V", "R88": "P", "R24": "M"}
    body = 'authors = "A and others"\ntitle = "On it"\njournal = "J Pain 1:2"\nyear = "2020"'
    return "".join(f'[{key}]\n{body}\nstatus = "{status}"\n' for key, status in rows.items())


@pytest.fixture
def small(tmp_path: Path) -> SmallGuide:
    """A small guide that builds."""
    return SmallGuide(tmp_path / "guide")


@pytest.fixture
def settings() -> GuideSettings:
    """The sample clinic, with the small guide's title."""
    return replace(SETTINGS, title="Small: A Guide")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The real guide, built once for all tests."""
    return guide.build(REAL, SETTINGS, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def real_source() -> Path:
    """The folder of the real guide."""
    return REAL


@pytest.fixture(scope="session")
def sample() -> GuideSettings:
    """The sample clinic."""
    return SETTINGS


@pytest.fixture
def finding(small: SmallGuide, settings: GuideSettings, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what the check says about the small guide with this text on its first page."""

    def run(text: str) -> list[str]:
        small.body(text)
        found = guide.check(small.root, settings, tmp_path / "none")
        return [str(one) for one in found if "chapters/05-ch01.md" in one.where]

    return run
