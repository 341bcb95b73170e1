"""Migrations of the database's tables to those that the code expects.

The engine's tables have a separate branch of alembic revisions: an update of the engine adds a revision there, and the
application's revisions never follow one of the engine's.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, Table, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from commitstream.db import base
from commitstream.db import tables as _tables  # noqa: F401 (declares the engine's tables)
from commitstream.db.base import Base
from commitstream.settings import EngineSettings

if TYPE_CHECKING:
    from alembic.config import Config

HEADS = "heads"
MIGRATIONS = Path(__file__).parent / "migrations"
ENGINE_VERSIONS = MIGRATIONS / "versions"
_STEPS = re.compile(r"-\d+")
logger = logging.getLogger(__name__)


class SchemaError(Exception):
    """The database's tables don't match this code."""


class EmptyRevisionError(SchemaError):
    """Autogenerate found no difference to write a revision for."""


@dataclass(frozen=True)
class NextSteps:
    """The next steps that errors about migrations name; an application replaces them by its own commands."""

    upgrade: str = f"start with {EngineSettings.variable('migrate')}=true"
    unknown: str = "deploy the code that has this migration, or name another database by DATABASE_URL"
    merge: str = "call Migrations.merge"
    revise: str = "call Migrations.revise with empty=True"


@dataclass(frozen=True)
class Standing:
    """The migration that a database has, and the one that the code needs."""

    current: str | None
    wanted: str
    known: bool = True
    """Whether this code has the database's migration; a newer release or another branch may have applied it."""
    lacking: tuple[str, ...] = ()
    """Tables and columns that this code needs and a database at an unknown migration doesn't have."""
    next_steps: NextSteps = NextSteps()

    @property
    def behind(self) -> bool:
        return self.known and self.current != self.wanted

    @property
    def ahead(self) -> bool:
        """Whether newer code has migrated the database, and kept all that this code needs."""
        return not self.known and not self.lacking

    def require_usable(self) -> None:
        """Raise unless this code can use the database."""
        state = f"the database is at migration {self.current or 'none'}"
        if self.behind:
            raise SchemaError(f"{state}, this code needs {self.wanted}: {self.next_steps.upgrade}")
        if self.lacking:
            raise SchemaError(
                f"{state}, which this code doesn't have, and lacks {', '.join(self.lacking)}: {self.next_steps.unknown}"
            )


