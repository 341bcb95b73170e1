"""Services for a test run: each is started when first asked for, once for all workers, and ended with the run.

The process that makes a pool owns the run. Workers join it by name (`ServicePool.join(run)`), share what is up and own nothing.
What `invoke services.up` left warm is used as it is and left running.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from test_framework.services.choice import Choice, choose, wanted_provider
from test_framework.services.lifecycle import DEADLINE_SECONDS, Lifecycle
from test_framework.services.stack import Stack
from test_framework.services.state import Observation, ServiceError, ServiceName

if TYPE_CHECKING:
    from test_framework.services.run import Run


@dataclass(frozen=True)
class Service:
    """One running service: where it is, and what can be done to it."""

    name: ServiceName
    lifecycle: Lifecycle
    reason: str
    warm: bool
    start_seconds: float

    @property
    def provider(self) -> str:
        return self.lifecycle.provider.name

    @property
    def url(self) -> str:
        """Where a client reaches it now; a container's port changes with every start."""
        return self.lifecycle.provider.url(self.name)

    @property
    def identity(self) -> str:
        """Its process id, container id or address, as a person would look for it."""
        return self.lifecycle.provider.identity(self.name)

    def observe(self) -> Observation:
        return self.lifecycle.provider.observe(self.name)

    def ensure(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.ensure(self.name, seconds)

    def pause(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.pause(self.name, seconds)

    def unpause(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.unpause(self.name, seconds)

    def stop(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.stop(self.name, seconds)

    def kill(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.kill(self.name, seconds)

    def restart(self, seconds: float = DEADLINE_SECONDS) -> Observation:
        return self.lifecycle.restart(self.name, seconds)

    def __str__(self) -> str:
        return f"{self.name}: {self.provider} ({self.reason}), {self.identity}, {self.start_seconds * 1000:.0f} ms"


@dataclass(frozen=True)
class PoolStatistics:
    run: str
    started: dict[ServiceName, float]
    asked: int


class ServicePool:
    """The services of one test run."""

    def __init__(
        self,
        wanted: str | None = None,
        *,
        run: str | None = None,
        owner: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.wanted = wanted or wanted_provider()
        self.stack = Stack.of_a_run(run)
        self.owner = owner
        self.say = say or (lambda line: print(line, file=sys.stderr))
        self._services: dict[ServiceName, Service] = {}
        self._lock = threading.RLock()
        self._run: Run | None = None
        self._asked = 0

    @classmethod
    def join(cls, run: str, wanted: str | None = None) -> ServicePool:
        """Share the services of a run that another process owns."""
        return cls(wanted, run=run, owner=False)

    @property
    def run(self) -> str:
        """The run's name: what a worker joins by."""
        return self.stack.run

    def begin(self) -> None:
        """Take the lease and set the watchdog, once; needed before any worker asks for a service."""
        from test_framework.services.run import Run, sweep

        with self._lock:
            if self.owner and self._run is None:
                sweep()
                self._run = Run(self.stack)

    def get(self, name: ServiceName, seconds: float = DEADLINE_SECONDS) -> Service:
        """Return a healthy service, and start it if this is the first to ask."""
        with self._lock:
            self._asked += 1
            if name not in self._services:
                self._services[name] = self._bring_up(name, seconds)
            return self._services[name]

    def stop_all(self) -> None:
        """End what this run began; what was warm stays. Say what would not end."""
        with self._lock:
            self._services.clear()
            if self._run is None:
                return
            left, self._run = self._run.end(), None
        if left:
            raise ServiceError("the run left something behind", ", ".join(left), "invoke clean.run")

    @property
    def statistics(self) -> PoolStatistics:
        started = {name: service.start_seconds for name, service in self._services.items() if not service.warm}
        return PoolStatistics(run=self.run, started=started, asked=self._asked)

    def _bring_up(self, name: ServiceName, seconds: float) -> Service:
        began = time.perf_counter()
        self.begin()
        choice = self._choose(name)
        lifecycle = Lifecycle(choice.stack, choice.provider)
        lifecycle.ensure(name, seconds)
        service = Service(name, lifecycle, choice.reason, choice.warm, time.perf_counter() - began)
        self.say(str(service))
        return service

    def _choose(self, name: ServiceName) -> Choice:
        return choose(name, self.stack, self.wanted)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_all()

    @contextlib.contextmanager
    def paused(self, name: ServiceName) -> Iterator[Service]:
        """Freeze a service for the length of a block."""
        service = self.get(name)
        service.pause()
        try:
            yield service
        finally:
            service.unpause()
