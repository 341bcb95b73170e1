"""Other consumers of the journal: each event of each stream reaches the handler at least once, in the stream's order.

A consumer has a place in every stream's stream, kept in the database, so it misses nothing, whoever writes and whoever dies.
To return is to acknowledge. Any number of processes share the work: a place is one process's at a time. Commits of this
process wake it at once; what other processes wrote it finds by looking.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from commitstream.consumers.delivery import ConsumerTally, Delivery, Handler, Terms, described, hand_over
from commitstream.consumers.positions import Claim, Positions
from commitstream.db.base import ID_LENGTH
from commitstream.db.database import Database
from commitstream.db.tables import DeadLetter
from commitstream.journal import PAGE, Journal

logger = logging.getLogger(__name__)


class Consumer:
    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        name: str,
        handler: Handler,
        batch: int = 100,
        concurrency: int = 8,
        attempts: int = 5,
        seconds: float = 30.0,
        pause: float = 1.0,
        look_every: float = 1.0,
    ) -> None:
        if not 0 < len(name) <= ID_LENGTH:
            raise ValueError(f"a consumer's name has 1 to {ID_LENGTH} characters, unlike {name!r}")
        self.name = name
        self.tally = ConsumerTally()
        self._journal = journal
        self._positions = Positions(database, name)
        self._terms = Terms(handler, attempts, seconds, pause)
        self._batch = min(batch, PAGE)
        self._concurrency = concurrency
        self._look_every = look_every
        self._working: dict[str, asyncio.Task[None]] = {}
        self._hinted: set[str] = set()
        self._woken = asyncio.Event()
        self._next_look = 0.0
        self._looked_up_to = ""
        self._closing = False
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._listen_no_more: Callable[[], None] | None = None

    async def start(self) -> None:
        """Begin where this consumer left off; a new one begins with the first event of every stream."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._listen_no_more = self._journal.on_commit(self._hear)
        self._task = asyncio.create_task(self._run(), name=f"consumer {self.name}")

    async def close(self, deadline: float = 5.0) -> None:
        """Take no more events, give handlers until the deadline, and leave the rest to whoever comes next."""
        if self._listen_no_more is None or self._task is None:
            return
        self._listen_no_more()
        self._closing = True
        self._woken.set()
        await asyncio.wait([self._task])
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=deadline)
        for task in self._working.values():
            task.cancel()
        if self._working:
            await asyncio.wait(list(self._working.values()))

    async def dead_letters(self, limit: int = 100) -> Sequence[DeadLetter]:
        """The events that this consumer could not handle, the oldest first."""
        return await self._positions.dead_letters(limit)

    async def replay(self, letter: DeadLetter) -> bool:
        """Have a dead letter's event handled after all; where that succeeds, the letter is gone."""
        deadline = asyncio.get_running_loop().time() + self._terms.seconds
        reason = await hand_over(self._terms, letter.stream, [letter.event], deadline)
        if reason is None:
            await self._positions.forget(letter)
        else:
            await self._positions.bury_again(letter, reason)
        return reason is None

    def _hear(self, stream: str) -> None:
        if threading.get_ident() == self._thread:
            self._hint(stream)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._hint, stream)

    def _hint(self, stream: str) -> None:
        self._hinted.add(stream)
        self._woken.set()

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            if not await self._take_safely():
                try:
                    async with asyncio.timeout(self._look_every):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    async def _take_safely(self) -> bool:
        try:
            return await self._take()
        except Exception as error:  # noqa: BLE001 - whatever it is, the events are still there in a moment
            logger.warning("consumer %s looks again in %g s: %s", self.name, self._look_every, described(error))
            return False

    async def _take(self) -> bool:
        """Begin to deliver what waits; False where nothing does, or nobody is free to."""
        room = self._concurrency - len(self._working)
        streams = await self._find(room) if room else []
        if not streams:
            return False
        deadline = asyncio.get_running_loop().time() + self._terms.seconds
        claims = await self._positions.claim(streams, self._terms.lease)
        await self._deliver(claims, deadline)
        return True

    async def _deliver(self, claims: Sequence[Claim], deadline: float) -> None:
        read = await self._journal.after_each({claim.stream: claim.seq for claim in claims}, self._batch)
        pages = {page.stream: page for page in read}
        for claim in claims:
            delivery = Delivery(self._positions, self._terms, self.tally, claim, pages.get(claim.stream), deadline)
            task = asyncio.create_task(delivery.run(), name=f"consumer {self.name}: events of {claim.stream}")
            self._working[claim.stream] = task
            task.add_done_callback(partial(self._done, claim.stream))

    def _done(self, stream: str, task: asyncio.Task[None]) -> None:
        del self._working[stream]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.warning("consumer %s stopped at %s for now: %s", self.name, stream, described(error))
        self._hint(stream)  # something may have been written meanwhile

    async def _find(self, room: int) -> list[str]:
        """Streams for whom something waits: now and then among all, else among those that were written for just now."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_look:
            streams = await self._look(room)
            if len(streams) < room:
                self._next_look = now + self._look_every
        else:
            hinted = self._hinted - self._working.keys()
            self._hinted -= hinted
            streams = await self._positions.due(room, among=hinted) if hinted else []
            if len(streams) == room:
                self._hinted |= hinted.difference(streams)
        return [stream for stream in streams if stream not in self._working]

    async def _look(self, room: int) -> list[str]:
        """Go round all streams, so that nobody waits for ever while others are busy."""
        streams = await self._positions.due(room, after=self._looked_up_to)
        if not streams and self._looked_up_to:
            streams = await self._positions.due(room)
        self._looked_up_to = streams[-1] if len(streams) == room else ""
        return streams
