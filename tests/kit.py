"""A real funnel for tests: settings, keys and database in a folder, the sample's mails, and a clock to turn."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funnel import signup
from funnel.app import Funnel
from funnel.config import load_config, secret_file
from funnel.model import Receipt
from funnel.store import enrollments
from funnel.store.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.transport import Transport

TOP = Path(__file__).resolve().parents[1]
#: A Tuesday, ten in the morning at the sample clinic.
NOW = datetime(2026, 11, 17, 16, tzinfo=UTC)
WORDING = "Send me the guide and the series. I can stop at any time."

SETTINGS: dict[str, dict[str, Any]] = {
    "clinic": {
        "name": "Thrive Health Acupuncture",
        "postal_address": "120 Sample Street, Suite 4, Springfield, IL 62701",
        "phone": "(555) 010-0123",
        "website": "https://thrivehealth.example",
        "booking_url": "https://thrivehealth.example/book",
        "from_name": "Maya at Thrive Health",
        "from_address": "hello@thrivehealth.example",
        "time_zone": "America/Chicago",
    },
    "site": {"base_url": "http://127.0.0.1"},
    "transport": {"kind": "memory"},
    "content": {"article_url": "https://thrivehealth.example/articles/dry-needling"},
}


class Clock:
    """A clock that stands still until somebody turns it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def tick(self, **length: float) -> datetime:
        """Move on by days, hours, minutes or seconds, and return the new moment."""
        self.now += timedelta(**length)
        return self.now


def make_funnel(
    folder: Path, *, now: datetime | Clock = NOW, transport: Transport | None = None, **settings: dict[str, Any]
) -> Funnel:
    """Return a funnel that works, in ``folder``; settings are given by section: ``gift={"expires_days": 1}``.

    Give a ``Clock`` as ``now`` to turn it later.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {name: SETTINGS.get(name, {}) | settings.get(name, {}) for name in SETTINGS | settings}
    (folder / "funnel.toml").write_text(as_toml(tables), "utf-8")
    config = load_config(folder / "funnel.toml")
    keys = secret_file(config)
    keys.touch(0o600)
    keys.write_text("5a" * 32 + "\n")
    shutil.copytree(TOP / "emails", folder / "emails", dirs_exist_ok=True)
    open_database(config.path(config.store.path), create=True).close()
    return Funnel(config, clock=now if isinstance(now, Clock) else Clock(now), transport=transport)


@contextmanager
def kept_port() -> Iterator[int]:
    """Give a port that a server may listen at inside the block, and no other program of this machine is given.

    A port that was only found free may be another test's by the time it is used.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = int(kept.getsockname()[1])
        if sys.platform != "linux":  # where two may not be bound to one port, even if one of them does not listen
            kept.close()
        yield port


def as_toml(tables: dict[str, dict[str, Any]]) -> str:
    """Return sections of plain values, lists and small tables as TOML."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def sign_up(funnel: Funnel, email: str, **more: Any) -> None:
    """Send in the form as a visitor does."""
    funnel.ask(signup.Request(email=email, wording=WORDING, page="/back-pain", **more))


def confirm(funnel: Funnel, email: str) -> signup.Confirmed:
    """Press the button behind the link of the newest confirmation mail."""
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, email)
        asked = enrollments.latest(db, person.id, "confirm")
    assert asked is not None, f"{email} was never asked to confirm"
    token = funnel.links.confirm(asked.id, asked.anchor_at).token
    return funnel.confirm(token, Receipt(act="confirmed", at=funnel.clock(), wording=WORDING))
