"""What can become of one test, and how it counts.

Every test of a run has exactly one outcome, so that the outcomes of a run add up to what it set out to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    PASSED = "passed"
    RETRIED = "passed after retry"
    FAILED = "failed"
    ERROR = "error"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    NOT_RUN = "not run"

    @property
    def bad(self) -> bool:
        """It reddens the run."""
        return self in _BAD

    @property
    def tells(self) -> bool:
        """It says whether the test passes or fails: what flakiness is computed from."""
        return self in _TELLS

    @property
    def fell(self) -> bool:
        """At least one attempt failed, whatever became of it afterwards."""
        return self in _FELL

    @property
    def letter(self) -> str:
        """One character, for matrices."""
        return LETTERS[self]


LETTERS: dict[Outcome, str] = {
    Outcome.PASSED: ".",
    Outcome.RETRIED: "R",
    Outcome.FAILED: "F",
    Outcome.ERROR: "E",
    Outcome.QUARANTINED: "Q",
    Outcome.SKIPPED: "s",
    Outcome.XFAILED: "x",
    Outcome.XPASSED: "X",
    Outcome.NOT_RUN: "-",
}
ABSENT = " "
OF_LETTER = {letter: outcome for outcome, letter in LETTERS.items()}

_BAD = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.NOT_RUN})
_FELL = frozenset({Outcome.RETRIED, Outcome.FAILED, Outcome.ERROR, Outcome.QUARANTINED})
_TELLS = _FELL | {Outcome.PASSED}


@dataclass(frozen=True)
class Counts:
    """How many tests came to which outcome. `collected` is what the run set out to do: a file that could not be imported is one."""

    collected: int = 0
    passed: int = 0
    retried: int = 0
    failed: int = 0
    errors: int = 0
    quarantined: int = 0
    skipped: int = 0
    xfailed: int = 0
    xpassed: int = 0
    not_run: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        """Count outcomes."""
        found = Counter(outcomes)
        return cls(found.total(), *(found[outcome] for outcome in Outcome))

    def by_outcome(self) -> dict[Outcome, int]:
        """Give each outcome's number; together they are `collected`."""
        numbers = (
            self.passed,
            self.retried,
            self.failed,
            self.errors,
            self.quarantined,
            self.skipped,
            self.xfailed,
            self.xpassed,
            self.not_run,
        )
        return dict(zip(Outcome, numbers, strict=True))

    @property
    def bad(self) -> int:
        return self.failed + self.errors + self.not_run

    @property
    def judged(self) -> int:
        """What the pass rate is a share of: everything but skips, expected failures and the quarantine."""
        return self.collected - self.skipped - self.xfailed - self.quarantined

    @property
    def pass_rate(self) -> float | None:
        """Percent; None where nothing was judged."""
        if not self.judged:
            return None
        return 100 * (self.passed + self.retried + self.xpassed) / self.judged

    def to_fix(self, percent: float) -> int:
        """How many must be mended until the pass rate is at least this."""
        green = self.passed + self.retried + self.xpassed
        return max(0, math.ceil(percent / 100 * self.judged - green - 1e-9))
