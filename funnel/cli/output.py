"""How commands speak: one table, one JSON, one way to say a moment. Control characters never reach a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from funnel.app import Funnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def the_funnel() -> Funnel:
    """Return the funnel that --config, FUNNEL_CONFIG or the current folder names."""
    return Funnel.load(click.get_current_context().find_root().obj)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


def now_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --now, for what-ifs of commands that change nothing."""
    return click.option("--now", "at", metavar="TIME", help="Ask as if it were this moment, like 2027-01-15T10:00.")(
        function
    )


def the_moment(text: str | None, funnel: Funnel) -> datetime:
    """Return the moment somebody asked for, on the clinic's clock, or now; raises BadParameter."""
    if not text:
        return funnel.clock()
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"“{text}” is not a moment like 2027-01-15T10:00.", param_hint="--now") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(funnel.config.clinic.time_zone))).astimezone(
        UTC
    )


def say(text: str = "") -> None:
    """Print one line, safe for a terminal."""
    click.echo(safe(text))


def many(count: int, one: str, more: str) -> str:
    """Return a count with its word: ``1 mail``, ``2,000 mails``."""
    return f"{count:,} {one if count == 1 else more}"


def safe(text: str) -> str:
    """Return text without controls and direction overrides (SEC-24, SEC-33)."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def print_json(value: object) -> None:
    """Print a value as JSON, moments in ISO 8601 and UTC; controls are escaped, as JSON allows (SEC-33)."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: moments in UTC, and every record, whatever it is in here, by its names."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # JSON would make a list of it
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value) if isinstance(value, date | Path) else value


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; numbers to the right."""
    cells = [[safe(str(cell)) for cell in row] for row in rows]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(head)]
    right = [all(_number(row[i]) for row in cells) and bool(cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()

    click.echo(line(head))
    click.echo("  ".join("─" * width for width in widths))
    for row in cells:
        click.echo(line(row))


def _number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit() or cell in {"", "–"}


def on_terminal() -> bool:
    """True when a person is watching; a stream that was closed from the start is None."""
    streams = [getattr(sys, name, None) for name in ("stdout", "stderr")]
    return all(stream is not None and stream.isatty() for stream in streams)


def open_file(path: Path) -> None:
    """Show a file in the desktop's browser, or say where it is."""
    if click.launch(path.resolve().as_uri()) != 0:
        say(f"Open {path} in your browser.")


def write_new(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all, for its owner only; never over another one unless told to (SEC-16)."""
    import os

    if path.exists() and not force:
        raise click.UsageError(f"{path} exists already; choose another name or add --force.")
    scratch = path.with_name(path.name + ".part")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    scratch.replace(path)
