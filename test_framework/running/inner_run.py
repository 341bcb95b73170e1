"""A pytest run inside a test: files that the test writes, run as people would run them, and read from the run's own log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from test_framework import CHECKOUT

RUN_SECONDS = 25.0
LOG = "log.jsonl"
FOLDER = "tests/unit"


@dataclass
class Outcome:
    """What became of a file's tests, in their order, and all that was said of those that did not pass."""

    results: list[str] = field(default_factory=list)
    said: str = ""

    def __str__(self) -> str:
        return " ".join(self.results)


def outcomes_of(factory: pytest.TempPathFactory, name: str, sources: Mapping[str, str]) -> Mapping[str, Outcome]:
    """Run test files in one lightweight pytest with this project's configuration: once, however many workers ask."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = factory.getbasetemp()
    root = (base.parent if run else base) / f"{name}-{run or 'serial'}"
    files = {f"{FOLDER}/test_case_{number}.py": case for number, case in enumerate(sources)}
    with FileLock(f"{root}.lock", timeout=2 * RUN_SECONDS):
        if not (root / LOG).exists():
            _run(root, {file: sources[case] for file, case in files.items()})
    return _read((root / LOG).read_text(encoding="utf-8"), files)


def _run(root: Path, files: Mapping[str, str]) -> None:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for file, source in files.items():
        (root / file).write_text(source, encoding="utf-8")
    (root / "conftest.py").write_text('pytest_plugins = ["test_framework.plugin"]\n', encoding="utf-8")
    (root / "pyproject.toml").write_text((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    options = ["-q", "--mode=lightweight", "-p", "no:randomly", f"--report-log={LOG}"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=root,
        env={**ours, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if not (root / LOG).exists():
        raise AssertionError(f"the inner pytest kept no log; it said:\n{(ran.stdout + ran.stderr).decode()}")


def _read(log: str, files: Mapping[str, str]) -> Mapping[str, Outcome]:
    """Tell from a run's log what became of each file, by the name it was given."""
    found = {case: Outcome() for case in files.values()}
    for line in log.splitlines():
        record = json.loads(line)
        if record.get("$report_type") not in {"TestReport", "CollectReport"} or record.get("outcome") is None:
            continue
        outcome = found.get(files.get(record["nodeid"].partition("::")[0], ""))
        if outcome is None:
            continue
        if record.get("when") == "call":
            outcome.results.append(record["outcome"])
        elif record["outcome"] == "failed":
            outcome.results.append("error")
        if record["outcome"] == "failed":
            outcome.said += json.dumps(record["longrepr"], ensure_ascii=False)
    return found
