"""L1.5, the doorbell: carries committed batches to the hubs of every process. It may lose; the journal doesn't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from commitstream.envelope import Batch

Receive = Callable[[Batch], None]


class Bus(Protocol):
    @property
    def healthy(self) -> bool:
        """False while events may be getting lost, so that hubs read the journal more often."""
        ...

    async def start(self, receive: Receive) -> None:
        """Begin to hand what arrives for watched streams to a hub."""
        ...

    async def publish(self, batches: Sequence[Batch]) -> None:
        """Send; raises `BusAway` within a deadline where that can't be done."""
        ...

    async def watch(self, stream: str) -> None: ...

    async def unwatch(self, stream: str) -> None: ...

    async def close(self) -> None: ...


class BusAway(Exception):
    """The bus can't be reached; the journal has everything."""


class MemoryBus:
    """The bus of a service that is one process."""

    healthy = True

    def __init__(self) -> None:
        self._receive: Receive | None = None

    async def start(self, receive: Receive) -> None:
        self._receive = receive

    async def publish(self, batches: Sequence[Batch]) -> None:
        if self._receive is not None:
            for batch in batches:
                self._receive(batch)

    async def watch(self, stream: str) -> None:
        """Nothing to subscribe to: the hub itself knows who is watched."""

    async def unwatch(self, stream: str) -> None:
        """Nothing to unsubscribe from."""

    async def close(self) -> None:
        self._receive = None
