"""A domain: one part of an application, with its routes, its background work and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from commitstream.lifecycle.startup import StartupManager
from commitstream.topics import Topic


class Gauge(NamedTuple):
    """A number for /metrics, with its meaning."""

    meaning: str
    value: float


class Domain:
    """What an application adds to the engine. A subclass overrides what it has."""

    topics: Sequence[Topic] = ()
    routers: Sequence[APIRouter] = ()
    routes: Sequence[BaseRoute] = ()
    """Routes that no router can hold, as mounted static files."""

    def install(self, app: FastAPI) -> None:
        """Put on `app.state` what the domain's routes need."""

    def plan(self, startup: StartupManager) -> None:
        """Add the domain's components to the start of the service."""

    async def drain(self, timeout: float) -> None:
        """Take no new work, and end what is being worked on within `timeout` seconds."""

    def gauges(self) -> Mapping[str, Gauge]:
        """Return the domain's numbers for /metrics, by name."""
        return {}
