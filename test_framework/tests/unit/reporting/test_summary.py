"""One computation, and views that agree with it to the last number."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from test_framework.modes import Mode
from test_framework.reporting import sample
from test_framework.reporting.facts import RunPart, Sample, WorkerFacts
from test_framework.reporting.history import digest
from test_framework.reporting.model import Colour, GateState, from_json, to_json
from test_framework.reporting.summary import summarise
from test_framework.reporting.views import FORMATS, terminal
from test_framework.tests.unit.reporting.runs import part, parts

THOROUGH = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(parts())
@THOROUGH
def test_the_numbers_add_up_and_are_the_same_in_every_view(made: list[RunPart]) -> None:
    report = summarise(made)
    counts = report.counts

    assert counts.collected == len(report.results) == len({result.id for result in report.results})
    assert sum(counts.by_outcome().values()) == counts.collected
    assert "".join(cell[-1] for cell in report.matrix.cells) == "".join(r.outcome.letter for r in report.results)
    assert sum(len(skip.tests) for skip in report.trust.skips) == counts.skipped + counts.xfailed
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](report))))
    assert [row["outcome"] for row in rows] == [result.outcome for result in report.results]
    summary = json.loads(FORMATS["ctrf"](report))["results"]["summary"]
    assert (
        summary["tests"]
        == counts.collected
        == sum(summary[s] for s in ("passed", "failed", "skipped", "pending", "other"))
    )
    assert summary["failed"] == counts.failed + counts.errors
    assert (summary["flaky"], summary["other"], summary["pending"]) == (
        counts.retried,
        counts.quarantined,
        counts.not_run,
    )
    suites = ET.fromstring(FORMATS["junit"](report))
    assert int(suites.get("tests", "")) == len(suites.findall(".//testcase")) == counts.collected
    assert int(suites.get("failures", "")) == len(suites.findall(".//failure")) == counts.failed
    assert int(suites.get("errors", "")) == len(suites.findall(".//error")) == counts.errors + counts.not_run
    skipped = counts.skipped + counts.xfailed + counts.quarantined
    assert int(suites.get("skipped", "")) == len(suites.findall(".//skipped")) == skipped
    assert f"| **collected** | **{counts.collected}** |" in FORMATS["markdown"](report)
    assert terminal.counts(report).startswith(f"{counts.collected} = ")
    assert from_json(to_json(report)) == report


@given(parts())
@THOROUGH
def test_only_a_run_without_anything_bad_is_not_red(made: list[RunPart]) -> None:
    report = summarise(made)

    bad = any(result.outcome.bad for result in report.results) or not report.results
    broken = any(gate.state is GateState.BROKEN for gate in report.gates)
    assert (report.verdict.colour is Colour.RED) == (bad or broken)


def test_a_missing_shard_is_red_and_named() -> None:
    report = summarise(sample.sharded(shards=4, missing=[3]))

    assert report.verdict.colour is Colour.RED
    assert "shard 3 of 4 has no record" in report.verdict.reason
    assert [shard.shard for shard in report.trust.shards if shard.missing] == [3]
    assert not report.run.complete


def test_a_shard_by_itself_does_not_miss_the_others_and_says_which_it_is() -> None:
    only = part({"a": ".", "b": "."}, shard=2, shards=2)

    report = summarise([only], by_itself=True)

    assert report.verdict.colour is Colour.GREEN
    assert "all 2 tests of shard 2 of 2" in report.verdict.reason
    assert [shard.shard for shard in report.trust.shards] == [2]
    assert report.run.complete
    assert report.trust.problems == ()
    assert summarise([only]).verdict.colour is Colour.RED, "a run that this is all of is another matter"


def test_a_shard_that_ran_again_replaces_its_first_attempt_and_stays_a_flake() -> None:
    first = part({"a": "F", "b": "."}, commit="c", shard=1, shards=2)
    other = part({"c": "."}, commit="c", shard=2, shards=2)
    again = part({"a": ".", "b": "."}, commit="c", shard=1, shards=2, attempt=2, started=2000.0)

    report = summarise([again, first, other])

    assert report.counts.collected == report.counts.passed == 3
    assert report.trust.shards[0].superseded == 1
    assert [(test.test, test.steadiness, test.same_commit) for test in report.flaky] == [("a", "flaky", 1)]


def test_a_test_in_two_shards_is_counted_once_by_its_worse_side_and_named() -> None:
    report = summarise([part({"a": "."}, shard=1, shards=2), part({"a": "F"}, shard=2, shards=2)])

    assert (report.counts.collected, report.counts.failed) == (1, 1)
    assert report.trust.doubled == ("a",)


def test_an_empty_shard_is_named() -> None:
    report = summarise([part({"a": "."}, shard=1, shards=2), part({}, shard=2, shards=2)])

    assert "shard 2: it ran no test" in report.trust.problems


def test_a_killed_run_is_red_and_what_never_ran_is_counted() -> None:
    report = summarise([sample.killed()])

    assert report.verdict.colour is Colour.RED
    assert "did not end by itself" in report.verdict.reason
    assert report.counts.not_run == 200
    assert report.counts.collected == 400


def test_a_worker_that_died_makes_an_otherwise_green_run_red() -> None:
    green = part("...")
    report = summarise([replace(green, workers=(WorkerFacts("gw1", error="Not properly terminated"),))])

    assert report.verdict.colour is Colour.RED
    assert "worker gw1 died" in report.verdict.reason


def test_what_needs_a_look_is_neither_green_nor_red() -> None:
    for letter in "RQX":
        assert summarise([part("." * 40 + letter)]).verdict.colour is Colour.ATTENTION
    assert summarise([part("..sx")]).verdict.colour is Colour.GREEN


def test_a_run_of_nothing_is_red() -> None:
    assert "no test was collected" in summarise([part("", exit_code=5)]).verdict.reason


def test_changes_are_told_against_the_last_whole_run_of_the_main_branch() -> None:
    names = ("fixed", "broken", "skipped", "gone")
    before = part(dict(zip(names, "F...", strict=True)), "before")
    elsewhere = part(dict.fromkeys(names, "F"), "elsewhere", branch="idea", started=1500.0)
    now = part({"fixed": ".", "broken": "F", "skipped": "s", "came": "."}, "now", started=2000.0, ended=2010.0)

    report = summarise([now], [digest(before), digest(elsewhere)])

    assert report.baseline is not None
    assert report.baseline.run == "before"
    assert {change.test: change.kind for change in report.changes} == {
        "fixed": "fixed", "broken": "newly failing", "skipped": "newly skipped", "came": "new", "gone": "removed",
    }  # fmt: skip


def test_a_selection_does_not_remove_what_it_leaves_out() -> None:
    report = summarise(
        [part({"a": "."}, "now", whole=False, started=2000.0)], [digest(part({"a": ".", "b": "."}, "before"))]
    )

    assert not report.changes


def test_a_failure_says_since_when_it_fails() -> None:
    past = [
        digest(part({"a": letter}, f"run-{n}", started=n * 100.0, commit=f"c{n}")) for n, letter in enumerate("..F.FF")
    ]

    (failure,) = summarise([part({"a": "F"}, "now", started=2000.0)], past).failures

    assert (failure.history, failure.since, failure.since_commit) == ("..F.FFF", "run-4", "c4")


def test_what_rooms_tell_becomes_lanes_matrices_and_counts_and_nonsense_is_named() -> None:
    made = sample.red()
    odd = replace(made.results[5], facts={"events.delivery": ({"committed": "many"},)})

    report = summarise([replace(made, results=(*made.results[:5], odd, *made.results[6:]))])

    assert len(report.events) == len(report.deliveries) == 8
    assert all(delivery.equal for delivery in report.deliveries)
    assert [matrix.strays for matrix in report.isolation] == [0]
    assert [len(startup.phases) for startup in report.startups] == [6]
    assert any(odd.id in problem and "events.delivery" in problem for problem in report.trust.problems)


@pytest.mark.parametrize(
    ("changed", "value"),
    [({}, 1.0), ({"whole": False}, None), ({"mode": Mode.KIT}, None), ({"shards": 2}, None)],
    ids=["a whole suite", "a selection", "the kit's own", "one shard"],
)
def test_only_a_whole_suite_must_show_every_event_type(changed: dict[str, object], value: float | None) -> None:
    made = sample.green()
    types = (*made.event_types, "order_lost")

    report = summarise([replace(made, run=replace(made.run, **changed), event_types=types)], by_itself=True)  # type: ignore[arg-type]

    (gate,) = [gate for gate in report.gates if gate.name == "events"]
    assert (gate.value, gate.evidence) == (value, ("order_lost",) if value else ())
    assert summarise([made]).verdict.colour is Colour.GREEN


def test_declared_event_types_keep_their_order() -> None:
    shards = [replace(shard, event_types=("sold", "bid")) for shard in sample.sharded()]

    assert summarise(shards).event_types == ("sold", "bid")


@pytest.mark.parametrize(("suite", "timed"), [(Mode.FULL, True), (Mode.KIT, False), ("template", False)])
def test_only_a_suite_of_the_service_is_held_to_a_time(suite: str, timed: bool) -> None:
    made = sample.green()

    report = summarise([replace(made, run=replace(made.run, mode=suite))], by_itself=True)

    (gate,) = [gate for gate in report.gates if gate.name == "suite"]
    assert (gate.value is not None) == timed


def test_memory_counts_per_four_workers() -> None:
    """A machine with more processors starts more workers, which is no leak."""
    made = replace(sample.green(), samples=(Sample(1.0, 5_000_000_000, 0.0, 1, 1, 1),))

    def state(workers: int) -> GateState:
        report = summarise([replace(made, run=replace(made.run, workers=workers))])
        return next(gate.state for gate in report.gates if gate.name == "memory")

    assert [state(workers) for workers in (0, 4, 9, 16)] == ["broken", "broken", "broken", "held"]


def test_a_worker_is_idle_for_what_its_tests_leave_of_the_run() -> None:
    (lane,) = summarise([part("....")]).lanes

    assert lane.busy_seconds == pytest.approx(0.4)
    assert lane.idle == pytest.approx(0.96)
