"""Drafts on disk: a series that loads and compiles, and a person's words that nothing writes over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel.article import Article, draft_mails, read_article
from funnel.compose.source import NAME, load_library, read_mail
from funnel.compose.template import compile_mail
from funnel.drafts import MEMORY, write_drafts
from funnel.errors import ArticleError, ContentError
from funnel.model import Kind

TOP = Path(__file__).resolve().parents[1]
LINK = "https://thrivehealth.example/article"

PROSE = " ".join(["Rest helps some people and movement helps many more of them."] * 8)
TEXT = f"# A Sore Back\n\n## What Helps\n\n{PROSE}\n\n## When to Call\n\n{PROSE}\n\n## 日本語\n\n{PROSE}\n"


def article(text: str = TEXT) -> Article:
    return read_article(text, name="article.md")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def word_for(lines: list[str], name: str) -> str:
    return dict(line.split(": ", 1) for line in lines)[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "emails" / "backs"


def test_each_section_becomes_a_mail_that_loads(folder: Path) -> None:
    lines = write_drafts(article(), folder, LINK)

    assert lines[-1] == "sequence.toml: written, a mail every 3 days"
    assert [line for line in lines[:-1] if not line.endswith(": written")] == []
    mail = read_mail(folder / "what-helps.md")
    assert (mail.kind, mail.subjects, mail.section) == (Kind.DRIP, ("What Helps",), "what-helps")
    assert mail.preheader
    assert f"{LINK}#what-helps" in mail.body
    assert sorted(files(folder)) == sorted([MEMORY, "sequence.toml", *(line.split(":")[0] for line in lines[:-1])])


@pytest.mark.parametrize("name", ["emails/article.md", "tests/articles/pasted.txt", "tests/articles/saved-page.html"])
def test_the_sample_and_other_articles_become_series_that_compile(tmp_path: Path, name: str) -> None:
    emails = tmp_path / "emails"
    shutil.copytree(TOP / "emails", emails)
    text = (TOP / name).read_text("utf-8")
    made = read_article(text, name=Path(name).name)

    write_drafts(made, emails / "drafted", LINK)

    library = load_library(emails)
    drafted = library.sequences["drafted"]
    assert len(drafted.steps) == len(draft_mails(made, link_base=LINK))
    assert [step.days for step in drafted.steps] == [3 * n for n in range(len(drafted.steps))]
    for step in drafted.steps[:3]:
        assert LINK in compile_mail(library.mail("drafted", step.name), library).text


def test_writing_again_changes_nothing(folder: Path) -> None:
    write_drafts(article(), folder, LINK)
    before = files(folder)

    lines = write_drafts(article(), folder, LINK)

    assert files(folder) == before
    assert {line.partition(": ")[2] for line in lines} == {"unchanged", "left as it is"}


def test_a_changed_section_is_written_anew_until_somebody_edits_the_mail(folder: Path) -> None:
    write_drafts(article(), folder, LINK)
    edited = folder / "when-to-call.md"
    edited.write_text(edited.read_text("utf-8") + "\nAsk for Maya.\n", "utf-8")
    mine = edited.read_bytes()

    lines = write_drafts(article(TEXT.replace("Rest helps", "Sleep helps")), folder, LINK)

    assert word_for(lines, "what-helps.md") == "written anew: its section changed"
    assert word_for(lines, "when-to-call.md") == "left as it is: somebody edited it"
    assert edited.read_bytes() == mine
    assert b"Sleep helps" in (folder / "what-helps.md").read_bytes()
    again = write_drafts(article(), folder, LINK)
    assert word_for(again, "when-to-call.md") == "left as it is: somebody edited it"
    assert edited.read_bytes() == mine


@pytest.mark.parametrize("memory", [None, "not json", "[]", '{"when-to-call.md": 3}'])
def test_a_file_nobody_remembers_counts_as_a_persons(folder: Path, memory: str | None) -> None:
    folder.mkdir(parents=True)
    (folder / "when-to-call.md").write_text("mine", "utf-8")
    if memory is not None:
        (folder / MEMORY).write_text(memory, "utf-8")

    lines = write_drafts(article(), folder, LINK)

    assert word_for(lines, "when-to-call.md") == "left as it is: somebody edited it"
    assert (folder / "when-to-call.md").read_text("utf-8") == "mine"
    assert (
        "when-to-call.md" not in json.loads((folder / MEMORY).read_text("utf-8")) or memory == '{"when-to-call.md": 3}'
    )


def test_a_deleted_draft_comes_again(folder: Path) -> None:
    write_drafts(article(), folder, LINK)
    (folder / "what-helps.md").unlink()
    assert word_for(write_drafts(article(), folder, LINK), "what-helps.md") == "written"


def test_a_section_that_is_gone_is_named_and_its_mail_kept(folder: Path) -> None:
    write_drafts(article(), folder, LINK)
    before = (folder / "when-to-call.md").read_bytes()

    lines = write_drafts(article(TEXT.replace("## When to Call\n\n", "")), folder, LINK)

    assert word_for(lines, "when-to-call.md") == "left as it is, though its section is no longer in the article"
    assert (folder / "when-to-call.md").read_bytes() == before


def test_an_order_that_is_there_is_kept_and_what_it_lacks_is_named(folder: Path) -> None:
    folder.mkdir(parents=True)
    order = folder / "sequence.toml"
    order.write_text('[[step]]\nmail = "what-helps"\n', "utf-8")

    said = word_for(write_drafts(article(), folder, LINK), "sequence.toml")

    assert said.startswith("left as it is; add a [[step]] for ")
    assert "when-to-call" in said
    assert "what-helps" not in said
    assert order.read_text("utf-8") == '[[step]]\nmail = "what-helps"\n'
    order.write_text("[[step]\n", "utf-8")
    assert "cannot be read" in word_for(write_drafts(article(), folder, LINK), "sequence.toml")


@pytest.mark.parametrize("link", ["", "#top", "javascript:alert(1)", "example.com/article"])
def test_the_link_must_lead_somewhere(folder: Path, link: str) -> None:
    with pytest.raises(ArticleError, match="--link"):
        write_drafts(article(), folder, link)
    assert not folder.exists()


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ContentError, match="cannot be written"):
        write_drafts(article(), tmp_path / "file" / "series", LINK)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30), min_size=1, max_size=5)
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_the_headings_every_mail_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, headings: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("drafts")
    text = "# Title\n\n" + "".join(f"## {heading}\n\n{PROSE}\n\n" for heading in headings)

    lines = write_drafts(article(text), folder, LINK)

    mails = sorted(folder.glob("*.md"))
    assert len(mails) == len(lines) - 1
    assert all(NAME.fullmatch(mail.stem) and read_mail(mail).subjects for mail in mails)
