"""What `loops/scopes.py` refuses at collection, read off the files: an async fixture names the loop it lives in."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from test_framework.guards.event_loops import full_name, imported_names
from test_framework.guards.loops.scopes import fault_of
from test_framework.guards.source import Finding, Guard, Source, python_below, words

FIXTURES = words("pytest.fixture pytest_asyncio.fixture")


def check(files: Sequence[Source]) -> list[Finding]:
    """Find async fixtures that outlive a test and do not say in which loop, or in one that ends before them."""
    return [
        Finding(source.path, line, message)
        for source in files
        if "fixture" in source.text
        for line, message in _faults(source.tree)
        if not source.on_purpose(line)
    ]


def _faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and full_name(decorator.func, names) in FIXTURES:
                    given = {word.arg: _text(word.value) for word in decorator.keywords}
                    loop_scope = (
                        given.get("loop_scope") if full_name(decorator.func, names) != "pytest.fixture" else None
                    )
                    if fault := fault_of(node.name, given.get("scope") or "function", loop_scope):
                        yield decorator.lineno, fault


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


GUARD = Guard("fixture_scopes", python_below("tests", "test_framework", "commitstream"), check)
