"""Services for a test run: each is started when first asked for, once for all workers, and ended with the run.

The process that makes a pool owns the run. Workers join it by name (`ServicePool.join(run)`), share what is up and own nothing:
whichever of them asks first, what it starts stands in the run's register and ends when the owner does. Where a Redis costs
nothing each worker has one for itself, since logical databases isolate no messages. What `invoke services.up` left warm is
used as it is and left running.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from test_framework import CHECKOUT
from test_framework.services.choice import Choice, breakable, candidates, maker, wanted_provider
from test_framework.services.drivers import driver_of, drivers, service_names
from test_framework.services.gate import inside
from test_framework.services.guardian import Guardian, Healed
from test_framework.services.lifecycle import DEADLINE_SECONDS, Lifecycle
from test_framework.services.service import Service
from test_framework.services.stack import Stack, Storage
from test_framework.services.state import (
    EngineDownError,
    ProviderUnavailableError,
    ServiceError,
    ServiceName,
)
from test_framework.services.statistics import Watcher

if TYPE_CHECKING:
    from test_framework.services.run import Run

CHEAP = frozenset({"native", "bundled"})


@dataclass(frozen=True)
class PoolStatistics:
    run: str
    started: dict[ServiceName, float]
    asked: int
    healed: tuple[Healed, ...]
    given_up: tuple[ServiceName, ...]
    peak: int = 0
    opened: int = 0
    stopped: float | None = None


class ServicePool:
    """The services of one test run."""

    def __init__(
        self,
        wanted: str | None = None,
        *,
        run: str | None = None,
        owner: bool = True,
        worker: str = "",
        say: Callable[[str], None] | None = None,
        checkout: Path = CHECKOUT,
        own: Storage | None = None,
    ) -> None:
        self.own = own is not None
        self.wanted = wanted or wanted_provider()
        if self.own:
            self.wanted = breakable(self.wanted)
        self.stack = Stack.of_a_run(run, checkout, own or "memory")
        self.owner = owner
        self.worker = worker
        self.shared = False
        self.say = say or (lambda line: print(line, file=sys.stderr))
        self._services: dict[ServiceName, Service] = {}
        self._lock = threading.Lock()
        self._locks = {name: threading.Lock() for name in service_names()}
        self._run: Run | None = None
        self._asked = 0
        self._not_brought_up: set[ServiceName] = set()
        self._guardian = Guardian()
        self._watchers: list[Watcher] = []
        self._stopped: float | None = None
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """What whoever owns the run does around each start."""

    @classmethod
    def join(cls, run: str, wanted: str | None = None, *, worker: str = "") -> ServicePool:
        """Share the services of a run that another process owns; a named worker has its own where that is cheap."""
        return cls(wanted, run=run, owner=False, worker=worker)

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
                counted = [driver for driver in drivers().values() if driver.counts_connections]
                self._watchers = [
                    Watcher(partial(self.url_of, driver.name), driver.count_connections).begin() for driver in counted
                ]

    def get(self, name: ServiceName, seconds: float = DEADLINE_SECONDS) -> Service:
        """Return a healthy service, and start it if this is the first to ask."""
        self.begin()
        with self._locks[name]:
            self._asked += 1
            if name not in self._services:
                self._not_brought_up.add(name)
                with self.around():
                    self._services[name] = self._bring_up(name, seconds)
                self._not_brought_up.discard(name)
            return self._services[name]

    def get_all(self, *names: ServiceName) -> list[Service]:
        """Return several healthy services, started side by side."""
        from concurrent.futures import ThreadPoolExecutor

        wanted = names or service_names()
        with ThreadPoolExecutor(max_workers=len(wanted)) as threads:
            return list(threads.map(self.get, wanted))

    def stop_all(self) -> None:
        """End what this run began; what was warm stays. Say what would not end."""
        with self._lock:
            began = time.perf_counter()
            self._services.clear()
            self._guardian.end()
            for watcher in self._watchers:
                watcher.end()
            if self._run is None:
                return
            left, self._run = self._run.end(), None
            self._stopped = time.perf_counter() - began
        if left:
            raise ServiceError("the run left something behind", ", ".join(left), "invoke clean.run")

    def has(self, name: ServiceName) -> bool:
        """Say whether a test of this process has used a service."""
        return name in self._services

    @property
    def in_use(self) -> tuple[Service, ...]:
        """The services that somebody here has asked for."""
        return tuple(self._services.values())

    @property
    def statistics(self) -> PoolStatistics:
        started = {name: service.start_seconds for name, service in self._services.items() if not service.warm}
        peak = sum(watcher.peak for watcher in self._watchers)
        opened = sum(watcher.by_the_kit for watcher in self._watchers)
        healed = tuple(self._guardian.healed)
        given_up = tuple(sorted(self._not_brought_up | self._guardian.given_up))
        return PoolStatistics(self.run, started, self._asked, healed, given_up, peak, opened, self._stopped)

    def url_of(self, name: ServiceName) -> str | None:
        """Where a service of this run is, once a process of the run has asked for it."""
        choice = self._recall(name)
        # a container that was killed is nowhere until it is back
        with contextlib.suppress(ServiceError, EngineDownError):
            return choice.provider.url(name) if choice is not None else None
        return None

    def _bring_up(self, name: ServiceName, seconds: float) -> Service:
        from filelock import FileLock

        began = time.perf_counter()
        lock = FileLock(self.stack.directory / f"{name}.choice.lock", timeout=seconds * 2)
        with inside(self.stack.directory), lock:
            choice = self._recall(name) or self._choose(name, seconds)
        lifecycle = self._lifecycle(choice)
        lifecycle.ensure(name, seconds)
        self._guardian.watch(name, lifecycle)
        seconds_taken = time.perf_counter() - began
        return Service(name, lifecycle, choice.reason, choice.warm, seconds_taken, self._is_private(choice))

    def _choose(self, name: ServiceName, seconds: float) -> Choice:
        """Bring the service up with the first provider that can, write down which, and say so in one line."""
        for found_choice in candidates(name, self.stack, self.wanted, own=self.own):
            choice = self._own_where_cheap(name, found_choice)
            try:
                found = self._lifecycle(choice).ensure(name, seconds)
            except ProviderUnavailableError as reason:
                if self.wanted != "auto":
                    raise
                self.say(f"{name}: {choice.provider.name} cannot: {reason.why}")
                continue
            record = {"provider": choice.provider.name, "reason": choice.reason, "warm": choice.warm}
            self._choice_file(name).write_text(json.dumps(record))
            self.say(f"{name}: {choice.provider.name} ({choice.reason}), {found.detail}")
            return choice
        raise AssertionError("candidates ends with a choice or an error")

    def _recall(self, name: ServiceName) -> Choice | None:
        """Return what another worker of this run has chosen."""
        try:
            record = json.loads(self._choice_file(name).read_text())
        except FileNotFoundError:
            return None
        stack = Stack.dev(self.stack.checkout) if record["warm"] else self.stack
        choice = Choice(stack, maker(record["provider"])(stack), record["reason"], record["warm"])
        return self._own_where_cheap(name, choice)

    def _own_where_cheap(self, name: ServiceName, choice: Choice) -> Choice:
        """Give each worker a separate server where that is a small process, and not in a container."""
        if not self.worker or not driver_of(name).one_per_worker or choice.warm or choice.provider.name not in CHEAP:
            return choice
        stack = choice.stack.of_a_worker(self.worker)
        return replace(choice, stack=stack, provider=maker(choice.provider.name)(stack))

    def _is_private(self, choice: Choice) -> bool:
        """Whether nobody else uses a server: it was started for this worker, or for this run of one process."""
        if choice.warm or choice.provider.name == "external":
            return False
        return bool(choice.stack.worker) or (self.owner and not self.shared)

    def _lifecycle(self, choice: Choice) -> Lifecycle:
        return Lifecycle(choice.stack, choice.provider, register=self.stack.register)

    def _choice_file(self, name: ServiceName) -> Path:
        return self.stack.directory / f"{name}.choice"

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_all()
