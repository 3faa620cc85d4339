"""Each thing ``funnel check`` should find, put there on purpose; and nothing where nothing is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from funnel.app import Funnel
from funnel.checks import check
from funnel.checks.settings import check_settings
from funnel.config import load_config
from funnel.model import Level
from tests.checks.kit import found, mail, make_real, says
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sample_has_no_errors(tmp_path: Path) -> None:
    assert says(make_funnel(tmp_path), Level.ERROR) == ""


def test_a_clinic_with_real_settings_has_no_findings(tmp_path: Path) -> None:
    assert says(make_real(tmp_path)) == ""


@pytest.mark.parametrize(
    ("settings", "level", "sentence"),
    [
        ({"clinic": {"postal_address": "Sample Street 1"}}, Level.ERROR, "looks like a placeholder"),
        ({"site": {"base_url": "http://127.0.0.1"}}, Level.ERROR, "is not https"),
        ({"clinic": {"from_address": "noreply@quietclinic.com"}}, Level.WARNING, "cannot be answered"),
        ({"clinic": {"from_name": "Maya \u2714"}}, Level.ERROR, "holds “\u2714”"),
        ({"transport": {"kind": "outbox"}}, Level.WARNING, "mail is kept in a folder"),
    ],
)
def test_a_setting_that_would_do_harm_is_found(
    tmp_path: Path, settings: dict[str, dict[str, Any]], level: Level, sentence: str
) -> None:
    """MSG-10."""
    (finding,) = check_settings(make_real(tmp_path, **settings), NOW)

    assert finding.level is level
    assert sentence in finding.says


def test_a_clinic_that_is_never_open_is_found(tmp_path: Path) -> None:
    """Every day of the next years is closed."""
    from datetime import date, timedelta

    make_real(tmp_path)
    closed = ", ".join(str(date(2026, 11, 1) + timedelta(days=i)) for i in range(3 * 366))
    settings = tmp_path / "funnel.toml"
    settings.write_text(settings.read_text() + f"\n[sending]\nclosed = [{closed}]\n")

    assert "funnel.toml: sending" in says(Funnel(load_config(settings), clock=Clock()), Level.ERROR)


@pytest.mark.parametrize(
    ("subject", "body", "sentence"),
    [
        ("About your back", "Hello", "the subject says “back”, which tells others about health"),
        ("Hello", "One line.\n\nThis is a miracle.", "guide.md line 8: “miracle” promises what nobody can"),
        ("Hello", "{{ nmae }}", "nmae"),
        ("Hello", "{% for x in y %}", "guide.md"),
        ("Hello", "[here](ftp://clinic.example/x)", "a link leads to “ftp://clinic.example/x”"),
    ],
)
def test_a_mail_that_would_do_harm_is_found(tmp_path: Path, subject: str, body: str, sentence: str) -> None:
    """HLT-2, MSG-10."""
    funnel = make_real(tmp_path)
    mail(tmp_path, body, subject)

    assert sentence in says(funnel, Level.ERROR)


@pytest.mark.parametrize(
    ("subject", "body", "sentence"),
    [
        ("x" * 80, "Hello", "the subject has 80 characters"),
        ("Hello", "[out](https://elsewhere.com/x)", "a link leaves for elsewhere.com"),
        ("Hello", "word " * 12_500, "the HTML part is"),
    ],
)
def test_a_mail_somebody_should_look_at_is_named(tmp_path: Path, subject: str, body: str, sentence: str) -> None:
    """MSG-8."""
    funnel = make_real(tmp_path)
    mail(tmp_path, body, subject)

    assert sentence in says(funnel, Level.WARNING)


def test_a_mail_no_step_names_is_named(tmp_path: Path) -> None:
    funnel = make_real(tmp_path)
    (tmp_path / "emails" / "series" / "spare.md").write_text('+++\nsubject = "S"\nkind = "drip"\n+++\nHello\n')

    assert "spare.md: no step names this mail" in says(funnel, Level.WARNING)


def test_a_page_the_guide_has_not_is_found(tmp_path: Path) -> None:
    funnel = make_real(tmp_path)
    mail(tmp_path, more='guide_page = "ch99"\n')
    output = tmp_path / "build" / "guide"
    output.mkdir(parents=True)
    (output / "pages.json").write_text(json.dumps({"anchors": {"ch1": 7}}))

    assert "the guide has no “ch99”" in says(funnel, Level.ERROR)


def test_a_layout_without_a_way_out_is_found(tmp_path: Path) -> None:
    """UNS-12."""
    funnel = make_real(tmp_path)
    layout = tmp_path / "emails" / "_layout" / "layout.html"
    layout.write_text(layout.read_text().replace("unsubscribe_url", "home_url"))

    assert "unsubscribe" in says(funnel, Level.ERROR)


def test_a_mail_that_cannot_be_written_for_one_person_names_them(tmp_path: Path) -> None:
    """P7: found before anything goes out, though it is good for everybody else."""
    funnel = make_funnel(tmp_path)
    sign_up(funnel, "ann@mail.example")
    confirm(funnel, "ann@mail.example")
    assert says(funnel, Level.ERROR) == ""
    with funnel.session() as db:
        db.execute("UPDATE subscriber SET name = ?", ("x" * 3_000,))
    mail(tmp_path, "{% for each_letter in name %}{{ guide_title }}{% endfor %}")

    assert "series/guide.md for ann@mail.example: The HTML part is" in says(Funnel(funnel.config, clock=Clock()))


def test_what_is_wrong_for_all_is_told_once(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    for name in ("ann", "ben"):
        sign_up(funnel, f"{name}@mail.example")
        confirm(funnel, f"{name}@mail.example")
    mail(tmp_path, "{{ 1 // 0 }}")

    again = found(Funnel(funnel.config, clock=Clock()))

    (error,) = (str(finding) for finding in again if finding.level is Level.ERROR)
    assert error.startswith("emails/series/guide.md line 6: a mail may not use")
    assert error.endswith("are enough; mend it before anything goes out")


def test_errors_come_first_and_nothing_is_written(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    mail(tmp_path, "A miracle.", "x" * 80)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and ".funnel" not in file.parts}
    levels = [finding.level for finding in found(funnel)]

    assert levels == sorted(levels, key=lambda level: level is Level.WARNING)
    assert {Level.ERROR, Level.WARNING} == set(levels)
    assert {file: file.read_bytes() for file in before} == before


def test_a_missing_database_is_a_finding(tmp_path: Path) -> None:
    funnel = make_real(tmp_path)
    funnel.database_path.unlink()

    assert "There is no database" in says(funnel, Level.ERROR)


def test_a_guide_that_was_not_built_is_found(tmp_path: Path) -> None:
    funnel = make_real(tmp_path)

    assert "guide: has not been built; run “funnel guide build”" in [str(f) for f in check(funnel, NOW)]
