"""docs/architecture.md says for twenty questions which file answers each: the file is there, and defines the name."""

from __future__ import annotations

import ast
import re

import pytest

from test_framework import CHECKOUT

ROW = re.compile(r"^\| (?P<question>.+) \| `(?P<file>[^`]+)` \| `(?P<name>[^`]+)` \|$", re.MULTILINE)
DOCUMENT = (CHECKOUT / "docs/architecture.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("### Where do I change …\n")[2].partition("\n## ")[0]
ROWS = [match.groups() for match in ROW.finditer(SECTION)]


def defined_in(text: str, *, is_sql: bool) -> set[str]:
    """Name what a file defines: functions of SQL, or what a module has at its top."""
    if is_sql:
        return set(re.findall(r"CREATE FUNCTION ([\w.]+)", text))
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_twenty_questions_are_answered() -> None:
    assert len({question for question, _, _ in ROWS}) == 20


@pytest.mark.parametrize(("question", "file", "name"), ROWS, ids=[question for question, _, _ in ROWS])
def test_the_named_file_defines_the_name(question: str, file: str, name: str) -> None:
    text = (CHECKOUT / "test_framework" / file).read_text(encoding="utf-8")

    assert name in defined_in(text, is_sql=file.endswith(".sql")), f"what answers {question!r} is not in {file}"
