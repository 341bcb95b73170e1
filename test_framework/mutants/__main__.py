"""`python -m test_framework.mutants [words …]`: try every way of the list, or those whose name holds a word.

It ends with 0 only if a test of behaviour noticed every way. One that other tests than the named ones noticed is counted
as caught elsewhere; one that can't be tried here is named, with the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from test_framework.modes import Mode, obstacle
from test_framework.mutants.patches import Mutant, StaleMutant, read
from test_framework.mutants.trial import TRIAL_SECONDS, Control, MutantVerdict, TrialOutcome, try_out

LIST = "mutants.md"
"""The name of a list; each folder of tests may have one."""
TESTS = ["tests"]
TESTS += ["commitstream/tests"]  # template only

NEXT = {
    MutantVerdict.ELSEWHERE: f"name that test in {LIST}",
    MutantVerdict.SURVIVED: "write the test that notices it",
    MutantVerdict.BROKEN: f"correct it in {LIST}",
}

Say = Callable[[str], None]


def lists(root: Path) -> list[Path]:
    """Return the lists of ways to break the service."""
    return sorted(file for below in TESTS for file in root.glob(f"{below}/**/{LIST}"))


def say(line: str) -> None:
    print(line, flush=True)


async def run(root: Path, words: Sequence[str], jobs: int, say: Say = say) -> int:
    """Try the ways whose name holds one of the words, or all; 0 where each was noticed."""
    files = lists(root)
    known = [mutant for file in files for mutant in read(file)]
    mutants = [mutant for mutant in known if not words or any(word in mutant.name for word in words)]
    if files and not known:
        say(f"{LIST} names no way to break the service yet, and says how to write one")
        return 0
    if not mutants:
        say(f"no way in {LIST} is called so: {' '.join(words)}" if files else f"there is no {LIST} below {TESTS[0]}/")
        return 2
    outcomes = _stale(mutants, root, say)
    possible = [mutant for mutant in mutants if mutant.name not in {each.name for each in outcomes}]
    untried = [mutant for mutant in possible if _obstacle(mutant, say)]
    possible = [mutant for mutant in possible if mutant not in untried]
    control = Control(possible, root)
    if red := await _red_without_a_mutant(possible, control):
        say(
            f"the named tests fail where nothing is broken (they are red, or judge the source), so nothing is shown:\n{red}"
        )
        return 2
    outcomes += await _try_all(possible, root, control, jobs, say)
    return _sum_up(outcomes, len(untried), say)


def _stale(mutants: Sequence[Mutant], root: Path, say: Say) -> list[TrialOutcome]:
    """Report the ways that no longer fit the code."""
    found: list[TrialOutcome] = []
    for mutant in mutants:
        try:
            for patch in mutant.patches:
                patch.lines(root)
        except StaleMutant as stale:
            found.append(_report(TrialOutcome(mutant.name, MutantVerdict.BROKEN, str(stale), 0.0), say))
    return found


def _obstacle(mutant: Mutant, say: Say) -> bool:
    reason = obstacle(mutant.mode)
    if reason:
        say(f"not tried   {mutant.name}: it needs {mutant.mode}: {reason}")
    return bool(reason)


async def _red_without_a_mutant(mutants: Sequence[Mutant], control: Control) -> str:
    """Run the named tests on the control's tree, where nothing is broken; return what fails."""
    for mode in Mode:
        tests = sorted({test for mutant in mutants if mutant.mode is mode for test in mutant.tests.split()})
        if tests and (red := await control.named_tests_fail(mode, tests)):
            return red
    return ""


async def _try_all(mutants: Sequence[Mutant], root: Path, control: Control, jobs: int, say: Say) -> list[TrialOutcome]:
    places = asyncio.Semaphore(jobs)

    async def trial(mutant: Mutant) -> TrialOutcome:
        async with places:
            return _report(await try_out(mutant, root, control, TRIAL_SECONDS), say)

    return await asyncio.gather(*(trial(mutant) for mutant in mutants))


def _report(outcome: TrialOutcome, say: Say) -> TrialOutcome:
    say(f"{outcome.verdict:<16} {outcome.seconds:5.1f} s  {outcome.name}: {outcome.detail}")
    return outcome


def _sum_up(outcomes: Sequence[TrialOutcome], untried: int, say: Say) -> int:
    counted = Counter(outcome.verdict for outcome in outcomes)
    noticed = counted[MutantVerdict.CAUGHT] + counted[MutantVerdict.ELSEWHERE]
    say(
        f"\n{noticed} of {len(outcomes)} ways to break the service were noticed,"
        f" {counted[MutantVerdict.ELSEWHERE]} of them elsewhere, {untried} not tried"
    )
    for outcome in outcomes:
        if outcome.verdict in NEXT:
            say(f"{outcome.verdict}: {outcome.name}: {NEXT[outcome.verdict]}")
    return 0 if noticed == len(outcomes) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="try only the ways whose name holds one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many to try at once")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project")
    options = parser.parse_args(arguments)
    return asyncio.run(run(options.root, options.words, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
