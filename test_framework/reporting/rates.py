"""How often tests fail and flake, day by day and area by area: an area is the folder of a test's file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath

from test_framework.reporting.model import AreaRate, DayRate, Rates
from test_framework.reporting.outcome import OF_LETTER, Outcome
from test_framework.reporting.past import Column

FAILED = frozenset({Outcome.FAILED, Outcome.ERROR})


@dataclass
class _Day:
    runs: int = 0
    red: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    """By area, as `failed`."""
    failed: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    outcomes: dict[tuple[str, str], set[bool]] = field(default_factory=lambda: defaultdict(set))
    """Whether a test failed, by test and code."""
    retried: set[str] = field(default_factory=set)

    @property
    def flaky(self) -> int:
        """How many tests passed on a retry, or both passed and failed on one commit."""
        both = {test for (test, code), found in self.outcomes.items() if code and len(found) > 1}
        return len(self.retried | both)


def of(columns: Iterable[Column]) -> Rates:
    """Count the runs of a history by day. Runs in which the machine was at fault count as runs, and against no test."""
    days: dict[str, _Day] = defaultdict(_Day)
    for column in columns:
        day = days[datetime.fromtimestamp(column.run.started, UTC).date().isoformat()]
        day.runs += 1
        day.red += column.run.counts.bad > 0
        if not column.run.infrastructure:
            _add(day, column)
    names = sorted(days)
    return Rates(
        days=tuple(_day_rate(name, days[name]) for name in names), areas=tuple(_areas([days[name] for name in names]))
    )


def _add(day: _Day, column: Column) -> None:
    for test, glance in column.tests.items():
        outcome = OF_LETTER[glance.letter]
        if outcome.tells and outcome is not Outcome.QUARANTINED:
            area = area_of(test)
            day.judged[area] += 1
            day.failed[area] += outcome in FAILED
            day.seen.add(test)
    for part in column.parts:  # repeated shards too: they show what flips
        for test, glance in part.tests.items():
            outcome = OF_LETTER[glance.letter]
            if outcome is Outcome.RETRIED:
                day.retried.add(test)
            elif outcome.tells and outcome is not Outcome.QUARANTINED:
                day.outcomes[test, part.run.code].add(outcome in FAILED)


def area_of(test: str) -> str:
    """Return the folder of a test's file."""
    return str(PurePosixPath(test.partition("::")[0]).parent)


def _day_rate(name: str, day: _Day) -> DayRate:
    return DayRate(
        name, day.runs, day.red, day.judged.total(), day.failed.total(), tests=len(day.seen), flaky=day.flaky
    )


def _areas(days: Sequence[_Day]) -> Iterator[AreaRate]:
    """Yield every area, those that fail most first."""
    found = [
        AreaRate(area, tuple(day.judged[area] for day in days), tuple(day.failed[area] for day in days))
        for area in sorted({area for day in days for area in day.judged})
    ]
    yield from sorted(found, key=lambda area: -(area.failure_rate or 0.0))
