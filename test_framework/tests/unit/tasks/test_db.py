"""The database's commands, on real SQLite files."""

from __future__ import annotations

import gc
import sqlite3
import sys
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.base import Base
from app.db.schema import migrations
from test_framework.tasks import db

TABLES = {"commitstream_streams", "commitstream_events", "alembic_version"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name an embedded database in a checkout of our own; `.data` is not there yet."""
    return use(tmp_path / ".data" / "app.db", tmp_path, monkeypatch)


def use(file: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(db, "CHECKOUT", root)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{file}")
    return file


def tables(file: Path) -> set[str]:
    return set(column(file, "SELECT name FROM sqlite_master WHERE type = 'table'"))


def column(file: Path, query: str) -> list[str]:
    connection = sqlite3.connect(file)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


FOREIGN = "DELETE FROM alembic_version WHERE version_num NOT LIKE 'commitstream%'; INSERT INTO alembic_version VALUES ('f00dfeed')"
"""As a newer release leaves the application's branch; the engine's stays."""


def newest() -> str:
    return ", ".join(migrations.newest_revisions())


def execute(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.executescript(statement)
    connection.close()


def test_an_upgrade_makes_the_tables_and_says_where_it_led(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db.upgrade(Context())

    assert tables(file) >= TABLES
    assert capsys.readouterr().out == f"from no migration to {newest()}\n"


def test_a_second_upgrade_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db.upgrade(Context())
    capsys.readouterr()

    db.upgrade(Context())

    assert capsys.readouterr().out == f"{newest()}, as before\n"


def test_a_downgrade_to_base_removes_the_tables(file: Path) -> None:
    db.upgrade(Context())

    db.downgrade(Context(), revision="base")

    assert tables(file) == {"alembic_version"}


def test_current_tells_what_to_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db.current(Context())

    assert capsys.readouterr().out == f"no migration; the newest is {newest()}; run: invoke db.upgrade\n"


def test_the_migrations_make_what_the_models_say(file: Path) -> None:
    db.check(Context())

    assert not file.exists()


def test_a_revision_on_tables_that_are_behind_is_refused(file: Path) -> None:
    with pytest.raises(Exit, match=r"invoke db\.upgrade"):
        db.revision(Context(), message="too early")


def test_a_revision_is_written_where_the_migrations_are(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "migrations"
    ours.mkdir()
    before = {*ours.glob("*.py")}
    monkeypatch.setattr(migrations, "versions", ours)
    db.upgrade(Context())

    db.revision(Context(), message="one more", empty=True)

    (written,) = {*ours.glob("*.py")} - before
    assert f"wrote {written.relative_to(tmp_path)}: read it" in capsys.readouterr().out
    assert written.name.endswith("_one_more.py")


def test_a_revision_without_ruff_is_kept_and_says_so(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "migrations"
    ours.mkdir()
    monkeypatch.setattr(migrations, "versions", ours)
    monkeypatch.setitem(sys.modules, "ruff", None)  # as where it is not installed
    db.upgrade(Context())

    db.revision(Context(), message="one more", empty=True)

    (written,) = ours.glob("*_one_more.py")
    said = capsys.readouterr().out
    assert f"{written.name} is not formatted: ruff is not installed" in said
    assert "def upgrade() -> None:" in written.read_text()


def test_a_missing_migration_is_named_with_the_next_command(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in migrations.tables:
        if table.name != "commitstream_dead_letters":
            table.to_metadata(declared)
    Table("pets", declared, Column("id", Integer, primary_key=True), Column("name", Text, index=True))
    events = declared.tables["commitstream_events"]
    events.append_column(Column("mood", Text))
    events.append_constraint(CheckConstraint("mood <> ''", name="mood"))
    events.c.body.nullable = True
    monkeypatch.setattr(migrations, "metadata", [declared])

    with pytest.raises(Exit, match=r'next: invoke db\.revision --message "…"') as refusal:
        db.check(Context())

    said = str(refusal.value.message)
    for difference in (
        *("add table pets", "remove table commitstream_dead_letters", "add column commitstream_events.mood"),
        *(
            "add constraint ck_commitstream_events_mood of commitstream_events",
            "add index ix_pets_name of pets",
            "change nullable of commitstream_events.body",
        ),
    ):
        assert difference in said
    assert "check.db" not in said
    assert "(" not in said  # of a representation


def test_a_migration_that_fails_in_a_check_names_no_scratch_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT wrong"))

    monkeypatch.setattr(migrations, "upgrade", fail)

    with pytest.raises(Exit, match="wrong; correct the migrations") as refusal:
        db.check(Context())

    assert "check.db" not in str(refusal.value)


def test_an_upgrade_of_an_unknown_database_that_lacks_tables_fails(file: Path) -> None:
    db.upgrade(Context())
    execute(file, FOREIGN)
    db.upgrade(Context())  # all that this code needs is there
    execute(file, "DROP TABLE commitstream_dead_letters")

    with pytest.raises(Exit, match=r"f00dfeed.*lacks commitstream_dead_letters.*invoke db\.reset"):
        db.upgrade(Context())


def test_a_downgrade_from_an_unknown_revision_names_the_next_step(file: Path) -> None:
    db.upgrade(Context())
    execute(file, FOREIGN)

    with pytest.raises(Exit, match=r"no migration f00dfeed: its file was deleted.*deploy.*invoke db\.reset"):
        db.downgrade(Context())


def test_an_unknown_revision_is_said_plainly(file: Path) -> None:
    with pytest.raises(Exit, match="nonesuch"):
        db.upgrade(Context(), revision="nonesuch")


def test_a_reset_of_the_embedded_database_removes_its_data(file: Path) -> None:
    db.upgrade(Context())
    execute(file, "INSERT INTO commitstream_streams (stream, last_seq) VALUES ('user:ada', 7)")

    db.reset(Context())

    assert column(file, "SELECT stream FROM commitstream_streams") == []
    assert tables(file) >= TABLES


def test_a_reset_heals_an_embedded_database_that_is_no_database_any_more(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database at all, but long enough to be taken for one" * 100)

    db.reset(Context())

    assert tables(file) >= TABLES


@pytest.mark.filterwarnings("error")
def test_an_upgrade_of_a_file_that_is_no_database_names_it(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database at all, but long enough to be taken for one" * 100)

    with pytest.raises(Exit, match=r"invoke db\.reset") as refusal:
        db.upgrade(Context())
    gc.collect()  # a coroutine that was never awaited warns when it is collected

    assert f"{file} is not a SQLite database" in str(refusal.value)


def test_a_reset_is_refused_while_someone_uses_the_database(file: Path) -> None:
    db.upgrade(Context())

    with file.open("rb"), pytest.raises(Exit, match=r"is in use by .*pid \d+"):
        db.reset(Context())

    assert tables(file) >= TABLES


def test_a_reset_of_anyone_elses_database_needs_a_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(tmp_path / "elsewhere.db", tmp_path / "checkout", monkeypatch)
    db.upgrade(Context())
    execute(file, "INSERT INTO commitstream_streams (stream, last_seq) VALUES ('user:ada', 7)")

    with pytest.raises(Exit, match=r"invoke db\.reset --yes"):
        db.reset(Context())
    kept = column(file, "SELECT stream FROM commitstream_streams")
    db.reset(Context(), yes=True)

    assert kept == ["user:ada"]
    assert column(file, "SELECT stream FROM commitstream_streams") == []


def test_a_database_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://me:hunter2@127.0.0.1:1/x")

    with pytest.raises(Exit, match=r"invoke env\.show") as refusal:
        db.current(Context())

    assert "hunter2" not in str(refusal.value)


def test_settings_that_cannot_be_used_lead_to_the_command_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://x/y")

    with pytest.raises(Exit, match=r"invoke env\.check"):
        db.current(Context())
