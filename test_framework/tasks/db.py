"""The database's tables: migrate, check and reset them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from test_framework import CHECKOUT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from app.db.migrate import Standing


@task(help={"revision": "where to go; the newest migration unless given"})
def upgrade(context: Context, revision: str = "head") -> None:
    """Apply the migrations that are missing."""
    from app.db import migrate

    _on_database(lambda engine: _moving(engine, lambda: migrate.upgrade(engine, revision)))


@task(help={"revision": "where to go: a number, base, or -1 for the one before"})
def downgrade(context: Context, revision: str = "-1") -> None:
    """Undo the last migration, or more."""
    from app.db import migrate

    _on_database(lambda engine: _moving(engine, lambda: migrate.downgrade(engine, revision)))


@task(help={"message": "what the migration does, in a few words", "empty": "write one for you to fill in"})
def revision(context: Context, message: str, empty: bool = False) -> None:
    """Write the migration that leads to the models as they are."""
    from app.db import migrate

    async def revise(engine: AsyncEngine) -> None:
        found = await migrate.standing(engine)
        if found.behind or not found.known:
            raise migrate.SchemaError(
                f"a migration is written from tables at the newest one, {found.wanted}, not at {_place(found)}: "
                + ("run: invoke db.upgrade" if found.known else "name another database by DATABASE_URL")
            )
        await migrate.revise(engine, message, empty=empty)

    _writing(revise)


@task(help={"message": "what is joined, in a few words"})
def merge(context: Context, message: str) -> None:
    """Write the migration that joins the newest ones of two branches."""
    from app.db import migrate

    _writing(lambda engine: migrate.merge(engine, message))


@task
def current(context: Context) -> None:
    """Print which migration the database has, and the newest."""
    from app.db import migrate

    async def tell(engine: AsyncEngine) -> None:
        found = await migrate.standing(engine)
        print(f"{_place(found)}; the newest is {found.wanted}{'; run: invoke db.upgrade' if found.behind else ''}")

    _on_database(tell)


@task
def check(context: Context) -> None:
    """Check that the migrations make the models' tables."""
    from app.db import migrate

    async def compare(engine: AsyncEngine) -> None:
        await migrate.upgrade(engine)
        await migrate.check(engine)

    with tempfile.TemporaryDirectory() as folder:
        _on_database(compare, f"sqlite+aiosqlite:///{folder}/check.db")


@task(help={"yes": "also where the data is not an embedded one in .data"})
def reset(context: Context, yes: bool = False) -> None:
    """Throw the data away and make the tables anew."""
    from app.db import migrate

    url = _url()
    embedded = _embedded_file(url)
    if embedded is not None:
        _delete(embedded)
        _on_database(lambda engine: _moving(engine, lambda: migrate.upgrade(engine)))
        return
    if not yes:
        raise Exit(f"{_shown(url)} is not an embedded database in .data; if it may go, run: invoke db.reset --yes", 1)

    async def anew(engine: AsyncEngine) -> None:
        await migrate.downgrade(engine, "base")
        await _moving(engine, lambda: migrate.upgrade(engine))

    _on_database(anew)


def _writing(work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    """Do work that writes migrations, format them and name them."""
    before = set(_migrations())
    _on_database(work)
    for file in sorted(set(_migrations()) - before):
        _format(file)
        print(f"wrote {file.relative_to(CHECKOUT)}: read it, then run: invoke db.upgrade")


def _format(file: Path) -> None:
    """Give a file the project's style; without ruff it stays as alembic wrote it."""
    if find_spec("ruff") is None:
        print(f"{file.name} is not formatted: ruff is not installed here; nox -s setup, then: ruff format")
        return
    for command in (("check", "--quiet", "--select=I,F401", "--fix-only"), ("format", "--quiet")):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(file)], cwd=CHECKOUT, check=False, timeout=60)


def _on_database(work: Callable[[AsyncEngine], Awaitable[None]], url: str | None = None) -> None:
    """Do some work on the database that the settings name, or on another; say plainly why it cannot be done."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from app.db.database import Database, NotADatabaseError
    from app.db.migrate import SchemaError

    url = url or _url()

    async def go() -> None:
        database = Database(url)
        try:
            await work(database.engine)
        finally:
            await database.close()

    try:
        asyncio.run(go())
    except (CommandError, SchemaError) as error:
        raise Exit(f"{_shown(url)}: {error}", 1) from None
    except NotADatabaseError as error:
        raise Exit(str(error), 1) from None
    except (SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Exit(f"{_shown(url)} does not do it: {reason}; check DATABASE_URL with: invoke env.show", 1) from None


async def _moving(engine: AsyncEngine, step: Callable[[], Awaitable[None]]) -> None:
    """Take one step and say from where to where it led."""
    from app.db import migrate

    before = await migrate.standing(engine)
    await step()
    after = await migrate.standing(engine)
    print(f"from {_place(before)} to {_place(after)}" if before != after else f"{_place(after)}, as before")


def _place(standing: Standing) -> str:
    return f"{standing.current or 'no migration'}{'' if standing.known else ', which this code does not have'}"


def _url() -> str:
    from app.settings import SettingsError, load_settings

    try:
        return load_settings(CHECKOUT / ".env.local").database_url
    except SettingsError as error:
        raise Exit(f"{error}\nrun: invoke env.check", 1) from None


def _shown(url: str) -> str:
    from test_framework.environment.env_files import masked

    return masked("DATABASE_URL", url)


def _migrations() -> list[Path]:
    from app.db.migrate import MIGRATIONS

    return list((MIGRATIONS / "versions").glob("*.py"))


def _embedded_file(url: str) -> Path | None:
    """Find the file of an embedded database in .data; any other database is someone's own."""
    from sqlalchemy import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    file = Path(parsed.database).resolve()
    return file if file.is_relative_to(CHECKOUT / ".data") else None


def _delete(file: Path) -> None:
    from test_framework.services.occupants import holders_of

    family = [file, *(file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm", "-journal"))]
    if busy := holders_of(family):
        raise Exit(f"{file.name} is in use by {', '.join(busy)}; stop it, then run: invoke db.reset", 1)
    for member in family:
        member.unlink(missing_ok=True)
