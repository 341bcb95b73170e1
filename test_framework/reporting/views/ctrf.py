"""A run in the Common Test Report Format, which many tools read; the schema beside this file is what we promise to write."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from test_framework.reporting.facts import Attempt, TestResult
from test_framework.reporting.model import Colour, Report
from test_framework.reporting.outcome import Outcome

SPECIFICATION = "1.0.0"
SCHEMA = Path(__file__).with_name("ctrf.schema.json")
STATUS = {
    Outcome.PASSED: "passed",
    Outcome.RETRIED: "passed",
    Outcome.XPASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.ERROR: "failed",
    Outcome.SKIPPED: "skipped",
    Outcome.XFAILED: "skipped",
    Outcome.NOT_RUN: "pending",
    Outcome.QUARANTINED: "other",
}
_NAMES = uuid.UUID("6ac4e1bb-3c0f-5b9e-9f3a-5a52e6a5a0f1")


def write(report: Report) -> str:
    """Write the document, and refuse to write one that breaks the format."""
    written = document(report)
    fault = next(_validator().iter_errors(written), None)
    if fault is not None:
        raise ValueError(f"this would be no CTRF: {fault.json_path}: {fault.message}")
    return json.dumps(written, indent=1) + "\n"


def document(report: Report) -> dict[str, Any]:
    """Put the run into the format's words."""
    run = report.run
    statuses = [STATUS[result.outcome] for result in report.results]
    ended = run.ended if run.ended is not None else run.started
    return {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "reportId": str(uuid.uuid5(_NAMES, run.name)),
        "timestamp": datetime.fromtimestamp(report.generated, UTC).isoformat(),
        "results": {
            "tool": {"name": "pytest", "version": metadata.version("pytest")},
            "summary": {
                "tests": len(statuses),
                **{status: statuses.count(status) for status in ("passed", "failed", "skipped", "pending", "other")},
                "flaky": report.counts.retried,
                "suites": len({result.file for result in report.results}),
                "start": _milliseconds(run.started),
                "stop": _milliseconds(ended),
                "duration": _milliseconds(run.seconds or 0.0),
            },
            "tests": [_test(result) for result in report.results],
            "environment": {
                "reportName": run.run,
                "commit": run.commit,
                "branchName": run.branch,
                "osPlatform": run.system,
                "testEnvironment": run.mode,
                "healthy": report.verdict.colour is not Colour.RED,
                **({"buildUrl": run.link} if run.link else {}),
                "extra": {"python": run.python, "seed": run.seed, "complete": run.complete, "shards": run.shards},
            },
        },
    }


def _test(result: TestResult) -> dict[str, Any]:
    last = result.attempts[-1] if result.attempts else None
    told: dict[str, Any] = {
        "id": str(uuid.uuid5(_NAMES, result.id)),
        "name": result.id,
        "status": STATUS[result.outcome],
        "rawStatus": str(result.outcome),
        "duration": _milliseconds(result.seconds),
        "suite": [result.file, *result.id.split("::")[1:-1]],
        "filePath": result.file,
        "line": result.line,
        "threadId": result.worker,
        "flaky": result.outcome is Outcome.RETRIED,
        "retries": max(0, len(result.attempts) - 1),
    }
    if result.started:
        told |= {"start": _milliseconds(result.started), "stop": _milliseconds(result.started + result.seconds)}
    if result.reason:
        told["message"] = result.reason
    if last is not None and last.detail:
        told["trace"] = last.detail
    if len(result.attempts) > 1:
        told["retryAttempts"] = [_attempt(n, attempt) for n, attempt in enumerate(result.attempts, start=1)]
    if result.quarantined:
        told["tags"] = ["quarantined"]
    return told


def _attempt(number: int, attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {
        "attempt": number,
        "status": STATUS[attempt.outcome],
        "duration": _milliseconds(attempt.seconds),
    }
    if attempt.message:
        told["message"] = attempt.message
    if attempt.detail:
        told["trace"] = attempt.detail
    return told


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
