"""Who watches a stream: what the hub asks of a watcher, and a watcher that is read from, batch by batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from commitstream.envelope import Batch

MAILBOX_BATCHES = 64


class CloseReason(IntEnum):
    """Why a watcher is shown nothing more; the number is the WebSocket close code."""

    RESTART = 1012
    SLOW = 4008
    FORBIDDEN = 4403


class Watcher(Protocol):
    """One subscription of a socket, or an event stream over HTTP."""

    position: int

    def offer(self, batch: Batch) -> bool:
        """Take events and move `position`, without waiting; False when there is no room."""
        ...

    async def room(self) -> None:
        """Wait until an offer may succeed again."""
        ...

    def caught_up(self) -> None:
        """Take notice that everything committed so far was offered: what comes now comes as it happens."""
        ...

    async def allowed(self) -> bool:
        """Say whether the user may still watch; asked after the rights of the stream have changed."""
        ...

    def dismiss(self, reason: CloseReason) -> None:
        """Take notice that nothing more will come."""
        ...


Allowed = Callable[[], Awaitable[bool]]


async def always() -> bool:
    return True


@dataclass(frozen=True)
class Live:
    """What comes between the replay and what happens now; the cursor is that of the last event before it."""

    cursor: int


class Mailbox:
    """A watcher that a task reads from, a batch at a time."""

    def __init__(self, position: int, dismissed: Callable[[], None] = lambda: None, allowed: Allowed = always) -> None:
        self.position = position
        self.reason: CloseReason | None = None
        self._live = False
        self._dismissed = dismissed
        self._allowed = allowed
        self._waiting: deque[Batch | Live] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    def offer(self, batch: Batch) -> bool:
        if len(self._waiting) >= MAILBOX_BATCHES:
            self._taken.clear()
            return False
        self._waiting.append(batch)
        self.position = batch.last
        self._arrived.set()
        return True

    async def room(self) -> None:
        await self._taken.wait()

    def caught_up(self) -> None:
        if not self._live:
            self._live = True
            self._waiting.append(Live(self.position))
            self._arrived.set()

    async def allowed(self) -> bool:
        return await self._allowed()

    def dismiss(self, reason: CloseReason) -> None:
        self.reason = reason
        self._arrived.set()
        self._dismissed()

    async def take(self) -> Batch | Live | None:
        """Wait for the next batch, or for the end of the replay; None once dismissed and read to the end."""
        while not self._waiting:
            if self.reason is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        taken = self._waiting.popleft()
        self._taken.set()
        return taken
