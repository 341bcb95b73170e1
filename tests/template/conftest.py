from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cos_scaffold.live_files import live_files
from tests.template.workbench import ROOT, Reruns, Workbench

PLANTED = {
    "docs/Größe & Maß.md": b"A name with accents and blanks.\n\nGone. <!-- template only -->\n",
    "docs/jinja.md": b"{{ cookiecutter.project_name }} {% raw %} {# neither read nor changed #} $(id) `id`\n",
    ".planted/.hidden": b"seen\n",
    ".github/workflows/planted.yml": b"jobs: { one: { runs-on: '${{ matrix.system }}', if: '${{ !cancelled() }}' } }\n",
    ".github/workflows/ours.yml": b"# >>> template only\non: push\n# <<< template only\n",
    ".ci/ours.sh": b"#!/bin/sh\n",
    "app/planted/__init__.py": b"",
    "app/planted/picture.png": bytes(range(256)) + b"\r\n{{ cookiecutter.project_slug }} template only \xff",
    "commitstream/planted.txt": b"the first edition\n",
    "tests/planted/test_planted.py": b"# the first edition\n",
    "test_framework/planted/text.txt": b"the first edition\n",
    "test_framework/planted/goes.txt": b"the first edition\n",
    "test_framework/planted/run.sh": b"#!/bin/sh\necho ran\n",
}
JUNK = (
    ".env.local",
    ".data/app.db",
    ".venv/bin/python",
    ".nox/tests/bin/python",
    ".reports/index.html",
    "app/__pycache__/main.cpython-311.pyc",
    "app/.DS_Store",
    "test_framework/.mypy_cache/one",
)


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A place where people's commands run without people's settings."""
    return Workbench.furnished(tmp_path_factory.mktemp("workbench"))


@pytest.fixture
def reruns(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> Reruns:
    """What runs inside a test take over of this run's `--reruns`."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    given = pytestconfig.getoption("reruns")
    return Reruns(["--reruns", str(given), "-rR"] if given else [], show)


@pytest.fixture(scope="session")
def checkout(workbench: Workbench) -> Path:
    """A committed copy of this repository as it is now, with everything in it that was ever lost on the way."""
    checkout = workbench.folder / "src" / "cos-template"
    for name in live_files(ROOT):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    for name, content in PLANTED.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(content)
    (checkout / "test_framework/planted/run.sh").chmod(0o755)
    workbench.succeed("git", "init", "--quiet", cwd=checkout)
    workbench.commit(checkout, "the template")
    for name in JUNK:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("of this machine\n")
    return checkout


@pytest.fixture(scope="session")
def published(workbench: Workbench, checkout: Path) -> str:
    """The address that the template is published at."""
    bare = workbench.folder / "org" / "cos-template.git"
    workbench.succeed("git", "clone", "--quiet", "--bare", str(checkout), str(bare))
    return f"file://{bare}"


@pytest.fixture(scope="session")
def project(workbench: Workbench, checkout: Path) -> Path:
    """A project stamped from a local path. Read it; don't write to it."""
    return workbench.cookiecutter(str(checkout), into=workbench.folder / "project")
