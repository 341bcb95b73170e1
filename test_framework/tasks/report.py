"""Reports of the runs recorded here: what happened, what changed, what is flaky, slower or too much."""

from __future__ import annotations

import os
import time
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from test_framework import CHECKOUT

if TYPE_CHECKING:
    from test_framework.reporting.alerts import Problem
    from test_framework.reporting.library import Library
    from test_framework.reporting.model import Report

GIVEN_UP_SECONDS = 14 * 86_400.0
"""A system or Python on which a mode has not run for so long is no longer tested, and reports nothing."""
RUN = {"run": "its name, or how it begins; the newest without it", "mode": "only runs of this mode"}


@contextmanager
def library() -> Iterator[Library]:
    """Open what is recorded; say what could not be taken in."""
    from test_framework.reporting.config import ReportConfigError
    from test_framework.reporting.history import HistoryError
    from test_framework.reporting.library import Library, NoSuchRunError

    try:
        with Library.open(CHECKOUT) as opened:
            for refused in opened.intake.refused:
                print(f"left out: {refused}")
            yield opened
    except (NoSuchRunError, ReportConfigError, HistoryError) as error:
        raise Exit(str(error), 1) from None


@task(default=True, help=RUN)
def summary(context: Context, run: str = "", mode: str = "") -> None:
    """Sum up a run as its terminal did, with what its history adds."""
    from test_framework.reporting.views import terminal

    with library() as opened:
        report = opened.report(run, mode or None)
    console = Console(soft_wrap=True, highlight=False)
    for line in terminal.lines(report):
        console.print(escape(line.text), style=line.colour or None)
    for cause in report.causes:
        console.print(f"cause     {escape(cause.title)}: {len(cause.tests)} tests; next: {escape(cause.next_command)}")


@task(help={"before": "the run to compare with", "after": "the run to look at; the newest without it"})
def compare(context: Context, before: str, after: str = "") -> None:
    """Show what changed from one run to another."""
    with library() as opened:
        report = opened.report(after, baseline=before)
    if not report.changes:
        print("nothing changed")
    for change in report.changes:
        print(f"{change.kind:14} {change.test}: {change.before} -> {change.after}")


@task(help=RUN)
def flaky(context: Context, run: str = "", mode: str = "") -> None:
    """List the tests that can't be relied on, and those that are merely broken."""
    with library() as opened:
        report = opened.report(run, mode or None)
    table = Table("test", "", "fell", "flip rate", "95 %", "one commit", "retried", "lost", "quarantine", box=None)
    for test in report.flaky:
        table.add_row(
            escape(test.test),
            test.steadiness,
            f"{test.falls} of {test.runs}",
            f"{test.flip_rate:.0%}",
            f"{test.low:.0%}-{test.high:.0%}",
            str(test.same_commit),
            str(test.retried),
            f"{test.lost_seconds:.1f} s",
            f"{test.owner}, {test.days_left} days left" if test.owner else "",
        )
    Console().print(table if report.flaky else "no test has fallen in the runs that are looked at")


@task(help=RUN)
def trend(context: Context, run: str = "", mode: str = "") -> None:
    """Show the pass rate and the flaky share by day, where tests fail, and what became slower or bigger for good."""
    with library() as opened:
        report = opened.report(run, mode or None)
    for day in report.rates.days:
        flaky_share = f"{day.flaky} of {day.tests} tests flaky"
        print(f"{day.day} {day.pass_rate or 0:.2f} % passed in {day.runs} runs, {day.red} of them red; {flaky_share}")
    for area in report.rates.areas[:5]:
        if any(area.failed):
            print(
                f"{'area':6} {area.area}: {sum(area.failed)} of {sum(area.judged)} failed ({area.failure_rate:.2g} %)"
            )
    for found in report.trends:
        verdict = "WORSE" if found.worse else "?" if found.baseline is None else "ok"
        print(f"{verdict:6} {found.title}: {found.reason}")


