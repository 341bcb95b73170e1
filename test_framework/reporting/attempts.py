"""From the reports of phases to what became of each test.

pytest reports setup, call and teardown one by one, and each repetition again; xdist adds a report of its own where a worker
died. A test passes only if all phases of its last attempt did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from test_framework.reporting.facts import Attempt, TestResult
from test_framework.reporting.outcome import Outcome

MESSAGE_LETTERS = 500
DETAIL_LETTERS = 20_000
CAPTURED_LETTERS = 5_000
QUARANTINE = "reporting.quarantine"
REPEATED = "rerun"
CRASH = "???"

Report = dict[str, Any]


@dataclass
class Phases:
    """The reports of every test, in the order in which they came."""

    reports: dict[str, list[Report]] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)

    def started(self, test: str, time: float) -> None:
        self.starts.setdefault(test, time)

    def take(self, report: Report) -> None:
        self.reports.setdefault(report["nodeid"], []).append(report)


def results_of(collected: Iterable[str], phases: Phases) -> Iterator[TestResult]:
    """Yield what became of all that was collected, and of all that was reported although it was not."""
    for test in dict.fromkeys((*collected, *phases.reports)):
        reports = phases.reports.get(test)
        yield _result(test, reports, phases) if reports else _not_run(test, phases.starts.get(test))


def _not_run(test: str, started: float | None) -> TestResult:
    reason = "the run ended before it" if started is None else "it was at work when the run ended"
    return TestResult(test, Outcome.NOT_RUN, started=started or 0.0, reason=reason)


def _result(test: str, reports: list[Report], phases: Phases) -> TestResult:
    tries = list(_tries(reports))
    attempts = tuple(_attempt(one) for one in tries)
    last = {report["when"]: report for report in tries[-1]}
    final = attempts[-1].outcome
    cut_short = final is Outcome.PASSED and "teardown" not in last and "collect" not in last
    if cut_short:
        outcome, reason = Outcome.NOT_RUN, "it was at work when the run ended"
    else:
        repeated = final is Outcome.PASSED and len(attempts) > 1
        outcome = Outcome.RETRIED if repeated else final
        reason = attempts[-1].message or (attempts[-2].message if repeated else "")
    first = reports[0]
    return TestResult(
        id=test,
        outcome=outcome,
        started=first.get("start") or phases.starts.get(test, 0.0),
        setup=_seconds(last.get("setup")),
        call=_seconds(last.get("call")),
        teardown=_seconds(last.get("teardown")),
        worker=first.get("worker_id") or "main",
        reason=reason,
        quarantined=any(QUARANTINE in _facts(report) for report in reports),
        attempts=attempts,
        line=((first.get("location") or ["", 0])[1] or 0) + 1,
        facts=_facts(*reports),
    )


def _tries(reports: list[Report]) -> Iterator[list[Report]]:
    """Divide a test's reports into attempts: each begins with a setup, or where xdist gave its test another worker."""
    current: list[Report] = []
    for report in reports:
        if current and (report["when"] == "setup" or current[-1]["when"] == CRASH):
            yield current
            current = []
        current.append(report)
    yield current


def _attempt(reports: list[Report]) -> Attempt:
    outcome, told = _outcome(reports)
    phase = "" if told is None or not outcome.fell else "crash" if told["when"] == CRASH else str(told["when"])
    seconds = sum(_seconds(report) for report in reports)
    return Attempt(outcome, seconds, phase, _message(told), _detail(told) if outcome.fell else "")


def _outcome(reports: list[Report]) -> tuple[Outcome, Report | None]:
    """Say what one attempt came to, and which of its reports says why."""
    for report in sorted(
        reports, key=lambda report: report["when"] != "call"
    ):  # a failed call says more than what followed
        if report["outcome"] in ("failed", REPEATED):
            if QUARANTINE in _facts(report):
                return Outcome.QUARANTINED, report
            return (Outcome.FAILED if report["when"] in ("call", CRASH) else Outcome.ERROR), report
    for report in reports:
        expected = "wasxfail" in report
        if report["outcome"] == "skipped":
            return (Outcome.XFAILED if expected else Outcome.SKIPPED), report
        if expected and report["when"] == "call":
            return Outcome.XPASSED, report
    return Outcome.PASSED, None


def _message(report: Report | None) -> str:
    """One line that says why."""
    if report is None:
        return ""
    if "wasxfail" in report:
        return str(report["wasxfail"]).removeprefix("reason: ")[:MESSAGE_LETTERS]
    match report.get("longrepr"):
        case [_, _, str(reason)]:
            return reason.removeprefix("Skipped: ")[:MESSAGE_LETTERS]
        case {"reprcrash": {"message": str(message)}}:
            return _first_line(message)
        case str(text):
            return _first_line(text)
        case other:
            return _first_line(str(other or ""))


def _first_line(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    errors = [line for line in lines if line.startswith("E  ")]
    return (errors[0][1:].strip() if errors else lines[0])[:MESSAGE_LETTERS]


def _detail(report: Report | None) -> str:
    """The traceback as pytest would print it, and what was captured; the end of each where it is too long."""
    if report is None:
        return ""
    captured = [f"{name}\n{_end(text, CAPTURED_LETTERS)}" for name, text in report.get("sections") or () if text]
    return "\n\n".join([_end(_traceback(report.get("longrepr")), DETAIL_LETTERS), *captured])


def _traceback(longrepr: object) -> str:
    match longrepr:
        case {"chain": [_, *_] as chain}:
            return "\n".join(f"{_entries(traceback)}\n{after or ''}".rstrip() for traceback, _, after in chain)
        case {"reprtraceback": traceback}:
            return _entries(traceback)
        case str(text):
            return text
        case _:
            return ""


def _entries(traceback: object) -> str:
    match traceback:
        case {"reprentries": list(entries)}:
            return "\n".join(_entry(entry.get("data") or {}) for entry in entries)
        case _:
            return ""


def _entry(entry: Report) -> str:
    place = entry.get("reprfileloc") or {}
    where = [f"{place.get('path')}:{place.get('lineno')}: {place.get('message')}"] if place else []
    return "\n".join([*(entry.get("lines") or []), *where])


def _end(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"… {len(text) - letters} letters before\n{text[-letters:]}"


def _facts(*reports: Report) -> dict[str, tuple[Any, ...]]:
    """What was told about a test, by name: everything once, though each report repeats what was known before it."""
    facts: dict[str, tuple[Any, ...]] = {}
    for report in reports:
        for name, value in report.get("user_properties") or ():
            if value not in facts.get(str(name), ()):
                facts[str(name)] = (*facts.get(str(name), ()), value)
    return facts


def _seconds(report: Report | None) -> float:
    return float(report.get("duration") or 0.0) if report else 0.0
