"""A small project with planted faults, and a real run of pytest over it: what each planted test came to, and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from test_framework import CHECKOUT

SECONDS = 100
PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "test_framework.plugin", "-p", "no:anyio", "-p", "no:schemathesis",
    "-p", "no:valkey", "-p", "no:platformdirs", "-p", "no:cacheprovider", "-p", "no:randomly"]
pythonpath = ["."]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
timeout = 30
timeout_method = "signal"
filterwarnings = ["error"]
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one planted test: the words of each phase that failed, and what it told the reports."""

    failed: dict[str, str] = field(default_factory=dict)
    properties: dict[str, list[str]] = field(default_factory=dict)
    skipped: bool = False

    @property
    def words(self) -> str:
        return "\n".join(self.failed.values())


@dataclass(frozen=True)
class Run:
    """A finished run of pytest."""

    code: int
    output: str
    outcomes: dict[str, Outcome]

    def of(self, test: str) -> Outcome:
        """What became of a test, by its name."""
        found = [outcome for name, outcome in self.outcomes.items() if name.endswith(f"::{test}")]
        assert len(found) == 1, f"{test} did not run:\n{self.output}"
        return found[0]


def run_planted(
    folder: Path, files: dict[str, str], *arguments: str, pyproject: str = "", environment: dict[str, str] | None = None
) -> Run:
    """Write a project and run its tests in a process of their own."""
    for name, text in {"pyproject.toml": PYPROJECT + pyproject, **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    log = folder / "log.jsonl"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TEST_MODE"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--report-log={log}", *arguments],
        cwd=folder,
        env={**own, "PYTHONPATH": str(CHECKOUT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, _outcomes(log))


def _outcomes(log: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        report = json.loads(line)
        if report["$report_type"] not in {"TestReport", "CollectReport"}:
            continue
        known = found.get(report["nodeid"], Outcome())
        if report["outcome"] == "failed":
            known.failed[report.get("when", "collect")] = _text(report["longrepr"])
        known.properties.update(dict(report.get("user_properties", ())))
        found[report["nodeid"]] = Outcome(
            known.failed, known.properties, known.skipped or report["outcome"] == "skipped"
        )
    return found


def _text(longrepr: object) -> str:
    return longrepr if isinstance(longrepr, str) else json.dumps(longrepr, ensure_ascii=False)
