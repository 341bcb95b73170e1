"""Small suites that are really run, by pytest in a process of its own, with the kit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from test_framework.reporting.facts import RunPart, TestResult
from test_framework.reporting.naming import DIRECTORY, RECORD
from test_framework.reporting.reading import read_record
from test_framework.running.planted import Planted

DEADLINE_SECONDS = 60.0
CONFIGURATION = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:anyio", "-p", "no:cacheprovider"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"

[tool.guards.skips]
"not on this machine" = "one that is known"

[tool.guards.skip_budget]
lightweight = 10
"""
OF_OURS = ("GITHUB_", "NOX_", "CI", "SERVICES")


@dataclass(frozen=True)
class Suite(Planted):
    """A folder with tests, as a project of its own."""

    deadline: float = DEADLINE_SECONDS

    @classmethod
    def of(cls, root: Path, tests: str, *, name: str = "test_a.py") -> Suite:
        """Write a suite of one file."""
        suite = cls(root)
        suite.file("pyproject.toml", CONFIGURATION)
        suite.file(f"tests/unit/{name}", tests)
        return suite

    def environment(self, **more: str) -> dict[str, str]:
        """Keep the run that runs these tests out of the runs that they make."""
        ours = super().environment()
        return {name: value for name, value in ours.items() if not name.startswith(OF_OURS)} | more

    @property
    def records(self) -> list[Path]:
        return sorted((self.root / DIRECTORY).glob(f"*/{RECORD}"))

    def part(self) -> RunPart:
        """Read the one record that there is."""
        (record,) = self.records
        return read_record(record)


TASK = """
import sys
from pathlib import Path

import test_framework

test_framework.CHECKOUT = Path({root!r})

from invoke import Context
from invoke.exceptions import Exit

from test_framework.tasks import report

try:
    report.{call}
except Exit as ended:
    print(ended.message)
    sys.exit(ended.code)
"""


def report_task(suite: Suite, call: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of `invoke report.…` on a project, such as `gates(Context())`, as a process."""
    return subprocess.run(
        [sys.executable, "-c", TASK.format(root=str(suite.root), call=call)],
        cwd=suite.root,
        env=suite.environment(**environment),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def by_name(part: RunPart) -> dict[str, TestResult]:
    """Each test under its short name."""
    return {result.id.rpartition("::")[2]: result for result in part.results}


def lines_of(output: str, *beginnings: str) -> Iterator[str]:
    """Yield the lines of an output that begin so."""
    return (line for line in output.splitlines() if line.startswith(beginnings))
