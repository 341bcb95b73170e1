"""What pytest would take for a test, and is none, says so."""

from __future__ import annotations

import ast

import pytest

from test_framework import CHECKOUT
from test_framework.guards.source import files_of


def _classes_named_like_a_test() -> dict[str, ast.ClassDef]:
    kit = [source for source in files_of(CHECKOUT) if source.pure_path.match("test_framework/*.py")]
    return {
        f"{source.path}::{node.name}": node
        for source in kit
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
    }


CLASSES = _classes_named_like_a_test()


def test_the_kit_has_such_classes() -> None:
    assert {name.rpartition("::")[2] for name in CLASSES} >= {"TestContext", "TestUserContext"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_the_kit_that_is_named_like_a_test_says_that_it_is_none(name: str) -> None:
    said = [ast.unparse(statement) for statement in CLASSES[name].body if isinstance(statement, ast.Assign)]

    assert "__test__ = False" in said