@task(help=RUN)
def gates(context: Context, run: str = "", mode: str = "") -> None:
    """Show a run's measured values and limits; fail if a gate is broken."""
    with library() as opened:
        report = opened.report(run, mode or None)
    table = Table("gate", "value", "limit", "target", "", "distance", box=None)
    for gate in report.gates:
        value = "-" if gate.value is None else f"{gate.value:.3g} {gate.unit}"
        table.add_row(
            gate.title, value, f"{gate.limit:g} {gate.unit}", f"{gate.target:g} {gate.unit}", gate.state, gate.distance
        )
    Console().print(table)
    for gate in report.gates:
        for found in gate.evidence:
            print(f"{gate.title}: {found}")
    refuse_broken_gates([report])


def refuse_broken_gates(reports: Iterable[Report]) -> None:
    """End the command with exit code 12 if one of these runs broke a gate."""
    from test_framework.reporting.model import GateState
    from test_framework.running.exits import GATE_BROKEN

    broken = [
        f"{report.run.run}: {gate.title}"
        for report in reports
        for gate in report.gates
        if gate.state is GateState.BROKEN
    ]
    if broken:
        raise Exit(f"broken gates: {'; '.join(broken)}", GATE_BROKEN)


@task(
    help={
        **RUN,
        "format": "junit, ctrf, csv, markdown or json",
        "to": "the file to write; standard output without it",
    }
)
def export(context: Context, format: str = "json", run: str = "", mode: str = "", to: str = "") -> None:  # noqa: A002
    """Write a run in a format that other tools read."""
    from test_framework.reporting.views import FORMATS

    if format not in FORMATS:
        raise Exit(f"there is no format {format!r}: choose one of {', '.join(FORMATS)}", 1)
    with library() as opened:
        text = FORMATS[format](opened.report(run, mode or None))
    if to:
        Path(to).write_text(text, encoding="utf-8", newline="")
        print(f"wrote {to}")
    else:
        print(text, end="")


@task(name="open", help=RUN)
def open_(context: Context, run: str = "", mode: str = "") -> None:
    """Open a run in the browser."""
    with library() as opened:
        show(opened.report(run, mode or None), opened.history.directory / "report")


# >>> template only
@task(help={"seed": "another seed, another sample", "big": "10,000 tests in 50 runs"})
def demo(context: Context, seed: int = 1, big: bool = False) -> None:
    """Show what reports look like, from made-up runs that touch nothing of yours."""
    from test_framework.reporting import sample
    from test_framework.reporting.naming import DIRECTORY

    size = sample.Size(10_000, 50) if big else sample.Size(400, 40)
    show(sample.demo(seed, size), CHECKOUT / DIRECTORY / "demo")


# <<< template only
@task(
    help={
        "paths": "folders with records, or files of history, with commas between them",
        "pages": "draw every run that something was taken in of, and tell CI's page of this job",
    }
)
def merge(context: Context, paths: str, pages: bool = False) -> None:
    """Take in the records and histories of other machines: shards, repetitions, a restored cache."""
    from test_framework.reporting import watching
    from test_framework.reporting.views import markdown, terminal

    with library() as opened:
        runs = dict(opened.intake.runs)
        for path in paths.split(","):
            place = Path(path)
            if not place.exists():
                raise Exit(f"{place} does not exist", 1)
            intake = opened.history.ingest_all(place) if place.is_dir() else opened.history.merge(place)
            runs |= intake.runs
            print(f"{place}: {len(intake.taken)} taken in, {intake.known} known, {len(intake.refused)} left out")
            for refused in intake.refused:
                print(f"left out: {refused}")
        if pages and (warning := watching.overdue(opened.history.directory)):
            print(f"::warning::{warning}" if "GITHUB_ACTIONS" in os.environ else warning)
        reports = [opened.report(run) for run in runs] if pages else []
        for report in reports:
            run = report.run.run
            print("\n".join(["", run, *(line.text for line in terminal.lines(report))]))
            markdown.append_to_step(markdown.write(report))
            draw(report, opened.history.directory / "report" / run)
    refuse_broken_gates(report for report in reports if not report.counts.bad)


