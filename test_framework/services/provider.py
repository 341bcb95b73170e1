"""A provider knows one way to run a service: it observes a state and takes one step at a time.

It never decides which step; that is the lifecycle's part. Each step may find that the state has moved meanwhile: it then does
nothing, since whoever asked will look again.
"""

from __future__ import annotations

from typing import Protocol

from test_framework.reaper import Registration
from test_framework.services.state import Observation, ServiceName, State


class Provider(Protocol):
    name: str

    def missing(self, service: ServiceName) -> str | None:
        """Say in a few words what this machine lacks to run it so, or None."""

    def observe(self, service: ServiceName) -> Observation:
        """Look at the service now, without changing anything."""

    def glance(self, service: ServiceName) -> State:
        """Look without asking the service itself: cheap enough for several times a second."""

    def start(self, service: ServiceName) -> None:
        """Create what is absent and start what is not running."""

    def repair(self, service: ServiceName, found: Observation) -> bool:
        """Mend in place what is unhealthy, or the engine that is down; say whether that may have helped."""

    def frozen(self, service: ServiceName) -> Registration:
        """Return what must go on if whoever pauses the service dies meanwhile."""

    def pause(self, service: ServiceName) -> None:
        """Freeze the service: it keeps its connections and answers none."""

    def unpause(self, service: ServiceName) -> None:
        """Let a frozen service go on."""

    def stop(self, service: ServiceName) -> None:
        """End the service in good order and keep its data."""

    def kill(self, service: ServiceName) -> None:
        """End the service at once, as a crash would, and keep its data."""

    def remove(self, service: ServiceName, *, data: bool) -> None:
        """Take away what is left of a service that has ended, its data too if asked."""

    def clear(self, *, data: bool) -> None:
        """Take away the whole stack, in good order; its data too if asked."""

    def run_in_data(self, service: ServiceName, line: str) -> None:
        """Run a line of shell where the service keeps its data."""

    def url(self, service: ServiceName) -> str:
        """Return where a client reaches it now."""

    def identity(self, service: ServiceName) -> str:
        """Return the process id, the container id or the address by which people find it."""

    def logs(self, service: ServiceName, lines: int) -> str:
        """Return the last lines that the service wrote."""
