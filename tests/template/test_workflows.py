"""The workflows are thin: they pin what they use, may do next to nothing, and call what everybody can call by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def matrix(file: Path) -> list[dict[str, str]]:
    jobs = read(file)["jobs"].values()
    return [entry for job in jobs for entry in job.get("strategy", {}).get("matrix", {}).get("include", [])]


def test_the_workflows_that_people_look_for_are_there() -> None:
    names = {file.name for file in WORKFLOWS}

    assert {"test.yml", "test-parallel.yml", "template.yml", "health-monitor.yml", "security.yml"} <= names


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
    assert all("permissions" in job and job["timeout-minutes"] <= 30 for job in made["jobs"].values())


@each_workflow
def test_no_credentials_stay_in_the_checkout(file: Path) -> None:
    for step in steps(file):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_a_schedule_stands_in_a_file_that_no_change_depends_on(file: Path) -> None:
    triggers = yaml.safe_load(file.read_text().replace("\non:", "\ntriggers:"))["triggers"]  # YAML reads `on` as true

    assert "schedule" not in triggers or not {"push", "pull_request"} & set(triggers)


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
        assert len(jobs) == 1
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
