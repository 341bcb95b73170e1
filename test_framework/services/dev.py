"""The dev stack of this checkout: what `invoke services.up` brings up and the next run finds warm."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

from filelock import FileLock, Timeout

from test_framework.services.choice import MAKERS, WITH_A_STACK, Choice, candidates, wanted_provider
from test_framework.services.compose import ComposeProvider
from test_framework.services.drivers import service_names
from test_framework.services.healing import Report
from test_framework.services.lifecycle import DEADLINE_SECONDS, Lifecycle
from test_framework.services.provider import Provider
from test_framework.services.stack import Stack
from test_framework.services.state import (
    Observation,
    ProviderUnavailableError,
    ServiceError,
    ServiceName,
    State,
)

T = TypeVar("T")
NOT_THERE = frozenset({State.ABSENT, State.ENGINE_DOWN})
NOT_UP = "this checkout has not brought it up, and a test run's own ended with the run; next: invoke services.up"
PASSWORD = re.compile(r":[^:/@]+@")


@dataclass(frozen=True)
class Status:
    """One service as it is now."""

    service: str
    state: str
    provider: str = ""
    identity: str = ""
    url: str = ""
    detail: str = ""

    @property
    def shown_url(self) -> str:
        """The address without its password."""
        return PASSWORD.sub(":***@", self.url)

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "url": self.shown_url}


class DevStack:
    """Operations on the services of this checkout, several at once where that is faster."""

    def __init__(self, stack: Stack | None = None, wanted: str | None = None, report: Report | None = None) -> None:
        self.stack = stack or Stack.dev()
        self.wanted = wanted or wanted_provider()
        self.report = report
        self.one_at_a_time = threading.Lock()

    @functools.cached_property
    def lock(self) -> FileLock:
        """The lock on which commands take turns; the block that holds it may take it again."""
        return FileLock(self.stack.lock_file("stack"))

    @contextlib.contextmanager
    def alone(self, seconds: float = DEADLINE_SECONDS) -> Iterator[None]:
        """Keep other commands from changing this stack during the block; what the block calls may do so again."""
        try:
            with self.lock.acquire(timeout=seconds):
                yield
        except Timeout as reason:
            what, why = f"{self.stack.name} is busy", f"another command is changing it ({reason.lock_file})"
            raise ServiceError(what, f"{why}; waited {seconds:g} s", "invoke services.status") from None

    def up(self, services: Sequence[ServiceName], seconds: float = DEADLINE_SECONDS) -> list[Status]:
        """Bring services up from whatever state they are in."""
        with self.alone(seconds):
            return side_by_side(lambda service: self.up_one(service, seconds), services)

    def reset(self, services: Sequence[ServiceName], seconds: float = DEADLINE_SECONDS) -> list[Status]:
        """Bring services up without the data that they had."""
        with self.alone(seconds):
            for service in services:
                if provider := self.existing(service):
                    self.lifecycle(provider).remove(service, data=True)
            return self.up(services, seconds)

    def up_one(self, service: ServiceName, seconds: float) -> Status:
        passed: list[str] = []
        for choice in self.choices(service):
            if isinstance(choice.provider, ComposeProvider):
                with self.one_at_a_time:
                    choice.provider.drop_twin_networks()
            try:
                found = self.lifecycle(choice.provider).ensure(service, seconds)
            except ProviderUnavailableError as reason:
                if self.wanted != "auto":
                    raise
                passed.append(f"{choice.provider.name} cannot: {reason.why}")
                continue
            return self.describe(service, choice.provider, found, "; ".join([*passed, choice.reason]))
        raise AssertionError("the choices end with an error of their own")

    def choices(self, service: ServiceName) -> Iterable[Choice]:
        existing = self.existing(service) if self.wanted == "auto" and self.stack.exists else None
        if existing is not None:
            return [Choice(self.stack, existing, "made before")]
        return candidates(service, self.stack, self.wanted)

    def existing(self, service: ServiceName) -> Provider | None:
        """Return the provider that has something of this service, in whatever state."""
        for provider in self.providers():
            if provider.observe(service).state not in NOT_THERE:
                return provider
        return None

    def providers(self) -> Iterator[Provider]:
        """Yield what may run this stack: the engine keeps containers also where the stack's folder is lost."""
        for name in WITH_A_STACK:
            if name == "compose" or self.stack.exists:
                yield MAKERS[name](self.stack)

    def status(self, services: Sequence[ServiceName]) -> list[Status]:
        """Look at services without changing anything."""
        return side_by_side(self.status_one, services)

    def status_one(self, service: ServiceName) -> Status:
        provider = self.existing(service)
        if provider is None:
            return Status(service, State.ABSENT.value, detail=NOT_UP)
        return self.describe(service, provider, provider.observe(service))

    def describe(self, service: ServiceName, provider: Provider, found: Observation, why: str = "") -> Status:
        url = provider.url(service) if found.state is State.HEALTHY else ""
        identity = provider.identity(service)
        return Status(service, found.state.value, provider.name, identity, url, why or found.detail)

    def each(
        self, services: Sequence[ServiceName], step: Callable[[Lifecycle, ServiceName], Observation]
    ) -> list[Status]:
        """Take a step on each of the services; one that is absent has nothing to take it on."""

        def take(service: ServiceName) -> Status:
            provider = self.existing(service)
            if provider is None:
                raise ServiceError(
                    f"{service} is not there", "this checkout has not brought it up", "invoke services.up"
                )
            return self.describe(service, provider, step(self.lifecycle(provider), service))

        with self.alone():
            return side_by_side(take, services)

    def down(self, *, data: bool = False) -> list[str]:
        """Stop the stack, keep its data unless asked otherwise, and return what was stopped."""
        ended: list[str] = []
        with self.alone(), contextlib.ExitStack() as held:
            locks = self.lifecycle(ComposeProvider(self.stack))
            for service in service_names():  # a test run that uses this stack takes only these
                held.enter_context(locks.locked(service, DEADLINE_SECONDS))
            for provider in self.providers():
                there: list[str] = [name for name in service_names() if provider.glance(name) not in NOT_THERE]
                if isinstance(provider, ComposeProvider):
                    there += [part.name for part in provider.parts()]
                if there:
                    provider.clear(data=data)
                    ended += [f"{name}: {provider.name}" for name in there]
            shutil.rmtree(self.stack.directory, ignore_errors=True)
            if data:
                shutil.rmtree(self.stack.data, ignore_errors=True)
            # a waiter notices that its file is gone, and makes a new one
            for name in (*service_names(), "compose", "stack"):
                with contextlib.suppress(PermissionError):  # Windows removes no file that is open
                    self.stack.lock_file(name).unlink(missing_ok=True)
        return ended

    def logs(self, service: ServiceName, lines: int) -> str:
        provider = self.existing(service)
        return provider.logs(service, lines) if provider else f"{service} is absent: {NOT_UP}"

    def lifecycle(self, provider: Provider) -> Lifecycle:
        return Lifecycle(self.stack, provider, self.report)


def side_by_side(step: Callable[[ServiceName], T], services: Sequence[ServiceName]) -> list[T]:
    if len(services) == 1:
        return [step(services[0])]
    with ThreadPoolExecutor(len(service_names())) as threads:
        return list(threads.map(step, services))
