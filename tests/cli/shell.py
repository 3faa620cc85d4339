"""A prompt to type commands at, in a folder with a real funnel whose clock is this machine's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from funnel.app import Funnel
from funnel.checks import check
from funnel.cli import group
from funnel.config import load_config
from funnel.guide.source import known_anchors, load
from funnel.model import Receipt, Subscriber
from funnel.store import enrollments
from tests.kit import TOP, WORDING, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    import click
    import pytest

ANN, BEN = "ann@mail.example", "ben@mail.example"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return what was printed as JSON."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Types commands and reads what they print."""

    folder: Path
    capsys: pytest.CaptureFixture[str] | None = None

    def __call__(self, *words: object) -> Done:
        """Run one command; an exception that leaves it is a traceback somebody would have seen."""
        assert self.capsys is not None
        self.capsys.readouterr()
        code = group.run([str(word) for word in words])
        out, err = self.capsys.readouterr()
        return Done(code, out, err)

    @property
    def funnel(self) -> Funnel:
        """Return the funnel of the folder."""
        return Funnel(load_config(self.folder / "funnel.toml"), clock=lambda: datetime.now(UTC))

    def person(self, email: str = ANN) -> Subscriber:
        """Return who has an address."""
        with self.funnel.session(readonly=True) as db:
            return self.funnel.find_person(db, email)

    def ask(self, email: str = ANN) -> None:
        """Sign up as a visitor does."""
        sign_up(self.funnel, email)

    def join(self, email: str = ANN) -> None:
        """Sign up and confirm."""
        self.ask(email)
        funnel, person = self.funnel, self.person(email)
        with funnel.session(readonly=True) as db:
            asked = enrollments.latest(db, person.id, "confirm")
        assert asked is not None
        token = funnel.links.confirm(asked.id, asked.anchor_at).token
        funnel.confirm(token, Receipt("confirmed", funnel.clock(), wording=WORDING))

    def code(self, email: str = ANN) -> str:
        """Return somebody's gift code."""
        gift = self.funnel.gift_of(self.person(email))
        assert gift is not None
        return gift.code


def make_shop(folder: Path) -> None:
    """Make a new funnel whose mail goes to the outbox, with something in the place of the guide."""
    made = make_funnel(folder)
    check(made, made.clock(), guide=False)  # compiles the mails once for all tests
    settings = folder / "funnel.toml"
    settings.write_text(settings.read_text("utf-8").replace('kind = "memory"', 'kind = "outbox"'), "utf-8")
    guide = folder / "build" / "guide"
    guide.mkdir(parents=True)
    (guide / "guide.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    (guide / "pages.json").write_text(json.dumps(known_anchors(load(TOP / "guide"))))


def commands() -> dict[str, click.Command]:
    """Return every command there is by the words one types: ``gift redeem``."""
    import click

    context = click.Context(group.group)
    found: dict[str, click.Command] = {}
    for name in group.group.list_commands(context):
        command = group.group.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": inner for sub, inner in command.commands.items()}
    return found
