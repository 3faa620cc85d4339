"""The house rules of funnel/: short functions, short modules, words on everything public, one clock, one store."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "funnel"
MODULES = sorted(PACKAGE.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef

#: Only these rooms read the clock; all others are given ``now``.
CLOCK_ROOMS = {"cli", "web", "app", "demo"}
CLOCK_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
#: Each of these libraries has one room, so that it can be replaced there.
ROOM_OF = {
    "sqlite3": {"store"},
    "sqlite_utils": {"store"},
    "premailer": {"compose"},
    "smtplib": {"transport"},
    "typst": {"guide"},
    "pikepdf": {"guide"},
    "flask": {"web"},
    "waitress": {"web", "cli", "demo"},
}
#: What ``funnel --help`` must not wait for.
HEAVY = {"premailer", "cssutils", "sqlite_utils", "flask", "typst", "pikepdf", "lxml"}
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
SOURCES = {".py", ".md", ".toml", ".html", ".css", ".js", ".sql", ".typ", ".sh", ".txt", ".lock", ".svg", ""}
GENERATED = {"build", "dist", "outbox", "demo", "node_modules"}


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, line: int = 1) -> str:
    """Return where something is, so that a terminal can jump to it."""
    return f"{path.relative_to(TOP)}:{line}"


def room(path: Path) -> str:
    """Return the room of funnel/ a module belongs to: ``store`` for funnel/store/gifts.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def functions(path: Path) -> list[Function]:
    """Return all functions of a module, also methods and inner ones."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def length(function: Function) -> int:
    """Return the lines from ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for a chain of names, else the last name of it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each call of a module by name, with its line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.lineno


def reads_clock(call: str) -> bool:
    """Return whether a call asks the machine what time it is, also as ``dt.datetime.now``."""
    return any(call == name or call.endswith(f".{name}") for name in CLOCK_CALLS)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the top name of each import of a module, with its line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0], node.lineno


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """Yield the public classes and functions of a module or class, and the public ones in its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def sources() -> list[Path]:
    """Return the text files of the project: what git would keep, or without git all but what is generated."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout
        paths = [TOP / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in TOP.rglob("*") if not generated(path.relative_to(TOP))]
    return sorted(path for path in paths if path.suffix in SOURCES and path.is_file())


def generated(path: Path) -> bool:
    """Return whether a file is hidden or made by a tool."""
    hidden = any(part.startswith((".", "__pycache__")) or part.endswith(".egg-info") for part in path.parts)
    return hidden or path.parts[0] in GENERATED


def test_functions_are_short() -> None:
    sizes = {place(path, node.lineno): length(node) for path in MODULES for node in functions(path)}
    ranked = sorted(sizes.values())

    assert {where: size for where, size in sizes.items() if size > 60} == {}
    assert statistics.median(ranked) <= 8
    assert ranked[int(len(ranked) * 0.9)] <= 25


def test_modules_are_short() -> None:
    sizes = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}

    assert {where: size for where, size in sizes.items() if size > 500} == {}


def test_everything_public_says_what_it_is() -> None:
    silent = [place(path) for path in MODULES if not ast.get_docstring(tree(path))]
    for path in MODULES:
        silent += [
            f"{place(path, node.lineno)} {node.name}"
            for node in public(tree(path).body)
            if not ast.get_docstring(node) and not is_overload(node)
        ]

    assert silent == []


def is_overload(node: ast.ClassDef | Function) -> bool:
    """Return whether this is one signature of several; the last one has the words."""
    return any(dotted(mark).endswith("overload") for mark in node.decorator_list)


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{place(path, number)} {line.strip()[:80]}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    assert found == []


def test_only_the_commands_print() -> None:
    found = [
        place(path, line) for path in MODULES if room(path) != "cli" for name, line in calls(path) if name == "print"
    ]

    assert found == []


def test_the_clock_is_read_at_the_doors_only() -> None:
    inner = [path for path in MODULES if room(path) not in CLOCK_ROOMS]

    assert [f"{place(path, line)} {name}" for path in inner for name, line in calls(path) if reads_clock(name)] == []


def test_each_library_stays_in_its_room() -> None:
    found = [
        f"{place(path, line)} imports {name}"
        for path in MODULES
        for name, line in imports(path)
        if name in ROOM_OF and room(path) not in ROOM_OF[name]
    ]

    assert found == []


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_does_not_wait_for_heavy_libraries(argument: str) -> None:
    script = f"""
import contextlib, sys
from funnel.cli import main

with contextlib.suppress(SystemExit):
    main([{argument!r}])
print("loaded", sorted({HEAVY!r} & set(sys.modules)))
"""

    done = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert len(done.stdout.splitlines()) > 1


LONG_DOCSTRING = '''
def f(a):
    """One.

    Two.
    """
    b = a
    return b
'''


def test_the_measure_leaves_docstrings_out() -> None:
    (function,) = ast.parse(LONG_DOCSTRING).body

    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 3


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("datetime.now", True),
        ("dt.datetime.utcnow", True),
        ("date.today", True),
        ("time.time", True),
        ("time.monotonic", False),
        ("self.now", False),
    ],
)
def test_the_clock_is_recognised(call: str, *, expected: bool) -> None:
    assert reads_clock(call) is expected


def test_unfinished_words_are_recognised_alone_only() -> None:
    assert UNFINISHED.search("# " + "TO" + "DO: later")
    assert not UNFINISHED.search("the gift code XXXX-1234 and a hackney cab")
