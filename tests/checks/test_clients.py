"""What mail programs do not show is named: with feature, programs, file and line; the sample's mails need nothing."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from funnel.checks.clients import allowed, check_clients, support
from funnel.checks.features import features
from funnel.compose.words import figures_in
from funnel.model import Level
from funnel.preview import parts_of, render_sample
from tests.checks.kit import found, says
from tests.kit import NOW, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel


Pages = tuple["Funnel", dict[tuple[str, str], str]]


@pytest.fixture(scope="module")
def pages(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Return the sample funnel and its finished mails."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(compiled, folder / ".funnel")
    funnel = make_funnel(folder)
    built = folder / "build" / "guide"
    built.mkdir(parents=True)
    pictures = {name for mail in funnel.library.mails.values() for name in figures_in(mail.body)}
    (built / "figures.json").write_text(json.dumps({name: [536, 300] for name in pictures}))
    funnel = make_funnel(folder)  # reads the mails anew, their pictures with sizes
    mails = funnel.library.mails
    return funnel, {place: parts_of(render_sample(funnel, mail, now=NOW).message)[0] for place, mail in mails.items()}


def test_the_sample_s_mails_need_nothing_a_program_lacks(pages: Pages) -> None:
    assert list(check_clients(pages[0].library, pages[1])) == []


@pytest.mark.parametrize(
    ("markup", "feature", "program"),
    [
        ('<p style="display:grid">x</p>', "display:grid", "Outlook for Windows"),
        ('<p style="position:absolute">x</p>', "position", "Gmail on the web"),
        ("<video src=x></video>", "<video>", "Gmail on the web"),
        ("<style>p:hover { color: red }</style>", ":hover", "Outlook"),
        ("<img src=x.svg alt=x>", "SVG", "Gmail"),
        ('<form action="x"></form>', "<form>", "Outlook"),
        ('<p style="background-image: linear-gradient(red, blue)">x</p>', "linear-gradient", "Outlook"),
    ],
)
def test_a_mail_that_asks_too_much_is_caught(pages: Pages, markup: str, feature: str, program: str) -> None:
    funnel, mails = pages
    html = mails["series", "guide"].replace("</body>", f"{markup}</body>")

    says = [str(finding) for finding in check_clients(funnel.library, {("series", "guide"): html})]

    assert any(feature in line and program in line and "emails/series/guide.md" in line for line in says), says


def test_where_it_is_written_is_named_with_its_line(tmp_path: Path) -> None:
    """The whole check, from a style sheet somebody edited."""
    funnel = make_funnel(tmp_path)
    sheet = tmp_path / "emails" / "_layout" / "mail.css"
    lines = sheet.read_text().split("\n")
    sheet.write_text("\n".join([*lines[:6], ".clinic { position: absolute; }", *lines[6:]]))

    (finding,) = (finding for finding in found(funnel) if "position" in finding.says)

    assert finding.where == "emails/_layout/mail.css line 7"
    assert finding.level is Level.WARNING
    assert "Outlook for Windows" in finding.says
    assert f"{len(funnel.library.mails)} mails would look different" in finding.says
    assert finding.fix


def test_a_picture_in_a_mail_s_own_words_is_found_there(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    file = tmp_path / "emails" / "series" / "decide.md"
    file.write_text(file.read_text() + "\n![A leaf](https://thrivehealth.example/leaf.webp)\n")
    line = file.read_text().split("\n").index("![A leaf](https://thrivehealth.example/leaf.webp)") + 1

    assert f"emails/series/decide.md line {line}: “webP image format” is not shown by Outlook for Windows" in says(
        funnel
    )


def test_every_exception_is_a_feature_with_a_reason() -> None:
    names = {feature.slug for feature in support()}

    assert set(allowed()) <= names
    assert [name for name, reason in allowed().items() if len(reason.split()) < 5] == []


def test_no_exception_is_left_over(pages: Pages) -> None:
    """A reason nobody needs any more would hide the next mistake."""
    used = {mark for html in pages[1].values() for mark in features(html)}

    assert {f.slug for f in support() if f.slug in allowed() and not f.uses & used} == set()


def test_every_feature_has_programs_and_marks() -> None:
    assert len(support()) > 200
    assert [f.slug for f in support() if not (f.no or f.partly) or not f.uses] == []


def test_the_data_say_where_they_come_from() -> None:
    from importlib.resources import files

    text = (files("funnel.checks") / "support.toml").read_text("utf-8")

    assert 'source = "caniemail.com"' in text
    assert "Copyright (c) 2019 HTeuMeuLeu" in text
    assert "date = 20" in text
