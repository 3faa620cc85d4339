"""Commands about the clinic's words: article and guide."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit import TOP

if TYPE_CHECKING:
    from tests.cli.shell import Shell

ARTICLE = (
    "# Rest\n\nSome words to begin with.\n\n## Why\n\nBecause of this and that.\n\n## How\n\nLike so, and so on.\n"
)


def test_sections_are_listed_and_remembered(shell: Shell) -> None:
    Path("rest.md").write_text(ARTICLE)
    before = set(Path().iterdir())
    sections = shell("article", "sections", "rest.md", "--json").json["sections"]
    assert [section["heading"] for section in sections][-2:] == ["Why", "How"]
    assert set(Path().iterdir()) == before

    assert shell("article", "sections", "rest.md", "--remember").code == 0
    Path("rest.md").write_text(ARTICLE.replace("## How", "## In what way"))
    again = shell("article", "sections", "rest.md", "--json").json["sections"]
    assert [section["id"] for section in again] == [section["id"] for section in sections]
    changes = shell("article", "diff", "rest.md", "--json").json
    assert [change["change"] for change in changes] == ["renamed"]


def test_the_sample_article_and_its_mails_agree(shell: Shell) -> None:
    ids = {section["id"] for section in shell("article", "sections", "emails/article.md", "--json").json["sections"]}
    named = {mail.section for mail in shell.funnel.library.mails.values()} - {""}

    assert named <= ids


def test_drafts_never_touch_a_mail_somebody_edited(shell: Shell) -> None:
    Path("rest.md").write_text(ARTICLE)
    assert shell("article", "draft", "rest.md", "--into", "drafts").code == 0
    mail = min(Path("drafts").glob("*.md"))
    mail.write_text(mail.read_text() + "\nA line of my own.\n")
    assert shell("article", "draft", "rest.md", "--into", "drafts").code == 0

    assert "A line of my own." in mail.read_text()


def test_drafts_need_no_funnel_when_the_link_is_given(shell: Shell) -> None:
    Path("funnel.toml").unlink()
    Path("rest.md").write_text(ARTICLE)
    link = "https://clinic.example/rest"
    assert shell("article", "draft", "rest.md", "--into", "drafts", "--link", link).code == 0

    assert any(link in mail.read_text() for mail in Path("drafts").glob("*.md"))


def test_opening_a_guide_that_is_not_there_says_what_to_do(shell: Shell) -> None:
    Path("build/guide/guide.pdf").unlink()
    done = shell("guide", "open")

    assert (done.code, done.out) == (1, "The guide has not been built yet: run “funnel guide build”.\n")


def test_a_guide_without_a_source_is_one_sentence(shell: Shell) -> None:
    for command in ("build", "check"):
        done = shell("guide", command)
        assert done.code == 1
        assert (done.err + done.out).count("\n") <= 2
        assert "guide" in done.err + done.out


def test_findings_about_the_guide_are_counted_in_words_that_fit(shell: Shell) -> None:
    shutil.copytree(TOP / "guide", "guide")
    shutil.rmtree("build")
    with Path("funnel.toml").open("a", encoding="utf-8") as settings:
        settings.write('\n[guide]\nreviewer = "A. Reviewer, L.Ac."\n')
    *found, told = shell("guide", "check").out.splitlines()

    assert len(found) == 1
    assert told == "1 finding."
