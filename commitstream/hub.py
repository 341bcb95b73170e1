"""Fan-out: each watcher gets its stream's events in order, once, from its cursor on.

A feed holds the number of the last event that a stream's live watchers got. It accepts only the next number, from the
bus or from the journal: older events are dropped, and on a gap the hub reads the journal. A watcher that is new, or too
slow, is behind its feed; the hub replays the journal to it page by page. It becomes live in the same event-loop step in
which it catches up, so no event is lost or doubled between replay and live, and memory is bounded by what one socket
buffers.
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
    """The watchers of one stream; the live ones got all up to `head`, -1 until it is known."""

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
    """Delivers the events of every watched stream to the watchers of this process."""

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
        """The number of watchers in this process."""
        return sum(len(feed.live) + len(feed.behind) for feed in self._feeds.values())

    async def close_watchers(self, timeout: float) -> None:
        """Deliver what is committed so far, then close every watcher."""
        flushing = self._spawn(self._flush(), "hub: flush")
        await asyncio.wait([flushing], timeout=timeout)
        flushing.cancel()  # and not awaited: a frozen database may hold it up for any time
        for feed in self._feeds.values():
            for watcher in (*feed.live, *feed.behind):
                watcher.close(CloseReason.RESTART)

    async def _flush(self) -> None:
        await self._catch_up(set(self._feeds))
        replays = [task for feed in self._feeds.values() for task in feed.behind.values()]
        if replays:
            await asyncio.wait(replays)

    def reached(self, stream: str) -> int:
        """Return a number that a stream has reached, without reading the journal; 0 where none is known."""
        feed = self._feeds.get(stream)
        return 0 if feed is None else max(feed.head, 0)

    async def attach(self, watcher: Watcher, stream: str, *, review: bool = False) -> None:
        """Send a watcher a stream's events after its position, and then each one as it is committed.

        `review` checks its rights again first: for a position that may lie beyond what was written when they were
        checked, and so beyond a change of rights.

        Raises:
            UnknownCursor: The position is ahead of the stream's last event.
        """
        self._opening[stream] = self._opening.get(stream, 0) + 1
        try:
            feed = await self._feed(stream)
            if watcher.position > feed.head:
                await self._read_up({stream})
            if watcher.position > feed.head:
                raise UnknownCursor(f"cursor {watcher.position} is ahead of the last event, {feed.head}")
            self._replay_or_go_live(feed, watcher, review=review)
        finally:
            self._opening[stream] -= 1
            if not self._opening[stream]:
                del self._opening[stream]
                await self._close_if_unwatched(stream)

    async def detach(self, watcher: Watcher, stream: str) -> None:
        """Send a watcher no more events."""
        feed = self._feeds.get(stream)
        if feed is None:
            return
        feed.live.discard(watcher)
        if task := feed.behind.pop(watcher, None):
            task.cancel()
        await self._close_if_unwatched(stream)

    async def head(self, stream: str) -> int:
        """Return the number of a stream's last event, for a watcher that wants only later ones."""
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
        sent = changed or batch
        slow = [watcher for watcher in feed.live if not watcher.try_send(sent)]
        self._counters.delivered += len(sent.frames) * (len(feed.live) - len(slow))
        self._sample_lag(batch)
        for watcher in slow if changed is None else list(feed.live):
            feed.live.discard(watcher)
            self._replay_or_go_live(feed, watcher, review=changed is not None)

    def _sample_lag(self, batch: Batch) -> None:
        """Measure now and then how long ago an event was written."""
        now = time.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + LAG_SAMPLE_SECONDS
            if written := written_at(batch.frames[0]):
                self._counters.lag_seconds = max(0.0, (datetime.now(UTC) - written).total_seconds())

    def _replay_or_go_live(self, feed: Feed, watcher: Watcher, *, review: bool = False) -> None:
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
                    watcher.close(CloseReason.FORBIDDEN)
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
                watcher.close(CloseReason.SLOW)
                return
            if page.last > feed.head:
                self._advance(feed, page.after(feed.head))
            if (changed := page.through_rights_change()) is not None:
                page, review = changed, True
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    while not watcher.try_send(page):
                        await watcher.wait_writable()
            except TimeoutError:
                self._counters.slow_sockets_closed += 1
                feed.behind.pop(watcher, None)
                watcher.close(CloseReason.SLOW)
                return
            self._counters.delivered += len(page.frames)
        if feed.behind.pop(watcher, None) is not None:
            feed.live.add(watcher)
            watcher.caught_up()

    async def _still_allowed(self, feed: Feed, watcher: Watcher) -> bool:
        """Check until the check succeeds: a watcher gets no events while its rights can't be checked."""
        while True:
            try:
                return await watcher.allowed()
            except READING_FAILED as error:
                logger.warning("the rights to watch stream %s can't be checked, retrying: %s", feed.stream, error)
            except Exception:
                logger.exception("the rights to watch stream %s can't be checked, retrying", feed.stream)
            await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)

    async def _page(self, stream: str, after: int) -> Batch | None:
        """Read the journal once for all watchers at the same position."""
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
        """Poll the journal for events that the bus has lost, as when their publisher died."""
        clock = asyncio.get_running_loop().time
        polled = clock()
        while True:
            await asyncio.sleep(RECONCILE_SECONDS_WITHOUT_BUS)
            if not self._bus.healthy or clock() - polled >= RECONCILE_SECONDS:
                await self._catch_up(set(self._feeds))
                polled = clock()

    async def _catch_up(self, streams: set[str]) -> None:
        """Advance feeds to the journal's last events; what can't be read now is read at the next poll."""
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
