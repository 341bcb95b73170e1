"""A tiny project with what a test plants in it, run by pytest in a process of its own, and what became of each of its tests.

It lives under the rules of this house, or under those of a `pyproject.toml` that is planted too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from test_framework import CHECKOUT
from test_framework.running.hearing import hearing

DEADLINE_SECONDS = 25.0
OURS_ALONE = ("TEST_MODE", "PYTEST_", "PYTHONOPTIMIZE")


@dataclass
class PlantedOutcome:
    """What became of one test, or of a file: how its calls ended, why phases failed, and what it told the reports."""

    results: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    properties: dict[str, list[str]] = field(default_factory=dict)
    skipped: bool = False

    @property
    def words(self) -> str:
        return "\n".join(self.failed.values())


@dataclass(frozen=True)
class Ended:
    """How a run ended, what it said, and what became of its tests."""

    code: int
    said: str
    complained: str
    outcomes: dict[str, PlantedOutcome] = field(default_factory=dict)

    @property
    def output(self) -> str:
        return self.said + self.complained

    def line(self, *words: str) -> str:
        """The first line of its report with all of these words in it."""
        found = next((line for line in self.said.splitlines() if all(word in line for word in words)), None)
        assert found is not None, f"no line has {words}; it said:\n{self.said}\n{self.complained}"
        return found

    def of(self, test: str) -> PlantedOutcome:
        """What became of a test, by its name."""
        found = [outcome for name, outcome in self.outcomes.items() if name.endswith(f"::{test}")]
        assert len(found) == 1, f"{test} did not run:\n{self.output}"
        return found[0]


@dataclass(frozen=True)
class Planted:
    """A project in a folder of a test's own."""

    root: Path
    deadline: float = DEADLINE_SECONDS

    @property
    def log(self) -> Path:
        """What its last run told of every test; beside it, so that nobody takes it for a file of the project."""
        return self.root.with_name(f"{self.root.name}.log.jsonl")

    def file(self, path: str, source: str) -> Path:
        """Write a file; its indentation may be that of the test."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return file

    def command(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        own = (self.root / "pyproject.toml").exists()
        rules = () if own else ("-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={self.root}")
        named = any(not argument.startswith("-") and "tests" in argument for argument in arguments)
        rest = ("-p", "test_framework.plugin", f"--report-log={self.log}", *arguments, *(() if named else ("tests",)))
        return [sys.executable, *options, "-m", "pytest", *rules, *rest]

    def environment(self, **more: str) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(OURS_ALONE)}
        return {**ours, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200", **more}

    def run(self, *arguments: str, options: tuple[str, ...] = (), **environment: str) -> Ended:
        """Run pytest on it to the end; options go to Python, everything else to pytest."""
        with self.begun(*arguments, options=options, **environment) as process:
            said, complained = process.communicate(timeout=self.deadline)
        return Ended(process.returncode, said, complained, outcomes_in(self.log))

    def begun(
        self, *arguments: str, options: tuple[str, ...] = (), **environment: str
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run pytest on it while the block runs."""
        return self.started(self.command(*arguments, options=options), **environment)

    @contextmanager
    def started(self, command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command in it while the block runs, as the head of a process group of its own."""
        with subprocess.Popen(  # on purpose: it was killed, and ends at once
            command,
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hearing(),  # noqa: PLW1509 (all it does is set signals)
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def outcomes_of_cases(
    factory: pytest.TempPathFactory, name: str, sources: Mapping[str, str]
) -> Mapping[str, PlantedOutcome]:
    """What becomes of each source, as a file of its own in one lightweight run: once, however many workers ask."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = factory.getbasetemp()
    planted = Planted((base.parent if run else base) / f"{name}-{run or 'serial'}")
    files = {f"tests/unit/test_case_{number}.py": case for number, case in enumerate(sources)}
    with FileLock(f"{planted.root}.lock", timeout=2 * planted.deadline):
        if not planted.root.exists():
            for file, case in files.items():
                planted.file(file, sources[case])
            planted.run("--mode=lightweight", "-p", "no:randomly")
    found = {case: PlantedOutcome() for case in sources}
    for test, outcome in outcomes_in(planted.log).items():
        if of := files.get(test.partition("::")[0]):
            found[of].results += outcome.results
            found[of].failed |= {f"{test} {phase}": words for phase, words in outcome.failed.items()}
    return found


def outcomes_in(log: Path) -> dict[str, PlantedOutcome]:
    """Read from a run's log what became of each test, and of each file that could not be collected."""
    found: dict[str, PlantedOutcome] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        report = json.loads(line)
        if report["$report_type"] not in {"TestReport", "CollectReport"}:
            continue
        outcome = found.setdefault(report["nodeid"], PlantedOutcome())
        phase = report.get("when", "collect")
        if phase == "call":
            outcome.results.append(report["outcome"])
        elif report["outcome"] == "failed":
            outcome.results.append("error")
        if report["outcome"] == "failed":
            why = report["longrepr"]
            outcome.failed[phase] = why if isinstance(why, str) else json.dumps(why, ensure_ascii=False)
        outcome.properties.update(dict(report.get("user_properties", ())))
        outcome.skipped = outcome.skipped or report["outcome"] == "skipped"
    return found
