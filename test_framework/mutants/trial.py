"""One mutant's trial: a copy of the tree in which it lives, and the tests that have to notice it, the likeliest first.

A catch counts only by a test of behaviour. A control run finds the others: on a tree whose lines are changed without
effect, they fail as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from test_framework.modes import Mode
from test_framework.mutants.patches import Mutant, change_without_effect

TRIAL_SECONDS = 300.0
CONTROL_SECONDS = 3600.0
SLOWER = 3
"""How many times as long as in the control run the whole suite may take before it counts as one that never ends."""
LOG = ".mutant.jsonl"
NOT_FOR_A_TRIAL = ("PYTEST_", "PYTHONPATH", "TEST_MODE")


class MutantVerdict(StrEnum):
    CAUGHT = "caught"
    ELSEWHERE = "caught elsewhere"
    SURVIVED = "survived"
    BROKEN = "broken"


@dataclass(frozen=True)
class TrialOutcome:
    """What became of a mutant, and the test that noticed it or the reason why it proves nothing."""

    name: str
    verdict: MutantVerdict
    detail: str
    seconds: float


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """Copy what belongs to the project to a folder of its own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        for name in _files(root):
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        yield Path(folder)


@dataclass
class Control:
    """The suite on a tree whose lines are changed without effect, run once for each mode that a trial needs."""

    mutants: Sequence[Mutant]
    root: Path
    _runs: dict[Mode, asyncio.Task[tuple[list[str], float]]] = field(default_factory=dict)

    async def named_tests_fail(self, mode: Mode, tests: Sequence[str]) -> str:
        """Run the tests that the list names; return what fails of them, or an empty text."""
        with self._tree() as tree:
            run = await run_tests(tree, mode, tests, TRIAL_SECONDS)
        return "" if run.code == 0 else f"{run.caught_by or run.said[-2000:]} (pytest ended with {run.code})"

    async def judges_of_source(self, mode: Mode) -> tuple[list[str], float]:
        """Return the tests that fail here, and how many seconds the whole suite takes."""
        if mode not in self._runs:
            self._runs[mode] = asyncio.create_task(self._whole_suite(mode))
        return await asyncio.shield(self._runs[mode])

    async def _whole_suite(self, mode: Mode) -> tuple[list[str], float]:
        clock = asyncio.get_running_loop().time
        with self._tree() as tree:
            began = clock()
            run = await run_tests(tree, mode, (), CONTROL_SECONDS, "--maxfail=0")
            return list(run.failed), clock() - began

    @contextmanager
    def _tree(self) -> Iterator[Path]:
        with copied(self.root) as tree:
            change_without_effect(self.mutants, tree)
            yield tree


async def try_out(mutant: Mutant, root: Path, control: Control, timeout: float) -> TrialOutcome:
    """Break a copy of the tree in one way; run the named tests, and if none fails, all tests of behaviour."""
    clock = asyncio.get_running_loop().time
    began = clock()
    with copied(root) as copy:
        mutant.apply(copy)
        run = await run_tests(copy, mutant.mode, mutant.tests.split(), timeout, "-x")
        verdict = MutantVerdict.CAUGHT
        if run.code == 0:
            judges, seconds = await control.judges_of_source(mutant.mode)
            timeout, verdict = max(timeout, SLOWER * seconds), MutantVerdict.ELSEWHERE
            run = await _first_witness(copy, mutant.mode, timeout, judges)
    took = clock() - began
    if run.caught_by:
        return TrialOutcome(mutant.name, verdict, run.caught_by, took)
    if run.code is None:
        return TrialOutcome(mutant.name, verdict, f"the tests did not end within {timeout:g} s", took)
    if run.code != 0:
        return TrialOutcome(
            mutant.name, MutantVerdict.BROKEN, f"pytest ended with {run.code}:\n{run.said[-1500:]}", took
        )
    return TrialOutcome(mutant.name, MutantVerdict.SURVIVED, "no test of behaviour failed", took)


async def _first_witness(copy: Path, mode: Mode, timeout: float, judges: Sequence[str]) -> TrialRun:
    """Run all tests but the judges of source, until one fails that also fails when it is run alone."""
    left_out = [*judges]
    while True:
        run = await run_tests(copy, mode, (), timeout, "-x", *(f"--deselect={test}" for test in left_out))
        suspects = [*run.failed]
        if not suspects or (await run_tests(copy, mode, suspects, timeout)).failed:
            return run
        left_out += suspects  # it flipped, and would be called a witness of whatever is tried


@dataclass(frozen=True)
class TrialRun:
    """One run of pytest: how it ended (None: not in time), which tests failed and when, and the end of its output."""

    code: int | None
    failed: Mapping[str, str]
    said: str

    @property
    def caught_by(self) -> str:
        """Name the first test that failed, and the phase in which it did."""
        test, phase = next(iter(self.failed.items()), ("", "call"))
        return test if phase == "call" else f"{test} (its {phase})"


async def run_tests(root: Path, mode: Mode, tests: Sequence[str], timeout: float, *options: str) -> TrialRun:
    """Run tests in a tree, or all of them where none is named."""
    log = root / LOG
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--report-log={log}", *_mode(root, mode), *options, *tests]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=root,
        env=_environment(root),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        return TrialRun(None, {}, "")
    finally:
        await _end(process)
    return TrialRun(process.returncode, _failures(log), said.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a run and the processes it started, also one that no longer reacts."""
    if process.returncode is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _mode(root: Path, mode: Mode) -> list[str]:
    """The mode, in a tree that has the kit."""
    return [f"--mode={mode}"] if (root / "test_framework" / "plugin.py").exists() else []


def _environment(root: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_A_TRIAL)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def _failures(log: Path) -> dict[str, str]:
    """Read which tests failed from the log of a run, in order, and in which phase."""
    failed: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        record = json.loads(line)
        if record.get("$report_type") == "TestReport" and record.get("outcome") == "failed":
            failed.setdefault(record["nodeid"], record["when"])
    return failed


def _files(root: Path) -> list[str]:
    """What git tracks or would; without git, everything that is no build product."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
        names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        return [name for name in names if (root / name).is_file()]
    junk = {".git", ".nox", ".venv", "__pycache__", ".data", "node_modules", ".mypy_cache", ".ruff_cache"}
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return [file.as_posix() for file in files if not junk & set(file.parts)]
