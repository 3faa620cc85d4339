"""Make a new funnel in a folder: settings, keys, database, and the clinic's own copy of mails and guide."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from funnel.config import load_config, secret_file
from funnel.errors import ConfigError
from funnel.samples import sample_folder
from funnel.store import seal
from funnel.store.database import open_database
from funnel.store.tick import leave_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from funnel.config import Config

#: What ``init`` may ask, as (key in funnel.toml, question).
QUESTIONS = (
    ("clinic.name", "Name of the clinic"),
    ("clinic.postal_address", "Postal address (the law wants it in every mail)"),
    ("clinic.from_name", "Whose name mails carry"),
    ("clinic.from_address", "Address mails come from"),
    ("clinic.phone", "Telephone"),
    ("clinic.website", "Website"),
    ("clinic.time_zone", "Time zone, like America/Chicago"),
    ("site.base_url", "Address of these pages, like https://go.clinic.com"),
    ("alerts.to", "Where the week's figures go (else where mails come from)"),
)


def found(folder: Path, answers: Mapping[str, str] | None = None) -> Config:
    """Return the settings of a new funnel in ``folder``, which works as it is.

    Existing files are never written over: settings without a database are given one, and keys. Raises
    ConfigError when there is a funnel already, or when an answer cannot work; then nothing is left behind.
    """
    settings = folder / "funnel.toml"
    if settings.exists():
        return _completed(settings, answers)
    source = sample_folder()
    given = dict(answers or {})
    if "clinic.from_address" in given:  # the sample's desk is nobody else's
        given.setdefault("alerts.to", given["clinic.from_address"])
    text = with_answers((source / "funnel.toml").read_text("utf-8"), given)
    config = replace(_tried(text), folder=str(folder.resolve()))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("emails", "guide"):
        _copy(source / name, folder / name)
    _begin_database(config)
    draft = folder / "funnel.toml.new"
    draft.write_text(text, "utf-8")
    draft.replace(settings)
    leave_note(str(settings), str(config.path(config.store.path)))
    return load_config(settings)


def _completed(settings: Path, answers: Mapping[str, str] | None) -> Config:
    """Give settings that came alone, as from version control, what never goes there."""
    config = load_config(settings)
    if answers or config.path(config.store.path).exists():
        raise ConfigError(f"There is a funnel in {settings.parent} already; its funnel.toml was left as it is.")
    _begin_database(config)
    return config


def _begin_database(config: Config) -> None:
    write_keys(secret_file(config))
    with open_database(config.path(config.store.path), create=True) as db:
        seal.ensure(db)


def _tried(text: str) -> Config:
    """Return the settings in a text; raises ConfigError, and then no file was touched."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "funnel.toml")
        trial.write_text(text, "utf-8")
        return load_config(trial)


def _copy(source: Path, folder: Path) -> None:
    """Copy a folder whole or not at all; one that is there is kept as it is."""
    if folder.exists():
        return
    half = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    try:
        shutil.copytree(source, half, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        raise
    half.replace(folder)


def write_keys(file: Path) -> None:
    """Write a fresh signing key that only its owner can read; keys that are there are kept."""
    if file.exists():
        return
    draft = file.with_name(file.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(secrets.token_hex(32) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(file)


def with_answers(toml: str, answers: Mapping[str, str]) -> str:
    """Return the settings text with some values replaced, comments and order kept.

    Raises ConfigError for an answer to a question nobody asks.
    """
    section, used = "", set()
    lines = toml.split("\n")
    for i, line in enumerate(lines):
        heading = re.fullmatch(r"\[([a-z.]+)\]\s*", line)
        section = heading[1] if heading else section
        setting = re.match(r'([a-z_]+) = ("?)', line)
        key = f"{section}.{setting[1]}" if setting else ""
        if setting and key in answers:
            used.add(key)
            lines[i] = f"{setting[1]} = {_quoted(answers[key]) if setting[2] else answers[key]}"
    for key in answers.keys() - used:
        raise ConfigError(f"There is no setting {key} in a new funnel.toml; set it there afterwards.")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """Return a TOML basic string."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
