"""While a run uses its services somebody looks after them: what was paused or ended by nobody's wish is healed at once.

A test that pauses or kills a service says so through the lifecycle, which writes the wish down; those services are left alone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from test_framework.services.lifecycle import ENDED, Lifecycle
from test_framework.services.state import EngineDownError, ServiceError, ServiceName, State

EVERY_SECONDS = 0.1
HEALING_SECONDS = 10.0
AMISS = ENDED | {State.PAUSED}


@dataclass(frozen=True)
class Healed:
    """What was found amiss and mended."""

    service: ServiceName
    was: State

    def __str__(self) -> str:
        return f"{self.service} was {self.was.value}"


class Guardian:
    """A thread that glances at services that are in use."""

    def __init__(self) -> None:
        self.healed: list[Healed] = []
        self.given_up: set[ServiceName] = set()
        """What could not be healed, and is still down."""
        self._watched: dict[ServiceName, Lifecycle] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, service: ServiceName, lifecycle: Lifecycle) -> None:
        self._watched = {**self._watched, service: lifecycle}
        if self._thread is None:
            self._thread = threading.Thread(target=self._go_round, name="service-guardian", daemon=True)
            self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(HEALING_SECONDS)

    def _go_round(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            for service, lifecycle in self._watched.items():
                try:
                    self._look_after(service, lifecycle)
                except (ServiceError, EngineDownError):
                    self.given_up.add(service)  # the next test that needs the service reports the error

    def _look_after(self, service: ServiceName, lifecycle: Lifecycle) -> None:
        if lifecycle.wanted(service) is not State.HEALTHY:
            return
        state = lifecycle.provider.glance(service)
        if state in AMISS and not self._ended.is_set():
            lifecycle.heal(service, HEALING_SECONDS)
            self.healed.append(Healed(service, state))
        self.given_up.discard(service)
