"""Importing funnel.guide is cheap: cron imports it each minute."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("typst", "pikepdf", "markdown_it", "segno", "mdit_py_plugins")


def test_importing_the_package_loads_no_typesetter() -> None:
    code = f"import sys, funnel.guide; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_build_can_be_called_again_after_the_first_call() -> None:
    code = "import funnel.guide as g, funnel.guide.builder; print(callable(g.build), callable(g.check))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]
