"""Fan-out: every watcher of a user gets that user's events in order, once, from wherever it left off.

A feed holds the number that a user's live watchers have been brought to. Whatever arrives, from the bus or from the
journal, moves a feed on only if it begins where the feed ends: what is older is dropped, what leaves a gap sends the hub to
the journal. A watcher that is new, or too slow, is behind its feed; it is led up to it page by page and joins the live
ones in the very step in which it arrives, so there is no seam between replay and live, and memory is bounded by what
one socket buffers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from commitstream.bus.base import Bus
from commitstream.counters import EventCounters
from commitstream.envelope import Batch, written_at
from commitstream.journal import PAGE, PAGE_CHARACTERS, Journal
from commitstream.watchers import Goodbye, Watcher

logger = logging.getLogger(__name__)

RECONCILE_SECONDS = 0.7
RECONCILE_SECONDS_WITHOUT_BUS = 0.2
SLOW_SECONDS = 10.0
LAG_SAMPLE_SECONDS = 0.2
CACHED_PAGES = 32
READING_FAILED = (OSError, SQLAlchemyError, TimeoutError)


class UnknownCursor(Exception):
    """A cursor that lies ahead of everything its user's journal holds."""


class Feed:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.head = -1
        self.missed = False
        self.live: set[Watcher] = set()
        self.behind: dict[Watcher, asyncio.Task[None]] = {}
        self.ready: asyncio.Task[None] | None = None

    @property
    def watched(self) -> bool:
        return bool(self.live or self.behind)


