"""A new project passes its own checks, in its own environments, whatever its user answered and before a line is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cos_scaffold.answers import CHOICES
from cos_scaffold.live_files import live_files
from test_framework.running.machine import python_since
from tests.template.workbench import ANSWERS, ROOT, Reruns, Workbench

MINUTES = 60
GIVEN: dict[str, tuple[str, ...]] = {"lightweight": (), "integration": (), "full": ("--without-model",)}
HARDEST = "3.13, no CI"
ANSWERED = {
    "3.11": {"lowest_python": "3.11"},
    "3.12": {"lowest_python": "3.12"},
    HARDEST: {"lowest_python": "3.13", "ci_provider": "none"},
    "no example": {"example": "none"},
}
# the tests of a project with other answers run on the machines of test_machines.py
SESSIONS = {
    "3.11": ("lint", "types"),
    "3.12": ("workflows", "lint", "types"),
    HARDEST: ("workflows", "lint", "types", "lightweight", "integration", "full"),
    "no example": ("lint", "types", "lightweight"),
}
CASES = [
    pytest.param(answers, session, marks=pytest.mark.needs("python_3_13") if answers == HARDEST else ())
    for answers, sessions in SESSIONS.items()
    for session in sessions
]


@pytest.fixture(scope="module")
def projects(workbench: Workbench) -> Callable[[str], Path]:
    """Projects stamped from this very repository, nothing planted, and not yet under git: as people find them."""

    @cache
    def stamped(answers: str) -> Path:
        into = workbench.folder / "projects" / answers
        ended = workbench.typed(ANSWERED[answers], template=ROOT, into=into)
        assert ended.code == 0, ended.said
        return into / ANSWERS["project_slug"]

    return stamped


@pytest.fixture(scope="module")
def own(projects: Callable[[str], Path]) -> Path:
    return projects("3.11")


def test_every_answer_is_tried_inside_a_project() -> None:
    for field in ("lowest_python", "ci_provider", "example"):
        tried = {{**ANSWERS, **answers}[field] for answers in ANSWERED.values()}
        assert tried == set(CHOICES[field])


@pytest.mark.timeout(15 * MINUTES)
@pytest.mark.parametrize(("answers", "session"), CASES, ids=lambda value: str(value))
def test_a_new_project_passes_its_own_session(
    answers: str, session: str, projects: Callable[[str], Path], workbench: Workbench, reruns: Reruns
) -> None:
    project = projects(answers)
    before = live_files(project)

    options = ["--", *GIVEN[session], *reruns.options] if session in GIVEN else []
    if answers == HARDEST:
        options = ["--force-python", str(python_since((3, 13))), *options]
    output = workbench.succeed("nox", "-s", session, *options, cwd=project, seconds=14 * MINUTES)
    reruns.show(output)

    assert live_files(project) == before
    if session == "workflows" and answers == HARDEST:
        assert "this project has no .github folder" in output
    elif session in GIVEN:
        passed = re.search(r"^tests +\d+ = (\d+) passed", output, re.MULTILINE)
        assert passed, output
        assert int(passed[1]) > (20 if answers == "no example" else 100), output


@pytest.mark.timeout(5 * MINUTES)
def test_the_services_of_a_new_project_come_up_and_go(projects: Callable[[str], Path], workbench: Workbench) -> None:
    project = projects(HARDEST)
    before = live_files(project)
    try:
        workbench.succeed("invoke", "services.up", "--wait", "90", cwd=project, seconds=4 * MINUTES)
        up = json.loads(workbench.succeed("invoke", "services.status", "--json", cwd=project))
        workbench.succeed("invoke", "services.down", cwd=project, seconds=2 * MINUTES)
        down = json.loads(workbench.succeed("invoke", "services.status", "--json", cwd=project))
    finally:
        workbench.succeed("invoke", "clean.all", cwd=project, seconds=2 * MINUTES)

    assert {one["service"]: one["state"] for one in up} == {"postgres": "healthy", "redis": "healthy"}
    assert {one["state"] for one in down} == {"absent"}
    assert live_files(project) == before


@pytest.mark.parametrize("command", [("check", "--output-format=concise"), ("format", "--check")])
def test_a_newer_lowest_python_brings_no_fault_of_style(
    command: tuple[str, str], own: Path, workbench: Workbench
) -> None:
    lowest, *newer = ("py" + python.replace(".", "") for python in CHOICES["lowest_python"])

    found = {python: workbench.run("ruff", *command, "--target-version", python, cwd=own) for python in newer}

    assert found == dict.fromkeys(newer, workbench.run("ruff", *command, "--target-version", lowest, cwd=own))
