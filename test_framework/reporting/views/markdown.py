"""A run as a page of Markdown, for a CI job's summary: it needs no token, and is kept below the size that is shown there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from test_framework.reporting.model import Colour, GateState, Report, Steadiness

MOST_BYTES = 1_000_000
NOTE = "\n\n*The rest was cut: this page may have {most} bytes. The whole of it is in the run's record.*\n"
SIGNS = {Colour.GREEN: "✅", Colour.ATTENTION: "⚠️", Colour.RED: "❌"}
GATE_SIGNS = {GateState.HELD: "✓ held", GateState.BROKEN: "✗ broken", GateState.NO_DATA: "– no data"}
DETAIL_LETTERS = 6_000
TESTS_PER_CAUSE = 20


def write(report: Report, most_bytes: int = MOST_BYTES) -> str:
    """Write the page, cut with a note where it would be too long."""
    text = "\n".join(_blocks(report)) + "\n"
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    note = NOTE.format(most=most_bytes)
    room = most_bytes - len(note.encode()) - len(_CLOSE)
    cut = encoded[:room].decode(errors="ignore").rpartition("\n")[0]
    return cut + (_CLOSE if cut.count("<details>") > cut.count("</details>") else "") + note


def append_to_step(text: str) -> None:
    """Add to the page of this step, where CI asks for one."""
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(text)


_CLOSE = "\n~~~~\n</details>\n"


def _blocks(report: Report) -> Iterator[str]:
    run = report.run
    yield f"## {SIGNS[report.verdict.colour]} {run.mode or 'run'}: {plain(report.verdict.reason)}\n"
    yield f"{_origin(report)}\n"
    yield from table(
        ("outcome", "tests"),
        [(str(outcome), str(count)) for outcome, count in report.counts.by_outcome().items() if count]
        + [("**collected**", f"**{report.counts.collected}**")],
    )
    yield from _causes(report)
    yield from _failures(report)
    yield from _changes(report)
    yield "\n### Gates\n"
    yield from table(
        ("gate", "value", "limit", "target", "", "distance"),
        [
            (
                gate.title,
                "–" if gate.value is None else f"{gate.value:.3g} {gate.unit}",
                f"{'at least' if gate.at_least else 'under' if gate.limit else 'exactly'} {gate.limit:g} {gate.unit}",
                f"{gate.target:g} {gate.unit}",
                GATE_SIGNS[gate.state],
                gate.distance,
            )
            for gate in report.gates
        ],
    )
    for gate in report.gates:
        for found in gate.evidence[:TESTS_PER_CAUSE]:
            yield f"\n- {plain(gate.title)}: {plain(found)}"
    yield from _flaky(report)
    yield from _rest(report)


def _origin(report: Report) -> str:
    run = report.run
    parts = [
        f"commit `{run.commit[:10]}`{' (changed)' if run.dirty else ''}" if run.commit else "",
        f"branch `{plain(run.branch)}`" if run.branch else "",
        f"Python {run.python}" if run.python else "",
        f"{run.shards} shards" if run.shards > 1 else "",
        f"attempt {run.attempt}" if run.attempt > 1 else "",
        f"seed {run.seed}" if run.seed else "",
        f"{run.seconds:.1f} s" if run.seconds is not None else "",
        f"run `{run.run}`",
    ]
    return " · ".join(filter(None, parts))


def _causes(report: Report) -> Iterator[str]:
    if report.causes:
        yield f"\n### {len(report.failures)} failures, {len(report.causes)} causes\n"
    for number, cause in enumerate(report.causes, 1):
        yield (
            f"{number}. **{plain(cause.title)}** ({cause.category}, fault of {cause.fault}, {cause.confidence:.0%} sure):"
            f" {len(cause.tests)} tests. Next: `{code(cause.next_command)}`"
        )


def _failures(report: Report) -> Iterator[str]:
    shown = [failure for failure in report.failures if failure.detail or failure.message]
    if shown:
        yield "\n### Failures\n"
    for failure in shown:
        yield (
            f"<details><summary><code>{_html(failure.test)}</code> {failure.outcome}: {_html(failure.message)}"
            f"</summary>\n\n`{code(failure.reproduce)}`\n\n~~~~text"
        )
        yield failure.detail[-DETAIL_LETTERS:].replace("~~~~", "~~~")
        yield "~~~~\n</details>"


def _changes(report: Report) -> Iterator[str]:
    if report.baseline is None:
        return
    yield f"\n### Since `{report.baseline.run}` ({report.baseline.branch} {report.baseline.commit[:10]})\n"
    if not report.changes:
        yield "nothing changed"
        return
    yield from table(
        ("what", "test", "before", "after"),
        [(change.kind, f"`{code(change.test)}`", change.before, change.after) for change in report.changes],
    )


def _flaky(report: Report) -> Iterator[str]:
    rows = [test for test in report.flaky if test.steadiness is not Steadiness.STEADY]
    if rows:
        yield "\n### Not steady\n"
        yield from table(
            ("test", "", "fell", "flip rate (95 %)", "both on one commit", "retried", "quarantine"),
            [
                (
                    f"`{code(test.test)}`",
                    test.steadiness,
                    f"{test.falls} of {test.runs}",
                    f"{test.flip_rate:.0%} ({test.low:.0%} to {test.high:.0%})",
                    str(test.same_commit),
                    str(test.retried),
                    f"{test.owner}, {test.days_left} days left" if test.owner else "",
                )
                for test in rows
            ],
        )


def _rest(report: Report) -> Iterator[str]:
    if slowest := report.durations.slowest[:10]:
        yield "\n### Slowest\n"
        yield from table(
            ("test", "seconds", "usually"),
            [
                (
                    f"`{code(test.test)}`",
                    f"{test.setup + test.call + test.teardown:.2f}",
                    "" if test.usual is None else f"{test.usual:.2f}",
                )
                for test in slowest
            ],
        )
    for trend in report.trends:
        if trend.worse:
            yield f"\n- trend: {plain(trend.title)} is {trend.reason}"
    if report.trust.skips:
        yield "\n### Skipped\n"
        yield from table(("why", "tests"), [(plain(skip.reason), str(len(skip.tests))) for skip in report.trust.skips])
    for problem in report.trust.problems:
        yield f"\n- {plain(problem)}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: str) -> str:
    """Return a text as it can stand in backticks."""
    return text.replace("`", "'").replace("\n", " ")


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def plain(text: str) -> str:
    """Return a text of which nothing is taken for markup."""
    return _html(text).replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")
