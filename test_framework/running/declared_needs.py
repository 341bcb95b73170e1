"""How many tests declare which need, read off the files: what `invoke doctor` says that an optional part would add."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("test_framework", "tests", "commitstream/tests")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Declaration:
    """What a test or a fixture names: needs, and fixtures that may have needs of their own."""

    needs: frozenset[str]
    fixtures: frozenset[str]


def count_needs(root: Path) -> Counter[str]:
    """Count the test functions that need each thing; one that is parametrised counts once."""
    fixtures: dict[str, Declaration] = {}
    tests: list[Declaration] = []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            module = ast.parse(file.read_text(encoding="utf-8"))
            fixtures |= {function.name: _declaration(function) for function in _functions(module, "fixture")}
            if file.name.startswith("test_") and "tests" in file.parts:
                tests += _tests_of(module)
    return Counter(need for test in tests for need in _closure(test, fixtures))


def _tests_of(module: ast.Module) -> Iterator[Declaration]:
    marks = [
        node.value for node in module.body if isinstance(node, ast.Assign) and _names(node.targets) == {"pytestmark"}
    ]
    common = Declaration(_arguments(marks, "needs"), _arguments(marks, "usefixtures"))
    for node in ast.walk(module):
        if isinstance(node, Function) and node.name.startswith("test_"):
            own = _declaration(node)
            yield Declaration(own.needs | common.needs, own.fixtures | common.fixtures)


def _functions(module: ast.Module, decorator: str) -> Iterator[Function]:
    for node in ast.walk(module):
        if isinstance(node, Function) and any(decorator in ast.unparse(found) for found in node.decorator_list):
            yield node


def _declaration(function: Function) -> Declaration:
    arguments = function.args
    names = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}
    marks = function.decorator_list
    needs = _arguments(marks, "needs") | _arguments(marks, "requires")
    return Declaration(needs, frozenset(names) | _arguments(marks, "usefixtures"))


def _arguments(nodes: Iterable[ast.expr], function: str) -> frozenset[str]:
    """The strings that calls of a function of that name get."""
    return frozenset(
        argument.value
        for node in nodes
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] == function
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def _names(targets: Iterable[ast.expr]) -> set[str]:
    return {ast.unparse(target) for target in targets}


def _closure(test: Declaration, fixtures: Mapping[str, Declaration]) -> set[str]:
    needs, seen, asked = set(test.needs), set[str](), list(test.fixtures)
    while asked:
        name = asked.pop()
        if name in fixtures and name not in seen:
            seen.add(name)
            needs |= fixtures[name].needs
            asked += fixtures[name].fixtures
    return needs
