"""Which functions may block a loop, and compute in one: those of the kit that must, and what the project agreed to."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from test_framework.guards.configuration import settings_of
from test_framework.guards.leaks.origins import Line

IN_THE_KIT = (
    "pytest_timeout.py:*",  # it reports in the middle of whatever runs, which did not call it
    "test_framework/service_pool.py:*",  # a test that starts, pauses or ends a server waits until that is done
    "test_framework/services/*.py:*",
    "test_framework/faults/breakable.py:*",
)
"""Which callers may always block, whatever a project allows besides."""


@functools.cache
def allowed_callers(root: Path) -> tuple[tuple[str, str], ...]:
    """List the files and functions, as pairs; a star stands for every function of its file."""
    callers = [caller.rpartition(":")[::2] for caller in (*IN_THE_KIT, *settings_of(root).may_block)]
    return tuple(
        (found, name)
        for file, name in callers
        for found in ([path.relative_to(root).as_posix() for path in root.glob(file)] if "*" in file else [file])
    )


def is_allowed(line: Line, root: Path) -> bool:
    """Say whether a line's function may block."""
    path = line.file.replace(os.sep, "/")
    return any(path.endswith(file) and name in {"*", line.function} for file, name in allowed_callers(root))
