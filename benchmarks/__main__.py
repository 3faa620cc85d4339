"""Run every benchmark: each module here that has a ``run()`` prints its own table of ratios."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks


def main(wanted: list[str]) -> None:
    """Run the modules named, or all of them."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("_") or (wanted and module.name not in wanted):
            continue
        run = getattr(importlib.import_module(f"benchmarks.{module.name}"), "run", None)
        if run is not None:
            run()


if __name__ == "__main__":
    main(sys.argv[1:])
