"""`python -m test_framework.mutants [words …]`: try every way of the list (or those whose name holds a word), and tell.

It ends with 0 only where every way was noticed; a way that can't be tried here is named, with the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from test_framework.modes import Mode, obstacle
from test_framework.mutants.patches import Mutant, StaleMutant, read
from test_framework.mutants.trial import TRIAL_SECONDS, Outcome, Verdict, copied, run_tests, try_out

LIST = Path("tests/mission_critical/mutants.md")
BASELINE_SECONDS = 300.0

Tell = Callable[[str], None]


def tell(line: str) -> None:
    print(line, flush=True)


async def run(root: Path, words: Sequence[str], jobs: int, tell: Tell = tell) -> int:
    """Try the ways whose name holds one of the words, or all; 0 where each was noticed."""
    mutants = [mutant for mutant in read(root / LIST) if not words or any(word in mutant.name for word in words)]
    if not mutants:
        tell(f"no way in {LIST} is called so: {' '.join(words)}")
        return 2
    possible = [mutant for mutant in mutants if not _obstacle(mutant, tell)]
    if red := await _red_without(possible, root):
        tell(f"the tests are red without any mutant, so nothing can be said:\n{red}")
        return 2
    outcomes = await _try_all(possible, root, jobs, tell)
    return _sum_up(outcomes, len(mutants) - len(possible), tell)


def _obstacle(mutant: Mutant, tell: Tell) -> bool:
    reason = obstacle(mutant.mode)
    if reason:
        tell(f"not tried   {mutant.name}: it needs {mutant.mode}: {reason}")
    return bool(reason)


async def _red_without(mutants: Sequence[Mutant], root: Path) -> str:
    """Run the tests that are expected to notice, on the tree as it is; what they say where they fail."""
    with copied(root) as copy:
        for mode in Mode:
            tests = sorted({test for mutant in mutants if mutant.mode is mode for test in mutant.tests.split()})
            if tests:
                ran = await run_tests(copy, mode, tests, BASELINE_SECONDS)
                if ran.code != 0:
                    return f"{ran.caught_by or ran.said[-2000:]} (pytest ended with {ran.code})"
    return ""


async def _try_all(mutants: Sequence[Mutant], root: Path, jobs: int, tell: Tell) -> list[Outcome]:
    places = asyncio.Semaphore(jobs)

    async def trial(mutant: Mutant) -> Outcome:
        async with places:
            try:
                outcome = await try_out(mutant, root, TRIAL_SECONDS)
            except StaleMutant as stale:
                outcome = Outcome(mutant.name, Verdict.BROKEN, str(stale).removeprefix(f"{mutant.name}: "), 0.0)
        tell(f"{outcome.verdict:<9} {outcome.seconds:5.1f} s  {outcome.name}: {outcome.detail}")
        return outcome

    return await asyncio.gather(*(trial(mutant) for mutant in mutants))


def _sum_up(outcomes: Sequence[Outcome], untried: int, tell: Tell) -> int:
    wrong = [outcome for outcome in outcomes if outcome.verdict is not Verdict.CAUGHT]
    tell(
        f"\n{len(outcomes) - len(wrong)} of {len(outcomes)} ways to break the service were noticed, {untried} not tried"
    )
    for outcome in wrong:
        next_step = "write the test that notices it" if outcome.verdict is Verdict.SURVIVED else f"mend it in {LIST}"
        tell(f"{outcome.verdict}: {outcome.name}: {next_step}")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="try only the ways whose name holds one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many to try at once")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project")
    options = parser.parse_args(arguments)
    return asyncio.run(run(options.root, options.words, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
