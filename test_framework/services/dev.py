"""The dev stack of this checkout: what `invoke services.up` brings up and the next run finds warm."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

from test_framework.services.choice import MAKERS, WITH_A_STACK, Choice, candidates, wanted_provider
from test_framework.services.healing import Report
from test_framework.services.lifecycle import DEADLINE_SECONDS, Lifecycle
from test_framework.services.provider import Provider
from test_framework.services.stack import Stack
from test_framework.services.state import (
    SERVICE_NAMES,
    Observation,
    ProviderUnavailableError,
    ServiceError,
    ServiceName,
    State,
)

T = TypeVar("T")
NOT_THERE = frozenset({State.ABSENT, State.ENGINE_DOWN})
PASSWORD = re.compile(r":[^:/@]+@")


@dataclass(frozen=True)
class Status:
    """One service as it is now."""

    service: ServiceName
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

    def up(self, services: Sequence[ServiceName], seconds: float = DEADLINE_SECONDS) -> list[Status]:
        """Bring services up from whatever state they are in."""
        return side_by_side(lambda service: self.up_one(service, seconds), services)

    def up_one(self, service: ServiceName, seconds: float) -> Status:
        passed: list[str] = []
        for choice in self.choices(service):
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
        existing = self.existing(service) if self.wanted == "auto" else None
        if existing is not None:
            return [Choice(self.stack, existing, "made before")]
        return candidates(service, self.stack, self.wanted)

    def existing(self, service: ServiceName) -> Provider | None:
        """Return the provider that has something of this service, in whatever state."""
        for name in WITH_A_STACK if self.stack.exists else ():
            provider = MAKERS[name](self.stack)
            if provider.observe(service).state not in {State.ABSENT, State.ENGINE_DOWN}:
                return provider
        return None

    def status(self, services: Sequence[ServiceName]) -> list[Status]:
        """Look at services without changing anything."""
        return side_by_side(self.status_one, services)

    def status_one(self, service: ServiceName) -> Status:
        provider = self.existing(service)
        if provider is None:
            return Status(service, State.ABSENT.value)
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

        return side_by_side(take, services)

    def down(self, *, data: bool = False) -> list[str]:
        """End the stack in good order, and keep its data unless asked otherwise; return what was ended."""
        ended: list[str] = []
        for name in WITH_A_STACK if self.stack.exists else ():
            provider = MAKERS[name](self.stack)
            there = [service for service in SERVICE_NAMES if provider.glance(service) not in NOT_THERE]
            if there:
                provider.clear(data=data)
                ended += [f"{service}: {name}" for service in there]
        shutil.rmtree(self.stack.directory, ignore_errors=True)
        if data:
            shutil.rmtree(self.stack.data, ignore_errors=True)
        return ended

    def logs(self, service: ServiceName, lines: int) -> str:
        provider = self.existing(service)
        return provider.logs(service, lines) if provider else f"{service} is not there; run: invoke services.up"

    def lifecycle(self, provider: Provider) -> Lifecycle:
        return Lifecycle(self.stack, provider, self.report)


def side_by_side(step: Callable[[ServiceName], T], services: Sequence[ServiceName]) -> list[T]:
    if len(services) == 1:
        return [step(services[0])]
    with ThreadPoolExecutor(len(SERVICE_NAMES)) as threads:
        return list(threads.map(step, services))
