"""A domain: one part of an application, with its routes, its background work and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from commitstream.lifecycle.startup import StartupManager
from commitstream.topics import Topic


class Gauge(NamedTuple):
    """A gauge for /metrics, with its help text."""

    meaning: str
    value: float


class Domain:
    """A part of an application. A subclass overrides the members that it needs."""

    topics: Sequence[Topic] = ()
    routers: Sequence[APIRouter] = ()
    routes: Sequence[BaseRoute] = ()
    """Routes that no router can hold, as mounted static files."""

    def install(self, app: FastAPI) -> None:
        """Put on `app.state` what the domain's routes need."""

    def plan(self, startup: StartupManager) -> None:
        """Add the domain's components to the start of the service."""

    async def drain(self, timeout: float) -> None:
        """Take no new work, and finish or cancel the current work within `timeout` seconds."""

    def gauges(self) -> Mapping[str, Gauge]:
        """Return the domain's gauges for /metrics, by name."""
        return {}
