"""The HTML edition: one file, complete, and silent on the network."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from funnel.errors import GuideError
from funnel.guide.edition import edition, inline_svg
from funnel.guide.source import known_anchors, load

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.guide import Built, GuideSettings
    from tests.guide.conftest import SmallGuide

VOID = {"meta", "br", "input", "link", "img", "hr"}
LOADS = ("src", "data", "poster", "background", "xlink:href")


class Page(HTMLParser):
    """What the tests ask of a page: ids, links, what it would load, headings, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.unnamed: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.loads += [found[name] for name in LOADS if name in found] + ([tag] if tag in {"link", "script"} else [])
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in {"input", "textarea"} and "aria-label" not in found and "label" not in self.open:
            self.unnamed.append(tag)
        if found.get("role") == "img" and not found.get("aria-label", "").strip():
            self.unnamed.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(real: Built) -> str:
    return real.html.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    found = Page(re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
    assert found.open == []
    return found


def test_asks_the_network_for_nothing(text: str, page: Page) -> None:
    assert page.loads == []
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert "default-src 'none'" in text


def test_ids_are_unique_and_links_resolve(text: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_holds_every_part_figure_and_worksheet_of_the_pdf(page: Page, real_source: Path) -> None:
    missing = set(known_anchors(load(real_source))) - set(page.ids) - {"cover", "title"}
    assert missing == set()


def test_headings_step_down_one_at_a_time(page: Page) -> None:
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_every_field_and_picture_has_a_name(page: Page) -> None:
    assert page.unnamed == []


def test_web_links_say_where_they_go(page: Page) -> None:
    assert {link.partition(":")[0] for link in page.links if not link.startswith("#")} == {"https", "tel"}


def test_is_light_or_dark_as_the_reader_likes(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert 'content="light dark"' in text


def test_what_the_clinic_typed_is_text(small: SmallGuide, settings: GuideSettings) -> None:
    from dataclasses import replace

    odd = replace(settings, clinic_name='<script>alert("x")</script>', website="https://a.example/?a=1&b=2")
    found = edition(load(small.root), odd)
    assert "<script" not in found
    assert 'href="https://a.example/?a=1&amp;b=2"' in found


@pytest.mark.parametrize(
    "bad",
    [
        "<script>1</script>",
        '<image href="https://x.example/a.png"/>',
        '<rect onclick="x()"/>',
        '<rect fill="url(https://x.example/#a)"/>',
        "<foreignObject/>",
        "<style>@font-face{src:url('//x.example/f')}</style>",
    ],
)
def test_a_picture_that_runs_or_loads_something_is_refused(small: SmallGuide, bad: str) -> None:
    small.write("figures/fig-01.svg", f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{bad}</svg>')
    with pytest.raises(GuideError, match=r"figures/fig-01.svg holds a script or an outside address"):
        inline_svg(small.root / "figures/fig-01.svg", "f")


def test_a_picture_keeps_its_own_patterns(small: SmallGuide) -> None:
    found = inline_svg(small.root / "figures/fig-01.svg", "fig-01")
    assert 'id="fig-01-p"' in found
    assert "url(#fig-01-p)" in found
    assert "<title>" not in found
    assert found.startswith('<svg aria-hidden="true"')
