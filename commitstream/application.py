"""The engine on a FastAPI application. Nothing is opened at import, nor before the lifespan."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.types import Lifespan

from commitstream.db.database import NotADatabaseError
from commitstream.domain import Domain
from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator
from commitstream.lifecycle.plan import Phase, StartupPlanError, State
from commitstream.lifecycle.startup import StartupError, StartupManager
from commitstream.service import dev_tokens, health, metrics, problems
from commitstream.service.cors import Cors
from commitstream.service.health import Health
from commitstream.service.limits import Limits
from commitstream.service.request_context import EXEMPT_PATHS, RequestContextMiddleware
from commitstream.service.request_guard import RequestGuardMiddleware
from commitstream.service.tokens import Tokens
from commitstream.service.uvicorn_signals import drained_on_signal, signalled_server
from commitstream.settings import EngineSettings
from commitstream.transports import sse, websocket

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 5.0


def install(
    app: FastAPI, engine: Engine, domains: Sequence[Domain] = (), cleanup: CleanupCoordinator | None = None
) -> None:
    """Install the engine and some domains on an application; its lifespan starts and stops them.

    Args:
        app: the application.
        engine: made for this application.
        domains: their routes and components are added, and their topics.
        cleanup: that of the process, for a caller that runs a whole one.
    """
    settings = engine.settings
    engine.use(domains)
    cleanup = CleanupCoordinator() if cleanup is None else cleanup
    startup = plan(engine, domains, cleanup)
    app.state.engine = engine
    app.state.tokens = engine.tokens
    app.state.limits = Limits(settings.requests_per_minute, settings.sockets_per_user)
    app.state.startup = startup
    app.state.health = Health(engine, startup)
    app.state.cleanup = cleanup
    problems.install(app)
    routers = [health.router, metrics.router, sse.router]
    if settings.environment == "dev" and isinstance(engine.tokens, Tokens):
        routers.append(dev_tokens.router)
    for domain in domains:
        domain.install(app)
        routers.extend(domain.routers)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend([websocket.route, *(route for domain in domains for route in domain.routes)])
    app.router.lifespan_context = _lifespan(engine, startup, cleanup, app.router.lifespan_context)
    if settings.allowed_origins:
        app.add_middleware(Cors, origins=settings.allowed_origins, routes=app.router.routes)
    app.add_middleware(
        RequestGuardMiddleware, hosts=settings.allowed_hosts, variable=settings.variable("allowed_hosts")
    )
    app.add_middleware(RequestContextMiddleware, startup=startup, engine=engine)


def observed(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is a health check or a scrape of metrics; those are not traced."""
    return bool(scope["path"].startswith(EXEMPT_PATHS))


def plan(engine: Engine, domains: Sequence[Domain], cleanup: CleanupCoordinator) -> StartupManager:
    """Return what starts in which phase; the cleanup undoes it in reverse."""
    startup = StartupManager(cleanup)
    startup.add(
        "database",
        phase=Phase.DATABASE,
        start=unwrapping_database_errors(engine.database.ping),
        stop=engine.database.close,
        retries=5,
        final=(NotADatabaseError,),
    )
    startup.add(
        "migrations", phase=Phase.MIGRATIONS, start=unwrapping_database_errors(engine.prepare_schema), timeout=60.0
    )
    startup.add("bus", phase=Phase.BUS, start=engine.open_bus, stop=engine.bus.close)
    startup.add("relay", phase=Phase.BUS, start=engine.open_relay, stop=engine.close_relay, after=("bus",))
    startup.add("hub", phase=Phase.BUS, start=engine.hub.start, stop=engine.hub.close, after=("bus",))
    for domain in domains:
        domain.plan(startup)
    return startup


class DatabaseRefused(Exception):
    """The database's error message, without the SQL."""


def unwrapping_database_errors(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Return a call that raises the database's error message, without the SQL around it."""

    async def unwrapped() -> None:
        try:
            await call()
        except Exception as error:
            refusal = error if isinstance(error, DBAPIError) else error.__cause__
            if isinstance(refusal, DBAPIError):
                raise DatabaseRefused(str(refusal.orig)) from error
            raise

    return unwrapped


def _lifespan(
    engine: Engine, startup: StartupManager, cleanup: CleanupCoordinator, inner: Lifespan[Any]
) -> Lifespan[Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        _warn_of_unknown_variables(engine.settings)
        server = signalled_server()
        starting = asyncio.create_task(_start(startup, server), name="start the service")
        try:
            async with inner(app) as state, drained_on_signal(engine, server):
                yield state
        finally:
            await cleanup.run("the service stops", CLEANUP_SECONDS)
            starting.cancel()
            await asyncio.wait([starting])
            if server is not None and startup.report().state is State.FAILED:
                server.started = False  # so that uvicorn's exit code says it

    return lifespan


async def _start(startup: StartupManager, server: uvicorn.Server | None) -> None:
    """Start the service behind the middleware, and end uvicorn where that fails.

    The engine's own server gets the failure from `startup.wait_ready`; any other one keeps running and answers with 503.
    """
    try:
        await startup.run()
    except (StartupError, StartupPlanError) as error:
        logger.error("%s", error)
        if server is not None:
            server.should_exit = True


def _warn_of_unknown_variables(settings: EngineSettings) -> None:
    for name, closest in settings.unknown_variables(os.environ).items():
        logger.warning("%s is set, but no setting has that name; the closest is %s", name, closest)
