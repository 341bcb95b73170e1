"""Which functions may block a loop, and compute in one: those that every project needs, and what this one agreed to."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from test_framework.guards.configuration import settings_of
from test_framework.guards.leaks.origins import Line

ALWAYS = (
    "pytest_timeout.py:*",  # it reports in the middle of whatever runs, which did not call it
    "asyncpg/connect_utils.py:_parse_connect_dsn_and_args",  # looks for a password file before it connects
    "logging/__init__.py:emit",  # a log line is written where it is said, or the last one of a crash would be lost
    "fastapi/routing.py:_extract_endpoint_context",  # looks for a route's file once, when it first fails
    "pydantic/plugin/_loader.py:get_plugins",  # looks once, for the first schema, which plugins are installed
    "mimetypes.py:init",  # reads the system's table of types once
    "prometheus_client/process_collector.py:collect",  # reads /proc, which is memory
    "commitstream/db/database.py:_sqlite_engine",  # makes the folder of the database's file, once, at start-up
    "commitstream/db/migrate.py:*",  # alembic works while nothing is served yet
    "test_framework/service_pool.py:*",  # a test that starts, pauses or ends a server waits until that is done
    "test_framework/services/*.py:*",
    "test_framework/services/drivers/*.py:*",
    "test_framework/faults/breakable.py:*",
)
"""The callers that may block in every project: libraries, the engine, and the kit."""


@functools.cache
def allowed_callers(root: Path) -> tuple[tuple[str, str], ...]:
    """List the files and functions, as pairs; a star stands for every function of its file."""
    callers = [caller.rpartition(":")[::2] for caller in (*ALWAYS, *settings_of(root).may_block)]
    return tuple(
        (found, name)
        for file, name in callers
        for found in ([path.relative_to(root).as_posix() for path in root.glob(file)] if "*" in file else [file])
    )


def is_allowed(line: Line, root: Path) -> bool:
    """Say whether a line's function may block."""
    path = line.file.replace(os.sep, "/")
    return any(path.endswith(file) and name in {"*", line.function} for file, name in allowed_callers(root))
