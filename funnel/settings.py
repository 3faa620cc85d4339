"""Turn a TOML table into frozen dataclasses, and say exactly which key is wrong.

Knows nothing about any one setting: the dataclass is the schema. Does not read files.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import re
import types
import typing
from typing import Any, TypeVar

from funnel.errors import ConfigError

T = TypeVar("T")

NAMES = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dt.date: "a date like 2026-12-25",
}


def fill(cls: type[T], table: object, where: str, file: str) -> T:
    """Return ``cls`` filled from a TOML table.

    Raises ConfigError naming file, key path and remedy for an unknown key, a missing one or a wrong type.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: [{where}] must be a table of settings, not {_shown(table)}.")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise ConfigError(_unknown(_spelled(key), list(fields), where, file))
    values = {
        name: _value(hints[name], table[name], f"{where}.{name}" if where else name, file)
        for name in fields
        if name in table
    }
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            if not dataclasses.is_dataclass(hints[name]):
                raise ConfigError(f'{file}: {name} is missing from [{where}]; add a line like {name} = "…".')
            values[name] = fill(hints[name], {}, f"{where}.{name}" if where else name, file)
    return cls(**values)


def _unknown(key: str, known: list[str], where: str, file: str) -> str:
    near = difflib.get_close_matches(key, known, 1)
    path = f"{where}.{key}" if where else key
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}."
    return f"{file}: {path} is no setting of ours; {hint}"


def _value(kind: Any, value: object, path: str, file: str) -> Any:
    """Return ``value`` as the type a field asks for."""
    if dataclasses.is_dataclass(kind):
        return fill(typing.cast("type[Any]", kind), value, path, file)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _many(typing.get_args(kind)[0], value, path, file)
    if origin is dict:
        return _pairs(typing.get_args(kind)[1], value, path, file)
    if origin in {types.UnionType, typing.Union}:
        return _value(typing.get_args(kind)[0], value, path, file)
    if kind is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{file}: {path} must be {NAMES.get(kind, kind.__name__)}, not {_shown(value)}.")
    return value


def _many(kind: Any, value: object, path: str, file: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f'{file}: {path} must be a list like ["…", "…"], not {_shown(value)}.')
    return tuple(_value(kind, item, f"{path}[{i}]", file) for i, item in enumerate(value))


def _pairs(kind: Any, value: object, path: str, file: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: {path} must be a table like {{ key = … }}, not {_shown(value)}.")
    return {key: _value(kind, item, f"{path}.{_spelled(key)}", file) for key, item in value.items()}


def _spelled(key: str) -> str:
    """Return a key as a message names it: bare, or quoted when it needs quotes in TOML too."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else _shown(key)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 40 else text[:39] + "…"