class Migrations:
    """The migrations of an application and of the engine, up to the tables that a metadata declares."""

    def __init__(
        self,
        versions: Path | None = None,
        metadata: Sequence[MetaData] = (),
        next_steps: NextSteps | None = None,
        *,
        domains: Sequence[Path] = (),
    ) -> None:
        """Take the application's revisions from the folder `versions`, and its declared tables from `metadata`.

        `domains` are folders with revisions that belong to one domain each; new revisions are written to `versions`.
        """
        self.versions = versions
        self.domains = tuple(domains)
        self.next_steps = NextSteps() if next_steps is None else next_steps
        self.metadata = [Base.metadata, *(declared for declared in metadata if declared is not Base.metadata)]

    @property
    def folders(self) -> list[Path]:
        """The folders of the revisions: the engine's, and the application's."""
        return [ENGINE_VERSIONS, *self.own_folders]

    @property
    def own_folders(self) -> list[Path]:
        """Where the application's revisions lie."""
        return [*self.domains, *([self.versions] if self.versions is not None else [])]

    def fingerprint(self) -> str:
        """Return a hash of all that decides which tables the migrations make."""
        sources = [file for folder in self.folders for file in folder.glob("*.py")]
        content = hashlib.sha256()
        for source in sorted([*sources, Path(__file__), Path(base.__file__)]):
            content.update(source.name.encode() + b"\0" + source.read_bytes())
        return content.hexdigest()

    @property
    def tables(self) -> list[Table]:
        """All tables that are declared."""
        return [table for declared in self.metadata for table in declared.tables.values()]

    async def upgrade(self, engine: AsyncEngine, revision: str = HEADS) -> None:
        """Apply the migrations that are missing; a database that is ahead stays as it is."""
        from alembic import command

        followed = self.revisions()
        self.newest_revisions()

        def migrate(config: Config) -> None:
            # read under the lock: a process of a newer release may have migrated meanwhile
            if revision != HEADS or followed.keys() >= set(_current(config.attributes["connection"])):
                command.upgrade(config, revision)

        await self._run(engine, migrate)

    async def create(self, engine: AsyncEngine, metadata: MetaData) -> None:
        """Create the tables of an application without migrations where they are missing."""
        async with engine.begin() as connection:
            await _wait_for_other_processes(connection)
            await connection.run_sync(metadata.create_all)

    async def downgrade(self, engine: AsyncEngine, revision: str) -> None:
        """Undo migrations down to a revision, or as many of the application's as a negative number says."""
        from alembic import command

        own, followed = self._own(), self.revisions()

        def undo(config: Config) -> None:
            target = revision
            if _STEPS.fullmatch(revision):
                current = _current(config.attributes["connection"])
                unknown = [name for name in current if name not in followed]
                start = [name for name in current if name in own]
                # alembic refuses a revision that this code doesn't have, and names it
                target = unknown[0] if unknown else _before(own, start, -int(revision))
            command.downgrade(config, target)

        await self._run(engine, undo)

    async def check(self, engine: AsyncEngine) -> None:
        """Raise unless the tables as migrated are the tables as declared."""
        from alembic import command

        await self._run(engine, command.check)

    async def revise(self, engine: AsyncEngine, message: str, *, empty: bool = False) -> None:
        """Write the migration from the database's tables to the declared ones, or an empty one."""
        from alembic import command

        from commitstream.db.autogenerate import refuse_empty

        if self.versions is None:
            raise SchemaError("this application has no folder for its revisions: give Migrations one")
        self.versions.mkdir(parents=True, exist_ok=True)
        await self._run(
            engine,
            lambda config: command.revision(
                config,
                message,
                autogenerate=not empty,
                head=self._newest(self._own()) or "base",
                version_path=str(self.versions),
                process_revision_directives=None if empty else partial(refuse_empty, self.next_steps.revise),
            ),
        )

    async def merge(self, engine: AsyncEngine, message: str) -> None:
        """Write the migration that joins two newest ones."""
        from alembic import command

        heads = _heads(self._own())
        await self._run(engine, lambda config: command.merge(config, heads, message))

    async def standing(self, engine: AsyncEngine) -> Standing:
        """Return the migration of the database, without importing alembic, which takes 0.2 s at each start."""
        followed, wanted = self.revisions(), self.newest_revisions()
        async with engine.connect() as connection:
            current = await connection.run_sync(_current)
            known = followed.keys() >= set(current)
            lacking = () if known else await connection.run_sync(self._lacking)
        return Standing(", ".join(current) or None, ", ".join(wanted), known, lacking, self.next_steps)

    async def require_newest(self, engine: AsyncEngine) -> None:
        """Raise unless this code can use the database; warn if newer code has migrated it."""
        found = await self.standing(engine)
        found.require_usable()
        if found.ahead:
            logger.warning(
                "the database is at migration %s, which this code doesn't have: a newer release has migrated it. "
                "All tables and columns that this code needs are there, so it starts",
                found.current,
            )

    def newest_revisions(self) -> list[str]:
        """Return the newest migrations of engine and application; SchemaError where one has two."""
        newest = [self._newest(_read(ENGINE_VERSIONS)), self.newest_own_revision()]
        return sorted(revision for revision in newest if revision is not None)

    def newest_own_revision(self) -> str | None:
        """Return the application's newest migration; None where it has none."""
        return self._newest(self._own())

    def revisions(self) -> dict[str, tuple[str, ...]]:
        """Return every migration with those that it follows, without importing the files."""
        return _read(*self.folders)

    def _newest(self, followed: Mapping[str, tuple[str, ...]]) -> str | None:
        """Return the migration that none follows; None where there is no migration."""
        heads = _heads(followed)
        if len(heads) > 1:
            raise SchemaError(
                f"the migrations have {len(heads)} newest ones, {' and '.join(heads)}: an update or a merge has brought one "
                f"beside another. Join them: {self.next_steps.merge}"
            )
        if followed and not heads:
            raise SchemaError(
                f"no migration is the newest of {', '.join(sorted(followed))}: check each `down_revision`"
            )
        return heads[0] if heads else None

    def _own(self) -> dict[str, tuple[str, ...]]:
        return _read(*self.own_folders)

    def _lacking(self, connection: Connection) -> tuple[str, ...]:
        """Name the tables and columns that the models declare and the database doesn't have."""
        inspector = inspect(connection)
        lacking = []
        for table in self.tables:
            name = table.name
            if not inspector.has_table(name):
                lacking.append(name)
                continue
            existing = {column["name"] for column in inspector.get_columns(name)}
            lacking += [f"{name}.{column.name}" for column in table.columns if column.name not in existing]
        return tuple(lacking)

    async def _run(self, engine: AsyncEngine, command: Callable[[Config], object]) -> None:
        from alembic.config import Config

        def on_connection(connection: Connection) -> None:
            config = Config(stdout=sys.stdout)  # alembic would keep the stdout of its first import
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.set_main_option("path_separator", "newline")
            versions = "\n".join(map(str, self.folders))
            config.set_main_option("version_locations", versions.replace("%", "%%"))
            # sorted by date; the revision itself is a hash, so that those of two branches never have the same name
            config.set_main_option("file_template", "%%(year)d%%(month).2d%%(day).2d_%%(rev)s_%%(slug)s")
            config.attributes["connection"] = connection
            config.attributes["metadata"] = self.metadata
            command(config)

        async with engine.begin() as connection:
            await _wait_for_other_processes(connection)
            await connection.run_sync(on_connection)


