"""Hooks for alembic's autogenerate: types, defaults, CHECKs and empty revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.ddl._autogen import ComparisonResult
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.ops import MigrationScript
from sqlalchemy import CheckConstraint, Column, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import False_, True_
from sqlalchemy.sql.functions import now

from commitstream.db.migrate import EmptyRevisionError

if TYPE_CHECKING:
    from collections.abc import Iterable

PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")
PORTABLE_DEFAULTS: dict[type, str] = {False_: "sa.false()", True_: "sa.true()", now: "sa.func.now()"}
SCRATCH = "compared_check"


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render the project's own types with their import, and defaults for each database."""
    if kind == "server_default":
        # alembic would write the text of one database
        return PORTABLE_DEFAULTS.get(type(getattr(item, "arg", None)), False)
    module = type(item).__module__
    if kind != "type" or module.partition(".")[0] in {"sqlalchemy", "alembic"}:
        return False
    context.imports.add(f"from {module} import {type(item).__name__}")
    return repr(item)


def refuse_empty(next_step: str, context: object, revision: object, scripts: Iterable[MigrationScript]) -> None:
    """Raise EmptyRevisionError, with the next step, where autogenerate found no difference."""
    if all(operations.is_empty() for script in scripts for operations in script.upgrade_ops_list):
        raise EmptyRevisionError(
            "no migration was written: the tables are as they are declared. Compared are tables, columns, "
            "types, defaults of the server, indexes, foreign keys, unique and named CHECK constraints; not seen are "
            "renames, primary keys, unnamed constraints, the values of an Enum, views, triggers and data. "
            f"Change the models, or write the migration yourself, beginning with an empty one: {next_step}"
        )


class _Postgres(PostgresqlImpl):
    """Compares CHECK constraints as Postgres stores them, which rewrites their text."""

    __dialect__ = "postgresql"

    def compare_check_constraint(self, declared: CheckConstraint, reflected: CheckConstraint) -> ComparisonResult:
        assert self.connection is not None
        table = self.dialect.identifier_preparer.format_table(reflected.table)
        stored = _as_postgres_stores_it(self.connection, table, _condition(declared, self.dialect))
        return _compared(str(reflected.sqltext), stored)


class _Sqlite(SQLiteImpl):
    """Compares the text of CHECK constraints, which SQLite stores as it was written."""

    __dialect__ = "sqlite"

    def compare_server_default(
        self,
        inspector_column: Column[Any],
        metadata_column: Column[Any],
        rendered_metadata_default: str | None,
        rendered_inspector_default: str | None,
    ) -> bool:
        # alembic removes the quotes only where there is text between them
        declared, stored = (
            "" if default in {"''", "('')"} else default
            for default in (rendered_metadata_default, rendered_inspector_default)
        )
        return super().compare_server_default(inspector_column, metadata_column, declared, stored)

    def compare_check_constraint(self, declared: CheckConstraint, reflected: CheckConstraint) -> ComparisonResult:
        return _compared(str(reflected.sqltext), _condition(declared, self.dialect))


def _condition(constraint: CheckConstraint, dialect: Dialect) -> str:
    return str(constraint.sqltext.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _as_postgres_stores_it(connection: Connection, table: str, condition: str) -> str | None:
    """Read a condition back from a temporary table; None where that can't be made.

    The condition may be about a column that the table doesn't have yet.
    """
    trial = connection.begin_nested()
    try:
        connection.execute(text(f"CREATE TEMPORARY TABLE {SCRATCH} (LIKE {table})"))
        # the driver would take a colon of the condition for a parameter
        connection.exec_driver_sql(f"ALTER TABLE {SCRATCH} ADD CONSTRAINT {SCRATCH} CHECK ({condition})")
        return inspect(connection).get_check_constraints(SCRATCH)[0]["sqltext"]
    except DBAPIError:
        return None
    finally:
        trial.rollback()


def _compared(stored: str, wanted: str | None) -> ComparisonResult:
    if wanted is not None and "".join(stored.split()) == "".join(wanted.split()):
        return ComparisonResult.Equal()
    return ComparisonResult.Different(f"the condition {stored} is now {wanted}")
