"""The engine knows no application: neither by its imports, nor by the texts that it shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import commitstream

PACKAGE = Path(commitstream.__file__).parent
FOREIGN = {"app", "benchmarks", "cos_scaffold", "noxfile", "tasks", "test_framework", "tests"}
COMMANDS = re.compile(r"\bAPP_|\b(?:invoke|nox) |python -m app\b|\bapp/")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith("tests/"):
            yield name, ast.parse(file.read_bytes())


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def texts(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_module_imports_what_is_around_the_engine() -> None:
    found = {name: set(imported(module)) & FOREIGN for name, module in modules()}

    assert len(found) > 50
    assert {name: names for name, names in found.items() if names} == {}


def test_no_text_names_commands_of_one_application() -> None:
    found = [(name, text) for name, module in modules() for text in texts(module) if COMMANDS.search(text)]

    assert found == []
