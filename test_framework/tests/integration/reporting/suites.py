"""Small suites that are really run, by pytest in a process of its own, with the kit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from test_framework import CHECKOUT
from test_framework.reporting.facts import Part, TestResult
from test_framework.reporting.naming import DIRECTORY, RECORD
from test_framework.reporting.reading import read_record

DEADLINE_SECONDS = 60
CONFIGURATION = """
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--import-mode=importlib", "-p", "no:anyio", "-p", "no:cacheprovider"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"

[tool.guards.skips]
"not on this machine" = "one that is known"

[tool.guards.skip_budget]
lightweight = 10
"""
_OF_OURS = ("GITHUB_", "PYTEST_", "NOX_", "CI", "TEST_MODE", "SERVICES")


@dataclass(frozen=True)
class Suite:
    """A folder with tests, as a project of its own."""

    root: Path

    @classmethod
    def of(cls, root: Path, tests: str, *, name: str = "test_a.py") -> Suite:
        """Write a suite of one file."""
        (root / "tests/unit").mkdir(parents=True, exist_ok=True)
        (root / "pyproject.toml").write_text(CONFIGURATION)
        (root / "conftest.py").write_text('pytest_plugins = ["test_framework.plugin"]\n')
        (root / "tests/unit" / name).write_text(tests)
        return cls(root)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Begin to run it."""
        command = [sys.executable, "-m", "pytest", "--mode=lightweight", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=clean(os.environ) | {"PYTHONPATH": str(CHECKOUT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def records(self) -> list[Path]:
        return sorted((self.root / DIRECTORY).glob(f"*/{RECORD}"))

    def part(self) -> Part:
        """Read the one record that there is."""
        (record,) = self.records
        return read_record(record)


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep the run that runs these tests out of the runs that they make."""
    return {name: value for name, value in environment.items() if not name.startswith(_OF_OURS)}


def by_name(part: Part) -> dict[str, TestResult]:
    """Each test under its short name."""
    return {result.id.rpartition("::")[2]: result for result in part.results}


def lines_of(output: str, *beginnings: str) -> Iterator[str]:
    """Yield the lines of an output that begin so."""
    return (line for line in output.splitlines() if line.startswith(beginnings))
