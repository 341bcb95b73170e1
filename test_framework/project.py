"""The project under test: the kit calls its settings, application and database through one adapter.

`pyproject.toml` names the adapter's class:

    [tool.test_framework]
    project = "tests.support.project:Project"

The class is a subclass of `ProjectAdapter`, which is made for FastAPI and SQLAlchemy, or of
`test_framework.websocket.adapter.CommitstreamAdapter`, where the application uses the engine. It imports the application inside
its methods, so that naming it costs a test run nothing.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from test_framework import CHECKOUT
from test_framework.configuration import project_root, table_of

if TYPE_CHECKING:
    from datetime import timedelta

    from fastapi import FastAPI
    from pydantic_settings import BaseSettings
    from sqlalchemy import Executable, MetaData, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

TABLE = "[tool.test_framework]"
NEXT = "next: docs/testing.md, section “The adapter”"


class ProjectError(Exception):
    """The adapter is not named, can't be imported, or lacks what a test asks for."""


class Tables(Hashable, Protocol):
    """Makes the tables of an empty database."""

    @property
    def versions(self) -> Path | None:
        """The folder of the application's migrations, by which the kit tells applications apart."""

    @property
    def tables(self) -> Sequence[Table]:
        """All tables that are declared."""

    @property
    def folders(self) -> Sequence[Path]:
        """The folders of all migrations; none where the tables are made as they are declared."""

    async def upgrade(self, engine: AsyncEngine) -> None:
        """Make every table that is missing."""

    def fingerprint(self) -> str:
        """Return a hash of all that decides which tables `upgrade` makes."""


