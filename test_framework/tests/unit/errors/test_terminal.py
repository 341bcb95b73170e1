"""What a red run prints last: few causes for many failures, on one screen, and nothing when it is green."""

from __future__ import annotations

import json

from test_framework.error_reporter import ErrorReporter
from test_framework.errors.categories import Category, Responsibility
from test_framework.errors.failure import PROPERTY, Failure, Link, ServiceState
from test_framework.errors.terminal import annotation, lines, title
from test_framework.tests.unit.errors.conftest import Run

SCREEN = 24


def refused(test: str, ended: float) -> Failure:
    return Failure(
        test,
        "setup",
        (Link(("redis.exceptions.ConnectionError", "redis.exceptions.RedisError"), "Error 111: Connection refused."),),
        fixtures=("redis_url",),
        services=(ServiceState("redis", "exited", provider="compose"),),
        ended=ended,
    )


def silent(test: str, ended: float) -> Failure:
    message = "agent_completed of run 1 did not come within 10 s; what came: []"
    return Failure(test, "call", (Link(("AssertionError",), message),), fixtures=("server", "redis_url"), ended=ended)


def test_one_dead_redis_under_53_failures_is_one_cause() -> None:
    failures = [refused(f"tests/test_{number}.py::test", 100 + number) for number in range(40)]
    failures += [silent(f"tests/test_{number}.py::test", 100 + number) for number in range(40, 53)]

    diagnosis = ErrorReporter().explain(reversed(failures))

    assert [(cause.category, cause.fault, cause.count) for cause in diagnosis.causes] == [
        (Category.REDIS, Responsibility.INFRASTRUCTURE, 53)
    ]
    assert diagnosis.causes[0].first == "tests/test_0.py::test"
    assert title(diagnosis) == "why: 53 failures of one cause"
    assert len([line for cause in diagnosis.causes for line in lines(cause)]) < SCREEN


def test_a_wrong_sum_beside_a_dead_redis_stays_a_wrong_sum() -> None:
    wrong = Failure("tests/test_x.py::test", "call", (Link(("NameError",), "name 'x' is not defined"),), ended=1)

    diagnosis = ErrorReporter().explain([wrong, refused("tests/test_y.py::test", 2)])

    assert [cause.category for cause in diagnosis.causes][:1] == [Category.REDIS]
    assert diagnosis.failures[0].category is not Category.REDIS


def test_causes_are_printed_for_a_red_run_and_annotations_only_on_github(fail: Run) -> None:
    tests = "\n".join(f"def test_{number}(): assert prices['{number}']" for number in range(53))
    source = f"prices = {{}}\n{tests}\ndef test_sum():\n    assert 2 + 2 == 5\n"

    here, there = fail(source), fail(source, GITHUB_ACTIONS="true")

    before, _, summary = here.stdout.partition("why: ")
    assert "short test summary" in before
    assert "::error" not in here.stdout
    assert there.stdout.count("::error file=tests/unit/test_it.py,line=") >= 1
    assert "test_sum" in summary
    assert len(summary.splitlines()) < SCREEN, summary


def test_a_green_run_prints_no_causes_and_loads_nothing_to_explain(fail: Run) -> None:
    green = fail(
        """
        import sys

        def test_nothing_is_loaded():
            assert [name for name in sys.modules if name.startswith("test_framework.error")] == []
        """
    )

    assert green.returncode == 0, green.stdout
    assert "why:" not in green.stdout


def test_what_was_kept_reaches_the_record_through_xdist(fail: Run, tmp_path_factory: object) -> None:
    red = fail("def test_one():\n    {}['x']\n", "-n", "1", "--report-log=log.jsonl")

    assert red.returncode == 1
    assert "KeyError" in red.stdout.partition("why: ")[2]


def test_a_message_for_github_can_hold_anything() -> None:
    odd = Failure("tests/a,b:c.py::test", "call", (Link(("ValueError",), "100 %\nof it"),))

    (cause,) = ErrorReporter().explain([odd]).causes

    assert "\n" not in annotation(cause)
    assert "a%2Cb%3Ac.py" in annotation(cause)


def test_a_failure_without_structure_is_still_told() -> None:
    report = {"nodeid": "tests/a.py::test", "when": "???", "outcome": "failed", "longrepr": "worker 'gw0' crashed"}
    kept = {
        "nodeid": "tests/b.py::test",
        "outcome": "failed",
        "user_properties": [[PROPERTY, refused("b", 1).to_json()]],
    }

    failures = ErrorReporter().failures_of(json.loads(json.dumps([report, kept, {"outcome": "passed"}])))

    assert [failure.test for failure in failures] == ["tests/a.py::test", "b"]
    assert ErrorReporter().explain(failures).failures[0].category is Category.UNKNOWN
