"""Every file that names Pythons names the same ones, and a new project runs on the newest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cos_scaffold.answers import CHOICES
from test_framework.guards.configuration import lowest_python
from test_framework.services import engine
from tests.template.workbench import ROOT, Workbench

MINUTES = 60
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
(IMAGE,) = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
INSIDE = """
cp -r /project /copy && cd /copy
python3 -m venv /venv
/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
/venv/bin/python -m pytest --mode=lightweight -n 2
"""


def pythons() -> list[str]:
    """The Pythons that `nox -s pythons` runs on."""
    newest = re.search(r'max_version="(\d+)\.(\d+)"', (ROOT / "noxfile.py").read_text(encoding="utf-8"))
    assert newest
    major, lowest = lowest_python(ROOT)
    return [f"{major}.{minor}" for minor in range(lowest, int(newest[2]) + 1)]


def test_nox_runs_every_supported_python(workbench: Workbench) -> None:
    listed = workbench.succeed("nox", "--list", cwd=ROOT)

    assert re.findall(r"^- pythons-(\S+)", listed, re.MULTILINE) == pythons()


def test_the_image_is_built_on_the_newest_python() -> None:
    assert IMAGE.split(":") == ["python", f"{pythons()[-1]}-slim"]


def matrix(workflow: str, job: str) -> list[str]:
    """The Pythons that a job of a workflow runs on."""
    jobs = yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
    found: list[str] = jobs[job]["strategy"]["matrix"]["python"]
    return found


def test_a_change_runs_on_the_lowest_and_the_newest_python_and_a_week_on_all() -> None:
    action = yaml.safe_load((ROOT / ".github/actions/nox/action.yml").read_text(encoding="utf-8"))

    assert matrix("test.yml", "lightweight") == [pythons()[0], pythons()[-1]]
    assert matrix("weekly.yml", "pythons") == pythons()
    assert action["inputs"]["python"]["default"] == pythons()[-1]


def test_a_project_may_begin_with_a_supported_python_only() -> None:
    assert set(CHOICES["lowest_python"]) <= set(pythons())
    assert CHOICES["lowest_python"][0] == "3.12", "what a project begins with unless its user asks for another"


@pytest.mark.needs("docker")
@pytest.mark.timeout(15 * MINUTES)
def test_a_new_project_is_green_on_the_newest_python(workbench: Workbench, tmp_path: Path) -> None:
    project = workbench.cookiecutter(str(ROOT), into=tmp_path)
    client = engine.connect()
    client.api.timeout = 2 * MINUTES  # an engine beside other runs
    mounts = {str(project): {"bind": "/project", "mode": "ro"}}
    container = client.containers.run(IMAGE, ["sh", "-ec", INSIDE], volumes=mounts, init=True, detach=True)
    try:
        code = container.wait(timeout=14 * MINUTES)["StatusCode"]
        output = container.logs().decode(errors="replace")
    finally:
        container.remove(force=True)
        client.close()

    assert code == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed, output
    assert int(passed[1]) > 400, output
