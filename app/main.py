"""`create_app(settings)`: the composition root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI

from app.db.schema import migrations
from app.domains import factories
from app.identity import identity
from app.settings import Settings
from commitstream.application import install, observed
from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator

if TYPE_CHECKING:
    from app.domains import DomainFactory


def create_app(
    settings: Settings, cleanup: CleanupCoordinator | None = None, *, domains: Sequence[DomainFactory] | None = None
) -> FastAPI:
    """Build the service; its lifespan starts it and stops it.

    A caller that runs a whole process passes its cleanup; `domains` replace the service's own.
    """
    engine = Engine(settings, migrations=migrations)
    who = identity()
    app = FastAPI(
        title=who.name,
        description=who.description,
        version=who.version,
        docs_url=None,  # FastAPI's documentation pages load scripts from another origin; /openapi.json doesn't
        redoc_url=None,
        telemetry={"auto_configure": False, "exclude": observed},
    )
    install(app, engine, [make(engine, settings) for make in (factories() if domains is None else domains)], cleanup)
    return app
