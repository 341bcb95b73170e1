"""A tiny project with the faults that a test plants in it, and runs of pytest on it, as processes, under the rules of this house."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from test_framework import CHECKOUT

DEADLINE_SECONDS = 25.0
OURS_ALONE = ("TEST_MODE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTHONOPTIMIZE", "PYTEST_CURRENT_TEST")


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it said."""

    code: int
    said: str
    complained: str

    def line(self, *words: str) -> str:
        """The first line of its report with all of these words in it."""
        found = next((line for line in self.said.splitlines() if all(word in line for word in words)), None)
        assert found is not None, f"no line has {words}; it said:\n{self.said}\n{self.complained}"
        return found


@dataclass(frozen=True)
class Planted:
    """A project in a folder of a test's own."""

    root: Path

    def file(self, path: str, source: str) -> Path:
        """Write a file; its indentation may be that of the test."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    def command(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        rules = ("-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={self.root}", "-p", "test_framework.plugin")
        named = any(not argument.startswith("-") and "tests" in argument for argument in arguments)
        return [sys.executable, *options, "-m", "pytest", *rules, *arguments, *(() if named else ("tests",))]

    def environment(self, **more: str) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in OURS_ALONE}
        return {**ours, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200", **more}

    def run(self, *arguments: str, options: tuple[str, ...] = (), **environment: str) -> Ended:
        """Run pytest on it to the end; options go to Python, everything else to pytest."""
        with self.begun(*arguments, options=options, **environment) as process:
            said, complained = process.communicate(timeout=DEADLINE_SECONDS)
        return Ended(process.returncode, said, complained)

    @contextmanager
    def begun(
        self, *arguments: str, options: tuple[str, ...] = (), **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Run pytest on it while the block runs, as the head of a process group of its own."""
        with subprocess.Popen(
            self.command(*arguments, options=options),
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()
