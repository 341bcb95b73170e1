"""Drivers: what one service is, is known there and nowhere else; a project names its own in pyproject.toml."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.services.drivers import DriverError, drivers, service_names

KIT = CHECKOUT / "test_framework"
KNOWING = (KIT / "services" / "drivers", KIT / "tests", KIT / "running" / "needs.py")
"""The drivers, the tests of the kit, and the list of what a test may need."""
UNASKED = "def look(service):\n    return service.name\n"
ASKED = (
    "if service == 'redis':\n    pass\n",
    "value = 1 if name != 'postgres' else 2\n",
    "if service in ('redis', 'mongo'):\n    pass\n",
    "match service:\n    case 'redis':\n        pass\n",
    "PORTS = {'postgres': 5432}\n",
)
DRIVER = """
from test_framework.services.drivers import Driver

class Clock(Driver):
    name = "clock"

class Nameless(Driver):
    pass

class NoDriver:
    name = "clock"
"""


def decisions(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each place that decides by a value: comparisons, cases, keys of tables."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Compare, ast.match_case)):
            yield node.pattern if isinstance(node, ast.match_case) else node
        elif isinstance(node, ast.Dict):
            yield from filter(None, node.keys)


def lines_that_ask(source: str) -> list[int]:
    """Return the lines that decide by the name of a service."""
    constants = (leaf for place in decisions(ast.parse(source)) for leaf in ast.walk(place))
    names = service_names()
    return [leaf.lineno for leaf in constants if isinstance(leaf, ast.Constant) and leaf.value in names]


@pytest.mark.parametrize("source", ASKED)
def test_a_line_that_asks_which_service_it_is_is_found(source: str) -> None:
    assert lines_that_ask(source) == [source.count("\n", 0, source.index("'")) + 1]
    assert lines_that_ask(UNASKED) == []


def test_only_drivers_know_which_service_it_is() -> None:
    files = [file for file in KIT.rglob("*.py") if not any(file.is_relative_to(known) for known in KNOWING)]
    asking = {file.name: found for file in files if (found := lines_that_ask(file.read_text(encoding="utf-8")))}

    assert len(files) > 100
    assert asking == {}


def project(folder: Path, *named: str) -> Path:
    """Make a project that names drivers."""
    (folder / "own_drivers.py").write_text(DRIVER)
    listed = ", ".join(f'"{name}"' for name in named)
    (folder / "pyproject.toml").write_text(f"[tool.test_framework]\ndrivers = [{listed}]\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_project_names_its_own_drivers(folder: Path) -> None:
    found = drivers(project(folder, "own_drivers:Clock"))

    assert list(found) == ["postgres", "redis", "clock"]
    clock = found["clock"]
    assert (clock.title, clock.url_variable, clock.port_variable) == ("Clock", "CLOCK_URL", "CLOCK_PORT")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("absent_drivers:Clock", "No module named 'absent_drivers'"),
        ("own_drivers:Watch", "has no attribute 'Watch'"),
        ("own_drivers", "has no attribute ''"),
        ("own_drivers:Nameless", "is no Driver whose name is a word"),
        ("own_drivers:NoDriver", "is no Driver whose name is a word"),
    ],
)
def test_a_driver_that_can_not_be_had_is_named(folder: Path, named: str, reason: str) -> None:
    with pytest.raises(DriverError, match=reason) as caught:
        drivers(project(folder, named))

    assert str(caught.value).startswith(f"the driver {named} ")
