"""Whatever a person gets wrong is one sentence and a documented exit code, for every command there is."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from funnel.compose.letters import Composer
from funnel.store import database
from tests.cli.shell import ANN, Shell, commands

if TYPE_CHECKING:
    from collections.abc import Callable

#: How each command is called when all is well; ``{code}`` is Ann's gift code.
CALLS = {
    "init": "init again --defaults --no-guide",
    "check": "check --no-guide",
    "doctor": "doctor --offline",
    "serve": "serve --listen 127.0.0.1:0",
    "send": "send",
    "preview": "preview series/guide",
    "test": "test series/guide --to me@clinic.example",
    "outbox list": "outbox list",
    "bounces": "bounces bounce.eml",
    "why": f"why {ANN}",
    "subscribers add": "subscribers add new@mail.example --proof desk",
    "subscribers list": "subscribers list",
    "subscribers show": f"subscribers show {ANN}",
    "subscribers import": "subscribers import people.csv --basis fair --proof sheet --not-patients --apply",
    "subscribers export": "subscribers export --out out.csv",
    "subscribers unsubscribe": f"subscribers unsubscribe {ANN}",
    "subscribers erase": f"subscribers erase {ANN} --yes",
    "gift redeem": "gift redeem {code} --by Anna",
    "gift show": "gift show {code}",
    "gift status": "gift status",
    "gift resend": f"gift resend {ANN}",
    "gift import": "gift import codes.txt",
    "gift withdraw": "gift withdraw --yes",
    "outbox resolve": "outbox resolve --all --sent --yes",
    "article sections": "article sections emails/article.md",
    "article draft": "article draft emails/article.md --into drafts",
    "article diff": "article diff emails/article.md",
    "popup snippet": "popup snippet --wordpress",
    "popup preview": "popup preview --out look",
    "report": "report",
    "backup": "backup copy.db",
}
#: Tested with the guide, the demo and backups: they take long, need more, or touch no funnel of anybody.
ELSEWHERE = {"demo", "restore", "guide build", "guide check", "guide open", "guide sheet"}
#: These do without a funnel, or wait for visitors once all is well.
ALONE = {"init", "article sections"}
#: These ask the database nothing; a bounce that is not about mail of ours needs none either.
FILES_ONLY = {*ALONE, "article draft", "article diff", "bounces", "popup snippet", "popup preview"}
READING = {
    "check", "preview", "test", "outbox list", "bounces", "why", "report", "subscribers list", "subscribers show",
    "subscribers export", "popup snippet", "popup preview", "gift show", "gift status", "article draft", "article diff",
    "backup", "doctor",
}  # fmt: skip
LEAVES = {name: command for name, command in commands().items() if not isinstance(command, click.Group)}


@pytest.fixture(scope="module")
def joined(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one funnel with Ann confirmed, a file of people and a mail that is no bounce; each test gets a copy."""
    folder = tmp_path_factory.mktemp("joined") / "shop"
    shutil.copytree(original, folder)
    Shell(folder).join(ANN)
    (folder / "people.csv").write_text("email\nfair@mail.example\n")
    (folder / "bounce.eml").write_text("Subject: hello\n\nnothing\n")
    (folder / "codes.txt").write_text("MILL-0001\nMILL-0002\n")
    return folder


