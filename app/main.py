"""`create_app(settings)`: the composition root, which lists the domains of this service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from fastapi import FastAPI

from app import dev
from app.db.schema import migrations
from app.identity import identity
from app.settings import Settings
from commitstream.application import build
from commitstream.domain import Domain
from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator

DomainFactory = Callable[[Engine, Settings], Domain]

DOMAINS = (  # packages whose module `domain` has a function `create`
    "app.agents",
)


def create_app(
    settings: Settings, cleanup: CleanupCoordinator | None = None, *, domains: Sequence[DomainFactory] | None = None
) -> FastAPI:
    """Build the service; its lifespan starts it and stops it.

    A caller that runs a whole process passes its clean-up; `domains` replace the service's own.
    """
    engine = Engine(settings, migrations)
    factories = domains_of_this_service() if domains is None else domains
    made = [factory(engine, settings) for factory in factories]
    who = identity()
    app = build(engine, made, cleanup, title=who.name, description=who.description, version=who.version)
    if settings.environment == "dev":
        app.include_router(dev.router)
    return app


def domains_of_this_service() -> list[DomainFactory]:
    """Import the domains that `DOMAINS` names."""
    return [import_module(f"{package}.domain").create for package in DOMAINS]
