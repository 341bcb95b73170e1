"""The one computation: from parts and the past to a `Report`. Every view draws what is counted here, and counts nothing."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from test_framework.modes import OF_THE_SERVICE
from test_framework.reporting import compare, flakes, gates, rates, timing, told, trends
from test_framework.reporting.config import ReportConfig
from test_framework.reporting.facts import RunPart
from test_framework.reporting.failing import failures_and_causes
from test_framework.reporting.history import PastPart, digest
from test_framework.reporting.merging import Merged, merge
from test_framework.reporting.model import (
    AlertState,
    BaselineChange,
    ChangeKind,
    Colour,
    FlakyTest,
    Gate,
    GateState,
    Matrix,
    Report,
    RunVerdict,
    Steadiness,
    Trend,
)
from test_framework.reporting.outcome import OF_LETTER, Counts
from test_framework.reporting.past import Column, column_of, columns, matrix
from test_framework.reporting.quarantine import QuarantinedTest, today
from test_framework.running.exits import GATE_BROKEN

PATIENCE_FOR_MEDIANS = 5
TREND_SECONDS = 0.1
"""A test that is usually quicker has no trend."""


def summarise(
    parts: Sequence[RunPart],
    past: Iterable[PastPart] = (),
    config: ReportConfig | None = None,
    entries: Sequence[QuarantinedTest] = (),
    alerts: Sequence[AlertState] = (),
    *,
    baseline_run: str | None = None,
    generated: float | None = None,
    record: str = "",
    by_itself: bool = False,
) -> Report:
    """Compute all that can be said about the run that these parts are of, or about one shard of it by itself."""
    config = config or ReportConfig()
    merged = merge(parts, entries, by_itself=by_itself)
    counts = Counts.of(result.outcome for result in merged.results)
    before = columns(part for part in past if part.run.run != merged.run.run)
    colour = _verdict(merged, counts, ()).colour
    now = column_of(merged, counts, colour, [digest(part) for part in parts])
    laid = matrix([*before, now])
    flaky = _flaky([*before, now], laid, entries)
    usual = _usual(before, now)
    said = told.gather(merged.results)
    curves = tuple(timing.resources(merged.parts))
    services = tuple(service for part in merged.parts for service in part.services)
    declared = tuple(dict.fromkeys(name for part in merged.parts for name in part.event_types))
    cleanup = [part.cleanup_seconds for part in merged.parts if part.cleanup_seconds is not None]
    # what only the whole of a suite shows: not a selection, and not one shard of it
    everything = now.measurable and not merged.share
    # the kit's own tests cut runs of an agent short on purpose, and performance looks at few
    timed = now.measurable and now.facts.mode in OF_THE_SERVICE
    of_the_service = everything and timed
    measured = gates.Measured(
        counts=counts,
        suite_seconds=merged.run.seconds if timed else None,
        services=services,
        cleanup_seconds=max(cleanup, default=None),
        peak_memory_bytes=max((curve.peak_memory_bytes for curve in curves), default=None),
        workers=max((part.run.workers for part in merged.parts), default=0),
        flaky=flaky,
        flakiness_known=everything and bool(before or counts.retried),
        event_types=frozenset(declared) if of_the_service else frozenset(),
        lanes=said.lanes,
        leaks=said.leaks,
        leaks_watched=merged.run.leaks_watched,
        given_up=_added_up(part.given_up for part in merged.parts),
        database_failures=_added_up(part.database_failures for part in merged.parts),
        lost=said.lost,
        past=_past_of_gates(before),
    )
    checked = gates.evaluate(measured, config.gates)
    baseline = _baseline(before, now, config, baseline_run)
    failures, causes = failures_and_causes(merged, laid)
    return Report(
        run=merged.run,
        generated=time.time() if generated is None else generated,
        verdict=_verdict(merged, counts, checked),
        counts=counts,
        gates=checked,
        baseline=baseline.run if baseline else None,
        changes=tuple(_changes(baseline, now, usual, flaky, before)) if baseline else (),
        failures=failures,
        causes=causes,
        results=merged.results,
        matrix=laid,
        flaky=flaky,
        durations=timing.durations(merged.run, merged.results, usual),
        trends=tuple(_trends([*before, now], now)),
        rates=rates.of([*before, now]),
        lanes=tuple(timing.lanes(merged.parts)),
        resources=curves,
        services=services,
        cleanup_seconds=measured.cleanup_seconds,
        event_types=declared,
        events=said.lanes,
        isolation=said.isolation,
        startups=said.startups,
        deliveries=said.deliveries,
        leaks=said.leaks,
        alerts=tuple(alerts),
        trust=replace(
            merged.trust,
            problems=(*merged.trust.problems, *said.misunderstood),
            interventions=_whole_number(checked, "interventions"),
        ),
        record=record,
    )


def _verdict(merged: Merged, counts: Counts, checked: Sequence[Gate]) -> RunVerdict:
    """Say the worst first: what is missing, what failed, what needs a look."""
    said = []
    if merged.missing:
        said.append(f"shard {', '.join(map(str, merged.missing))} of {merged.run.shards} has no record")
    elif not merged.run.complete:
        said.append("the run did not end by itself")
    said += [f"worker {worker.name} died" for part in merged.parts for worker in part.workers if worker.error]
    said += _numbered((counts.failed, "failed"), (counts.errors, "had an error"), (counts.not_run, "never ran"))
    if not counts.collected:
        said.append("no test was collected")
    elif not said and merged.run.exit_code not in (0, None, GATE_BROKEN):
        said.append(f"no test failed, and yet pytest ended with {merged.run.exit_code}")
    if said:
        next_command = f"invoke report.open --run {merged.run.run}"
        return RunVerdict(Colour.RED, f"{'; '.join(said)} (of {counts.collected} tests{merged.share})", next_command)
    if broken := [gate.title for gate in checked if gate.state is GateState.BROKEN]:
        gates_said = (
            f"no test failed, but a gate is broken: {', '.join(broken)} (of {counts.collected} tests{merged.share})"
        )
        return RunVerdict(Colour.RED, gates_said, f"invoke report.gates --run {merged.run.run}")
    said = _numbered(
        (counts.retried, "passed only after a retry"),
        (counts.quarantined, "failed in quarantine"),
        (counts.xpassed, "passed unexpectedly"),
    )
    if merged.trust.doubled:
        said.append(f"{len(merged.trust.doubled)} ran in more than one shard")
    if said:
        return RunVerdict(
            Colour.ATTENTION, f"{counts.collected} tests{merged.share}, none failed, but {'; '.join(said)}"
        )
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    return RunVerdict(Colour.GREEN, f"all {counts.collected} tests{merged.share} did what they should{skipped}")


def _added_up(several: Iterable[dict[str, int] | None]) -> dict[str, int] | None:
    """Add up what each part counted; None where none did."""
    counted = [found for found in several if found is not None]
    return dict(sum((Counter(found) for found in counted), Counter())) if counted else None


def _numbered(*counted: tuple[int, str]) -> list[str]:
    return [f"{count} {words}" for count, words in counted if count]


def _flaky(runs: Sequence[Column], laid: Matrix, entries: Sequence[QuarantinedTest]) -> tuple[FlakyTest, ...]:
    """Judge every test that ever fell or is in quarantine, the flaky first."""
    in_quarantine = {test: entry for entry in entries for test in laid.tests if entry.covers(test)}
    cells = dict(zip(laid.tests, laid.cells, strict=True))
    judged = []
    for test, looks in _looks(runs, _fallen(runs) | in_quarantine.keys()).items():
        entry = in_quarantine.get(test)
        found = flakes.judge(test, looks, entry, entry.days_left(today()) if entry else None)
        judged.append(replace(found, history=cells.get(test, found.history)))
    order = list(Steadiness)
    order.sort(key=lambda kind: kind is Steadiness.STEADY)
    return tuple(sorted(judged, key=lambda test: (order.index(test.steadiness), -test.low, -test.falls, test.test)))


def _fallen(runs: Sequence[Column]) -> set[str]:
    """Name the tests that ever fell, repeated shards included, but for the runs in which the machine was at fault."""
    return {
        test
        for column in runs
        if not column.run.infrastructure
        for part in column.parts
        for test, glance in part.tests.items()
        if OF_LETTER[glance.letter].fell
    }


def _looks(runs: Sequence[Column], tests: Set[str]) -> dict[str, list[flakes.SeenOutcome]]:
    """Gather every outcome of some tests, repeated shards included, in the order in which they came."""
    looks: dict[str, list[flakes.SeenOutcome]] = {test: [] for test in sorted(tests)}
    for column in runs:
        for part in sorted(column.parts, key=lambda part: part.run.started):
            code = part.run.code
            for test in tests & part.tests.keys():
                glance = part.tests[test]
                looks[test].append(flakes.SeenOutcome(glance.letter, code, glance.lost, column.run.infrastructure))
    return looks


def _usual(before: Sequence[Column], now: Column) -> dict[str, float]:
    """Each test's median time in like runs, where there were enough."""
    series: dict[str, list[float]] = defaultdict(list)
    for column in before:
        if column.like(now.facts):
            for test, glance in column.tests.items():
                if OF_LETTER[glance.letter].tells:
                    series[test].append(glance.seconds)
    return timing.medians({test: values for test, values in series.items() if len(values) >= PATIENCE_FOR_MEDIANS})


