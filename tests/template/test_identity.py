"""The identity is written into the live pyproject.toml, and nothing else in it moves."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_scaffold.answers import CHOICES, Answers
from cos_scaffold.identity import quoted, replaced, with_identity, with_pythons
from tests.template.workbench import ANSWERS, ROOT

LIVE = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
GOOD = Answers.of(ANSWERS)


def test_only_eight_lines_change_and_one_section_is_new() -> None:
    made = with_identity(LIVE, replace(GOOD, license="BSD-3-Clause", lowest_python="3.12"))

    compared = difflib.ndiff(LIVE.splitlines(), made.splitlines())

    gone = {line[2:].partition(" =")[0] for line in compared if line.startswith("- ")}
    keys = {"name", "description", "requires-python", "license", "authors", "target-version", "python_version"}
    assert gone - {"version"} == keys
    assert made.endswith('[tool.cruft]\nskip = ["app", "tests"]\n')


@pytest.mark.parametrize("python", CHOICES["lowest_python"])
def test_every_tool_is_told_the_lowest_python(python: str) -> None:
    made = tomllib.loads(with_identity(LIVE, replace(GOOD, lowest_python=python)))

    assert made["project"]["requires-python"] == f">={python}"
    assert made["tool"]["ruff"]["target-version"] == "py" + python.replace(".", "")
    assert made["tool"]["mypy"]["python_version"] == python


@pytest.mark.parametrize(
    ("live", "made"),
    [
        ('["3.11", "3.15"]', '["3.13", "3.15"]'),
        ('["3.11", "3.12", "3.13", "3.14"]', '["3.13", "3.14"]'),
        ('["3.9"]', '["3.13"]'),
    ],
)
def test_the_matrix_begins_with_the_lowest_python(live: str, made: str) -> None:
    matrix = "      matrix:\n        python: {} # why\n"

    assert with_pythons(matrix.format(live), replace(GOOD, lowest_python="3.13")) == matrix.format(made)


def test_the_lowest_python_of_the_template_changes_no_workflow() -> None:
    live = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")

    assert with_pythons(live, replace(GOOD, lowest_python="3.11")) == live


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_toml(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}") == {"x": text}


def test_a_value_is_replaced_in_its_own_table_and_its_comment_stays() -> None:
    toml = '[a]\nname = "one" # why\n[b]\nname = "two"\n[[b.c]]\nname = "three"\n'

    assert replaced(toml, "a", "name", '"1"') == toml.replace('"one"', '"1"')
    assert replaced(toml, "b", "name", '"2"') == toml.replace('"two"', '"2"')


def test_a_backslash_in_a_value_is_no_group_reference() -> None:
    assert replaced('[a]\nx = "old"\n', "a", "x", r'"\\1 \"g<0>"') == '[a]\nx = "\\\\1 \\"g<0>"\n'


@pytest.mark.parametrize("toml", ["[b]\nname = 'x'\n", '[a]\nname = [\n  "x",\n]\n', '[a]\nother = "x"\n', ""])
def test_a_value_that_is_not_found_on_one_line_is_an_error(toml: str) -> None:
    with pytest.raises(LookupError, match=r"name in \[a\]"):
        replaced(toml, "a", "name", '"x"')