@task(
    help={
        "dry-run": "only print what would be reported",
        "webhook": "post it to this address; GitHub issues without it",
        "mode": "only runs of this mode",
    }
)
def alert(context: Context, dry_run: bool = False, webhook: str = "", mode: str = "") -> None:
    """Report once what has become bad for good, and once that it is over."""
    from test_framework.reporting import alerts

    with library() as opened:
        wanted = mode or opened.find().mode
        newest = opened.find(mode=wanted)
        kinds = [
            run
            for run in opened.history.latest_of_each_kind()
            if run.mode == wanted and newest.started - run.started < GIVEN_UP_SECONDS
        ]
        reports = [opened.report(run.run) for run in kinds]
        found = alerts.together(problem for report in reports for problem in alerts.problems_of(report))
        _report_problems(opened, found, f"{wanted}/", dry_run=dry_run, webhook=webhook)


def _report_problems(
    opened: Library, found: Iterable[Problem], scope: str, *, dry_run: bool = False, webhook: str = ""
) -> None:
    from dataclasses import replace

    from test_framework.reporting import alerts

    sent = 0
    try:
        sender: alerts.Sender | None = None
        known, days = opened.history.alerts(), opened.config.reminder_days
        for message in alerts.step(found, known, scope, time.time(), days):
            sent += 1
            print(f"{message.news:9} {message.alert.title}: {message.text}")
            if dry_run:
                continue
            sender = sender or (alerts.Webhook(webhook) if webhook else alerts.GitHubIssues.from_environment())
            opened.history.keep_alert(replace(message.alert, link=sender.send(message)))
    except alerts.AlertError as error:
        raise Exit(str(error), 1) from None
    if not sent:
        print(f"{scope.rstrip('/')}: nothing new to report")


def _look_at_ci(opened: Library) -> bool:
    """Add to the history what CI has run since the last look; say whether CI could be asked."""
    from test_framework.reporting.ci_jobs import CiError, GitHubActions

    actions = GitHubActions.from_environment(opened.config.baseline_branch)
    if actions is None:
        print("CI was not looked at: GITHUB_REPOSITORY and GITHUB_TOKEN (with `actions: read`) are not set")
        return False
    try:
        look = actions.take_in(opened.history, time.time())
    except CiError as error:
        raise Exit(f"CI could not be looked at: {error}", 1) from None
    print(f"CI: {look.jobs} jobs and {look.records} records are new; {len(look.refused)} records were left out")
    for refused in look.refused:
        print(f"left out: {refused}")
    if look.left_out:
        print(f"left out: {look.left_out} older runs of CI, more than one look takes in")
    return True


@task(
    help={
        "dry-run": "only print what would be reported",
        "webhook": "post it to this address; GitHub issues without it",
    }
)
def watch(context: Context, dry_run: bool = False, webhook: str = "") -> None:
    """Look at CI's jobs and records, show each mode's trends, report what is bad, and leave a sign of life."""
    from test_framework.reporting import ci_jobs, watching
    from test_framework.reporting.naming import DIRECTORY

    with library() as opened:
        if _look_at_ci(opened):
            found = ci_jobs.problems_of(opened.history.jobs())
            _report_problems(opened, found, ci_jobs.SCOPE, dry_run=dry_run, webhook=webhook)
        modes = sorted({facts.mode for facts in opened.history.runs()})
    if not modes:
        print("no run is recorded yet, so there is nothing to watch: restore .reports/history.db, or run some tests")
    for mode in modes:
        print(f"\n{mode}")
        trend(context, mode=mode)
        alert(context, dry_run=dry_run, webhook=webhook, mode=mode)
    if not dry_run:
        watching.leave_sign(CHECKOUT / DIRECTORY)


@task
def week(context: Context) -> None:
    """Sum up the last seven days, for a person and for CI's page of this job."""
    from test_framework.reporting import week as weekly
    from test_framework.reporting.views import markdown

    with library() as opened:
        _look_at_ci(opened)
        text = weekly.write(opened.history, time.time())
    print(text)
    markdown.append_to_step(text)


def show(report: Report, place: Path) -> None:
    """Draw a report, and let the browser open it."""
    file = draw(report, place)
    print(file)
    webbrowser.open(file.resolve().as_uri())


def draw(report: Report, place: Path) -> Path:
    """Write a report as a page beside its data."""
    from test_framework.reporting import page
    from test_framework.reporting.model import to_json

    place.mkdir(parents=True, exist_ok=True)
    (place / "report.json").write_bytes(to_json(report))
    file = place / "index.html"
    file.write_text(page.render(report), encoding="utf-8")
    return file
