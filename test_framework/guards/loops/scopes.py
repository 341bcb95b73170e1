"""An async fixture that outlives a test says in which loop it lives, and that loop lives as long.

Without a word pytest-asyncio takes a default, and who reads the fixture can't know which. A loop narrower than its fixture
ends as ScopeMismatch; a loop other than the test's ends as "attached to a different loop", or silently.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SCOPES = ("function", "class", "module", "package", "session")


def fault_of(name: str, scope: str, loop_scope: str | None) -> str | None:
    """Say what is wrong with the scopes of an async fixture, and the fix; None where they are right."""
    if scope == "function" or scope not in SCOPES:
        return None
    fix = f'@pytest_asyncio.fixture(scope="{scope}", loop_scope="session")'
    if loop_scope is None:
        return f"async fixture {name} outlives a test (scope {scope}) and names no loop: write {fix}"
    if loop_scope in SCOPES and SCOPES.index(loop_scope) < SCOPES.index(scope):
        return f"async fixture {name} (scope {scope}) outlives its loop (loop_scope {loop_scope}): write {fix}"
    return None


def faults_at_collection(items: Iterable[pytest.Item | pytest.Collector], root: Path) -> list[str]:
    """Judge every async fixture that a collected test may use."""
    seen: dict[object, str] = {}
    for item in items:
        info = getattr(item, "_fixtureinfo", None)
        for name, definitions in info.name2fixturedefs.items() if info is not None else ():
            for definition in definitions:
                function = definition.func
                if function in seen or not (
                    inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
                ):
                    continue
                seen[function] = ""
                if fault := fault_of(name, definition.scope, getattr(function, "_loop_scope", None)):
                    code = function.__code__
                    path = Path(code.co_filename)
                    shown = path.relative_to(root) if path.is_relative_to(root) else path
                    seen[function] = f"{shown}:{code.co_firstlineno}: {fault}"
    return [fault for fault in seen.values() if fault]
