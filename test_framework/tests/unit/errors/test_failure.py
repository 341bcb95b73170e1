"""What is kept of a failure goes through JSON unchanged, and a diagnosis does too."""

from __future__ import annotations

import json

from test_framework.error_reporter import ErrorReporter
from test_framework.errors.diagnosis import Diagnosis
from test_framework.errors.failure import Circumstances, Failure, Frame, Link, ServiceState

FAILURE = Failure(
    test="tests/unit/test_a.py::test_a",
    phase="setup",
    chain=(Link(("KeyError", "LookupError"), "'x'", facts={"errno": 3}, frames=(Frame("app/a.py", 3, "f", "app"),)),),
    services=(ServiceState("redis", "paused"),),
    circumstances=Circumstances("integration", "bundled", 7, 2, ("-p", "no:x")),
    ended=1.5,
)


def test_a_failure_and_its_diagnosis_survive_json() -> None:
    kept = Failure.from_json(json.loads(json.dumps(FAILURE.to_json())))
    diagnosis = ErrorReporter().explain([kept])

    assert kept == FAILURE
    assert Diagnosis.from_json(json.loads(json.dumps(diagnosis.to_json()))) == diagnosis


def test_no_failures_have_no_cause() -> None:
    assert ErrorReporter().explain([]) == Diagnosis()
