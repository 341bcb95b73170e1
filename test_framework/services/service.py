"""One running service as a test holds it: where it is, what can be done to it, and what can be done to it for a while."""

from __future__ import annotations

from dataclasses import dataclass

from test_framework.services.fault import Fault
from test_framework.services.lifecycle import DEADLINE_SECONDS, Lifecycle
from test_framework.services.state import Observation, ServiceName


@dataclass(frozen=True)
class Service:
    """One running service: where it is, and what can be done to it."""

    name: ServiceName
    lifecycle: Lifecycle
    reason: str
    warm: bool
    start_seconds: float
    private: bool

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

    def paused(self, for_: float | None = None) -> Fault:
        """Freeze it for a block: it keeps its connections and answers none. It goes on also if this process is killed."""
        return Fault(self.pause, self._go_on, for_)

    def killed(self, for_: float | None = None) -> Fault:
        """End it for a block, as a crash would; its data stays where the stack keeps it."""
        return Fault(self.kill, self.ensure, for_)

    def stopped(self, for_: float | None = None) -> Fault:
        """End it for a block, in good order."""
        return Fault(self.stop, self.ensure, for_)

    def restarted(self) -> Fault:
        """End it in good order and have it start again at once, while the block goes on."""
        return self.stopped(for_=0)

    def _go_on(self) -> None:
        self.unpause()
        self.ensure()

    def __str__(self) -> str:
        return f"{self.name}: {self.provider} ({self.reason}), {self.identity}, {self.start_seconds * 1000:.0f} ms"
