"""The week as a page of Markdown: each mode's pass rate and flaky share against the week before, failures by area, CI's jobs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from test_framework.reporting import rates
from test_framework.reporting.alerts import DAY_SECONDS, News
from test_framework.reporting.ci_jobs import JobOutcome
from test_framework.reporting.history import History
from test_framework.reporting.past import Column, columns
from test_framework.reporting.views.markdown import code, plain, table

DAYS = 7
MOST_AREAS = 15
ALL_RUNS = 100_000


@dataclass(frozen=True)
class Period:
    """The runs of one mode within one week."""

    runs: Sequence[Column]

    @property
    def red(self) -> int:
        return sum(column.run.counts.bad > 0 for column in self.runs)

    @property
    def pass_rate(self) -> float | None:
        days = rates.of(self.runs).days
        judged = sum(day.judged for day in days)
        return 100 * (1 - sum(day.failed for day in days) / judged) if judged else None

    @property
    def flaky_share(self) -> float | None:
        days = rates.of(self.runs).days
        tests = max((day.tests for day in days), default=0)
        return 100 * max(day.flaky for day in days) / tests if tests else None

    @property
    def seconds(self) -> float | None:
        known = [column.run.seconds for column in self.runs if column.measurable and column.run.seconds is not None]
        return statistics.median(known) if known else None


def write(history: History, now: float) -> str:
    """Sum up the seven days until now."""
    return "\n".join(_blocks(history, now)) + "\n"


def _blocks(history: History, now: float) -> Iterator[str]:
    since, before = now - DAYS * DAY_SECONDS, now - 2 * DAYS * DAY_SECONDS
    yield f"## The week until {datetime.fromtimestamp(now, UTC).date().isoformat()}\n"
    modes = sorted({facts.mode for facts in history.runs()})
    recent: dict[str, Period] = {}
    rows = []
    for mode in modes:
        known = columns(history.past(mode, now, ALL_RUNS))
        this = recent[mode] = Period([column for column in known if column.run.started >= since])
        last = Period([column for column in known if before <= column.run.started < since])
        rows.append(
            (
                mode,
                str(len(this.runs)),
                str(this.red),
                _against(this.pass_rate, last.pass_rate, "%"),
                _against(this.flaky_share, last.flaky_share, "%"),
                _against(this.seconds, last.seconds, "s"),
            )
        )
    if rows:
        head = (
            "mode",
            "runs",
            "red",
            "pass rate (week before)",
            "flaky, worst day (week before)",
            "median (week before)",
        )
        yield from table(head, rows)
    else:
        yield "No run is recorded."
    for mode, period in recent.items():
        yield from _areas(mode, period)
    yield from _jobs([job for job in history.jobs() if job.started >= since])
    if alerts := [alert for alert in history.alerts() if alert.state != News.RECOVERED]:
        yield "\n### Open alerts\n"
        for alert in alerts:
            days = (now - alert.since) / DAY_SECONDS
            yield f"- {plain(alert.title)}, for {days:.0f} days"


def _areas(mode: str, period: Period) -> Iterator[str]:
    found = rates.of(period.runs)
    failing = [area for area in found.areas if any(area.failed)]
    if not failing:
        return
    yield f"\n### Failure rate in {mode}, by area and day\n"
    rows = [
        (
            f"`{code(area.area)}`",
            *(
                f"{failed} of {judged}" if failed else ""
                for failed, judged in zip(area.failed, area.judged, strict=True)
            ),
            f"{area.failure_rate:.2g} %",
        )
        for area in failing[:MOST_AREAS]
    ]
    yield from table(("area", *(day.day for day in found.days), "week"), rows)
    if len(failing) > MOST_AREAS:
        yield f"\n{len(failing) - MOST_AREAS} more areas had failures."


def _jobs(jobs: Sequence[JobOutcome]) -> Iterator[str]:
    by_name: dict[str, list[JobOutcome]] = defaultdict(list)
    for job in jobs:
        by_name[f"{job.workflow} / {job.job or 'died before its jobs began'}"].append(job)
    if not by_name:
        return
    yield "\n### Jobs of CI\n"
    rows = [
        (
            plain(name),
            str(len(several)),
            str(sum(job.bad for job in several)),
            f"{statistics.median(job.seconds for job in several):.0f} s",
            several[-1].conclusion,
        )
        for name, several in sorted(by_name.items(), key=lambda item: (-sum(job.bad for job in item[1]), item[0]))
    ]
    yield from table(("job", "runs", "failed", "median", "last"), rows)


def _against(value: float | None, before: float | None, unit: str) -> str:
    shown = "–" if value is None else f"{value:.4g} {unit}"
    return f"{shown} ({'–' if before is None else f'{before:.4g} {unit}'})"