class Hub:
    def __init__(self, journal: Journal, bus: Bus, counters: EventCounters) -> None:
        self._journal = journal
        self._bus = bus
        self._counters = counters
        self._feeds: dict[str, Feed] = {}
        self._opening: dict[str, int] = {}
        self._gaps: set[str] = set()
        self._gap = asyncio.Event()
        self._pages: OrderedDict[tuple[str, int], asyncio.Task[Batch | None]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_sample = 0.0

    async def start(self) -> None:
        self._spawn(self._fill_gaps(), "hub: fill gaps")
        self._spawn(self._reconcile(), "hub: reconcile")

    async def close(self) -> None:
        feeds = self._feeds.values()
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._pages.values()]
        tasks += [task for feed in feeds for task in (*feed.behind.values(), feed.ready) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def watchers(self) -> int:
        """How many are shown events by this process."""
        return sum(len(feed.live) + len(feed.behind) for feed in self._feeds.values())

    async def dismiss(self, deadline: float) -> None:
        """Bring every watcher up to what is committed, then tell all of them to come back elsewhere."""
        showing = self._spawn(self._show_all(), "hub: show all")
        await asyncio.wait([showing], timeout=deadline)
        showing.cancel()  # and not waited for: a frozen database may keep it as long as it likes
        for feed in self._feeds.values():
            for watcher in (*feed.live, *feed.behind):
                watcher.dismiss(Goodbye.RESTART)

    async def _show_all(self) -> None:
        await self._catch_up(set(self._feeds))
        leading = [task for feed in self._feeds.values() for task in feed.behind.values()]
        if leading:
            await asyncio.wait(leading)

    async def attach(self, watcher: Watcher, user_id: str) -> None:
        """Show a watcher all of a user's events after its position, and then every one as it comes."""
        self._opening[user_id] = self._opening.get(user_id, 0) + 1
        try:
            feed = await self._feed(user_id)
            if watcher.position > feed.head:
                await self._read_up({user_id})
            if watcher.position > feed.head:
                raise UnknownCursor(f"cursor {watcher.position} is ahead of the last event, {feed.head}")
            self._lead(feed, watcher)
        finally:
            self._opening[user_id] -= 1
            if not self._opening[user_id]:
                del self._opening[user_id]
                await self._close_if_unwatched(user_id)

    async def detach(self, watcher: Watcher, user_id: str) -> None:
        """Show a watcher nothing more."""
        feed = self._feeds.get(user_id)
        if feed is None:
            return
        feed.live.discard(watcher)
        if task := feed.behind.pop(watcher, None):
            task.cancel()
        await self._close_if_unwatched(user_id)

    async def head(self, user_id: str) -> int:
        """The number of a user's last event, for a watcher that wants only what is to come."""
        return await self._journal.head(user_id)

    def receive(self, batch: Batch) -> None:
        """Take events from the bus."""
        feed = self._feeds.get(batch.user_id)
        if feed is None:
            return
        self._counters.received += len(batch.frames)
        if feed.head < 0:
            feed.missed = True
        elif batch.first > feed.head + 1:
            self._gaps.add(batch.user_id)
            self._gap.set()
        elif batch.last > feed.head:
            self._advance(feed, batch.after(feed.head))

    def _advance(self, feed: Feed, batch: Batch) -> None:
        feed.head = batch.last
        slow = [watcher for watcher in feed.live if not watcher.offer(batch)]
        self._counters.delivered += len(batch.frames) * (len(feed.live) - len(slow))
        self._sample_lag(batch)
        for watcher in slow:
            feed.live.discard(watcher)
            self._lead(feed, watcher)

    def _sample_lag(self, batch: Batch) -> None:
        """Look at one event now and then: how long ago was it written?"""
        now = time.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + LAG_SAMPLE_SECONDS
            if written := written_at(batch.frames[0]):
                self._counters.lag_seconds = max(0.0, (datetime.now(UTC) - written).total_seconds())

    def _lead(self, feed: Feed, watcher: Watcher) -> None:
        if watcher.position == feed.head:
            feed.live.add(watcher)
            return
        task = asyncio.create_task(self._lead_up(feed, watcher), name=f"hub: lead a watcher of {feed.user_id} up")
        feed.behind[watcher] = task

    async def _lead_up(self, feed: Feed, watcher: Watcher) -> None:
        while watcher.position < feed.head:
            try:
                page = await self._page(feed.user_id, watcher.position)
            except READING_FAILED as error:
                logger.warning("a watcher of %s waits for the journal: %s", feed.user_id, error)
                await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
                continue
            except Exception:
                logger.exception("a watcher of %s can't be led up", feed.user_id)
                await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
                continue
            if page is None:
                feed.behind.pop(watcher, None)
                watcher.dismiss(Goodbye.SLOW)
                return
            if page.last > feed.head:
                self._advance(feed, page.after(feed.head))
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    while not watcher.offer(page):
                        await watcher.room()
            except TimeoutError:
                self._counters.slow_sockets_closed += 1
                feed.behind.pop(watcher, None)
                watcher.dismiss(Goodbye.SLOW)
                return
            self._counters.delivered += len(page.frames)
        if feed.behind.pop(watcher, None) is not None:
            feed.live.add(watcher)

    async def _page(self, user_id: str, after: int) -> Batch | None:
        """Read the journal once for all the watchers that wait at the same place."""
        key = (user_id, after)
        task = self._pages.get(key)
        if task is None:
            task = self._pages[key] = asyncio.create_task(self._read(user_id, after), name="hub: read a page")
            task.add_done_callback(lambda done: self._forget_partial(key, done))
            while len(self._pages) > CACHED_PAGES:
                self._pages.popitem(last=False)
        return await asyncio.shield(task)

    async def _read(self, user_id: str, after: int) -> Batch | None:
        return await self._journal.after(user_id, after, size=PAGE_CHARACTERS)

    def _forget_partial(self, key: tuple[str, int], task: asyncio.Task[Batch | None]) -> None:
        page = None if task.cancelled() or task.exception() else task.result()
        if page is None or len(page.frames) < PAGE:
            self._pages.pop(key, None)

    async def _feed(self, user_id: str) -> Feed:
        feed = self._feeds.get(user_id)
        if feed is None:
            feed = self._feeds[user_id] = Feed(user_id)
            feed.ready = asyncio.create_task(self._open(feed), name=f"hub: open the feed of {user_id}")
        if feed.ready is not None:
            await asyncio.shield(feed.ready)
        return feed

    async def _open(self, feed: Feed) -> None:
        try:
            await self._bus.watch(feed.user_id)
            feed.head = await self._journal.head(feed.user_id)
        except BaseException:
            if self._feeds.get(feed.user_id) is feed:
                del self._feeds[feed.user_id]
                await self._bus.unwatch(feed.user_id)
            raise
        feed.ready = None
        if feed.missed:
            self._gaps.add(feed.user_id)
            self._gap.set()

    async def _close_if_unwatched(self, user_id: str) -> None:
        feed = self._feeds.get(user_id)
        if feed is not None and not feed.watched and user_id not in self._opening:
            del self._feeds[user_id]
            await self._bus.unwatch(user_id)

    async def _fill_gaps(self) -> None:
        while True:
            await self._gap.wait()
            self._gap.clear()
            users, self._gaps = self._gaps, set()
            await self._catch_up(users)

    async def _reconcile(self) -> None:
        """Look for what the bus never brought: the last word of a publisher that died, or everything while it is away."""
        clock = asyncio.get_running_loop().time
        looked = clock()
        while True:
            await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
            if not self._bus.healthy or clock() - looked >= RECONCILE_SECONDS:
                await self._catch_up(set(self._feeds))
                looked = clock()

    async def _catch_up(self, users: set[str]) -> None:
        """Bring feeds up to the journal; what can't be read now is read at the next look."""
        try:
            await self._read_up(users)
        except READING_FAILED as error:
            logger.warning("the hub could not read the journal of %d users: %s", len(users), error)
        except Exception:
            logger.exception("the hub could not read the journal of %d users", len(users))

    async def _read_up(self, users: set[str]) -> None:
        while users:
            heads = {user: feed.head for user in users if (feed := self._feeds.get(user)) and feed.head >= 0}
            users = set()
            for batch in await self._journal.after_each(heads, size=PAGE_CHARACTERS):
                feed = self._feeds.get(batch.user_id)
                if feed is not None and batch.last > feed.head >= batch.first - 1:
                    new = batch.after(feed.head)
                    self._counters.gaps_filled += len(new.frames)
                    self._advance(feed, new)
                    users.add(batch.user_id)

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
