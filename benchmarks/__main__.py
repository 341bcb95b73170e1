"""`python -m benchmarks`: measure all claims, or those named; `--list` tells which there are."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.measure import table


def main(arguments: list[str] | None = None) -> int:
    claims = _claims()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="claim", help="what to measure; everything when none is named")
    parser.add_argument("--list", action="store_true", help="tell which claims there are")
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if given.list:
        for name, claim in claims.items():
            console.print(f"  {name:<16} {claim}", highlight=False)
        return 0
    if unknown := set(given.names) - set(claims):
        parser.error(f"no claim is called {', '.join(sorted(unknown))}: choose from {', '.join(claims)}")
    for name in given.names or claims:
        began = time.perf_counter()
        rows = importlib.import_module(f"benchmarks.{name}").run()
        console.print(table(rows, f"{name}: {claims[name]} ({time.perf_counter() - began:.0f} s)"), "")
    return 0


def _claims() -> dict[str, str]:
    """Every module here that makes a claim, with the first line of what it says about itself."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        source = Path(__file__).with_name(f"{module.name}.py").read_text(encoding="utf-8")
        if "\ndef run() -> list[Row]:" in source:
            found[module.name] = source.partition('"""')[2].partition("\n")[0].removesuffix('"""')
    return found


if __name__ == "__main__":
    sys.exit(main())
