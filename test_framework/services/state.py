"""What can be known about a service, and what can go wrong with it.

A state is always observed, never remembered: whoever wants to act looks first, acts, and looks again.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

ServiceName = str
"""What a driver calls its service."""


class State(enum.Enum):
    ABSENT = "absent"
    CREATED = "created"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"
    ENGINE_DOWN = "engine down"

    @property
    def runs(self) -> bool:
        return self in {State.STARTING, State.HEALTHY, State.UNHEALTHY, State.RESTARTING}


@dataclass(frozen=True)
class Observation:
    """A state and, in a few words, how it shows."""

    state: State
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state.value} ({self.detail})" if self.detail else self.state.value


class ServiceError(Exception):
    """A service could not be brought where it was wanted: what, why, and the command to run next."""

    def __init__(self, what: str, why: str, next_command: str) -> None:
        self.what, self.why, self.next_command = what, why, next_command
        super().__init__(f"{what}: {why}\n  next: {next_command}")


class EngineDownError(Exception):
    """There is no engine, or none that answers."""


class RunEndedError(ServiceError):
    """Whoever wanted to start, pause or end something for a run came too late."""

    def __init__(self, run: str) -> None:
        super().__init__(f"the run {run} has ended", "nothing is done for it any more", "run the tests again")


class ProviderUnavailableError(ServiceError):
    """This machine can't run services in that way."""
