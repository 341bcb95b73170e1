"""Watchers: their protocol with the hub, and one that is a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from commitstream.envelope import Batch

QUEUE_BATCHES = 64


class CloseReason(IntEnum):
    """Why the hub closes a watcher; the number is the WebSocket close code."""

    RESTART = 1012
    SLOW = 4008
    FORBIDDEN = 4403


class Watcher(Protocol):
    """A subscriber of one stream: a subscription of a WebSocket connection, or a server-sent event stream."""

    position: int

    def try_send(self, batch: Batch) -> bool:
        """Take events and move `position`, without waiting; False when the buffer is full."""
        ...

    async def wait_writable(self) -> None:
        """Wait until `try_send` may succeed again."""
        ...

    def caught_up(self) -> None:
        """Note that the replay is complete: later events come as they are committed."""
        ...

    async def allowed(self) -> bool:
        """Return whether the user may still watch; called after the rights of the stream have changed."""
        ...

    def close(self, reason: CloseReason) -> None:
        """Note that no more events will come, and why."""
        ...


Allowed = Callable[[], Awaitable[bool]]


async def always() -> bool:
    return True


@dataclass(frozen=True)
class Live:
    """Marks the end of the replay; the cursor is that of the last event before it."""

    cursor: int


class QueueWatcher:
    """A watcher whose events a task reads from a bounded queue, a batch at a time."""

    def __init__(self, position: int, on_close: Callable[[], None] = lambda: None, allowed: Allowed = always) -> None:
        self.position = position
        self.reason: CloseReason | None = None
        self._live = False
        self._on_close = on_close
        self._allowed = allowed
        self._queue: deque[Batch | Live] = deque()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    def try_send(self, batch: Batch) -> bool:
        if len(self._queue) >= QUEUE_BATCHES:
            self._writable.clear()
            return False
        self._queue.append(batch)
        self.position = batch.last
        self._readable.set()
        return True

    async def wait_writable(self) -> None:
        await self._writable.wait()

    def caught_up(self) -> None:
        if not self._live:
            self._live = True
            self._queue.append(Live(self.position))
            self._readable.set()

    async def allowed(self) -> bool:
        return await self._allowed()

    def close(self, reason: CloseReason) -> None:
        self.reason = reason
        self._readable.set()
        self._on_close()

    async def get(self) -> Batch | Live | None:
        """Wait for the next batch, or for the end of the replay; None once closed and read to the end."""
        while not self._queue:
            if self.reason is not None:
                return None
            self._readable.clear()
            await self._readable.wait()
        taken = self._queue.popleft()
        self._writable.set()
        return taken
