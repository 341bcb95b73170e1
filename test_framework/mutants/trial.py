"""One mutant's trial: a copy of the tree in which it lives, and the tests that have to notice it, the likeliest first."""

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
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from test_framework.modes import Mode
from test_framework.mutants.patches import Mutant

TRIAL_SECONDS = 300.0
EVERYTHING: tuple[str, ...] = ()
LOG = ".mutant.jsonl"


class Verdict(StrEnum):
    CAUGHT = "caught"
    SURVIVED = "survived"
    BROKEN = "broken"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant, and the test that noticed it or the reason why nothing can be said."""

    name: str
    verdict: Verdict
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


async def try_out(mutant: Mutant, root: Path, seconds: float) -> Outcome:
    """Break a copy of the tree in one way, and run tests there until one notices."""
    clock = asyncio.get_running_loop().time
    began = clock()
    with copied(root) as copy:
        mutant.apply(copy)
        for tests in (mutant.tests.split(), EVERYTHING):
            run = await run_tests(copy, mutant.mode, tests, seconds - (clock() - began))
            took = clock() - began
            if run.caught_by:
                return Outcome(mutant.name, Verdict.CAUGHT, run.caught_by, took)
            if run.code is None:
                return Outcome(mutant.name, Verdict.CAUGHT, f"by the time: no end within {seconds:g} s", took)
            if run.code != 0:
                return Outcome(mutant.name, Verdict.BROKEN, f"pytest ended with {run.code}:\n{run.said[-1500:]}", took)
    return Outcome(mutant.name, Verdict.SURVIVED, "no test noticed", took)


@dataclass(frozen=True)
class Run:
    """One run of pytest: how it ended (None: not in time), the first test that failed, and its last words."""

    code: int | None
    caught_by: str
    said: str


async def run_tests(root: Path, mode: Mode, tests: Sequence[str], seconds: float) -> Run:
    """Run tests in a tree until the first failure."""
    log = root / LOG
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-x", "-q", f"--report-log={log}", *_mode(root, mode), *tests]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=root,
        env=_environment(root),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), max(seconds, 1.0))
    except TimeoutError:
        return Run(None, "", "")
    finally:
        await _end(process)
    return Run(process.returncode, _first_failure(log), said.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a run and what it began, also where it no longer listens."""
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
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    return {**ours, "PYTHONDONTWRITEBYTECODE": "1"}


def _first_failure(log: Path) -> str:
    if not log.exists():
        return ""
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("$report_type") == "TestReport" and record.get("outcome") == "failed":
            during = "" if record["when"] == "call" else f" (its {record['when']})"
            return f"{record['nodeid']}{during}"
    return ""


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
