"""Gates: measured, held to limits from the configuration, and never green for want of data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.domains import topics
from test_framework.project import project
from test_framework.reporting import sample
from test_framework.reporting.config import GateRule, ReportConfig, ReportConfigError, load_config
from test_framework.reporting.facts import Attempt, ServiceTime, TestResult
from test_framework.reporting.gates import RULES, Measured, evaluate
from test_framework.reporting.model import Gate, GateState, Leak
from test_framework.reporting.outcome import Counts, Outcome
from test_framework.reporting.summary import summarise

NAMES = {
    "pass_rate", "suite", "services", "cleanup", "memory", "flaky", "events", "lost", "leaks", "interventions", "database",
}  # fmt: skip


def gate(name: str, measured: Measured) -> Gate:
    return next(gate for gate in evaluate(measured) if gate.name == name)


def test_every_gate_of_the_house_is_there_and_a_full_run_measures_them_all() -> None:
    report = sample.demo()

    assert {gate.name for gate in report.gates} == {rule.name for rule in RULES} == NAMES
    assert all(gate.value is not None for gate in report.gates)


def test_without_data_nothing_is_held() -> None:
    assert {gate.state for gate in evaluate(Measured(Counts()))} == {GateState.NO_DATA}


@pytest.mark.parametrize(
    ("seconds", "state"), [(29.9, GateState.HELD), (30.0, GateState.BROKEN), (31.0, GateState.BROKEN)]
)
def test_an_upper_limit_is_stayed_below(seconds: float, state: GateState) -> None:
    measured = Measured(Counts(), services=[ServiceTime("redis", 0.1), ServiceTime("postgres", seconds)])

    assert gate("services", measured).state is state


def test_the_distance_says_how_many_are_to_be_mended() -> None:
    found = gate("pass_rate", Measured(Counts(collected=1322, passed=1269, failed=53)))

    assert found.state is GateState.BROKEN
    assert found.distance == "27 to fix for 98 %, 53 to fix for 100 %"


def test_one_leak_is_one_too_many_and_none_counts_only_where_somebody_looked() -> None:
    assert gate("leaks", Measured(Counts(), leaks=[Leak("t", "a task")])).state is GateState.BROKEN
    assert gate("leaks", Measured(Counts(), leaks_watched=True)).state is GateState.HELD
    assert gate("leaks", Measured(Counts())).state is GateState.NO_DATA


def test_a_failure_whose_text_names_a_service_counts_nowhere() -> None:
    detail = (
        "E   test_framework.services.state.ServiceError: postgres: no engine\n  next: sudo systemctl start docker\n"
        "E   asyncpg.exceptions.ConnectionDoesNotExistError: connection was closed in the middle of operation"
    )
    attempt = Attempt(Outcome.ERROR, 0.1, "setup", "it broke", detail)
    failed = replace(sample.green(), results=(TestResult("t", Outcome.ERROR, attempts=(attempt,)),))

    values = {gate.name: gate.value for gate in summarise([failed]).gates}

    assert (values["interventions"], values["database"]) == (0, 0)


def test_what_was_counted_is_named() -> None:
    counted = Measured(Counts(), given_up={"postgres": 2}, database_failures={"a: Refused": 3}, lost={"b": 1})

    found = {name: gate(name, counted) for name in ("interventions", "database", "lost")}

    assert {name: (gate.value, gate.evidence) for name, gate in found.items()} == {
        "interventions": (1, ("postgres (2 times)",)),
        "database": (3, ("a: Refused (3 times)",)),
        "lost": (1, ("b",)),
    }


def test_shards_add_up_what_each_counted() -> None:
    parts = sample.sharded(shards=2)
    first = replace(parts[0], given_up={"redis": 1}, database_failures={"a: Refused": 1})
    other = replace(parts[1], given_up={"redis": 1}, database_failures={"a: Refused": 1, "b: Reset": 1})

    values = {gate.name: gate.value for gate in summarise([first, other]).gates}

    assert (values["interventions"], values["database"]) == (1, 3)


def test_limits_come_from_the_projects_configuration(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.reports.gates]\nsuite = { limit = 20, target = 10 }\n")

    report = summarise([sample.green()], config=load_config(tmp_path))
    strict = summarise([sample.green()], config=ReportConfig(gates={"suite": GateRule(5, 1)}))

    suite = next(gate for gate in report.gates if gate.name == "suite")
    assert (suite.limit, suite.target, suite.state) == (20, 10, GateState.HELD)
    assert next(gate for gate in strict.gates if gate.name == "suite").state is GateState.BROKEN
    assert "a gate is broken: the whole suite" in strict.verdict.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.reports]\nkeep_run = 3", "knows no 'keep_run'"),
        ("[tool.reports]\nkeep_runs = 0", "whole number from 1"),
        ("[tool.reports]\nquarantine = 3", "must be a text"),
        ("[tool.reports.gates]\nsuite = 3", "write suite = { limit = 1, target = 1 }"),
        ("[tool.reports]\ngates = 3", "gates must be a table"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(ReportConfigError) as refused:
        load_config(tmp_path)

    assert said in str(refused.value)


def test_event_types_are_those_of_the_registry() -> None:
    assert [*project().event_types()] == topics().event_types


def test_a_gate_that_nobody_knows_is_named() -> None:
    with pytest.raises(ReportConfigError, match="knows no speed"):
        evaluate(Measured(Counts()), {"speed": GateRule(1, 1)})
