"""The workflows are thin: they pin what they use, may do next to nothing, and call what everybody can call by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nox
import pytest
import yaml

from test_framework.modes import MODEL_VARIABLES
from test_framework.reporting.ci_jobs import RECORDS
from tests.template.workbench import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")
COMMANDS = ("nox ", "invoke ", ". ./activate ")

each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read


def steps(file: Path) -> Iterator[dict[str, Any]]:
    made = read(file)
    for job in made["jobs"].values() if "jobs" in made else [made["runs"]]:
        yield from job["steps"]


def triggers(file: Path) -> set[str]:
    text = file.read_text(encoding="utf-8").replace("\non:", "\ntriggers:")  # YAML reads `on` as true
    return set(yaml.safe_load(text)["triggers"])


def matrix(file: Path) -> list[dict[str, str]]:
    jobs = read(file)["jobs"].values()
    return [entry for job in jobs for entry in job.get("strategy", {}).get("matrix", {}).get("include", [])]


def test_the_workflows_that_people_look_for_are_there() -> None:
    names = {file.name for file in WORKFLOWS}

    assert names == {
        "test.yml", "test-parallel.yml", "template.yml", "health-monitor.yml", "security.yml", "weekly.yml",
    }  # fmt: skip


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_is_used_is_pinned_by_its_commit_and_says_its_version(file: Path) -> None:
    for line in re.findall(r"uses: (.+)", file.read_text(encoding="utf-8")):
        assert line.startswith("./") or re.fullmatch(PINNED.pattern + r" # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_step_calls_what_everybody_can_call_by_hand(file: Path) -> None:
    for step in steps(file):
        command = step.get("run", "nox ")
        assert command.startswith(COMMANDS) or command == "exit 1", command


@each_workflow
def test_the_sessions_that_are_called_exist(file: Path) -> None:
    sessions = set(re.findall(r"@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text()))

    assert {entry["mode"] for entry in matrix(file)} <= sessions
    for step in steps(file):
        if found := re.match(r"nox -s ([^-]+)", step.get("run", "")):
            assert set(found[1].split()) - {"$MODE"} <= sessions, step["run"]


@each_workflow
def test_nothing_is_permitted_that_a_job_does_not_name(file: Path) -> None:
    made = read(file)

    assert made["permissions"] == {}
    longest = 240 if file.stem == "weekly" else 30
    assert all("permissions" in job and job["timeout-minutes"] <= longest for job in made["jobs"].values())


@each_workflow
def test_no_credentials_stay_in_the_checkout(file: Path) -> None:
    for step in steps(file):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_a_schedule_stands_in_a_file_that_no_change_depends_on(file: Path) -> None:
    assert "schedule" not in triggers(file) or not {"push", "pull_request"} & triggers(file)


@each_workflow
def test_an_artifact_keeps_its_name_to_itself(file: Path) -> None:
    names = [step["with"]["name"] for step in steps(file) if "upload-artifact@" in step.get("uses", "")]

    assert len(set(names)) == len(names)
    for job in read(file)["jobs"].values():
        axes = set(job.get("strategy", {}).get("matrix", {}))
        for step in job["steps"]:
            if "upload-artifact@" in step.get("uses", "") and axes:
                assert "matrix." in step["with"]["name"], "two of a matrix would write one artifact"
                assert "github.run_attempt" in step["with"]["name"], "a second attempt would meet the first one's"


@each_workflow
def test_one_required_check_waits_for_every_job(file: Path) -> None:
    jobs = read(file)["jobs"]
    if "check" not in jobs:
        assert len(jobs) == 1 or "pull_request" not in triggers(file)
        return
    assert set(jobs["check"]["needs"]) == set(jobs) - {"check"}
    assert jobs["check"]["if"] == "always()"
    assert jobs["check"]["steps"][-1]["run"] == "exit 1"


def test_the_shards_of_the_matrix_are_all_of_them() -> None:
    shards: dict[str, list[str]] = {}

    for entry in matrix(ROOT / ".github/workflows/test-parallel.yml"):
        shards.setdefault(entry["mode"], []).append(entry["shard"])
    for mode, found in shards.items():
        assert found == [f"{index}/{len(found)}" for index in range(1, len(found) + 1)], mode


def test_the_weekly_workflow_runs_what_takes_long() -> None:
    commands = " ".join(step.get("run", "") for step in steps(ROOT / ".github/workflows/weekly.yml"))

    assert set(re.findall(r"nox -s (\w+)", commands)) == {"soak", "repeat", "mutants", "pythons", "template", "week"}


def test_each_supported_python_is_a_job_of_the_week() -> None:
    pythons = read(ROOT / ".github/workflows/weekly.yml")["jobs"]["pythons"]["strategy"]["matrix"]["python"]
    supported = nox.project.python_versions(nox.project.load_toml(ROOT / "pyproject.toml"), max_version=pythons[-1])

    assert pythons == supported
    assert f'max_version="{pythons[-1]}"' in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_one_workflow_alone_writes_the_history() -> None:
    """A second one would save it without what the first has added meanwhile."""
    writers = [file.stem for file in WORKFLOWS for step in steps(file) if "cache/save@" in step.get("uses", "")]

    assert writers == ["health-monitor"]


def test_every_run_of_a_mode_uploads_its_records() -> None:
    found = {
        step["with"]["name"].partition("-attempt")[0]
        for name in ("test", "test-parallel", "template", "weekly")
        for step in steps(ROOT / f".github/workflows/{name}.yml")
        if "upload-artifact@" in step.get("uses", "") and step["with"]["name"].startswith(RECORDS)
    }

    assert found == {
        "records-lightweight-${{ matrix.system }}-${{ matrix.python }}",
        "records-${{ matrix.artifact }}",
        "records-template",
        "records-pythons-${{ matrix.python }}",
    }


def test_one_shard_runs_on_pulled_containers() -> None:
    services = [entry.get("services") for entry in matrix(ROOT / ".github/workflows/test-parallel.yml")]

    assert services.count("compose") == 1


def test_full_has_its_model_where_the_settings_are_given() -> None:
    jobs = read(ROOT / ".github/workflows/test-parallel.yml")["jobs"]
    text = (ROOT / ".github/workflows/test-parallel.yml").read_text(encoding="utf-8")

    assert "--without-model" not in text
    for name in ("plan", "shard"):
        given = {variable: jobs[name]["env"][variable] for variable in MODEL_VARIABLES}
        assert given == {variable: f"${{{{ secrets.{variable} }}}}" for variable in MODEL_VARIABLES}
