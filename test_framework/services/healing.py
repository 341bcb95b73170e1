"""One way from whatever state a service is in to healthy: each state has its step, and no step is taken for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from test_framework.services.diagnosis import diagnose
from test_framework.services.provider import Provider
from test_framework.services.state import (
    EngineDownError,
    Observation,
    ProviderUnavailableError,
    ServiceError,
    ServiceName,
    State,
)

FIRST_WAIT, LONGEST_WAIT = 0.002, 0.05
ATTEMPTS = 3
LOOKS = 3
PATIENCE = 0.4  # the part of the deadline that a starting service gets before it counts as stuck
LAST_LINES = 10
Report = Callable[[ServiceName, Observation], None]


class Healing:
    """One way from a service's state to healthy: each state has its step, and no step is taken for ever."""

    def __init__(self, provider: Provider, report: Report, service: ServiceName, seconds: float) -> None:
        self.provider, self.report = provider, report
        self.service, self.seconds = service, seconds
        self.deadline = time.monotonic() + seconds
        self.patience = time.monotonic() + seconds * PATIENCE
        self.attempts = 0
        self.unhealthy_looks = 0
        self.killed = False

    def run(self) -> Observation:
        seen: State | None = None
        for wait in waits():
            found = self.provider.observe(self.service)
            if found.state is not seen:
                self.report(self.service, found)
                seen = found.state
            if found.state is State.HEALTHY:
                return found
            if time.monotonic() > self.deadline:
                break
            try:
                waits_next = not self.step(found)
            except EngineDownError:
                waits_next = True  # it went while we were at it; the next look says so
            if waits_next:
                time.sleep(wait)
        raise self.giving_up("did not become healthy", f"after {self.seconds:g} s it is {found}", found)

    def step(self, found: Observation) -> bool:
        """Do what this state needs; return False where it needs time."""
        match found.state:
            case State.PAUSED:
                self.provider.unpause(self.service)
            case State.ABSENT | State.CREATED | State.EXITED:
                self.count(found)
                self.provider.start(self.service)
            case State.DEAD:
                self.provider.remove(self.service, data=False)
            case State.UNHEALTHY:
                return self.heal(found)
            case State.STARTING if time.monotonic() > self.patience:
                return self.heal(found)
            case State.ENGINE_DOWN if not self.provider.repair(self.service, found):
                raise ProviderUnavailableError(f"{self.service} cannot run", found.detail, "invoke doctor")
            case _:
                return False
        return True

    def heal(self, found: Observation) -> bool:
        """Mend it in place, or else start it anew, or else make it anew; never on the strength of a single look."""
        self.unhealthy_looks += 1
        if self.unhealthy_looks < LOOKS:
            return False
        self.unhealthy_looks = 0
        self.patience = time.monotonic() + self.seconds * PATIENCE
        if self.provider.repair(self.service, found):
            self.count(found)
            return True
        self.provider.kill(self.service)
        if self.killed:
            self.provider.remove(self.service, data=False)
        self.killed = True
        return True

    def count(self, found: Observation) -> None:
        self.attempts += 1
        if self.attempts > ATTEMPTS:
            raise self.giving_up("does not stay up", f"{ATTEMPTS} attempts ended with {found}", found)

    def giving_up(self, what: str, why: str, found: Observation) -> ServiceError:
        """Say what is known of the cause, from what was seen and what the service wrote last."""
        logs = self.provider.logs(self.service, LAST_LINES).strip()
        known = diagnose(f"{found}\n{logs}", self.service)
        if known is not None:
            return ServiceError(f"{self.service} {what}", f"{known.why}; {why}", known.next_command)
        wrote = f"; it last wrote: {logs.splitlines()[-1]}" if logs else ""
        return ServiceError(f"{self.service} {what}", f"{why}{wrote}", f"invoke services.logs --only {self.service}")


def waits() -> Iterator[float]:
    """Yield growing waits: short at first, since a server may be there in milliseconds."""
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * 1.5, LONGEST_WAIT)
