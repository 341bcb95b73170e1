"""Where a run's time and memory went: percentiles, the slowest, each worker's line of time, and what the processes used."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from test_framework.reporting.facts import RunFacts, RunPart, TestResult
from test_framework.reporting.model import Bar, Durations, ResourceCurve, SlowTest, WorkerLane

SLOWEST = 25


def durations(run: RunFacts, results: Sequence[TestResult], usual: Mapping[str, float]) -> Durations:
    """Sum up how long tests took; `usual` is each test's median in the past."""
    ran = sorted((result for result in results if result.attempts), key=lambda result: result.seconds)
    seconds = [result.seconds for result in ran]
    return Durations(
        suite_seconds=run.seconds,
        p50=percentile(seconds, 50),
        p95=percentile(seconds, 95),
        setup_seconds=sum(result.setup for result in ran),
        call_seconds=sum(result.call for result in ran),
        teardown_seconds=sum(result.teardown for result in ran),
        slowest=tuple(
            SlowTest(result.id, result.setup, result.call, result.teardown, usual.get(result.id))
            for result in reversed(ran[-SLOWEST:])
        ),
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many percent do not exceed; None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def lanes(parts: Sequence[RunPart]) -> Iterator[WorkerLane]:
    """Yield each worker's line of time. A worker is idle while no test is at work on it: importing and waiting, too."""
    for part in parts:
        by_worker: dict[str, list[Bar]] = defaultdict(list)
        for result in part.results:
            if result.started and result.attempts:
                seconds = sum(attempt.seconds for attempt in result.attempts)
                by_worker[result.worker].append(
                    Bar(result.id, result.started, result.started + seconds, result.outcome)
                )
        died = {worker.name: worker.error for worker in part.workers}
        end = part.run.ended or max((bar.end for bars in by_worker.values() for bar in bars), default=0.0)
        for worker in sorted(by_worker.keys() | died.keys()):
            bars = sorted(by_worker[worker], key=lambda bar: bar.start)
            busy = sum(bar.end - bar.start for bar in bars)
            whole = end - part.run.started
            idle = min(1.0, max(0.0, 1 - busy / whole)) if whole > 0 else 0.0
            yield WorkerLane(
                part.run.shard, worker, part.run.started, end, busy, idle, died.get(worker, ""), tuple(bars)
            )


def resources(parts: Sequence[RunPart]) -> Iterator[ResourceCurve]:
    """Yield what each part's processes used."""
    for part in parts:
        if part.samples:
            peak = max(part.samples, key=lambda sample: sample.memory_bytes)
            yield ResourceCurve(
                shard=part.run.shard,
                samples=part.samples,
                peak_memory_bytes=peak.memory_bytes,
                peak_memory_test=peak.test,
                peak_files=max(sample.files for sample in part.samples),
                peak_connections=max(sample.connections for sample in part.samples),
            )


def medians(series: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in series.items() if values}
