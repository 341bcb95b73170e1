"""A new project passes its own checks, in its own environments, before anybody has changed a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cos_scaffold.answers import CHOICES
from tests.template.workbench import ANSWERS, ROOT, Workbench

MINUTES = 60


@pytest.fixture(scope="module")
def own(workbench: Workbench) -> Path:
    """A project stamped from this very repository, nothing planted, under git as its user would have it."""
    made = workbench.cookiecutter(str(ROOT), into=workbench.folder / "own")
    workbench.succeed("git", "init", "--quiet", cwd=made)
    workbench.commit(made, "a new project")
    return made


@pytest.mark.timeout(10 * MINUTES)
@pytest.mark.parametrize("session", ["lint", "types", "lightweight"])
def test_a_new_project_passes_its_own_session(session: str, own: Path, workbench: Workbench) -> None:
    workbench.succeed("nox", "-s", session, cwd=own, seconds=9 * MINUTES)

    assert workbench.succeed("git", "status", "--porcelain", cwd=own) == ""


@pytest.mark.parametrize("python", CHOICES["lowest_python"])
def test_a_newer_lowest_python_brings_no_fault_of_style(
    python: str, own: Path, workbench: Workbench, tmp_path: Path
) -> None:
    made = workbench.typed({"lowest_python": python}, template=ROOT, into=tmp_path / "made")
    assert made.code == 0, made.said
    newer = tmp_path / "made" / ANSWERS["project_slug"]

    for command in (("check", "--output-format=concise"), ("format", "--check")):
        assert workbench.run("ruff", *command, cwd=newer) == workbench.run("ruff", *command, cwd=own)
