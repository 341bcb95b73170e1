"""Consumers: a handler gets the events of each stream at least once, in order.

A consumer keeps its position in each stream in the database, so it misses no event, whichever process wrote it and
whichever process died. A handler acknowledges events by returning. Any number of processes share a consumer's work: a
lease gives each position to one process at a time. Commits of this process wake it at once; it polls for those of other
processes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from commitstream.consumers.delivery import ConsumerCounters, Delivery, Handler, RetryPolicy, call_handler, describe
from commitstream.consumers.positions import Claim, Positions
from commitstream.db.base import ID_LENGTH
from commitstream.db.database import Database
from commitstream.db.tables import DeadLetter
from commitstream.journal import PAGE, Journal

logger = logging.getLogger(__name__)


class Consumer:
    """Calls a handler with the events of every stream.

    Args:
        database: where the positions and the dead letters are kept.
        journal: where the events are read from.
        name: under which the positions are kept; another name begins with the first event of every stream.
        handler: called with a stream's name and its next events; it acknowledges them by returning.
        batch: the most events of a stream in one call.
        concurrency: the most handlers that run at once, each for another stream.
        attempts: how often an event is tried before it becomes a dead letter.
        handler_timeout: seconds that a call of the handler may take.
        backoff: seconds until the first retry; doubles each time, up to five minutes.
        poll_interval: seconds between two queries for events that other processes wrote.
    """

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
        handler_timeout: float = 30.0,
        backoff: float = 1.0,
        poll_interval: float = 1.0,
    ) -> None:
        if not 0 < len(name) <= ID_LENGTH:
            raise ValueError(f"a consumer's name has 1 to {ID_LENGTH} characters, unlike {name!r}")
        self.name = name
        self.counters = ConsumerCounters()
        self._journal = journal
        self._positions = Positions(database, name)
        self._policy = RetryPolicy(handler, attempts, handler_timeout, backoff)
        self._batch = min(batch, PAGE)
        self._concurrency = concurrency
        self._poll_interval = poll_interval
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._hinted: set[str] = set()
        self._wakeup = asyncio.Event()
        self._next_poll = 0.0
        self._polled_up_to = ""
        self._closing = False
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._remove_listener: Callable[[], None] | None = None

    async def start(self) -> None:
        """Begin where this consumer left off; a new one begins with the first event of every stream."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._remove_listener = self._journal.on_commit(self._on_commit)
        self._task = asyncio.create_task(self._run(), name=f"consumer {self.name}")

    async def close(self, timeout: float = 5.0) -> None:
        """Take no more events; cancel handlers that still run after the timeout."""
        if self._remove_listener is None or self._task is None:
            return
        self._remove_listener()
        self._closing = True
        self._wakeup.set()
        await asyncio.wait([self._task])
        if self._deliveries:
            await asyncio.wait(list(self._deliveries.values()), timeout=timeout)
        for task in self._deliveries.values():
            task.cancel()
        if self._deliveries:
            await asyncio.wait(list(self._deliveries.values()))

    async def dead_letters(self, limit: int = 100) -> Sequence[DeadLetter]:
        """Return the events that this consumer could not handle, the oldest first."""
        return await self._positions.dead_letters(limit)

    async def replay(self, letter: DeadLetter) -> bool:
        """Call the handler with a dead letter's event; delete the letter and return True where it succeeds."""
        deadline = asyncio.get_running_loop().time() + self._policy.handler_timeout
        reason = await call_handler(self._policy, letter.stream, [letter.event], deadline)
        if reason is None:
            await self._positions.delete_dead_letter(letter)
        else:
            await self._positions.update_dead_letter(letter, reason)
        return reason is None

    def _on_commit(self, stream: str) -> None:
        if threading.get_ident() == self._thread:
            self._hint(stream)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._hint, stream)

    def _hint(self, stream: str) -> None:
        self._hinted.add(stream)
        self._wakeup.set()

    async def _run(self) -> None:
        while not self._closing:
            self._wakeup.clear()
            if not await self._take_safely():
                try:
                    async with asyncio.timeout(self._poll_interval):
                        await self._wakeup.wait()
                except TimeoutError:
                    continue

    async def _take_safely(self) -> bool:
        try:
            return await self._take()
        except Exception as error:  # noqa: BLE001 - whatever it is, the events are still there in a moment
            logger.warning("consumer %s failed, retrying in %g s: %s", self.name, self._poll_interval, describe(error))
            return False

    async def _take(self) -> bool:
        """Start to deliver undelivered events; False where there are none, or every handler is busy."""
        free = self._concurrency - len(self._deliveries)
        streams = await self._find(free) if free else []
        if not streams:
            return False
        deadline = asyncio.get_running_loop().time() + self._policy.handler_timeout
        claims = await self._positions.claim(streams, self._policy.lease)
        await self._deliver(claims, deadline)
        return True

    async def _deliver(self, claims: Sequence[Claim], deadline: float) -> None:
        read = await self._journal.after_each({claim.stream: claim.seq for claim in claims}, self._batch)
        pages = {page.stream: page for page in read}
        for claim in claims:
            page = pages.get(claim.stream)
            delivery = Delivery(self._positions, self._policy, self.counters, claim, page, deadline)
            task = asyncio.create_task(delivery.run(), name=f"consumer {self.name}: events of {claim.stream}")
            self._deliveries[claim.stream] = task
            task.add_done_callback(partial(self._on_delivered, claim.stream))

    def _on_delivered(self, stream: str, task: asyncio.Task[None]) -> None:
        del self._deliveries[stream]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.warning("consumer %s stopped at stream %s for now: %s", self.name, stream, describe(error))
        self._hint(stream)  # something may have been written meanwhile

    async def _find(self, limit: int) -> list[str]:
        """Return streams with undelivered events: among all where a poll is due, else among those hinted at."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_poll:
            streams = await self._poll(limit)
            if len(streams) < limit:
                self._next_poll = now + self._poll_interval
        else:
            hinted = self._hinted - self._deliveries.keys()
            self._hinted -= hinted
            streams = await self._positions.due(limit, among=hinted) if hinted else []
            if len(streams) == limit:
                self._hinted |= hinted.difference(streams)
        return [stream for stream in streams if stream not in self._deliveries]

    async def _poll(self, limit: int) -> list[str]:
        """Go through all streams in turn, so that busy ones can't starve the others."""
        streams = await self._positions.due(limit, after=self._polled_up_to)
        if not streams and self._polled_up_to:
            streams = await self._positions.due(limit)
        self._polled_up_to = streams[-1] if len(streams) == limit else ""
        return streams
