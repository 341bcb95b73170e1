"""The end of a run on the terminal: a few lines that say what happened and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from test_framework.reporting.model import Colour, GateState, Report, Steadiness
from test_framework.reporting.outcome import Outcome

SLOWEST = 3
FLAKY = 5
COLOURS = {Colour.GREEN: "green", Colour.ATTENTION: "yellow", Colour.RED: "red"}


@dataclass(frozen=True)
class TerminalLine:
    """One line, and the colour of a terminal that it wants; none for plain."""

    text: str
    colour: str = ""


def lines(report: Report) -> Iterator[TerminalLine]:
    """Yield the summary of a run."""
    colour = COLOURS[report.verdict.colour]
    yield TerminalLine(f"{report.verdict.colour.upper()}: {report.verdict.reason}", colour)
    seconds = report.run.seconds
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    yield TerminalLine(f"tests     {counts(report)}{took}")
    if slowest := [test for test in report.durations.slowest[:SLOWEST] if test.setup + test.call + test.teardown > 0.5]:
        each = ", ".join(f"{test.setup + test.call + test.teardown:.1f} s {test.test}" for test in slowest)
        yield TerminalLine(f"slowest   {each}")
    flaky = [test for test in report.flaky if test.steadiness is Steadiness.FLAKY]
    for test in flaky[:FLAKY]:
        yield TerminalLine(f"flaky     {test.test}: fell in {test.falls} of {test.runs} runs", "yellow")
    if len(flaky) > FLAKY:
        yield TerminalLine(f"flaky     and {len(flaky) - FLAKY} more: invoke report.flaky", "yellow")
    for leak in report.leaks[:FLAKY]:
        yield TerminalLine(f"leak      {leak.test}: {leak.what}", "red")
    if report.services:
        each = ", ".join(f"{service.name} in {service.start_seconds or 0:.2f} s" for service in report.services)
        yield TerminalLine(f"services  {each}")
    for problem in report.trust.problems[:FLAKY]:
        yield TerminalLine(f"record    {problem}", "red")
    for gate in report.gates:
        if gate.state is GateState.BROKEN and gate.name != "pass_rate":
            value = f"{gate.value:.3g} {gate.unit}".rstrip()
            yield TerminalLine(f"gate      {gate.title}: {value}, limit {gate.limit:g}", "red")
            for found in gate.evidence[:FLAKY]:
                yield TerminalLine(f"gate      {gate.title}: {found}", "red")
    yield TerminalLine(f"record    {report.record}" if report.record else f"run       {report.run.run}")


def counts(report: Report) -> str:
    """All outcomes that occurred, and what they add up to."""
    found = report.counts.by_outcome()
    words = {Outcome.ERROR: "errors"}
    told = [f"{number} {words.get(outcome, outcome)}" for outcome, number in found.items() if number]
    return f"{report.counts.collected} = {' + '.join(told) or '0'}"
