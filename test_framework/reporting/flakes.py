"""Which tests can't be relied on, and which are merely broken.

Proof of a flake is that one and the same code both passed and failed: on one commit, or within one run by a retry. Without
proof there is suspicion: an outcome that flips to and fro more often than regressions and their mending would explain. A test
that fails and goes on failing is broken. A run in which a great part fails at once says something about the machine, and
nothing about any test.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from test_framework.reporting.model import FlakyTest, Steadiness
from test_framework.reporting.outcome import ABSENT, OF_LETTER, Outcome
from test_framework.reporting.quarantine import QuarantinedTest

ENOUGH_RUNS = 10
SUSPICIOUS_FLIP_RATE = 0.05
"""What the flip rate's lower bound must exceed: two regressions and their mending in fifty runs stay below."""
BROKEN_RUNS = 3
INFRASTRUCTURE_SHARE = 0.3
INFRASTRUCTURE_TESTS = 5
_Z = 1.959964


@dataclass(frozen=True)
class SeenOutcome:
    """One outcome of one test: on which code (empty where that can't be known), and what it cost."""

    letter: str
    code: str = ""
    lost: float = 0.0
    infrastructure: bool = False

    @property
    def outcome(self) -> Outcome:
        return OF_LETTER[self.letter]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Bound a share by its 95 % Wilson score interval; (0, 1) where nothing is known."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, _Z * _Z
    centre = (share + square / (2 * of)) / (1 + square / of)
    reach = _Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))


def is_infrastructure(outcomes: Iterable[Outcome]) -> bool:
    """Say whether so much failed at once that the tests are hardly to blame."""
    found = Counter(outcomes)
    fell = sum(count for outcome, count in found.items() if outcome.fell and outcome is not Outcome.QUARANTINED)
    judged = sum(count for outcome, count in found.items() if outcome.tells)
    return fell >= INFRASTRUCTURE_TESTS and fell >= INFRASTRUCTURE_SHARE * judged


def judge(
    test: str, looks: Sequence[SeenOutcome], entry: QuarantinedTest | None = None, days_left: int | None = None
) -> FlakyTest:
    """Judge one test by its outcomes, oldest first."""
    fair = [look for look in looks if look.letter != ABSENT and look.outcome.tells and not look.infrastructure]
    all_falls = sum(look.letter != ABSENT and look.outcome.fell for look in looks)
    fell = [look.outcome.fell for look in fair]
    flips = sum(before != after for before, after in pairwise(fell))
    chances = max(0, len(fell) - 1)
    low, high = wilson(flips, chances)
    same_commit = _commits_of_two_minds(fair)
    retried = sum(look.outcome is Outcome.RETRIED for look in fair)
    return FlakyTest(
        test=test,
        steadiness=_steadiness(fell, low, same_commit, retried, all_falls),
        runs=len(fair),
        falls=sum(fell),
        flips=flips,
        flip_rate=flips / chances if chances else 0.0,
        low=low,
        high=high,
        same_commit=same_commit,
        retried=retried,
        lost_seconds=sum(look.lost for look in looks),
        history="".join(look.letter for look in looks),
        owner=entry.owner if entry else "",
        expires=entry.expires.isoformat() if entry else "",
        days_left=days_left,
    )


def _steadiness(fell: Sequence[bool], low: float, same_commit: int, retried: int, all_falls: int) -> Steadiness:
    if same_commit or retried:
        return Steadiness.FLAKY
    if all_falls and not any(fell):
        return Steadiness.INFRASTRUCTURE
    if len(fell) >= ENOUGH_RUNS and low > SUSPICIOUS_FLIP_RATE:
        return Steadiness.FLAKY
    if len(fell) >= BROKEN_RUNS and all(fell[-BROKEN_RUNS:]):
        return Steadiness.BROKEN
    return Steadiness.STEADY if len(fell) >= ENOUGH_RUNS else Steadiness.NOT_ENOUGH_DATA


def _commits_of_two_minds(looks: Iterable[SeenOutcome]) -> int:
    seen: dict[str, set[bool]] = defaultdict(set)
    for look in looks:
        if look.code:
            seen[look.code].add(look.outcome.fell)
    return sum(len(minds) == 2 for minds in seen.values())
