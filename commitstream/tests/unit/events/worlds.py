"""A journal, a bus and watchers that a hub's test holds in its hand: reads can be stopped, fail, and be counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from commitstream.bus.base import Receive
from commitstream.envelope import Batch, frame
from commitstream.journal import ANY_SIZE, PAGE, Journal
from commitstream.watchers import Allowed, CloseReason, always

DEADLINE_SECONDS = 2.0
BODY = '{"v":2}'
RIGHTS_CHANGED = '{"v":2,"type":"rights_changed"}'


class HeldJournal(Journal):
    """A journal in memory; `open` lets reads through, `fault` is what they raise."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.reads: list[tuple[str, int]] = []
        self.changes: set[tuple[str, int]] = set()

    def commit(self, stream: str, count: int = 1) -> Batch:
        """Commit events, and give the batch that the bus would bring."""
        first = self.numbers.get(stream, 0) + 1
        self.numbers[stream] = first + count - 1
        return self._batch(stream, first, self.numbers[stream])

    def change_rights(self, stream: str) -> Batch:
        """Commit a change of rights, and give the batch that the bus would bring."""
        self.changes.add((stream, self.numbers.get(stream, 0) + 1))
        return self.commit(stream)

    async def head(self, stream: str) -> int:
        await self._read(stream, -1)
        return self.numbers.get(stream, 0)

    async def after(self, stream: str, seq: int, limit: int = PAGE, size: int = ANY_SIZE) -> Batch | None:
        await self._read(stream, seq)
        return self._page(stream, seq, limit)

    async def after_each(self, positions: Mapping[str, int], limit: int = PAGE, size: int = ANY_SIZE) -> list[Batch]:
        for stream, seq in positions.items():
            await self._read(stream, seq)
        return [page for stream, seq in positions.items() if (page := self._page(stream, seq, limit))]

    async def _read(self, stream: str, seq: int) -> None:
        self.reads.append((stream, seq))
        await self.open.wait()
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault

    def _page(self, stream: str, seq: int, limit: int) -> Batch | None:
        last = min(self.numbers.get(stream, 0), seq + limit)
        return self._batch(stream, seq + 1, last) if last > seq else None

    def _batch(self, stream: str, first: int, last: int) -> Batch:
        bodies = (RIGHTS_CHANGED if (stream, seq) in self.changes else BODY for seq in range(first, last + 1))
        return Batch(stream, first, [frame(first + place, body) for place, body in enumerate(bodies)])


class QuietBus:
    """A bus that brings nothing unless a test does."""

    healthy = True

    def __init__(self) -> None:
        self.watched: set[str] = set()

    async def start(self, receive: Receive) -> None: ...

    async def publish(self, batches: Sequence[Batch]) -> None: ...

    async def watch(self, stream: str) -> None:
        self.watched.add(stream)

    async def unwatch(self, stream: str) -> None:
        self.watched.discard(stream)

    async def close(self) -> None: ...


class Eye:
    """A watcher that remembers what it saw; with `blocked` it has no room."""

    def __init__(self, position: int = 0, allowed: Allowed = always) -> None:
        self.asked = 0
        self._allowed = allowed
        self.live_at: int | None = None
        self.position = position
        self.began_at = position
        self.seen: list[int] = []
        self.reason: CloseReason | None = None
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

    def try_send(self, batch: Batch) -> bool:
        if self.blocked:
            return False
        self.seen += [json.loads(text)["seq"] for text in batch.frames]
        self.position = batch.last
        self._changed.set()
        return True

    async def wait_writable(self) -> None:
        await self._room.wait()

    def caught_up(self) -> None:
        if self.live_at is None:
            self.live_at = self.position

    async def allowed(self) -> bool:
        self.asked += 1
        self._changed.set()
        return await self._allowed()

    def close(self, reason: CloseReason) -> None:
        self.reason = reason
        self._changed.set()

    async def reach(self, seq: int) -> None:
        await self._until(lambda: self.position >= seq, f"event {seq}")

    async def asked_times(self, count: int) -> None:
        await self._until(lambda: self.asked >= count, f"question {count}")

    async def closed(self) -> CloseReason:
        await self._until(lambda: self.reason is not None, "a close")
        assert self.reason is not None
        return self.reason

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
            raise AssertionError(f"{what} did not come; seen: {self.seen}, reason: {self.reason}") from None


def batch_of(stream: str, first: int, last: int) -> Batch:
    return Batch(stream, first, [frame(seq, BODY) for seq in range(first, last + 1)])


async def turns(count: int = 20) -> None:
    """Let everything that can go on without time passing go on."""
    for _ in range(count):
        await asyncio.sleep(0)
