"""Every mail before axe-core, as Chromium shows it on a phone, by day and by night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.mails.looks import NAMES, clinic, html_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from funnel.app import Funnel

Scheme = Literal["light", "dark"]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: The only rules left out, and why.
NOT_FOR_MAILS = {
    "landmark-one-main": "a mail is shown inside a mail program's page, which has the main landmark",
    "region": "the same: landmarks belong to that page, and ours would stand inside them",
}
OPTIONS = {
    "runOnly": {"type": "tag", "values": TAGS},
    "rules": {"target-size": {"enabled": True}, **{rule: {"enabled": False} for rule in NOT_FOR_MAILS}},
    "resultTypes": ["violations", "incomplete"],
}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    return clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    scheme: Scheme = request.param
    context = browser.new_context(viewport={"width": 375, "height": 700}, color_scheme=scheme)
    yield context.new_page()
    context.close()


def findings(page: Page) -> list[str]:
    """Return what axe-core finds wrong, or cannot decide, with where."""
    answer = Axe().run(page, options=OPTIONS).response
    return [
        f"{found['id']}: {found['help']}: {node['html'][:160]}"
        for kind in ("violations", "incomplete")
        for found in answer[kind]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(page: Page, funnel: Funnel, name: str) -> None:
    page.set_content(html_of(funnel, name))

    assert findings(page) == []


def test_a_copy_to_oneself_is_as_good(page: Page, funnel: Funnel) -> None:
    page.set_content(html_of(funnel, "series/guide", test=1))

    assert findings(page) == []


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ('lang="en-US"', 'lang="xx-no-language"', "valid-lang"),
        ("<h1 ", "<h4 ", "page-has-heading-one"),
        ('alt="', 'data-alt="', "image-alt"),
        ("color:#1f2a2e", "color:#999999", "color-contrast"),
        ('role="presentation" class="figure"', 'role="tablet" class="figure"', "aria-roles"),
    ],
)
def test_axe_would_find_it(browser: Browser, funnel: Funnel, right: str, wrong: str, rule: str) -> None:
    html = html_of(funnel, "series/two-maps")
    assert right in html
    page = browser.new_page(color_scheme="light")
    page.set_content(html.replace(right, wrong))

    assert rule in {found.partition(":")[0] for found in findings(page)}
    page.context.close()
