"""The adapter of a project: a plain application needs ten lines, and what is wrong with them is said in one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Enum, Integer, MetaData, Table

from test_framework.project import ProjectAdapter, ProjectError, TablesOf, load
from test_framework.tests.shop import RESULTS, plant_shop


@pytest.mark.timeout(150)  # a separate run, on a machine that may be busy
def test_a_plain_application_is_served_with_its_tables(tmp_path: Path) -> None:
    ended = plant_shop(tmp_path / "shop", "unit").run("--mode=lightweight", "-n0")

    assert {test: ended.of(test).results for test in RESULTS} == RESULTS, ended.output
    assert "this needs token() of the project's adapter, and adapter:Shop has none" in ended.output
    assert "() in a coroutine stops everything" in ended.of("test_a_blocking_call_of_the_application_fails").words


@pytest.mark.timeout(150)
def test_a_run_with_an_adapter_that_is_missing_ends_at_once(tmp_path: Path) -> None:
    shop = plant_shop(tmp_path / "shop", "unit")
    (shop.root / "adapter.py").unlink()

    ended = shop.run("--mode=lightweight", "-n0")

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "there is no module adapter" in ended.output


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", "names no adapter. Write a subclass of test_framework.project.ProjectAdapter"),
        ("planted_adapter", 'is not "module:Class"'),
        ("no_such_adapter:Shop", "there is no module no_such_adapter, and no file"),
        ("planted_adapter:Shed", "the module planted_adapter has no Shed"),
        ("planted_adapter:Other", "Other is a class, Other, not a subclass of ProjectAdapter"),
        ("planted_adapter:NUMBER", "NUMBER is of type int, not a subclass of ProjectAdapter"),
        ("planted_broken:Shop", "planted_broken needs no_such_library, which is not installed"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_explained(tmp_path: Path, named: str, said: str) -> None:
    (tmp_path / "planted_adapter.py").write_text("class Other: ...\nNUMBER = 3\n", encoding="utf-8")
    (tmp_path / "planted_broken.py").write_text("import no_such_library\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(f'[tool.test_framework]\nproject = "{named}"\n', encoding="utf-8")

    with pytest.raises(ProjectError) as refused:
        load(tmp_path)

    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "next: " in str(refused.value)
    for name in ("planted_adapter", "planted_broken"):
        sys.modules.pop(name, None)


def test_a_project_without_an_adapter_is_told_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r'\[tool.test_framework\] project = "tests.support.project:Project"'):
        load(tmp_path)


@pytest.mark.parametrize("method", ["settings_type", "metadata"])
def test_an_adapter_names_the_method_that_it_lacks(method: str) -> None:
    with pytest.raises(ProjectError, match=rf"this needs {method}\(\) of the project's adapter"):
        getattr(ProjectAdapter(), method)()


@pytest.mark.parametrize(
    "changed",
    [
        Table("orders", MetaData(), Column("id", Integer), Column("number", Integer)),
        Table("orders", MetaData(), Column("id", Integer), Column("size", Enum("small", "tall", name="size"))),
    ],
)
def test_declared_tables_are_known_by_all_that_they_declare(changed: Table) -> None:
    first = Table("orders", MetaData(), Column("id", Integer))
    same = Table("orders", MetaData(), Column("id", Integer))

    assert TablesOf(first.metadata).fingerprint() == TablesOf(same.metadata).fingerprint()
    assert TablesOf(first.metadata).fingerprint() != TablesOf(changed.metadata).fingerprint()


def test_values_of_an_enum_count_for_the_tables() -> None:
    small, wide = (
        Table("orders", MetaData(), Column("size", Enum(*values, name="size")))
        for values in (("small", "tall"), ("small", "wide"))
    )

    assert TablesOf(small.metadata).fingerprint() != TablesOf(wide.metadata).fingerprint()
