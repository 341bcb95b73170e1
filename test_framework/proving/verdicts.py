"""What many runs of the same tests say together: which of them were red, and which tests did not always end alike.

Only whole runs are compared with each other. A file or a test that ran by itself shows but a part, and is red or it is not.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

FAILED, SKIPPED = "failed", "skipped"


@dataclass(frozen=True)
class ProvingPlan:
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

    @property
    def again(self) -> str:
        return f"pytest {shlex.join(self.arguments)}"

    def __str__(self) -> str:
        delays = f", delays up to {self.delays:g} ms" if self.delays else ""
        return f"{self.order} order, {f'-n {self.workers}' if self.workers else 'serial'}{delays}, seed {self.seed}"


@dataclass
class Done:
    """How one run ended, test by test."""

    plan: ProvingPlan
    code: int
    seconds: float
    outcomes: dict[str, str]
    tail: str = ""
    doing: str = ""
    """What it was at when its time was up; empty where it came to an end by itself."""

    @property
    def ending(self) -> str:
        return f"was ended after {self.seconds:.0f} s, {self.doing}" if self.doing else f"ended with {self.code}"


@dataclass
class Verdicts:
    """The whole runs, and what ran alone: a file, or a single test."""

    runs: list[Done] = field(default_factory=list)
    alone: list[Done] = field(default_factory=list)

    @property
    def tests(self) -> list[str]:
        """Every test that any whole run showed."""
        return sorted({test for run in self.runs for test in run.outcomes})

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
        """How many runs that began and came to their end did not show a test that others showed."""
        ended = [run for run in self.runs if run.outcomes and not run.doing]
        gaps = {test: sum(test not in run.outcomes for run in ended) for test in self.tests}
        return {test: gap for test, gap in gaps.items() if gap}

    @property
    def red(self) -> list[Done]:
        return [run for run in (*self.runs, *self.alone) if run.code]

    @property
    def tally(self) -> str:
        """How it stands, in a few words."""
        return f"{len(self.red)} red, {len(self.flips)} tests flipped"

    def lines(self) -> Iterator[str]:
        """The account of it all."""
        tests = max((len(run.outcomes) for run in self.runs), default=0)
        by_themselves = ""
        if self.alone:
            single = sum("::" in run.plan.selection[-1] for run in self.alone)
            by_themselves = f", {len(self.alone) - single} files and {single} tests alone"
        yield f"{len(self.runs)} runs, {tests} tests each{by_themselves}, {self.tally}"
        for test, failed in self.flips.items():
            yield f"  flipped: {test}, failed in {len(failed)} of {len(self.runs)}"
            for run in failed[:1]:
                yield f"    again: {run.plan.again}"
        for test, gap in self.missing.items():
            yield f"  not in every run: {test}, missing in {gap}"
        for run in self.runs:
            if run.code:
                yield f"  red: pytest {run.ending}, {run.plan}"
        for run in self.alone:
            if run.code:
                yield f"  red alone: {run.plan.selection[-1]}, pytest {run.ending}"
                yield f"    again: {run.plan.again}"
