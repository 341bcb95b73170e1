"""What is known here, and only now, about the things that an exception names: limits, tables, functions."""

from __future__ import annotations

import errno
import inspect
import re
import sys

from test_framework import SERVICE
from test_framework.errors.failure import Fact
from test_framework.project import Tables, project

_MISSING = re.compile(
    r"relation \"(?P<table>[\w.]+)\" does not exist|no such table: (?P<lite_table>[\w.]+)"
    r"|column (?P<column>[\w.]+) does not exist|no such column: (?P<lite_column>[\w.]+)|has no column named (?P<named>\w+)"
)
_FORGOTTEN = re.compile(r"coroutine '(?:[\w<>]+\.)*(\w+)' was never awaited")


def limits(error: BaseException) -> dict[str, Fact]:
    """Tell how much this process may use of what has run out; nothing where there is no limit."""
    if isinstance(error, MemoryError):
        name = "RLIMIT_AS"
    elif isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        name = "RLIMIT_NOFILE"
    else:
        return {}
    try:
        import resource
    except ImportError:  # Windows has none
        return {}
    soft, _ = resource.getrlimit(getattr(resource, name))
    return {} if soft == resource.RLIM_INFINITY else {"limit": soft}


def schema(said: str) -> dict[str, Fact]:
    """Tell whether the models and the migrations know a table or a column that the database lacks."""
    match = _MISSING.search(said)
    migrations = None if match is None else _migrations()
    if match is None or migrations is None:
        return {}
    name = next(group for group in match.groups() if group).rpartition(".")[2]
    in_models = any(name == table.name or name in table.columns for table in migrations.tables)
    files = (file for folder in migrations.folders for file in folder.glob("*.py"))
    written = any(f'"{name}"' in file.read_text(encoding="utf-8") for file in files)
    return {"missing": name, "in_models": in_models, "in_migrations": written}


def _migrations() -> Tables | None:
    """Return the project's tables and migrations; None where the project is not loaded, or can't be."""
    if not any(name in sys.modules for name in SERVICE):
        return None
    try:
        return project().migrations()
    except Exception:  # noqa: BLE001 - a failure is explained also where the application can't be imported
        return None


def forgotten(said: str) -> dict[str, Fact]:
    """Tell whether a coroutine that nobody awaited is a function of the app."""
    match = _FORGOTTEN.search(said)
    if match is None:
        return {}
    ours = any(
        inspect.iscoroutinefunction(found) and str(found.__module__).partition(".")[0] in SERVICE
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in SERVICE and (found := getattr(module, match.group(1), None))
    )
    return {"coroutine_owner": "app" if ours else "test"}