@pytest.fixture
def shop(tmp_path: Path, joined: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Give a prompt in a copy of that funnel."""
    folder = tmp_path / "shop"
    shutil.copytree(joined, folder)
    monkeypatch.chdir(folder)
    return Shell(folder, capsys)


def call(shell: Shell, name: str, code: str) -> tuple[int, str, str]:
    done = shell(*CALLS[name].format(code=code).split())
    return done.code, done.out, done.err


def test_every_command_is_tried_here() -> None:
    assert set(CALLS) | ELSEWHERE >= set(LEAVES)
    assert set(CALLS) <= set(LEAVES)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"serve"}))
def test_all_is_well(shop: Shell, name: str) -> None:
    code, out, err = call(shop, name, shop.code())

    assert (code, err) == (1 if name == "bounces" else 0, "")
    assert out.strip()


@pytest.mark.parametrize("name", [name for name in CALLS if any(p.name == "as_json" for p in LEAVES[name].params)])
def test_json_is_json_and_nothing_else(shop: Shell, name: str) -> None:
    done = shop(*CALLS[name].format(code=shop.code()).split(), "--json")

    assert isinstance(done.json, dict | list)
    assert done.code == (1 if name == "bounces" else 0)


def break_front_matter() -> None:
    Path("emails/series/guide.md").write_text('+++\nsubject = "Hello\n+++\nHello\n')


def break_sequence() -> None:
    Path("emails/series/sequence.toml").write_text('[[step]]\nmail = "nobody"\nafter = "0 days"\n')


def unknown_key() -> None:
    text = Path("funnel.toml").read_text()
    Path("funnel.toml").write_text(text.replace("[clinic]", '[clinic]\nnmae = "x"'))


def move(name: str) -> Callable[[], None]:
    def away() -> None:
        Path(name).rename(name + ".away")

    return away


#: The popup's words are in the settings; its preview shows the article.
POPUP = {"popup snippet", "popup preview"}
#: These know people and codes, not mails.
NO_MAILS = {
    *ALONE, *POPUP, "outbox list", "subscribers list", "subscribers export", "gift show", "gift status",
    "gift withdraw", "backup",
}  # fmt: skip
#: What is wrong; the exit code; a part of the sentence; for whom it is no matter.
FAULTS: dict[str, tuple[Callable[[], object], int, str, set[str]]] = {
    "no settings": (move("funnel.toml"), 2, "Run “funnel init”", ALONE),
    "broken settings": (lambda: Path("funnel.toml").write_text("[clinic\n"), 2, "funnel.toml is not valid TOML", ALONE),
    "unknown key": (unknown_key, 2, "clinic.nmae", ALONE),
    "no mails": (move("emails"), 1, r"emails|article\.md", NO_MAILS - {"article sections", "popup preview"}),
    "broken mail": (break_front_matter, 1, r"guide\.md", NO_MAILS | {"article draft"}),
    "broken sequence": (break_sequence, 1, "nobody", NO_MAILS | {"article draft"}),
    "no database": (move("funnel.db"), 1, "no database funnel.db", FILES_ONLY),
    "empty database": (lambda: Path("funnel.db").write_bytes(b""), 1, "is empty",
FILES_ONLY),
    "another's database": (lambda: Path("funnel.db").write_bytes(b"x" * 9999), 1, "not a database or is damaged",
    FILES_ONLY),
    "no keys": (move("funnel.secret"), 2, "There are no keys",
                {*ALONE, *POPUP, "backup", "article draft", "article diff", "outbox list", "subscribers list",
                 "subscribers export", "gift show", "gift status"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(shop: Shell, fault: str, name: str) -> None:
    """No traceback, no half-done work, the right code."""
    spoil, expected, sentence, no_matter = FAULTS[fault]
    code = shop.code()
    spoil()
    found, out, err = call(shop, name, code)

    if name in no_matter:
        assert found == (1 if name == "bounces" else 0), err
        return
    said = err or out
    assert re.search(sentence, said), said
    assert found == (expected if err else 1)
    assert "Traceback" not in said
    assert err.count("\n") == (1 if err.startswith("Error: ") else 0)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"init", "article sections", "serve"}))
def test_a_locked_database_says_try_again(shop: Shell, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-14: 75 for whoever would write; who only reads is not disturbed."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    code = shop.code()
    other = sqlite3.connect("funnel.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    found, _, err = call(shop, name, code)
    other.close()

    if name in READING:
        assert found == (1 if name == "bounces" else 0), err
    else:
        assert (found, err) == (75, "Error: funnel.db is locked by another program; try again in a moment.\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("why nobody", 1, "has no @ sign"),
        ("why stranger@mail.example", 1, "Nobody with the address"),
        ("why -- -x@mail.example", 1, "Nobody with the address"),
        ("subscribers show stranger@mail.example", 1, "Nobody with the address"),
        ("subscribers unsubscribe stranger@mail.example", 1, "Nobody with the address"),
        ("subscribers erase stranger@mail.example --yes", 1, "Nobody with the address"),
        ("subscribers add ann@ --proof x", 1, "not an address"),
        ("subscribers add ann@mail.example", 2, "--proof"),
        ("subscribers list --status happy", 2, "happy"),
        ("subscribers list --limit 0", 2, "limit"),
        ("subscribers import people.csv --basis fair", 2, "--proof"),
        ("subscribers import missing.csv --basis a --proof b --not-patients", 1, "missing.csv"),
        ("subscribers import people.csv --basis a --proof b --not-patients --confirmed --into nowhere", 1, "nowhere"),
        ("subscribers import . --basis a --proof b --not-patients", 1, "."),
        ("subscribers export --out people.csv", 2, "exists already"),
        ("subscribers export --out nowhere/out.csv", 1, "nowhere/out.csv"),
        ("gift redeem 7K3M-9QXA-P2VD-5", 1, "One character of this code is wrong"),
        ("gift redeem 123", 1, "13 letters and digits"),
        ("gift show 0000-0000-0000-0", 1, "no such gift code"),
        ("preview", 2, "Name one mail"),
        ("preview series/guide --all", 2, "Name one mail"),
        ("preview series/nothing", 1, "series/nothing"),
        ("preview series/guide --as stranger@mail.example", 1, "Nobody with the address"),
        ("preview series/guide --out people.csv", 1, "people.csv"),
        ("preview series/guide --out people.csv/deeper", 1, "people.csv"),
        ("test series/guide", 2, "--to"),
        ("test series/guide --to nobody", 1, "has no @ sign"),
        ("send --now 2027-01-01", 2, "--dry-run only"),
        ("send --dry-run --now tomorrow", 2, "not a moment"),
        ("send --limit -1", 2, "limit"),
        ("bounces missing.eml", 1, "missing.eml cannot be read"),
        ("report --now never", 2, "not a moment"),
        ("article sections missing.md", 1, "missing.md cannot be read"),
        ("article sections emails", 1, "emails cannot be read"),
        ("article draft missing.md --into drafts", 1, "missing.md cannot be read"),
        ("article draft emails/article.md", 2, "--into"),
        ("init", 2, "There is a funnel in"),
        ("init other --set clinic.name", 2, "KEY=VALUE"),
        ("init other --set clinic.nmae=x", 2, "no setting clinic.nmae"),
        ("init people.csv", 2, "people.csv"),
        ("init people.csv/deeper --defaults", 1, "people.csv"),
        ("--config missing.toml report", 2, "There is no missing.toml"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(shop: Shell, words: str, code: int, sentence: str) -> None:
    done = shop(*words.split())

    assert sentence in done.err
    assert done.code == code
    assert "Traceback" not in done.err


def test_an_article_that_is_no_text_is_told(shop: Shell) -> None:
    Path("picture.md").write_bytes(bytes(range(256)))
    done = shop("article", "sections", "picture.md")

    assert done.code == 1
    assert "picture.md is not a text file; save it as UTF-8 text" in done.err


def test_a_machine_without_memory_is_one_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-56: exit code 75, as for all that is better tried again."""
    shell.ask()

    def short(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Composer, "one_of", short)
        done = shell("send")
    assert (done.code, done.err.count("\n")) == (75, 1)
    assert done.err.startswith("Error: This machine has no memory left for that;")

    assert shell("send").out == "1 sent.\n"
