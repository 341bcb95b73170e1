"""One thing that is really broken, and a real pytest run that fails of it.

A scenario runs in a copy of the project, with its own test, and with what it breaks: a line of the app, a limit, an address, a
service. Its label says what was broken, by whoever wrote it; nothing that explains failures has a say in it.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from test_framework import CHECKOUT, SERVICE
from test_framework.error_reporter import ErrorReporter
from test_framework.errors.categories import Category, Responsibility
from test_framework.errors.failure import Failure

COPIED = (
    *SERVICE,
    "test_framework",
    "tests/support",
    "compose",
    "conftest.py",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
)
RUN_SECONDS = 150
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "PYTHONPATH", "DOCKER_HOST")
HELD_OUT_OF = 3


@dataclass(frozen=True)
class Scenario:
    """What is broken, what that makes it (category and fault), and the test that meets it."""

    family: str
    category: Category
    fault: Responsibility
    test: str
    mode: str = "lightweight"
    patches: tuple[tuple[str, str, str], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    needs_docker: bool = False
    take: int = 3

    @property
    def held_out(self) -> bool:
        """Whether rules must never be made by looking at it: every third family, by its name alone."""
        return is_held_out(self.family)


def is_held_out(family: str) -> bool:
    return int(hashlib.sha256(family.encode()).hexdigest(), 16) % HELD_OUT_OF == 0


@contextmanager
def project() -> Iterator[Path]:
    """Copy the project, without its tests, to where it may be broken."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        base = Path(folder, "base")
        base.mkdir()
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "tests")
                shutil.copytree(source, base / name, ignore=ignored)
            elif source.exists():
                shutil.copy2(source, base / name)
        for file in CHECKOUT.glob(".env.*"):
            if file.name != ".env.local":
                shutil.copy2(file, base / file.name)
        compileall.compile_dir(base, quiet=2)
        yield base


def run(scenario: Scenario, base: Path) -> list[Failure]:
    """Break it, run it, and return what was kept of what failed."""
    with tempfile.TemporaryDirectory(prefix="broken-", dir=base.parent) as folder:
        root = Path(folder, "project")
        shutil.copytree(base, root)
        prepare(scenario, root)
        log = root / "log.jsonl"
        command = [sys.executable, "-m", "pytest", f"--mode={mode_of(scenario)}", "-q", "-p", "no:randomly"]
        command += [f"--report-log={log}", *scenario.arguments, "tests"]
        done = subprocess.run(
            command,
            cwd=root,
            env=environment(scenario),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            preexec_fn=limiter(scenario.limits),
            check=False,
        )
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        failures = ErrorReporter().failures_of(json.loads(line) for line in lines)
        if not failures:
            raise AssertionError(
                f"{scenario.family} broke nothing (exit {done.returncode}):\n{done.stdout[-900:]}{done.stderr[-300:]}"
            )
        first = {failure.test: failure for failure in reversed(failures)}  # what follows from it is another story
        return relative([failure for failure in failures if failure is first[failure.test]])[: scenario.take]


def mode_of(scenario: Scenario) -> str:
    """Nothing reaches a container engine in lightweight."""
    return "integration" if scenario.needs_docker else scenario.mode


def prepare(scenario: Scenario, root: Path) -> None:
    folder = "unit" if mode_of(scenario) == "lightweight" else "integration"
    written = {f"tests/{folder}/test_it.py": scenario.test, **scenario.files}
    for name, text in written.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(textwrap.dedent(text).encode("utf-8", "surrogateescape"))
    for name, old, new in scenario.patches:
        file = root / name
        source = file.read_text(encoding="utf-8")
        if old not in source:
            raise AssertionError(f"{scenario.family}: {name} has no line {old!r} to break")
        file.write_text(source.replace(old, new, 1), encoding="utf-8")


def environment(scenario: Scenario) -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "SERVICES": "bundled", "COLUMNS": "120", **scenario.environment}


def limiter(limits: Mapping[str, int]) -> Callable[[], None] | None:
    def limit() -> None:
        import resource

        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    return limit if limits else None


def relative(failures: list[Failure]) -> list[Failure]:
    """Leave out of what is stored when and on which seed it was made; how far apart they were stays."""
    first = min(failure.began for failure in failures)
    return [
        replace(failure, began=round(failure.began - first, 2), ended=round(failure.ended - first, 2), ports=())
        for failure in failures
    ]
