"""A run as JUnit XML, as CI servers read it: an attempt that failed before a pass is a `<flakyFailure>`, one before a failure a
`<rerunFailure>`; a quarantined fall is skipped, with its failure told as a `<flakyFailure>` so that nobody overlooks it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from datetime import UTC, datetime

from test_framework.reporting.facts import Attempt, TestResult
from test_framework.reporting.model import Report
from test_framework.reporting.outcome import Outcome

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SKIPPED = frozenset({Outcome.SKIPPED, Outcome.XFAILED, Outcome.QUARANTINED})


def write(report: Report) -> str:
    """Write the document: a suite for each file."""
    by_file: dict[str, list[TestResult]] = defaultdict(list)
    for result in report.results:
        by_file[result.file].append(result)
    root = ET.Element("testsuites", {"name": report.run.run, **_numbers(report.results)})
    for file, results in by_file.items():
        suite = ET.SubElement(root, "testsuite", {"name": file, "file": file, **_numbers(results)})
        started = min((result.started for result in results if result.started), default=report.run.started)
        suite.set("timestamp", datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"))
        for result in results:
            _case(suite, result)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _numbers(results: tuple[TestResult, ...] | list[TestResult]) -> dict[str, str]:
    outcomes = [result.outcome for result in results]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILED)),
        "errors": str(outcomes.count(Outcome.ERROR) + outcomes.count(Outcome.NOT_RUN)),
        "skipped": str(sum(outcome in _SKIPPED for outcome in outcomes)),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _case(suite: ET.Element, result: TestResult) -> None:
    _, _, inner = result.id.partition("::")
    place, _, name = inner.partition("[")[0].rpartition("::")
    parameters = inner[len(inner.partition("[")[0]) :]
    classname = ".".join([result.file.removesuffix(".py").replace("/", "."), *filter(None, [place.replace("::", ".")])])
    case = ET.SubElement(
        suite,
        "testcase",
        name=_clean((name or result.file) + parameters),
        classname=_clean(classname),
        file=result.file,
        line=str(result.line),
        time=f"{result.seconds:.3f}",
    )
    falls = list(result.falls)
    match result.outcome:
        case Outcome.FAILED:
            _told(case, "failure", falls.pop())
        case Outcome.ERROR:
            _told(case, "error", falls.pop())
        case Outcome.NOT_RUN:
            ET.SubElement(case, "error", message=f"never ran: {_clean(result.reason)}", type="not run")
        case Outcome.SKIPPED | Outcome.XFAILED | Outcome.QUARANTINED:
            ET.SubElement(case, "skipped", message=_clean(f"{result.outcome}: {result.reason}"), type=result.outcome)
        case _:
            pass
    before = "rerunFailure" if result.outcome.bad else "flakyFailure"
    for attempt in falls:
        fall = ET.SubElement(case, before, message=_clean(attempt.message), type=attempt.phase)
        ET.SubElement(fall, "stackTrace").text = _clean(attempt.detail)


def _told(case: ET.Element, tag: str, attempt: Attempt) -> None:
    ET.SubElement(case, tag, message=_clean(attempt.message), type=attempt.phase).text = _clean(attempt.detail)


def _clean(text: str) -> str:
    """XML has no way to write some characters, not even escaped."""
    return _NOT_IN_XML.sub("�", text)
