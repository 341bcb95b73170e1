"""What tests of a bus on a real Redis need: ears, events, and a bus that is up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from commitstream.bus.base import BusAway
from commitstream.bus.redis import RedisBus
from commitstream.envelope import Batch, frame
from test_framework.waiting import becomes

DEADLINE_SECONDS = 5.0


class Ear:
    """What a process received."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._heard = asyncio.Event()

    def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._heard.set()

    @property
    def frames(self) -> list[str]:
        return [frame for batch in self.batches for frame in batch.frames]

    async def hear(self, stream: str, seq: int) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not any(batch.stream == stream and batch.first <= seq <= batch.last for batch in self.batches):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise AssertionError(f"event {seq} of {stream} did not come; what came: {self.frames}") from None


@asynccontextmanager
async def opened(url: str, prefix: str, *streams: str) -> AsyncIterator[tuple[RedisBus, Ear]]:
    """A process's bus, up and subscribed."""
    bus, ear = RedisBus(url, prefix, secrets.token_hex(4)), Ear()
    await bus.start(ear)
    try:
        await becomes(lambda: bus.healthy, "the bus healthy")
        for stream in streams:
            await bus.watch(stream)
        yield bus, ear
    finally:
        await bus.close()


def events(stream: str, first: int, last: int) -> Batch:
    return Batch(stream, first, [frame(seq, '{"v":1}') for seq in range(first, last + 1)])


async def publish_until(bus: RedisBus, ear: Ear, stream: str, seq: int) -> None:
    """Publish as the relay does: what can't be sent now is not sent, and the next may be."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not any(batch.stream == stream and batch.first == seq for batch in ear.batches):
            with suppress(BusAway):
                await bus.publish([events(stream, seq, seq)])
            await asyncio.sleep(0.02)
