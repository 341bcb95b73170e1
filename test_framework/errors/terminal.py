"""The last thing a red run prints: its causes, the weightiest first, on one screen, for somebody who knows nothing of it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from test_framework.errors.capture import of_report, with_circumstances
from test_framework.errors.categories import Responsibility
from test_framework.errors.causes import diagnose
from test_framework.errors.diagnosis import Cause, RunDiagnosis

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

SHOWN, BRIEFLY = 3, 6
WHOSE = {
    Responsibility.INFRASTRUCTURE: "the machine or its services are at fault, not the code",
    Responsibility.CODE: "the code is at fault",
    Responsibility.TEST: "the test is at fault",
    Responsibility.UNKNOWN: "whose fault it is, is not known",
}


def show(reporter: TerminalReporter) -> None:
    """Write why a run is red."""
    reports = [*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())]
    failures = [with_circumstances(of_report(report), reporter.config) for report in reports]
    diagnosis = diagnose(failures)
    reporter.section(title(diagnosis), sep="=", bold=True, red=True)
    for cause in diagnosis.causes[:SHOWN]:
        for line in lines(cause):
            reporter.write_line(line)
    for cause in diagnosis.causes[SHOWN : SHOWN + BRIEFLY]:
        reporter.write_line(brief(cause, shutil.get_terminal_size().columns))
    if more := diagnosis.causes[SHOWN + BRIEFLY :]:
        reporter.write_line(f"and {len(more)} more causes, with {sum(cause.count for cause in more)} failures")
    if os.environ.get("GITHUB_ACTIONS"):
        for cause in diagnosis.causes:
            reporter.write_line(annotation(cause))


def title(diagnosis: RunDiagnosis) -> str:
    failures, causes = len(diagnosis.failures), len(diagnosis.causes)
    of = "one cause" if causes == 1 else f"{causes} causes"
    return f"why: {failures} failure{'s' if failures > 1 else ''} of {of}"


def lines(cause: Cause) -> list[str]:
    """Return a cause in five lines."""
    again = [f"   again: {cause.reproduce}"] if cause.reproduce != cause.next_command else []
    return [
        f"{cause.number}. {cause.root_cause}",
        f"   what:  {cause.category} ({cause.how_sure}); {WHOSE[cause.fault]}",
        f"   hit:   {tests(cause)}{', first' if len(cause.tests) > 1 else ':'} {cause.first}",
        f"   next:  {cause.next_command}",
        *again,
    ]


def brief(cause: Cause, width: int) -> str:
    """Return a cause in one line."""
    line = f"{cause.number}. {cause.category}, {tests(cause)}: {cause.root_cause}"
    return line if len(line) <= width else f"{line[: width - 1]}…"


def tests(cause: Cause) -> str:
    return "1 test" if len(cause.tests) == 1 else f"{len(cause.tests)} tests"


def annotation(cause: Cause) -> str:
    """Write a cause as a workflow command, which GitHub shows beside the line it is about."""
    properties = f"file={_escaped(cause.where, ',:')},line={max(cause.line, 1)},title={_escaped(f'{cause.category}: {tests(cause)}', ',:')}"
    return f"::error {properties}::{_escaped(f'{cause.root_cause} Next: {cause.next_command}')}"


def _escaped(text: str, more: str = "") -> str:
    codes = {"%": "%25", "\r": "%0D", "\n": "%0A", ",": "%2C", ":": "%3A"}
    return "".join(codes[letter] if letter in "%\r\n" + more else letter for letter in text)
