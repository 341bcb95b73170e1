"""Fan-out: every watcher of a stream gets that stream's events in order, once, from wherever it left off.

A feed holds the number that a stream's live watchers have been brought to. Whatever arrives, from the bus or from the
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
from commitstream.watchers import CloseReason, Watcher

logger = logging.getLogger(__name__)

RECONCILE_SECONDS = 0.7
RECONCILE_SECONDS_WITHOUT_BUS = 0.2
SLOW_SECONDS = 10.0
LAG_SAMPLE_SECONDS = 0.2
CACHED_PAGES = 32
READING_FAILED = (OSError, SQLAlchemyError, TimeoutError)


class UnknownCursor(Exception):
    """A cursor that lies ahead of everything its stream's journal holds."""


class Feed:
    def __init__(self, stream: str) -> None:
        self.stream = stream
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
                watcher.dismiss(CloseReason.RESTART)

    async def _show_all(self) -> None:
        await self._catch_up(set(self._feeds))
        leading = [task for feed in self._feeds.values() for task in feed.behind.values()]
        if leading:
            await asyncio.wait(leading)

    def reached(self, stream: str) -> int:
        """The number that a stream is known to have reached, without asking the journal; 0 where nothing is known."""
        feed = self._feeds.get(stream)
        return 0 if feed is None else max(feed.head, 0)

    async def attach(self, watcher: Watcher, stream: str, *, review: bool = False) -> None:
        """Show a watcher all of a stream's events after its position, and then every one as it comes.

        `review` asks first whether it may still watch: for a position that may lie beyond what was written when that was
        asked, and so beyond a change of rights.
        """
        self._opening[stream] = self._opening.get(stream, 0) + 1
        try:
            feed = await self._feed(stream)
            if watcher.position > feed.head:
                await self._read_up({stream})
            if watcher.position > feed.head:
                raise UnknownCursor(f"cursor {watcher.position} is ahead of the last event, {feed.head}")
            self._lead(feed, watcher, review=review)
        finally:
            self._opening[stream] -= 1
            if not self._opening[stream]:
                del self._opening[stream]
                await self._close_if_unwatched(stream)

    async def detach(self, watcher: Watcher, stream: str) -> None:
        """Show a watcher nothing more."""
        feed = self._feeds.get(stream)
        if feed is None:
            return
        feed.live.discard(watcher)
        if task := feed.behind.pop(watcher, None):
            task.cancel()
        await self._close_if_unwatched(stream)

    async def head(self, stream: str) -> int:
        """The number of a stream's last event, for a watcher that wants only what is to come."""
        return await self._journal.head(stream)

    def receive(self, batch: Batch) -> None:
        """Take events from the bus."""
        feed = self._feeds.get(batch.stream)
        if feed is None:
            return
        self._counters.received += len(batch.frames)
        if feed.head < 0:
            feed.missed = True
        elif batch.first > feed.head + 1:
            self._gaps.add(batch.stream)
            self._gap.set()
        elif batch.last > feed.head:
            self._advance(feed, batch.after(feed.head))

    def _advance(self, feed: Feed, batch: Batch) -> None:
        feed.head = batch.last
        changed = batch.through_rights_change()
        offered = changed or batch
        slow = [watcher for watcher in feed.live if not watcher.offer(offered)]
        self._counters.delivered += len(offered.frames) * (len(feed.live) - len(slow))
        self._sample_lag(batch)
        for watcher in slow if changed is None else list(feed.live):
            feed.live.discard(watcher)
            self._lead(feed, watcher, review=changed is not None)

    def _sample_lag(self, batch: Batch) -> None:
        """Look at one event now and then: how long ago was it written?"""
        now = time.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + LAG_SAMPLE_SECONDS
            if written := written_at(batch.frames[0]):
                self._counters.lag_seconds = max(0.0, (datetime.now(UTC) - written).total_seconds())

    def _lead(self, feed: Feed, watcher: Watcher, *, review: bool = False) -> None:
        if watcher.position == feed.head and not review:
            feed.live.add(watcher)
            watcher.caught_up()
            return
        replay = self._replay(feed, watcher, review=review)
        feed.behind[watcher] = asyncio.create_task(replay, name=f"hub: replay {feed.stream}")

    async def _replay(self, feed: Feed, watcher: Watcher, *, review: bool) -> None:
        while review or watcher.position < feed.head:
            if review:
                if not await self._still_allowed(feed, watcher):
                    feed.behind.pop(watcher, None)
                    watcher.dismiss(CloseReason.FORBIDDEN)
                    return
                review = False
                continue
            try:
                page = await self._page(feed.stream, watcher.position)
            except READING_FAILED as error:
                logger.warning("replay of stream %s waits for the journal: %s", feed.stream, error)
                await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
                continue
            except Exception:
                logger.exception("replay of stream %s failed, retrying", feed.stream)
                await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
                continue
            if page is None:
                feed.behind.pop(watcher, None)
                watcher.dismiss(CloseReason.SLOW)
                return
            if page.last > feed.head:
                self._advance(feed, page.after(feed.head))
            if (changed := page.through_rights_change()) is not None:
                page, review = changed, True
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    while not watcher.offer(page):
                        await watcher.room()
            except TimeoutError:
                self._counters.slow_sockets_closed += 1
                feed.behind.pop(watcher, None)
                watcher.dismiss(CloseReason.SLOW)
                return
            self._counters.delivered += len(page.frames)
        if feed.behind.pop(watcher, None) is not None:
            feed.live.add(watcher)
            watcher.caught_up()

    async def _still_allowed(self, feed: Feed, watcher: Watcher) -> bool:
        """Ask until there is an answer: a watcher whose rights can't be checked now is shown nothing meanwhile."""
        while True:
            try:
                return await watcher.allowed()
            except READING_FAILED as error:
                logger.warning("the rights to watch stream %s can't be checked, retrying: %s", feed.stream, error)
            except Exception:
                logger.exception("the rights to watch stream %s can't be checked, retrying", feed.stream)
            await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)

    async def _page(self, stream: str, after: int) -> Batch | None:
        """Read the journal once for all the watchers that wait at the same place."""
        key = (stream, after)
        task = self._pages.get(key)
        if task is None:
            task = self._pages[key] = asyncio.create_task(self._read(stream, after), name="hub: read a page")
            task.add_done_callback(lambda done: self._forget_partial(key, done))
            while len(self._pages) > CACHED_PAGES:
                self._pages.popitem(last=False)
        return await asyncio.shield(task)

    async def _read(self, stream: str, after: int) -> Batch | None:
        return await self._journal.after(stream, after, size=PAGE_CHARACTERS)

    def _forget_partial(self, key: tuple[str, int], task: asyncio.Task[Batch | None]) -> None:
        page = None if task.cancelled() or task.exception() else task.result()
        if page is None or len(page.frames) < PAGE:
            self._pages.pop(key, None)

    async def _feed(self, stream: str) -> Feed:
        feed = self._feeds.get(stream)
        if feed is None:
            feed = self._feeds[stream] = Feed(stream)
            feed.ready = asyncio.create_task(self._open(feed), name=f"hub: open the feed of {stream}")
        if feed.ready is not None:
            await asyncio.shield(feed.ready)
        return feed

    async def _open(self, feed: Feed) -> None:
        try:
            await self._bus.watch(feed.stream)
            feed.head = await self._journal.head(feed.stream)
        except BaseException:
            if self._feeds.get(feed.stream) is feed:
                del self._feeds[feed.stream]
                await self._bus.unwatch(feed.stream)
            raise
        feed.ready = None
        if feed.missed:
            self._gaps.add(feed.stream)
            self._gap.set()

    async def _close_if_unwatched(self, stream: str) -> None:
        feed = self._feeds.get(stream)
        if feed is not None and not feed.watched and stream not in self._opening:
            del self._feeds[stream]
            await self._bus.unwatch(stream)

    async def _fill_gaps(self) -> None:
        while True:
            await self._gap.wait()
            self._gap.clear()
            streams, self._gaps = self._gaps, set()
            await self._catch_up(streams)

    async def _reconcile(self) -> None:
        """Look for what the bus never brought: the last word of a publisher that died, or everything while it is away."""
        clock = asyncio.get_running_loop().time
        looked = clock()
        while True:
            await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
            if not self._bus.healthy or clock() - looked >= RECONCILE_SECONDS:
                await self._catch_up(set(self._feeds))
                looked = clock()

    async def _catch_up(self, streams: set[str]) -> None:
        """Bring feeds up to the journal; what can't be read now is read at the next look."""
        try:
            await self._read_up(streams)
        except READING_FAILED as error:
            logger.warning("the hub could not read the journal of %d streams: %s", len(streams), error)
        except Exception:
            logger.exception("the hub could not read the journal of %d streams", len(streams))

    async def _read_up(self, streams: set[str]) -> None:
        while streams:
            heads = {stream: feed.head for stream in streams if (feed := self._feeds.get(stream)) and feed.head >= 0}
            streams = set()
            for batch in await self._journal.after_each(heads, size=PAGE_CHARACTERS):
                feed = self._feeds.get(batch.stream)
                if feed is not None and batch.last > feed.head >= batch.first - 1:
                    new = batch.after(feed.head)
                    self._counters.gaps_filled += len(new.frames)
                    self._advance(feed, new)
                    streams.add(batch.stream)

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
