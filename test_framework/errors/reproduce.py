"""The line that makes one failure again: the same test, mode, provider, seed, workers and options, quoted for the shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from test_framework.errors.failure import Failure


def command(failure: Failure, root: Path | None = None, *, whole_file: bool = False) -> str:
    """Write the line; `whole_file` runs the failure's neighbours too, where it may be theirs."""
    how = failure.circumstances
    words = [*how.options]
    # neighbours come in the order of their seed, which only one process keeps
    words += ["-n", str(0 if whole_file else how.workers)]
    words += [f"--randomly-seed={how.seed}"] if how.seed is not None else ["-p", "no:randomly"]
    words.append(failure.test.partition("::")[0] if whole_file else failure.test)
    line = f"{_runner(how.mode)} {_quoted(words)}"
    if how.provider:
        line = _with_variable("SERVICES", how.provider, line)
    if root is not None and root != Path.cwd():
        line = f"cd {_quoted([str(root)])} && {line}"
    return line


def _runner(mode: str) -> str:
    if os.environ.get("NOX_CURRENT_SESSION") and mode:
        return f"nox -s {mode} --"
    chosen = [f"--mode={mode}"] if mode else []
    return _quoted([_python(), "-m", "pytest", *chosen])


def _python() -> str:
    """Name this Python as a person here would: by its short name where that is the one."""
    for name in ("python", "python3"):
        if (found := shutil.which(name)) and Path(found).absolute() == Path(sys.executable).absolute():
            return name
    here = Path.cwd()
    executable = Path(sys.executable)
    return str(executable.relative_to(here) if executable.is_relative_to(here) else executable)


def _quoted(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _with_variable(name: str, value: str, line: str) -> str:
    return f'set "{name}={value}" && {line}' if sys.platform == "win32" else f"{name}={shlex.quote(value)} {line}"