def _past_of_gates(before: Sequence[Column]) -> dict[str, list[float | None]]:
    measurable = [column if column.measurable else None for column in before]
    return {
        "pass_rate": [column.run.counts.pass_rate for column in before],
        "suite": [column.run.seconds if column else None for column in measurable],
        "services": [column.service_seconds for column in before],
        "cleanup": [column.cleanup_seconds for column in before],
        "memory": [None if column.memory_bytes is None else column.memory_bytes / gates.GIGABYTE for column in before],
    }


def _baseline(before: Sequence[Column], now: Column, config: ReportConfig, wanted: str | None) -> Column | None:
    if wanted is not None:
        return next((column for column in before if column.run.run == wanted), None)
    return compare.choose_baseline(before, now, config.baseline_branch)


def _changes(
    baseline: Column, now: Column, usual: dict[str, float], flaky: Sequence[FlakyTest], before: Sequence[Column]
) -> Iterable[BaselineChange]:
    yield from compare.changes(baseline, now, usual)
    earlier = [column for column in before if column.run.started <= baseline.run.started]
    now_flaky = [test for test in flaky if test.steadiness is Steadiness.FLAKY]
    looks = _looks(earlier, {test.test for test in now_flaky})
    for test in now_flaky:
        was = flakes.judge(test.test, looks[test.test]).steadiness
        if was is not Steadiness.FLAKY:
            yield BaselineChange(ChangeKind.NEWLY_FLAKY, test.test, was, test.steadiness)


