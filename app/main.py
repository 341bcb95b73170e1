"""`create_app(settings)`: the whole service as one ASGI application. Nothing happens at import, nor before its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError

from app.agents.tool_context import Tool
from app.agents.tools import TOOLS
from app.api import dev, health, metrics, page, problems, runs, sockets, stream
from app.api.cors import Cors
from app.api.doors import Doors
from app.api.gate import ALWAYS_OPEN, Gate
from app.api.health import Health
from app.api.limits import Limits
from app.api.tokens import Tokens
from app.db.database import NotADatabaseError
from app.identity import identity
from app.lifecycle.cleanup import CleanupCoordinator
from app.lifecycle.plan import Phase, StartupPlanError
from app.lifecycle.startup import StartupError, StartupManager
from app.service import Service
from app.settings import Settings

CLEANUP_SECONDS = 5.0

_Lifespan = AbstractAsyncContextManager[None]


def create_app(
    settings: Settings, cleanup: CleanupCoordinator | None = None, *, tools: Sequence[Tool] = TOOLS
) -> FastAPI:
    """Build the service; its lifespan starts it and stops it.

    A caller that runs a whole process passes its clean-up; `tools` are what agents may call.
    """
    who = identity()
    service = Service(settings, tools)
    cleanup = CleanupCoordinator() if cleanup is None else cleanup
    startup = plan(service, cleanup)
    app = FastAPI(
        title=who.name,
        description=who.description,
        version=who.version,
        lifespan=_lifespan(startup, cleanup),
        docs_url=None,  # FastAPI's pages for people load their scripts from elsewhere; /openapi.json is ours
        redoc_url=None,
        telemetry={"auto_configure": False, "exclude": lambda scope: scope["path"].startswith(ALWAYS_OPEN)},
    )
    app.state.service = service
    app.state.tokens = Tokens(settings)
    app.state.limits = Limits(settings.requests_per_minute, settings.sockets_per_user)
    app.state.startup = startup
    app.state.health = Health(service, startup)
    app.state.cleanup = cleanup
    problems.install(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(runs.router)
    app.include_router(stream.router)
    if settings.environment == "dev":
        app.include_router(dev.router)
    app.include_router(page.router)
    app.mount("/web", page.static, name="web")
    app.router.routes.append(sockets.route)
    if settings.allowed_origins:
        app.add_middleware(Cors, origins=settings.allowed_origins, routes=app.router.routes)
    app.add_middleware(Doors, hosts=settings.allowed_hosts)
    app.add_middleware(Gate, startup=startup, requests=service.requests)
    return app


def plan(service: Service, cleanup: CleanupCoordinator) -> StartupManager:
    """What starts in which phase; cleanup undoes it in reverse."""
    startup = StartupManager(cleanup)
    startup.add(
        "database",
        phase=Phase.DATABASE,
        start=plainly(service.database.ping),
        stop=service.database.close,
        retries=5,
        final=(NotADatabaseError,),
    )
    startup.add("migrations", phase=Phase.MIGRATIONS, start=plainly(service.prepare_schema), timeout=60.0)
    startup.add("bus", phase=Phase.BUS, start=service.open_bus, stop=service.bus.close)
    startup.add("relay", phase=Phase.BUS, start=service.open_relay, stop=service.close_relay, after=("bus",))
    startup.add("hub", phase=Phase.BUS, start=service.hub.start, stop=service.hub.close, after=("bus",))
    startup.add("model", phase=Phase.AGENTS, start=_at_once, stop=service.model.close)
    startup.add("runner", phase=Phase.AGENTS, start=service.runner.open, stop=service.runner.close, after=("model",))
    return startup


async def _at_once() -> None:
    """Start what needs nothing to be started, and has something to let go of."""


class DatabaseRefused(Exception):
    """What the database had to say against it."""


def plainly(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Have a database's refusal told in its own words, without the SQL around them."""

    async def told_plainly() -> None:
        try:
            await call()
        except Exception as error:
            refusal = error if isinstance(error, DBAPIError) else error.__cause__
            if isinstance(refusal, DBAPIError):
                raise DatabaseRefused(str(refusal.orig)) from error
            raise

    return told_plainly


def _lifespan(startup: StartupManager, cleanup: CleanupCoordinator) -> Callable[[FastAPI], _Lifespan]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(_start(startup), name="start the service")
        try:
            yield
        finally:
            await cleanup.run("the service stops", CLEANUP_SECONDS)
            starting.cancel()
            await asyncio.wait([starting])

    return lifespan


async def _start(startup: StartupManager) -> None:
    """Bring the service up behind the gate; whoever serves it learns of a failure from `startup.wait_ready`."""
    with suppress(StartupError, StartupPlanError):
        await startup.run()
