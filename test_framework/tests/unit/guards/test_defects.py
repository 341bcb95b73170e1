# >>> template only
"""The table of defects that cannot come back names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from test_framework import CHECKOUT

PAGE = CHECKOUT / "docs" / "testing.md"
ROW = re.compile(r"^\| (?P<defect>[^|]+) \| (?P<tests>[^|]*`[^|]+::test_[^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/.]+\.py)::(\w+)`")
DEFECTS = 16
ROWS = {found["defect"]: TEST.findall(found["tests"]) for found in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def test_no_defect_is_missing_from_the_table() -> None:
    assert len(ROWS) == DEFECTS


@pytest.mark.parametrize("defect", ROWS)
def test_each_defect_has_a_test_that_is_there(defect: str) -> None:
    named = ROWS[defect]

    absent = [f"{file}::{test}" for file, test in named if test not in _tests_in(CHECKOUT / file)]

    assert named
    assert absent == [], f"{PAGE.name} names tests that are gone"


def _tests_in(file: Path) -> set[str]:
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


# <<< template only
