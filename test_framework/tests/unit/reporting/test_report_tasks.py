"""The commands, on a checkout with a made-up history."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from test_framework.reporting import sample
from test_framework.reporting.history import History
from test_framework.reporting.naming import DIRECTORY
from test_framework.running.exits import GATE_BROKEN
from test_framework.tasks import report
from test_framework.tests.unit.reporting.runs import part


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "CHECKOUT", tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    return tmp_path


@pytest.fixture
def recorded(checkout: Path) -> Path:
    with History.open(checkout / DIRECTORY) as history:
        for number in range(15):
            letters = "." * 99 + ("F" if number % 4 == 0 else ".")
            began = 2e9 + 60 * number
            history.keep(part(letters, f"run-{number:02}", started=began, ended=began + 9), 1)
    return checkout


def test_without_a_record_every_command_says_how_to_get_one(checkout: Path) -> None:
    for command in (report.summary, report.flaky, report.trend, report.gates, report.export):
        with pytest.raises(Exit, match=r"no run is recorded in .*; make one: nox -s lightweight"):
            command(Context())


def test_the_summary_is_of_the_newest_run(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.summary(Context())

    said = capsys.readouterr().out
    assert "ALL GREEN: all 100 tests" in said
    assert "run-14" in said


def test_a_name_that_fits_none_or_several_is_refused(recorded: Path) -> None:
    with pytest.raises(Exit, match="no run begins with 'x'"):
        report.summary(Context(), run="x")
    with pytest.raises(Exit, match="5 runs begin with 'run-1'"):
        report.summary(Context(), run="run-1")


def test_two_runs_are_compared(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.compare(Context(), "run-12", "run-14")

    assert "fixed" in capsys.readouterr().out


def test_the_flaky_are_listed(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.flaky(Context())

    assert "4 of 15" in capsys.readouterr().out


def test_a_broken_gate_fails_the_command_and_names_it(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with History.open(checkout / DIRECTORY) as history:
        history.keep(part("FFF."), 1)

    with pytest.raises(Exit, match="broken gates: run-1: tests that pass") as ended:
        report.gates(Context())

    assert ended.value.code == GATE_BROKEN
    assert "3 to fix" in capsys.readouterr().out


def test_held_gates_pass(recorded: Path) -> None:
    report.gates(Context(), run="run-14")


@pytest.mark.parametrize("name", ["junit", "ctrf", "csv", "markdown", "json"])
def test_every_format_is_written_where_it_is_wanted(recorded: Path, name: str) -> None:
    to = recorded / "out"

    report.export(Context(), format=name, to=str(to))

    assert "t99" in to.read_text(encoding="utf-8")


def test_a_format_that_is_not_known_is_refused(recorded: Path) -> None:
    with pytest.raises(Exit, match="choose one of junit, ctrf, csv, markdown, json"):
        report.export(Context(), format="pdf")


def test_the_demo_needs_no_run_and_leaves_the_history_alone(checkout: Path) -> None:
    report.demo(Context())

    assert json.loads((checkout / DIRECTORY / "demo" / "report.json").read_bytes())["counts"]["collected"] == 399
    assert not (checkout / DIRECTORY / "history.db").exists()


def test_a_dry_run_tells_and_forgets(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with History.open(checkout / DIRECTORY) as history:
        history.keep(part("FFF."), 1)

    for _ in range(2):
        report.alert(Context(), dry_run=True)

    assert capsys.readouterr().out.count("new ") == 2


def test_an_alert_without_a_receiver_says_what_is_needed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    with History.open(checkout / DIRECTORY) as history:
        history.keep(part("FFF."), 1)

    with pytest.raises(Exit, match="--webhook"):
        report.alert(Context())


def test_shards_from_other_machines_are_merged_and_drawn(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in sample.sharded(shards=2):
        with History.open(checkout / f"machine-{made.run.shard}") as machine:
            machine.keep(replace(made, problems=()), 1)

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(checkout / "step.md"))
    report.merge(Context(), f"{checkout}/machine-1/history.db,{checkout}/machine-2/history.db", pages=True)

    said = capsys.readouterr().out
    assert said.count("1 taken in") == 2
    assert "tests     399 = " in said
    assert "| **collected** | **399** |" in (checkout / "step.md").read_text(encoding="utf-8")
    assert list((checkout / DIRECTORY / "report").glob("sample-*/index.html"))
