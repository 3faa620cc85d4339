"""A real funnel in a folder, with a clock of its own, a guide, and people in every state."""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask.testing import FlaskClient

from funnel.app import Funnel
from funnel.config import load_config
from funnel.model import Receipt, Subscriber
from funnel.signup import Request
from funnel.store import enrollments, runs, subscribers
from funnel.store.database import open_database
from funnel.web import create_app, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask
    from werkzeug.test import TestResponse

TOML = """
[clinic]
name = "Test <Clinic> & Co"
postal_address = "1 Sample Street, Springfield"
phone = "(555) 010-0199"
from_name = "Test Clinic"
from_address = "hello@clinic.example"
time_zone = "Europe/Berlin"
[site]
base_url = "https://go.clinic.example"
allowed_origins = ["https://clinic.example"]
trusted_proxies = ["10.0.0.0/24", "2001:db8::1"]
[gift]
name = "a check-up"
"""
MAILS = {
    "confirm/confirm": "confirm",
    "series/guide": "guide",
    "series/first": "drip",
    "again/guide-again": "guide",
    "move/move": "confirm",
}
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 1200 + b"\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HTML = "<!doctype html>\n<html lang=en><style>p{color:red}</style><p>The guide…</p></html>\n".encode()


class Reader(FlaskClient):
    """A client that reads every answer to its end and closes it, as a browser does."""

    def open(self, *args: Any, **more: Any) -> TestResponse:
        return super().open(*args, buffered=True, **more)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Shop:
    """One funnel and its web application, and what a test does with them."""

    funnel: Funnel
    app: Flask
    clock: Clock

    @property
    def client(self) -> FlaskClient:
        return Reader(self.app, self.app.response_class)

    def ask(self, email: str) -> int:
        """Ask for the guide as ``email`` and return the request that a confirmation link is for."""
        self.funnel.ask(Request(email, wording="words"))
        with self.funnel.session(readonly=True) as db:
            latest = enrollments.latest(db, self.person(email).id, "confirm")
        assert latest is not None
        return latest.id

    def join(self, email: str) -> Subscriber:
        """Ask and confirm as ``email``."""
        self.funnel.confirm(self.confirm_token(email), Receipt("confirmed", self.clock.now))
        return self.person(email)

    def stop(self, email: str) -> Subscriber:
        """Ask, confirm and stop as ``email``."""
        self.funnel.unsubscribe(self.join(email).id, Receipt("withdrawn", self.clock.now))
        return self.person(email)

    def person(self, email: str) -> Subscriber:
        with self.funnel.session(readonly=True) as db:
            found = subscribers.by_key(db, email.lower())
        assert found is not None
        return found

    def confirm_token(self, email: str) -> str:
        return self.funnel.links.confirm(self.ask(email), self.clock.now).token

    def guide_token(self, person: Subscriber) -> str:
        return self.funnel.links.download(person.id, self.clock.now).token

    def stop_token(self, person: Subscriber) -> str:
        return self.funnel.links.unsubscribe(person.id).token

    def preferences_token(self, person: Subscriber) -> str:
        return self.funnel.links.preferences(person.id).token

    def key(self, path: str = "/") -> str:
        """Return the page key a GET shows, and wait as long as a person does."""
        key = key_in(self.client.get(path))
        self.clock.move(seconds=5)
        return key

    def sign_up(self, email: str, **more: str) -> TestResponse:
        return self.client.post("/signup", data={"email": email, "key": self.key(), **more})

    def confirm(self, token: str) -> TestResponse:
        return self.client.post(f"/c/{token}", data={"key": self.key(f"/c/{token}")})

    def dump(self) -> str:
        """Return everything in the database as text."""
        with self.funnel.session(readonly=True) as db:
            return "\n".join(db.connection.iterdump())

    def live(self) -> None:
        """Let cron have been here just now."""
        with self.funnel.session() as db, db.transaction():
            runs.tick(db, self.clock.now)

    def count(self, sql: str, *values: object) -> int:
        with self.funnel.session(readonly=True) as db:
            return int(db.value(sql, values))


@contextmanager
def running(funnel: Funnel, listen: str) -> Iterator[int]:
    """Serve a funnel and give the port; when it is closed, no thread of it is in the midst of an answer."""
    server = make_server(funnel, listen=listen)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        # Whoever has sent an answer still wakes the loop up: through a file that must not be another one by then.
        server.task_dispatcher.shutdown(timeout=30)
        server.close()
        thread.join(5)


def token_of(link: str) -> str:
    return link.rpartition("/")[2]


def key_in(response: TestResponse) -> str:
    found = re.search(r'name="key" value="([^"]+)"', response.text)
    assert found, response.text
    return found[1]


def write_mails(folder: Path) -> None:
    for name, kind in MAILS.items():
        sequence, _, mail = name.partition("/")
        (folder / sequence).mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(f'+++\nsubject = "S"\nkind = "{kind}"\n+++\nHello\n')
        with (folder / sequence / "sequence.toml").open("a") as file:
            if sequence in {"again", "move"}:
                file.write("repeatable = true\n")
            file.write(f'[[step]]\nmail = "{mail}"\nafter = "{3 if kind == "drip" else 0} days"\n')
    (folder / "_layout").mkdir()
    for name in ("layout.html", "layout.txt", "mail.css"):
        (folder / "_layout" / name).touch()
    (folder / "confirm" / "sequence.toml").write_text(
        'repeatable = true\n[[step]]\nmail = "confirm"\nafter = "0 days"\n'
    )


def make_shop(folder: Path, extra: str = "", toml: str = TOML, *, moves: bool = True) -> Shop:
    """Return a new funnel in a folder; ``extra`` is more of its settings."""
    (folder / "funnel.toml").write_text(toml + extra)
    write_mails(folder / "emails")
    if not moves:
        shutil.rmtree(folder / "emails" / "move")
    secret = folder / "funnel.secret"
    secret.touch(mode=0o600)
    secret.write_text("00112233445566778899aabbccddeeff\n")
    (folder / "guide").mkdir()
    (folder / "guide" / "guide.toml").write_text('title = "G"\npages = 72\n')
    output = folder / "build" / "guide"
    output.mkdir(parents=True)
    (output / "guide.pdf").write_bytes(PDF)
    (output / "guide.html").write_bytes(HTML)
    (output / "figures").mkdir()
    (output / "figures" / "fig-01.png").write_bytes(PNG)
    config = load_config(folder / "funnel.toml")
    open_database(config.path(config.store.path), create=True).close()
    clock = Clock()
    funnel = Funnel(config, clock=clock)
    return Shop(funnel, create_app(funnel), clock)
