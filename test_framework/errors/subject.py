"""What a failed line of a test is about: the system under test, or nothing but the test's own values.

The names in the line are followed to where the test got their values. If none of them leads out of the test, its
expectation can only be wrong by itself.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType

from test_framework.errors.failure import Subject
from test_framework.errors.shared import shared_state

DEPTH = 3
PYTHONS = frozenset(sys.stdlib_module_names) | {"builtins", "pytest", "_pytest", "pytest_asyncio"}
LONGEST_LINE = 160


@dataclass(frozen=True)
class About:
    """What a failed line is about, the line itself, the arguments it uses, and what it shares with other tests."""

    subject: Subject = ""
    expression: str = ""
    arguments: frozenset[str] = frozenset()
    shared: str = ""


def about(frame: FrameType, line: int, parameters: frozenset[str]) -> About:
    """Tell what a line is about; `parameters` are the arguments that the test itself gave."""
    try:
        source, first = inspect.getsourcelines(frame.f_code)
        tree = ast.parse(textwrap.dedent("".join(source)))
    except (OSError, SyntaxError, TypeError):
        return About()
    ast.increment_lineno(tree, first - 1)
    statement = smallest(tree, line)
    if statement is None:
        return About()
    function = tree.body[0]
    assigned = assignments(function, line)
    used = reached(statement, assigned)
    arguments = frozenset(argument_names(function) - parameters)
    outside = any((name in arguments and name not in assigned) or leads_out(frame, name) for name in used)
    return About(
        "app" if outside else "test",
        " ".join(ast.unparse(statement).split())[:LONGEST_LINE],
        arguments & used,
        shared_state(statement, used, frame),
    )


def smallest(tree: ast.AST, line: int) -> ast.stmt | None:
    holding = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return min(holding, key=lambda node: (node.end_lineno or node.lineno) - node.lineno, default=None)


def assignments(tree: ast.AST, line: int) -> dict[str, list[ast.AST]]:
    """Map each name to the expressions it got its value from, up to a line."""
    found: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) > line:
            continue
        for target, value in bindings(node):
            for name in names(target):
                found.setdefault(name, []).append(value)
    return found


def bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            yield target, value
        case ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
            yield target, value
        case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
            yield target, value
        case _:
            return


def names(node: ast.AST) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


def reached(statement: ast.AST, assigned: dict[str, list[ast.AST]]) -> set[str]:
    """Return every name that a statement's values come from."""
    seen: set[str] = set()
    waiting = names(statement)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting |= {source for value in assigned.get(name, []) for source in names(value)}
    return seen


def argument_names(function: ast.AST) -> set[str]:
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    given = function.args
    return {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {"self", "cls"}


def leads_out(frame: FrameType, name: str) -> bool:
    missing = object()
    value = frame.f_locals.get(name, frame.f_globals.get(name, missing))
    return value is not missing and foreign(value, frame.f_globals, DEPTH)


def foreign(value: object, scope: dict[str, object], depth: int) -> bool:
    """Say whether a value comes from outside of Python and the test."""
    module = module_of(value)
    if module == scope.get("__name__"):
        code = getattr(value, "__code__", None)
        if not isinstance(code, CodeType) or depth == 0:
            return False
        return any(foreign(scope[used], scope, depth - 1) for used in code.co_names if used in scope)
    if isinstance(value, list | tuple | set) and value:
        return foreign(next(iter(value)), scope, depth)
    return bool(module) and module.partition(".")[0] not in PYTHONS


def module_of(value: object) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__module__", "") or "")
    return type(value).__module__
