"""A project of its own to fail in: the kit's plugin, one test file, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework import CHECKOUT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that pytest takes for a project of this kind."""
    for name in ("conftest.py", "pyproject.toml"):
        (tmp_path / name).write_text((CHECKOUT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """This process's environment without what another run would take from it."""
    left_out = ("PYTEST_", "GITHUB_", "TEST_MODE", "SERVICES", "NOX_", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}


@pytest.fixture
def fail(project: Path, clean_environment: dict[str, str]) -> Run:
    """Run pytest on some tests in that project, and give what it said."""

    def run(source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        file = project / "tests" / "unit" / "test_it.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", *arguments]
        return subprocess.run(
            command,
            cwd=project,
            env=clean_environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
