"""A new funnel: whole or not at all, and never over what is there."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.config import load_keys
from funnel.errors import ConfigError
from funnel.founding import QUESTIONS, found, with_answers
from funnel.samples import sample_folder
from funnel.store.database import open_database
from funnel.store.tick import nothing_due

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = (sample_folder() / "funnel.toml").read_text("utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_is_there_and_private(tmp_path: Path) -> None:
    config = found(tmp_path / "shop")

    assert {path.name for path in (tmp_path / "shop").iterdir()} == {
        ".funnel", "emails", "funnel.db", "funnel.db.sent", "funnel.secret", "funnel.toml", "guide",
    }  # fmt: skip
    assert len(load_keys(config).signing) == 1
    open_database(config.path(config.store.path)).close()
    assert nothing_due(str(config.file), 0)
    assert (tmp_path / "shop" / "funnel.secret").stat().st_mode & 0o777 == 0o600


def test_no_two_funnels_share_a_key(tmp_path: Path) -> None:
    """SEC-21."""
    one, other = found(tmp_path / "one"), found(tmp_path / "other")

    assert load_keys(one) != load_keys(other)


def test_the_words_are_a_copy_of_the_sample(tmp_path: Path) -> None:
    found(tmp_path / "shop")
    for name in ("emails", "guide"):
        copied, sample = files(tmp_path / "shop" / name), files(sample_folder() / name)
        assert copied == {path: content for path, content in sample.items() if "__pycache__" not in path}


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    found(tmp_path / "shop")
    before = files(tmp_path / "shop")
    with pytest.raises(ConfigError, match=r"There is a funnel in .* already; its funnel\.toml was left as it is"):
        found(tmp_path / "shop", {"clinic.name": "Other"})

    assert files(tmp_path / "shop") == before


def test_settings_that_came_alone_are_given_a_database_and_keys(tmp_path: Path) -> None:
    """As from version control, where neither belongs; what is there stays as it is."""
    first = found(tmp_path / "shop")
    settings = (tmp_path / "shop" / "funnel.toml").read_bytes()
    for gone in ("funnel.db", "funnel.db.sent", "funnel.secret"):
        (tmp_path / "shop" / gone).unlink()

    with pytest.raises(ConfigError, match="already"):
        found(tmp_path / "shop", {"clinic.name": "Another"})
    assert not (tmp_path / "shop" / "funnel.secret").exists()

    assert found(tmp_path / "shop").clinic == first.clinic
    assert len(load_keys(first).signing) == 1
    assert (tmp_path / "shop" / "funnel.toml").read_bytes() == settings
    with open_database(tmp_path / "shop" / "funnel.db") as db:
        assert db.value("SELECT count(*) FROM subscriber") == 0
    with pytest.raises(ConfigError, match="already"):
        found(tmp_path / "shop")


def test_half_a_copy_is_made_anew(tmp_path: Path) -> None:
    """F-5: the power failed while mails were copied."""
    (tmp_path / ".emails.new" / "series").mkdir(parents=True)
    (tmp_path / ".emails.new" / "series" / "half.md").touch()
    found(tmp_path)

    assert not (tmp_path / ".emails.new").exists()
    assert not (tmp_path / "emails" / "series" / "half.md").exists()
    assert (tmp_path / "emails" / "series" / "guide.md").exists()


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"clinic.from_address": "nobody"}, r"funnel\.toml: clinic\.from_address must be an address"),
        ({"clinic.postal_address": " "}, r"clinic\.postal_address is empty"),
        ({"clinic.nmae": "x"}, r"no setting clinic\.nmae"),
        ({"name": "x"}, "no setting name"),
        ({"transport.smtp.port": "many"}, "not valid TOML"),
        ({"gift.expires_days": "0"}, r"gift\.expires_days must be at least one day"),
    ],
)
def test_an_answer_that_cannot_work_leaves_nothing(tmp_path: Path, answers: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        found(tmp_path / "shop", answers)

    assert list(tmp_path.iterdir()) == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_words_are_written_so_that_they_are_read_again(words: str) -> None:
    read = tomllib.loads(with_answers(SAMPLE, {"clinic.name": words, "gift.name": words}))

    assert (read["clinic"]["name"], read["gift"]["name"]) == (words, words)
    assert read["sending"] == tomllib.loads(SAMPLE)["sending"]


def test_comments_and_order_are_kept() -> None:
    changed = with_answers(SAMPLE, {"clinic.phone": "1"}).split("\n")

    assert sum(a != b for a, b in zip(changed, SAMPLE.split("\n"), strict=True)) == 1


def test_every_question_is_about_a_setting_of_the_sample() -> None:
    with_answers(SAMPLE, {key: "x" for key, _ in QUESTIONS})


def test_the_weeks_figures_go_to_the_clinics_own_address_not_to_the_samples(tmp_path: Path) -> None:
    own = found(tmp_path / "own", {"clinic.from_address": "hello@mill.com"})
    named = found(tmp_path / "named", {"clinic.from_address": "hello@mill.com", "alerts.to": "boss@mill.com"})
    sample = found(tmp_path / "sample")

    assert [made.alerts.to for made in (own, named, sample)] == [
        "hello@mill.com",
        "boss@mill.com",
        "desk@thrivehealth.example",
    ]
