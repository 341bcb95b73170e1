"""The bus announces committed batches to all hubs. It may lose some; the journal doesn't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from commitstream.envelope import Batch

Receive = Callable[[Batch], None]


class Bus(Protocol):
    """Carries batches between processes, without a guarantee."""

    @property
    def healthy(self) -> bool:
        """False while the bus may lose events, so that hubs read the journal more often."""
        ...

    async def start(self, receive: Receive) -> None:
        """Start to call `receive` with the batches of watched streams."""
        ...

    async def publish(self, batches: Sequence[Batch]) -> None:
        """Send batches; raises `BusAway` after a timeout where that fails."""
        ...

    async def watch(self, stream: str) -> None:
        """Subscribe to a stream."""
        ...

    async def unwatch(self, stream: str) -> None:
        """Unsubscribe from a stream."""
        ...

    async def close(self) -> None: ...


class BusAway(Exception):
    """The bus can't be reached; hubs read the events from the journal."""


class MemoryBus:
    """The bus of a service with one process."""

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
        """Do nothing: the hub knows which streams are watched."""

    async def unwatch(self, stream: str) -> None:
        """Do nothing."""

    async def close(self) -> None:
        self._receive = None
