"""What is known here, and only now, about the things that an exception names: limits, tables, functions."""

from __future__ import annotations

import errno
import inspect
import re
import sys

from test_framework import CHECKOUT, SERVICE
from test_framework.errors.failure import Fact

BASES = ("app.db.base", "commitstream.db.base")
MIGRATIONS = ("app/db/migrations/versions", "commitstream/db/migrations/versions")
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
    bases = [sys.modules[name].Base for name in BASES if name in sys.modules]
    if match is None or not bases:
        return {}
    name = next(group for group in match.groups() if group).rpartition(".")[2]
    tables = (table for base in bases for table in base.metadata.tables.values())
    in_models = any(name == table.name or name in table.columns for table in tables)
    files = (file for folder in MIGRATIONS for file in (CHECKOUT / folder).glob("*.py"))
    written = any(f'"{name}"' in file.read_text(encoding="utf-8") for file in files)
    return {"missing": name, "in_models": in_models, "in_migrations": written}


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
