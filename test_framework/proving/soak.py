"""The same tests many times over, under other orders, other neighbours and other timing: what is green by luck shows itself.

`python -m test_framework.proving.soak repeat integration --times 20` proves that a mode is green again and again, serial and in
parallel, in random and in reverse order, and some tests alone; `… soak --runs 100` looks for flips in the mission-critical
tests with small delays at await points. Both say which tests flipped, and how to run the one that failed again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from test_framework.modes import Mode

RUN_SECONDS = 3600.0
FAILED, PASSED, SKIPPED = "failed", "passed", "skipped"


@dataclass(frozen=True)
class Plan:
    """One run: what makes it differ from the others."""

    mode: str
    seed: int
    workers: int
    order: str
    delays: float
    selection: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What pytest is told; it is also what reproduces the run."""
        shape = [f"--mode={self.mode}", f"--randomly-seed={self.seed}"]
        shape += ["-n", str(self.workers), "--dist", "worksteal"] if self.workers else ["-n0"]
        shape += [f"--order={self.order}"] if self.order != "random" else []
        shape += [f"--delays={self.delays:g}"] if self.delays else []
        return [*shape, *self.selection]

    def __str__(self) -> str:
        delays = f", delays up to {self.delays:g} ms" if self.delays else ""
        return f"{self.order} order, {f'-n {self.workers}' if self.workers else 'serial'}{delays}, seed {self.seed}"


@dataclass
class Done:
    """How one run ended, test by test."""

    plan: Plan
    code: int
    seconds: float
    outcomes: dict[str, str]
    tail: str = ""


@dataclass
class Verdicts:
    """What all runs together say about each test."""

    runs: list[Done] = field(default_factory=list)

    @property
    def flips(self) -> dict[str, list[Done]]:
        """The tests that did not always end alike, with the runs in which they failed."""
        seen: dict[str, set[str]] = defaultdict(set)
        for run in self.runs:
            for test, outcome in run.outcomes.items():
                seen[test].add(outcome)
        return {
            test: [run for run in self.runs if run.outcomes.get(test) == FAILED]
            for test, outcomes in sorted(seen.items())
            if len(outcomes) > 1
        }

    @property
    def missing(self) -> dict[str, int]:
        """How many whole runs did not show a test that others showed."""
        whole = [run for run in self.runs if len(run.outcomes) > 1]
        every = {test for run in whole for test in run.outcomes}
        gaps = {test: sum(test not in run.outcomes for run in whole) for test in every}
        return {test: gap for test, gap in sorted(gaps.items()) if gap}

    @property
    def red(self) -> list[Done]:
        return [run for run in self.runs if run.code]

    def lines(self) -> Iterator[str]:
        """The account of it all."""
        tests = max((len(run.outcomes) for run in self.runs), default=0)
        yield f"{len(self.runs)} runs, {tests} tests each, {len(self.red)} red, {len(self.flips)} tests flipped"
        for test, failed in self.flips.items():
            yield f"  flipped: {test}, failed in {len(failed)} of {len(self.runs)}"
            for run in failed[:1]:
                yield f"    again: pytest {shlex.join(run.plan.arguments)}"
        for test, gap in self.missing.items():
            yield f"  not in every run: {test}, missing in {gap}"
        for run in self.red:
            yield f"  red: pytest ended with {run.code}, {run.plan}"


