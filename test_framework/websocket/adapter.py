"""The adapter of a project that is built on the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from test_framework.project import ProjectAdapter, Served

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from commitstream.db.migrate import Migrations
    from commitstream.engine import Engine
    from commitstream.topics import Topic
    from commitstream.transports.direct_write import DirectWriteProtocol


class CommitstreamAdapter(ProjectAdapter):
    """A project on the engine defines `settings_type`, `create_app`, `migrations` and `topics`."""

    def migrations(self) -> Migrations:
        self._lacks("migrations", "the Migrations that the application gives to Engine")

    def topics(self) -> Iterable[Topic]:
        self._lacks("topics", "the topics of all domains of the application")

    def event_types(self) -> Sequence[str]:
        from commitstream.topics import Topics

        return Topics(self.topics()).event_types

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        from commitstream.db.database import NotADatabaseError
        from commitstream.db.migrate import SchemaError
        from commitstream.settings import SettingsError

        return (*super().refusals, SettingsError, SchemaError, NotADatabaseError)

    def dev_settings(self) -> Any:
        return self.settings_type()(_env_file=None, environment="dev", host="127.0.0.1")

    def settings_of_each_test(self, database_url: str, redis_url: str, namespace: str, secret: str) -> dict[str, Any]:
        shared = super().settings_of_each_test(database_url, redis_url, namespace, secret)
        return {**shared, "channel_prefix": namespace, "token_secret": secret}

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[AsyncEngine]:
        from commitstream.db.database import Database

        database = Database(url)
        try:
            yield database.engine
        finally:
            await database.close()

    def token(self, settings: Any, user_id: str, lifetime: timedelta | None = None) -> str:
        from commitstream.service.tokens import LIFETIME, Tokens

        return Tokens(settings).issue(user_id, LIFETIME if lifetime is None else lifetime)

    @asynccontextmanager
    async def serve(self, app: FastAPI, settings: Any, timeout: float) -> AsyncIterator[Served]:
        from commitstream.service.server import listen, server_for

        listener = listen(settings)
        server = server_for(app)
        serving = asyncio.create_task(server.serve([listener]), name="the server under test")
        engine = cast("Engine", app.state.engine)
        try:
            await app.state.startup.wait_ready(timeout)
            host, port = listener.getsockname()[:2]
            connections = cast("Collection[DirectWriteProtocol]", server.server_state.connections)
            yield Served(f"http://{host}:{port}", engine, connections)
        finally:
            await engine.drain()
            server.should_exit = True
            await serving
