"""The same tests many times over, under other orders, other neighbours and other timing: what is green by luck shows itself.

`python -m test_framework.proving.soak repeat integration --times 20` proves that a mode is green again and again, serial and in
parallel, in random and in reverse order, then each file alone, and some tests alone; `… soak --runs 100` looks for flips in the
mission-critical tests with small delays at await points. Both say which tests flipped, and how to run the one that failed again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Sequence
from itertools import cycle, islice

from test_framework.modes import WITHOUT_MODEL, Mode
from test_framework.proving.one_run import once
from test_framework.proving.verdicts import FAILED, Done, ProvingPlan, Verdicts
from test_framework.running.interrupts import AS_CTRL_C

RUN_SECONDS = 3600.0
INTERRUPTED = 130


def carry_out(verdicts: Verdicts, plans: Sequence[ProvingPlan], seconds: float, *, fail_fast: bool = False) -> None:
    """Make the whole runs, one after another."""
    for number, plan in enumerate(plans, 1):
        verdicts.runs.append(done := once(plan, seconds))
        _tell(verdicts, done, f"{number}/{len(plans)}")
        if fail_fast and verdicts.red:
            return


def carry_out_alone(verdicts: Verdicts, first: ProvingPlan, seconds: float, *, tests: int, files: bool) -> None:
    """Run each file in a process of its own, and some tests: what leans on a neighbour falls."""
    known = verdicts.tests
    alone = sorted({test.partition("::")[0] for test in known}) if files else []
    alone += random.Random(first.seed).sample(known, min(tests, len(known)))
    for number, what in enumerate(alone, 1):
        plan = ProvingPlan(first.mode, first.seed + number, 0, "random", 0.0, (*_demands(first.mode), what))
        verdicts.alone.append(done := once(plan, seconds))
        _tell(verdicts, done, f"alone {number}/{len(alone)} {what}")


def _tell(verdicts: Verdicts, done: Done, which: str) -> None:
    failed = sum(outcome == FAILED for outcome in done.outcomes.values())
    colour = f"RED ({done.ending}), {failed} failed" if done.code else "green"
    print(
        f"{which}: {colour}, {len(done.outcomes)} tests in {done.seconds:.1f} s; {done.plan}; so far {verdicts.tally}"
    )
    print(done.tail, end="\n" if done.tail else "", flush=True)


def _demands(mode: str) -> tuple[str, ...]:
    return (WITHOUT_MODEL,) if mode == Mode.FULL else ()


def plans_for_repeat(mode: str, times: int, seed: int, selection: Sequence[str]) -> list[ProvingPlan]:
    """Serial and parallel by turns, in random order, and in each of the two once in reverse order too."""
    rest = (*_demands(mode), *selection)
    random_ones = [
        ProvingPlan(mode, seed + n, workers, "random", 0.0, rest)
        for n, workers in enumerate(islice(cycle((0, 2)), times * 2))
    ]
    return [*random_ones, *(ProvingPlan(mode, seed, workers, "reverse", 0.0, rest) for workers in (0, 2))]


def plans_for_soak(given: argparse.Namespace, rest: Sequence[str]) -> list[ProvingPlan]:
    """The same shape again and again, with another seed each time."""
    selection = tuple(rest) if any(not word.startswith("-") for word in rest) else (*rest, "tests/mission_critical")
    return [
        ProvingPlan(given.mode, given.seed + n, given.workers, "random", given.delays, selection)
        for n in range(given.runs)
    ]


def read_arguments(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """What is wanted, and what pytest is to be told besides."""
    parser = argparse.ArgumentParser(
        prog="python -m test_framework.proving.soak", description="Run tests many times over."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    repeat = kinds.add_parser("repeat", help="prove that a mode is green again and again")
    repeat.add_argument("mode", choices=[Mode.LIGHTWEIGHT, Mode.INTEGRATION, Mode.FULL, Mode.KIT])
    repeat.add_argument("--times", type=int, default=20, help="how often, serial and in parallel each")
    repeat.add_argument("--alone", type=int, default=10, help="how many tests to try in a process of their own")
    repeat.add_argument("--no-files", dest="files", action="store_false", help="don't try each file in one of its own")
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
        each.add_argument("--seconds", type=float, default=RUN_SECONDS, help="how long one run may take")
    return parser.parse_known_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given, rest = read_arguments(arguments)
    verdicts = Verdicts()
    interrupted = False
    try:
        if given.kind == "repeat":
            plans = plans_for_repeat(given.mode, given.times, given.seed, rest)
            carry_out(verdicts, plans, given.seconds)
            carry_out_alone(verdicts, plans[0], given.seconds, tests=given.alone, files=given.files)
        else:
            carry_out(verdicts, plans_for_soak(given, rest), given.seconds, fail_fast=given.fail_fast)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; of what came to its end before:")
    print("\n".join(verdicts.lines()), flush=True)
    return INTERRUPTED if interrupted else int(bool(verdicts.red or verdicts.flips or verdicts.missing))


if __name__ == "__main__":
    for stop in AS_CTRL_C:
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, signal.default_int_handler)  # whoever ends it is told how far it came
    sys.exit(main())
