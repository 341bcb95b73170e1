"""Who watches: what the hub asks of a watcher, how it says goodbye, and the watcher that others read from."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from commitstream.envelope import Batch

MAILBOX_BATCHES = 64


class Goodbye(IntEnum):
    """Why a watcher is shown nothing more; the number is the WebSocket close code. It may come back with its cursor."""

    RESTART = 1012
    SLOW = 4008


class Watcher(Protocol):
    """One socket, or whatever else is shown a user's events."""

    position: int

    def offer(self, batch: Batch) -> bool:
        """Take events and move `position`, without waiting; False when there is no room."""
        ...

    async def room(self) -> None:
        """Wait until an offer may succeed again."""
        ...

    def dismiss(self, goodbye: Goodbye) -> None:
        """Be told that nothing more will come."""
        ...


class Mailbox:
    """A watcher that somebody reads from, a batch at a time."""

    def __init__(self, position: int, dismissed: Callable[[], None] = lambda: None) -> None:
        self.position = position
        self.goodbye: Goodbye | None = None
        self._dismissed = dismissed
        self._batches: deque[Batch] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    def offer(self, batch: Batch) -> bool:
        if len(self._batches) >= MAILBOX_BATCHES:
            self._taken.clear()
            return False
        self._batches.append(batch)
        self.position = batch.last
        self._arrived.set()
        return True

    async def room(self) -> None:
        await self._taken.wait()

    def dismiss(self, goodbye: Goodbye) -> None:
        self.goodbye = goodbye
        self._arrived.set()
        self._dismissed()

    async def take(self) -> Batch | None:
        """Wait for the next batch; None once dismissed and read to the end."""
        while not self._batches:
            if self.goodbye is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        batch = self._batches.popleft()
        self._taken.set()
        return batch