async def _wait_for_other_processes(connection: AsyncConnection) -> None:
    """Take the lock of migrations, so that one process migrates while others wait."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic_version'))"))


def _read(*folders: Path) -> dict[str, tuple[str, ...]]:
    files: dict[str, list[Path]] = defaultdict(list)
    followed: dict[str, tuple[str, ...]] = {}
    for file in (file for folder in folders for file in sorted(folder.glob("*.py"))):
        names = _assigned(file)
        if isinstance(revision := names.get("revision"), str):
            before = names.get("down_revision")
            followed[revision] = (before,) if isinstance(before, str) else tuple(before or ())
            files[revision].append(file)
    for revision, same in files.items():
        if len(same) > 1:
            raise SchemaError(
                f"{len(same)} migrations are called {revision!r}, {' and '.join(file.name for file in same)}: "
                "an update or a merge has brought one beside another. Give the one that no database has yet "
                "another `revision`, and let its `down_revision` be the other's"
            )
    return followed


def _heads(followed: Mapping[str, tuple[str, ...]]) -> list[str]:
    return sorted(set(followed) - {before for all_before in followed.values() for before in all_before})


def _before(followed: Mapping[str, tuple[str, ...]], current: Sequence[str], steps: int) -> str:
    """Return the revision so many steps before the application's current one."""
    if len(current) != 1:
        raise SchemaError("the database has no migration of this application that could be undone")
    revision = current[0]
    for _ in range(steps):
        before = followed[revision]
        if not before:
            return f"{revision}@base"
        revision = before[0]
    return revision


def _assigned(file: Path) -> dict[str, str | tuple[str, ...] | None]:
    """Read the literals that a migration's module assigns to its names."""
    found = {}
    for statement in ast.parse(file.read_bytes(), file.name).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and statement.value:
            found[target.id] = ast.literal_eval(statement.value)
    return found


def _current(connection: Connection) -> list[str]:
    if not inspect(connection).has_table("alembic_version"):
        return []
    return sorted(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
