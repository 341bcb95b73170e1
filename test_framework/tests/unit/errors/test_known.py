"""What the kit knows about a table or a column that a database lacks: whether models and migrations have it."""

from __future__ import annotations

from test_framework.errors import known
from test_framework.project import project


def test_each_table_of_the_project_is_in_models_and_migrations() -> None:
    tables = [table.name for table in project().migrations().tables]

    facts = [known.schema(f"no such table: {name}") for name in tables]

    assert tables
    assert facts == [{"missing": name, "in_models": True, "in_migrations": True} for name in tables]


def test_a_table_that_nothing_declares_is_in_neither() -> None:
    project().migrations()

    facts = known.schema('relation "test_known" does not exist')

    assert facts == {"missing": "test_known", "in_models": False, "in_migrations": False}
