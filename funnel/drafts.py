"""Drafts of mails as files: one for each section of an article, and never over the words of a person."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from funnel.article import draft_mails
from funnel.compose.source import NAME, read_mail
from funnel.errors import ArticleError, ContentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from funnel.article import Article, DraftMail

#: What was written here last, by file name: a file that differs from it was edited.
MEMORY = ".drafts.json"
SEQUENCE = "sequence.toml"
DAYS_APART = 3


def write_drafts(article: Article, folder: Path, link_base: str) -> list[str]:
    """Write one mail for each section into ``folder``, and their sequence when there is none; returns what was done.

    A mail that somebody edited, or that was there before, is left as it is. Raises ArticleError when
    ``link_base``, the article's address, is missing, and ContentError when a file cannot be written.
    """
    if not link_base.startswith(("https://", "http://")):
        raise ArticleError("Name the article's address with --link or in [content] article_url, like https://…")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_all(draft_mails(article, link_base=link_base), folder)
    except OSError as error:
        raise ContentError(f"{folder.name}/ cannot be written: {error.strerror}.") from None


def _write_all(mails: Sequence[DraftMail], folder: Path) -> list[str]:
    written = _remembered(folder)
    lines = []
    for mail in mails:
        file = folder / f"{_file_name(mail.name)}.md"
        word, keep = _write(file, mail.source, written.get(file.name))
        if keep:
            written[file.name] = keep
        lines.append(f"{file.name}: {word}")
    names = [_file_name(mail.name) for mail in mails]
    lines += _gone(folder, written, names)
    lines.append(_sequence(folder, names))
    _replace(folder / MEMORY, json.dumps(written, indent=1, sort_keys=True) + "\n")
    return lines


def _remembered(folder: Path) -> dict[str, str]:
    """Return the hashes of the files written before; without them each file counts as a person's own."""
    try:
        found = json.loads((folder / MEMORY).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(kept) for name, kept in found.items()} if isinstance(found, dict) else {}


def _write(file: Path, source: str, before: str | None) -> tuple[str, str | None]:
    """Write one mail where that takes nothing from anybody; returns what was done, and the hash to remember."""
    new = _hash(source.encode())
    there = _hash(file.read_bytes()) if file.exists() else None
    if there == new:
        return "unchanged", new
    if there is not None and there != before:
        return "left as it is: somebody edited it", None
    _replace(file, source)
    read_mail(file)
    return ("written" if there is None else "written anew: its section changed"), new


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = file.with_name(f".{file.name}.part")
    scratch.write_bytes(text.encode())
    scratch.replace(file)


def _file_name(name: str) -> str:
    """Return the name a mail may have, made from the hash of one that cannot be a file's."""
    return name if NAME.fullmatch(name) else f"section-{_hash(name.encode())[:8]}"


def _gone(folder: Path, written: dict[str, str], names: Sequence[str]) -> list[str]:
    """Say which drafts no longer have a section; a person decides what becomes of them."""
    kept = {f"{name}.md" for name in names}
    gone = [name for name in sorted(written) if name not in kept and (folder / name).exists()]
    return [f"{name}: left as it is, though its section is no longer in the article" for name in gone]


def _sequence(folder: Path, names: Sequence[str]) -> str:
    """Write the order of the mails when there is none, else say which mails it does not name."""
    import tomllib

    file = folder / SEQUENCE
    if not file.exists():
        _replace(file, _steps(folder.name, names))
        return f"{SEQUENCE}: written, a mail every {DAYS_APART} days"
    try:
        steps = tomllib.loads(file.read_text("utf-8")).get("step", [])
        known = {str(step["mail"]) for step in steps}
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{SEQUENCE}: left as it is; it cannot be read, “funnel check” says why"
    new = [name for name in names if name not in known]
    return f"{SEQUENCE}: left as it is" + (f"; add a [[step]] for {', '.join(new)}" if new else "")


def _steps(title: str, names: Sequence[str]) -> str:
    title = json.dumps(title, ensure_ascii=False).replace("\x7f", "\\u007f")
    steps = [
        f'[[step]]\nmail = "{name}"\nafter = "{number * DAYS_APART} days"\nat = "09:30"\n'
        for number, name in enumerate(names)
    ]
    head = f"# Drafted from an article. Change order, days and hours as you like.\ntitle = {title}\n"
    return "\n".join([head, *steps])