def _trends(runs: Sequence[Column], now: Column) -> Iterable[Trend]:
    """Judge the series of the whole run, and name the tests that have become slower for good."""
    like = [column for column in runs if column.like(now.facts) and column.measurable]
    seconds = trends.Floors(absolute=1.0)
    megabytes = [None if column.memory_bytes is None else column.memory_bytes / 1e6 for column in like]
    yield trends.judge("suite", "the whole suite", "s", [column.run.seconds for column in like], seconds)
    yield trends.judge("memory", "peak memory", "MB", megabytes, trends.Floors(absolute=50))
    yield trends.judge("services", "services are up", "s", [column.service_seconds for column in like], seconds)
    yield trends.judge("cleanup", "clean-up", "s", [column.cleanup_seconds for column in like], seconds)
    series: dict[str, list[float]] = defaultdict(list)
    for column in like:
        for test, glance in column.tests.items():
            if OF_LETTER[glance.letter].tells:
                series[test].append(glance.seconds)
    for test, values in series.items():
        if test in now.tests and values[-1] >= TREND_SECONDS:
            found = trends.judge(f"test:{test}", test, "s", values, trends.Floors(0.25, TREND_SECONDS, 3.0))
            if found.worse:
                yield found


def _whole_number(checked: Sequence[Gate], name: str) -> int | None:
    value = next((gate.value for gate in checked if gate.name == name), None)
    return None if value is None else int(value)