def once(plan: Plan) -> Done:
    """Run pytest as planned, and read from its report log how each test ended."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "report.jsonl")
        command = [sys.executable, "-m", "pytest", "-q", f"--report-log={log}", *plan.arguments]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_SECONDS)
        outcomes = read(log) if log.exists() else {}
    said = "\n".join((ended.stdout + ended.stderr).splitlines()[-25:])
    return Done(plan, ended.returncode, time.monotonic() - began, outcomes, said if ended.returncode else "")


def read(log: Path) -> dict[str, str]:
    """Tell how each test of a report log ended: failed in any phase is failed."""
    outcomes: dict[str, str] = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry.get("$report_type") != "TestReport":
            continue
        test, outcome = entry["nodeid"], entry["outcome"]
        if outcome == FAILED or (outcome == SKIPPED and outcomes.get(test) != FAILED):
            outcomes[test] = outcome
        elif entry["when"] == "call":
            outcomes.setdefault(test, outcome)
    return outcomes


def carry_out(plans: Sequence[Plan], alone: int = 0, *, fail_fast: bool = False) -> Verdicts:
    """Make the runs one after another, and then some tests each in a process of its own."""
    verdicts = Verdicts()
    for number, plan in enumerate(plans, 1):
        _note(verdicts, once(plan), f"{number}/{len(plans)}")
        if fail_fast and verdicts.red:
            return verdicts
    if alone and verdicts.runs:
        known = sorted(verdicts.runs[0].outcomes)
        chosen = random.Random(plans[0].seed).sample(known, min(alone, len(known)))
        for number, test in enumerate(chosen, 1):
            first = plans[0]
            plan = Plan(first.mode, first.seed + number, 0, "random", 0.0, (test,))
            _note(verdicts, once(plan), f"alone {number}/{len(chosen)} {test}")
    return verdicts


def _note(verdicts: Verdicts, done: Done, which: str) -> None:
    verdicts.runs.append(done)
    failed = sum(outcome == FAILED for outcome in done.outcomes.values())
    colour = "green" if done.code == 0 else f"RED ({done.code}), {failed} failed"
    print(f"{which}: {colour}, {len(done.outcomes)} tests in {done.seconds:.1f} s; {done.plan}", flush=True)
    if done.tail:
        print(done.tail, flush=True)


def plans_for_repeat(mode: str, times: int, seed: int, selection: Sequence[str]) -> list[Plan]:
    """Serial and parallel by turns, in random order, and in each of the two once in reverse order too."""
    rest = ("--without-model", *selection) if mode == Mode.FULL else tuple(selection)
    random_ones = [
        Plan(mode, seed + n, workers, "random", 0.0, rest) for n, workers in enumerate(islice(cycle((0, 2)), times * 2))
    ]
    return [*random_ones, *(Plan(mode, seed, workers, "reverse", 0.0, rest) for workers in (0, 2))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m test_framework.proving.soak", description="Run tests many times over."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    repeat = kinds.add_parser("repeat", help="prove that a mode is green again and again")
    repeat.add_argument("mode", choices=[Mode.LIGHTWEIGHT, Mode.INTEGRATION, Mode.FULL, Mode.KIT])
    repeat.add_argument("--times", type=int, default=20, help="how often, serial and in parallel each")
    repeat.add_argument("--alone", type=int, default=10, help="how many tests to try in a process of their own")
    soak = kinds.add_parser("soak", help="look for flips in a selection of tests")
    soak.add_argument("--runs", type=int, default=100)
    soak.add_argument("--mode", default=Mode.LIGHTWEIGHT, choices=list(Mode))
    many = 2 * (os.cpu_count() or 1)  # delays are waited for, not worked for
    soak.add_argument("--workers", type=int, default=many, help="as pytest's -n; 0 is serial")
    soak.add_argument(
        "--delays", type=float, default=1.0, help="the longest delay at an await point, in ms; 0 for none"
    )
    soak.add_argument("-x", dest="fail_fast", action="store_true", help="stop after the first red run")
    for each in (repeat, soak):
        each.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the first run")
    given, rest = parser.parse_known_args(arguments)
    if given.kind == "repeat":
        verdicts = carry_out(plans_for_repeat(given.mode, given.times, given.seed, rest), given.alone)
    else:
        selection = tuple(rest) if any(not word.startswith("-") for word in rest) else (*rest, "tests/mission_critical")
        shapes = (given.mode, given.workers, given.delays)
        plans = [Plan(shapes[0], given.seed + n, shapes[1], "random", shapes[2], selection) for n in range(given.runs)]
        verdicts = carry_out(plans, fail_fast=given.fail_fast)
    print("\n".join(verdicts.lines()), flush=True)
    return int(bool(verdicts.red or verdicts.flips or verdicts.missing))


if __name__ == "__main__":
    sys.exit(main())
