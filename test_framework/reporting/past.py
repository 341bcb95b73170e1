"""The runs before this one, as columns: what each test came to, what each run took, and which runs can be held against which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from test_framework.reporting.facts import RunFacts
from test_framework.reporting.flakes import is_infrastructure
from test_framework.reporting.history import Glance, PastPart
from test_framework.reporting.merging import Merged
from test_framework.reporting.model import Colour, Matrix, PastRun
from test_framework.reporting.outcome import ABSENT, OF_LETTER, Counts


@dataclass(frozen=True)
class Column:
    """One run: its last attempts together, and every part of it, earlier attempts too."""

    run: PastRun
    facts: RunFacts
    tests: dict[str, Glance]
    parts: tuple[PastPart, ...]
    memory_bytes: int | None = None
    cleanup_seconds: float | None = None
    service_seconds: float | None = None

    @property
    def measurable(self) -> bool:
        """It ran to its end and left nothing out, so that its numbers mean something."""
        return self.facts.whole and self.facts.complete

    def like(self, facts: RunFacts) -> bool:
        """It ran under the same conditions, so that times can be compared."""
        mine, other = self.facts, facts
        return (mine.mode, mine.system, mine.machine, mine.processors, mine.workers, mine.shards, mine.provider) == (
            other.mode, other.system, other.machine, other.processors, other.workers, other.shards, other.provider,
        )  # fmt: skip


def columns(parts: Iterable[PastPart]) -> list[Column]:
    """Make a column of every run, oldest first."""
    by_run: dict[str, list[PastPart]] = defaultdict(list)
    for part in parts:
        by_run[part.run.run].append(part)
    made = [_column(several) for several in by_run.values()]
    return sorted(made, key=lambda column: column.run.started)


def column_of(merged: Merged, counts: Counts, colour: Colour, own: Sequence[PastPart]) -> Column:
    """Make a column of the run that is reported."""
    tests = {result.id: Glance(result.outcome.letter, result.seconds, result.lost) for result in merged.results}
    return _put_together(merged.run, tests, counts, colour, own)


def matrix(past: Sequence[Column]) -> Matrix:
    """Lay the runs side by side; the newest run's tests come first, in its order."""
    tests = dict.fromkeys(test for column in reversed(past) for test in column.tests)
    seconds = {test: glance.seconds for column in past for test, glance in column.tests.items()}
    absent = Glance(ABSENT, 0.0, 0.0)
    return Matrix(
        runs=tuple(column.run for column in past),
        tests=tuple(tests),
        cells=tuple("".join(column.tests.get(test, absent).letter for column in past) for test in tests),
        seconds=tuple(seconds[test] for test in tests),
    )


def _column(parts: Sequence[PastPart]) -> Column:
    latest = {part.run.shard: part for part in sorted(parts, key=lambda part: part.run.attempt)}
    runs = [part.run for part in latest.values()]
    shards = max(run.shards for run in runs)
    ends = [run.ended for run in runs if run.ended is not None]
    facts = RunFacts(
        **{
            **vars(runs[0]),
            "shard": 1,
            "shards": shards,
            "started": min(run.started for run in runs),
            "ended": max(ends, default=None),
            "complete": len(latest) == shards and all(run.complete for run in runs),
            "whole": all(run.whole for run in runs),
            "workers": sum(run.workers for run in runs),
            "dirty": None if any(run.dirty is None for run in runs) else any(run.dirty for run in runs),
        }
    )
    tests = {test: glance for part in latest.values() for test, glance in part.tests.items()}
    counts = Counts.of(OF_LETTER[glance.letter] for glance in tests.values())
    green = not counts.bad and facts.complete
    attention = counts.retried or counts.quarantined or counts.xpassed
    colour = Colour.RED if not green else Colour.ATTENTION if attention else Colour.GREEN
    return _put_together(facts, tests, counts, colour, parts)


def _put_together(
    facts: RunFacts, tests: dict[str, Glance], counts: Counts, colour: Colour, parts: Sequence[PastPart]
) -> Column:
    run = PastRun(
        run=facts.run,
        started=facts.started,
        seconds=facts.seconds,
        commit=facts.commit,
        branch=facts.branch,
        dirty=facts.dirty,
        complete=facts.complete,
        colour=colour,
        counts=counts,
        infrastructure=is_infrastructure(OF_LETTER[glance.letter] for glance in tests.values()),
    )
    return Column(
        run=run,
        facts=facts,
        tests=tests,
        parts=tuple(parts),
        memory_bytes=max((part.memory_bytes for part in parts if part.memory_bytes), default=None),
        cleanup_seconds=_most(part.cleanup_seconds for part in parts),
        service_seconds=_most(part.service_seconds for part in parts),
    )


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
