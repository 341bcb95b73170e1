"""A copy of this project for a service that its owner adds: a driver, a line in pyproject.toml and tests, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from test_framework import CHECKOUT
from test_framework.running.planted import Planted

COMMAND_SECONDS = 60.0
FOLDERS = ("app", "commitstream", "compose", "test_framework", "tests/support")
FILES = ("conftest.py", "pyproject.toml", "tasks.py", ".env.ci", ".env.example", ".env.test")
SECTION = "[tool.test_framework]"


@dataclass(frozen=True)
class ProjectCopy(Planted):
    """The copy, which runs its own kit."""

    deadline: float = COMMAND_SECONDS
    packages: Path | None = None

    @classmethod
    def at(cls, root: Path, driver: str, packages: Path | None = None) -> ProjectCopy:
        """Copy the project without its tests, and name one driver more in it; `packages` is a folder with more of them."""
        for name in FOLDERS:
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        for name in FILES:
            shutil.copy(CHECKOUT / name, root / name)
        pyproject = root / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8")
        if SECTION not in text:
            text += f"\n{SECTION}\n"
        pyproject.write_text(text.replace(SECTION, f'{SECTION}\ndrivers = ["{driver}"]'), encoding="utf-8")
        return cls(root, packages=packages)

    def environment(self, **more: str) -> dict[str, str]:
        paths = os.pathsep.join(str(path) for path in (self.root, self.packages) if path)
        return super().environment(**{"PYTHONPATH": paths, "SERVICES": "bundled", **more})

    def invoke(self, *arguments: str, code: int | None = 0) -> str:
        """Run an invoke command in it, and return what it printed; None takes any exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done.stdout + done.stderr

    def changed(self) -> set[str]:
        """Return the sources that are not as they are here."""
        sources = (file for file in self.root.rglob("*") if file.suffix in {".py", ".yml", ".toml"})
        names = (str(file.relative_to(self.root)) for file in sources)
        return {name for name in names if not same(self.root / name, CHECKOUT / name)}


def same(file: Path, original: Path) -> bool:
    return original.exists() and file.read_bytes() == original.read_bytes()
