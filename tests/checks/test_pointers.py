"""What mails point at in the guide: as it is written, and as it was built."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from funnel.checks.guide import Pointers, Things
from tests.checks.kit import letter
from tests.kit import TOP, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    """Return a funnel with the sample's guide, not built."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(TOP / "guide", folder / "guide")
    return make_funnel(folder)


def said(funnel: Funnel, body: str = "Hello", page: str = "") -> list[str]:
    """Return what is found about a mail with a body and a page of the guide."""
    lines = ["+++", f'guide_page = "{page}"', "", "", "+++", *body.split("\n")]
    return [str(f) for f in Pointers(funnel, source=True).check(letter(body, guide_page=page), lines)]


@pytest.mark.parametrize(
    ("body", "page", "sentence"),
    [
        ("Hello", "ch99", "guide.md line 2: the guide has no “ch99”; name one that it has"),
        ("One\n{{ page.fig_99 }}", "", "guide.md line 7: the guide has no “fig-99”; name one that it has"),
        ("One\n\n[[figure: fig-99 | Words]]", "", "guide.md line 8: the guide has no figure “fig-99”; name one"),
    ],
)
def test_what_the_guide_does_not_have_is_named_with_its_line(
    funnel: Funnel, body: str, page: str, sentence: str
) -> None:
    (line,) = said(funnel, body, page)

    assert sentence in line


def test_what_it_has_is_left_alone(funnel: Funnel) -> None:
    assert said(funnel, "{{ page.ch01 }}\n[[figure: fig-04 | Words]]", "w7") == []


def test_every_mail_of_the_sample_points_at_something(funnel: Funnel) -> None:
    pointers = Pointers(funnel, source=True)

    for mail in funnel.library.mails.values():
        assert list(pointers.check(mail, mail.body.split("\n"))) == []


def test_a_guide_built_before_a_page_was_written_must_be_built_again(tmp_path: Path) -> None:
    shutil.copytree(TOP / "guide", tmp_path / "guide")
    output = tmp_path / "build" / "guide"
    output.mkdir(parents=True)
    (output / "pages.json").write_text(json.dumps({"ch01": 7, "index": 70}))

    assert said(make_funnel(tmp_path), "{{ page.index }}", "ch02") == [
        "emails/series/guide.md line 2: the guide as it was built has no “ch02”; run “funnel guide build” again"
    ]


def test_nobody_knows_what_a_guide_has_that_is_neither_written_nor_built(tmp_path: Path) -> None:
    assert said(make_funnel(tmp_path), "[[figure: fig-99 | Words]]", "ch99") == []


@pytest.mark.parametrize(
    ("written", "built", "verdict"),
    [("", "", ""), ("a", "", ""), ("b", "", "no"), ("", "b", "as it was built"), ("b", "b", "no"), ("a", "b", "as"),
     ("a", "a", ""), ("b", "a", "")],
)  # fmt: skip
def test_written_and_built(written: str, built: str, verdict: str) -> None:
    says = [f.says for f in Things(frozenset(written), frozenset(built)).check("mail", "", "a")]

    assert bool(says) is bool(verdict)
    assert ("as it was built" in "".join(says)) is verdict.startswith("as")
