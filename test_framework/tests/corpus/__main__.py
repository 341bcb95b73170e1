"""Make the corpus anew: `python -m test_framework.tests.corpus`, or only the families named; `--show` explains and stores nothing."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from test_framework.error_reporter import ErrorReporter
from test_framework.tests.corpus.scenario import Scenario, project, run
from test_framework.tests.corpus.scenarios import SCENARIOS
from test_framework.tests.corpus.store import FILE, Labelled, read, write

AT_ONCE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m test_framework.tests.corpus", description=__doc__)
    parser.add_argument("families", nargs="*", help="which families to make anew; all without any")
    parser.add_argument("--show", action="store_true", help="explain what fails, and store nothing")
    options = parser.parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS if not options.families or scenario.family in options.families]
    made, broken = make(chosen, show=options.show)
    if not options.show:
        remade = {one.family for one in made}
        kept = [one for one in read() if one.family not in remade] if options.families else []
        write([*kept, *made])
        print(f"{len(kept) + len(made)} failures in {FILE.name}, {FILE.stat().st_size / 1024:.0f} kB")
    return 1 if broken else 0


def make(scenarios: Sequence[Scenario], *, show: bool = False) -> tuple[list[Labelled], list[str]]:
    """Run scenarios one after the other; a scenario that breaks nothing is told and left out."""
    broken: list[str] = []

    def one(scenario: Scenario, base: Path) -> list[Labelled]:
        began = time.monotonic()
        try:
            failures = run(scenario, base)
        except Exception as reason:  # noqa: BLE001 - one that can't be made must not cost the others
            broken.append(scenario.family)
            print(f"NOT MADE {scenario.family}: {reason}", file=sys.stderr, flush=True)
            return []
        print(f"{scenario.family}: {len(failures)} in {time.monotonic() - began:.1f} s", flush=True)
        if show:
            print(json.dumps(ErrorReporter().explain(failures).to_json(), indent=1))
        return [Labelled(scenario.family, scenario.category, scenario.fault, failure) for failure in failures]

    with project() as base, ThreadPoolExecutor(AT_ONCE) as threads:
        making = [threads.submit(one, scenario, base) for scenario in scenarios]
        return [labelled for each in making for labelled in each.result()], broken


if __name__ == "__main__":
    sys.exit(main())
