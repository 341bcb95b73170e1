"""Import each module of some folders first, in an interpreter that has imported nothing else of the project.

In a run of pytest the first test imports most of the project, and every later module finds what it forgot to import: a cycle,
or a package whose submodule another module happens to import, is then met in production. Run it as a file, so that not even
its own package is imported: `python -P test_framework/proving/imports.py app tests`.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

IMPORT_TIMEOUT = 120
OF_ALEMBIC = "script.py.mako"
"""It lies beside scripts that alembic runs, and that nothing imports."""


def modules_in(root: Path, folders: Sequence[str]) -> Iterator[str]:
    """Name the modules below some folders; pytest imports the tests themselves, each by its path."""
    for file in sorted(file for folder in folders for file in (root / folder).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if "tests" in parts and file.name.startswith("test_"):
            continue
        if any((parent / OF_ALEMBIC).exists() for parent in file.parents if parent.is_relative_to(root)):
            continue
        if all(part.isidentifier() for part in parts):
            yield ".".join(parts).removesuffix(".__init__")


def import_first(module: str) -> int:
    """Import one module and print why that fails; return an exit code."""
    try:
        importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit too
        cause = traceback.extract_tb(error.__traceback__)[-1]
        where = os.path.relpath(cause.filename) if os.path.isabs(cause.filename) else cause.filename
        print(
            f"{module} can't be imported first: {type(error).__name__}: {error}, at {where}:{cause.lineno};"
            f' next: python -c "import {module}"',
            flush=True,
        )
        return 1
    return 0


def import_each(modules: Sequence[str], jobs: int) -> list[str]:
    """Import each module in a separate process, and return those that failed."""
    if not hasattr(os, "fork"):
        command = [sys.executable, "-P", __file__, "--only"]
        return [
            each for each in modules if subprocess.run([*command, each], timeout=IMPORT_TIMEOUT, check=False).returncode
        ]
    failed: list[str] = []
    running: dict[int, str] = {}
    waiting = [*modules]
    while waiting or running:
        while waiting and len(running) < jobs:
            module = waiting.pop()
            pid = os.fork()
            if pid == 0:
                signal.alarm(IMPORT_TIMEOUT)
                os._exit(import_first(module))
            running[pid] = module
        pid, status = os.wait()
        module = running.pop(pid)
        if os.WIFSIGNALED(status):
            print(
                f"{module} can't be imported first: ended by signal {os.WTERMSIG(status)}; its time is {IMPORT_TIMEOUT} s"
            )
        if status:
            failed.append(module)
    return failed


def main(arguments: Sequence[str]) -> int:
    sys.path.insert(0, os.getcwd())
    if arguments[:1] == ["--only"]:
        return import_first(arguments[1])
    modules = list(modules_in(Path.cwd(), arguments))
    failed = import_each(modules, os.cpu_count() or 1)
    print(f"imports: {len(modules)} modules, {len(failed)} can't be imported first")
    return 1 if failed or not modules else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