class TablesOf:
    """The tables of an application without migrations: those that a metadata declares."""

    versions: Path | None = None
    folders: Sequence[Path] = ()

    def __init__(self, metadata: MetaData) -> None:
        self._metadata = metadata

    @property
    def tables(self) -> Sequence[Table]:
        return self._metadata.sorted_tables

    async def upgrade(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(self._metadata.create_all)

    def fingerprint(self) -> str:
        from sqlalchemy import create_mock_engine

        content = hashlib.sha256()

        def add(statement: Executable, *_: object, **__: object) -> None:
            content.update(str(statement.compile(dialect=engine.dialect)).encode())  # type: ignore[attr-defined]

        engine = create_mock_engine("postgresql+asyncpg://", add)
        self._metadata.create_all(engine, checkfirst=False)
        return content.hexdigest()


@dataclass(frozen=True)
class Served:
    """An application that is served in the loop of a test: its URL, and what a test may look into."""

    url: str
    engine: Any = None
    connections: Any = ()


class ProjectAdapter:
    """What the kit asks a project for. A project defines the first three methods, and overrides the others where it differs."""

    module: str | None = None
    """What `python -m` runs to serve the application; it prints its URL. None: the kit serves it with uvicorn."""

    def settings_type(self) -> type[BaseSettings]:
        """Return the class of the application's settings."""
        self._lacks("settings_type", "the class of the application's settings, made by pydantic-settings")

    def create_app(self, settings: Any) -> FastAPI:
        """Return a new application with these settings."""
        self._lacks("create_app", "a new application with the given settings")

    def metadata(self) -> MetaData:
        """Return the metadata with the application's tables."""
        self._lacks("metadata", "the MetaData that declares the application's tables, or override `migrations`")

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """Exceptions of settings, database and migrations whose text says what is wrong: commands print it alone."""
        from pydantic import ValidationError

        return (ProjectError, ValidationError)

    def load_settings(self, env_file: Path | None) -> Any:
        """Read the settings as the application does when it starts, from the environment and this file."""
        return self.settings_type()(_env_file=env_file)

    def dev_settings(self) -> Any:
        """Return the settings of a developer's machine, without the environment's say where that is possible."""
        return self.load_settings(None)

    def settings_of_each_test(self, database_url: str, redis_url: str, namespace: str, secret: str) -> dict[str, Any]:
        """Return the settings, by field, that keep one test apart from all others.

        Args:
            database_url: A database of this test alone, as SQLAlchemy's asynchronous drivers take it.
            redis_url: A Redis, or empty where there is none.
            namespace: What the keys and channels of this test begin with.
            secret: A new secret for tokens.
        """
        given = {"database_url": database_url, "redis_url": redis_url}
        return {field: value for field, value in given.items() if field in self.settings_type().model_fields}

    def migrations(self) -> Tables:
        """Return what makes the tables of an empty database; the same object each time."""
        return _tables_of(self.metadata())

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[AsyncEngine]:
        """Yield SQLAlchemy's engine for a database until the block ends."""
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(url)
        try:
            yield engine
        finally:
            await engine.dispose()

    def token(self, settings: Any, user_id: str, lifetime: timedelta | None = None) -> str:
        """Return a token of this user that an application with these settings accepts, for a lifetime."""
        self._lacks("token", "a token that the application accepts from this user")

    def topics(self) -> Iterable[Any]:
        """Return the topics of events that the application declares; none without the engine."""
        return ()

    def event_types(self) -> Sequence[str]:
        """Return the types of the events that the application declares: a whole run has to show each of them."""
        return ()

    def serve(self, app: FastAPI, settings: Any, timeout: float) -> AbstractAsyncContextManager[Served]:
        """Serve an application in the running loop, on a free port of loopback, until the block ends.

        Args:
            app: What `create_app` returned, or another application of the same kind.
            settings: The application's settings.
            timeout: How many seconds its start may take.
        """
        from test_framework.uvicorn_server import served

        return served(app, timeout)

    def command(self) -> Sequence[str]:
        """Return the command that serves the application in a process, and prints its URL on stdout."""
        return (sys.executable, "-m", self.module or "test_framework.uvicorn_server")

    def _lacks(self, method: str, what: str) -> NoReturn:
        kind = type(self)
        raise ProjectError(
            f"this needs {method}() of the project's adapter, and {kind.__module__}:{kind.__qualname__} has none. "
            f"It returns {what}; {NEXT}"
        )


def project() -> ProjectAdapter:
    """Return the adapter of the project under test; raises ProjectError."""
    return load(project_root())


def named_project(root: Path) -> ProjectAdapter | None:
    """Return the adapter of the project in a folder, None where it names none; raises ProjectError if it can't be used."""
    return load(root) if table_of(root) else None


@functools.cache
def load(root: Path) -> ProjectAdapter:
    """Return the adapter that the pyproject.toml of a folder names; raises ProjectError."""
    named = table_of(root).get("project")
    if not isinstance(named, str) or not named:
        raise ProjectError(
            f"the kit doesn't know the project under test: {root / 'pyproject.toml'} names no adapter. Write a subclass of "
            f'test_framework.project.ProjectAdapter, and name it: {TABLE} project = "tests.support.project:Project"; {NEXT}'
        )
    module, _, name = named.partition(":")
    where = f'project = "{named}" in {TABLE} of {root / "pyproject.toml"}'
    if not module or not name:
        raise ProjectError(f'{where} is not "module:Class"; {NEXT}')
    found = getattr(_import(module, root, where), name, None)
    if found is None:
        raise ProjectError(f"{where}: the module {module} has no {name}; {NEXT}")
    if not (isinstance(found, type) and issubclass(found, ProjectAdapter)):
        raise ProjectError(f"{where}: {name} is {_shown(found)}, not a subclass of ProjectAdapter; {NEXT}")
    return found()


def _import(module: str, root: Path, where: str) -> ModuleType:
    try:
        return _module(module, root)
    except ModuleNotFoundError as error:
        if not _is_within(module, error.name):
            raise ProjectError(
                f"{where}: {module} needs {error.name}, which is not installed; next: nox -s setup"
            ) from error
        file = root.joinpath(*module.split(".")).with_suffix(".py")
        raise ProjectError(f"{where}: there is no module {module}, and no file {file}; {NEXT}") from None


def _module(module: str, root: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not _is_within(module, error.name):
            raise
        # pytest may have imported another folder under the name of its package, or the root is not on the path
        path = Path(*module.split(".")).with_suffix(".py")
        file = next((folder / path for folder in (root, CHECKOUT) if (folder / path).is_file()), None)
        spec = file and importlib.util.spec_from_file_location(module, file)
        if not spec or spec.loader is None:
            raise
    found = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(found)
    except BaseException:
        del sys.modules[module]
        raise
    return found


def _is_within(module: str, package: str | None) -> bool:
    return f"{module}.".startswith(f"{package}.")


@functools.cache
def _tables_of(metadata: MetaData) -> TablesOf:
    return TablesOf(metadata)


def _shown(found: object) -> str:
    return f"a class, {found.__qualname__}" if isinstance(found, type) else f"of type {type(found).__name__}"
