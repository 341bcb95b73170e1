"""A journal, a bus and watchers that a hub's test holds in its hand: reads can be stopped, fail, and be counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from commitstream.bus.base import Receive
from commitstream.envelope import Batch, frame
from commitstream.journal import ANY_SIZE, PAGE, Journal
from commitstream.watchers import Goodbye

DEADLINE_SECONDS = 2.0
BODY = '{"v":1}'


class HeldJournal(Journal):
    """A journal in memory; `open` lets reads through, `fault` is what they raise."""

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.reads: list[tuple[str, int]] = []

    def write(self, user_id: str, count: int = 1) -> Batch:
        """Commit events, and give the batch that the bus would bring."""
        first = self.heads.get(user_id, 0) + 1
        self.heads[user_id] = first + count - 1
        return batch_of(user_id, first, self.heads[user_id])

    async def head(self, user_id: str) -> int:
        await self._read(user_id, -1)
        return self.heads.get(user_id, 0)

    async def after(self, user_id: str, seq: int, limit: int = PAGE, size: int = ANY_SIZE) -> Batch | None:
        await self._read(user_id, seq)
        return self._page(user_id, seq, limit)

    async def after_each(self, positions: Mapping[str, int], limit: int = PAGE, size: int = ANY_SIZE) -> list[Batch]:
        for user_id, seq in positions.items():
            await self._read(user_id, seq)
        return [page for user_id, seq in positions.items() if (page := self._page(user_id, seq, limit))]

    async def _read(self, user_id: str, seq: int) -> None:
        self.reads.append((user_id, seq))
        await self.open.wait()
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault

    def _page(self, user_id: str, seq: int, limit: int) -> Batch | None:
        last = min(self.heads.get(user_id, 0), seq + limit)
        return batch_of(user_id, seq + 1, last) if last > seq else None


class QuietBus:
    """A bus that brings nothing unless a test does."""

    healthy = True

    def __init__(self) -> None:
        self.watched: set[str] = set()

    async def start(self, receive: Receive) -> None: ...

    async def publish(self, batches: Sequence[Batch]) -> None: ...

    async def watch(self, user_id: str) -> None:
        self.watched.add(user_id)

    async def unwatch(self, user_id: str) -> None:
        self.watched.discard(user_id)

    async def close(self) -> None: ...


class Eye:
    """A watcher that remembers what it saw; with `blocked` it has no room."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.began_at = position
        self.seen: list[int] = []
        self.goodbye: Goodbye | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._changed = asyncio.Event()

    @property
    def blocked(self) -> bool:
        return not self._room.is_set()

    @blocked.setter
    def blocked(self, blocked: bool) -> None:
        if blocked:
            self._room.clear()
        else:
            self._room.set()

    def offer(self, batch: Batch) -> bool:
        if self.blocked:
            return False
        self.seen += [json.loads(text)["seq"] for text in batch.frames]
        self.position = batch.last
        self._changed.set()
        return True

    async def room(self) -> None:
        await self._room.wait()

    def dismiss(self, goodbye: Goodbye) -> None:
        self.goodbye = goodbye
        self._changed.set()

    async def reach(self, seq: int) -> None:
        await self._until(lambda: self.position >= seq, f"event {seq}")

    async def dismissed(self) -> Goodbye:
        await self._until(lambda: self.goodbye is not None, "a goodbye")
        assert self.goodbye is not None
        return self.goodbye

    def assert_exact(self, last: int) -> None:
        """Saw everything after its position up to a number, once each and in order."""
        assert self.seen == list(range(self.began_at + 1, last + 1))

    async def _until(self, there: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not there():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; seen: {self.seen}, goodbye: {self.goodbye}") from None


def batch_of(user_id: str, first: int, last: int) -> Batch:
    return Batch(user_id, first, [frame(seq, BODY) for seq in range(first, last + 1)])
