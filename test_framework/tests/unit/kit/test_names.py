"""A class of the kit is found by its name: no two classes have the same one."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from test_framework import CHECKOUT

KIT = CHECKOUT / "test_framework"


def twice(files: dict[str, str]) -> dict[str, list[str]]:
    """Name the classes that several places define, with these places."""
    places = defaultdict(list)
    for file, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file}:{node.lineno}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def test_no_class_name_occurs_twice_in_the_kit() -> None:
    files = [path for path in KIT.rglob("*.py") if KIT / "tests" not in path.parents]

    assert len(files) > 100
    assert twice({str(path.relative_to(CHECKOUT)): path.read_text(encoding="utf-8") for path in files}) == {}


@pytest.mark.parametrize(
    "second", ["class Gate: ...", "def gate():\n    class Gate: ..."], ids=["of_a_module", "of_a_function"]
)
def test_a_name_that_two_files_define_is_found_in_both(second: str) -> None:
    line = second.count("\n") + 1

    assert twice({"a.py": "class Gate: ...", "b.py": second}) == {"Gate": ["a.py:1", f"b.py:{line}"]}
