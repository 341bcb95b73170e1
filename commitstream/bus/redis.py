"""The bus of a service with several processes: Redis pub/sub.

A process has one subscription connection per server. Cluster mode is detected automatically; there, channels are
sharded, so that a message stays with the master that has its stream's slot. When a server fails or a slot moves, the
topology is queried again. Until then the bus is unhealthy, and hubs read the journal.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Sequence

from redis.exceptions import RedisError

from commitstream.bus.base import BusAway, Receive
from commitstream.bus.channels import PARTITIONS, Channels, partition
from commitstream.bus.redis_link import BEAT_SECONDS, FAILED, LONGEST_BACKOFF, Link, cancel, describe
from commitstream.bus.redis_topology import Server, query_topology
from commitstream.envelope import Batch, merged

logger = logging.getLogger(__name__)


class RedisBus:
    """The bus of a service with several processes."""

    def __init__(self, url: str, prefix: str, process: str) -> None:
        self._url = url
        self._channels = Channels(prefix)
        self._process = process
        self._receive: Receive | None = None
        self._watched: set[str] = set()
        self._links: dict[Server, Link] = {}
        self._routes: dict[int, Link] = {}
        self._stale = asyncio.Event()
        self._pending: list[Batch] = []
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._was_healthy = True

    @property
    def healthy(self) -> bool:
        return len(self._routes) == PARTITIONS and all(link.healthy for link in self._links.values())

    async def start(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.create_task(self._refresh_topology(), name="redis bus")

    async def close(self) -> None:
        if self._task is not None:
            await cancel(self._task)
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._closing)
        self._links, self._routes = {}, {}

    async def publish(self, batches: Sequence[Batch]) -> None:
        shares: defaultdict[Link, list[tuple[str, str]]] = defaultdict(list)
        for batch in batches:
            link = self._routes.get(partition(batch.stream))
            if link is None:
                raise BusAway("no Redis node known for this stream's partition yet")
            shares[link].append((self._channels.of_stream(batch.stream), batch.packed()))
        sent = await asyncio.gather(*(link.publish(share) for link, share in shares.items()), return_exceptions=True)
        for outcome in sent:
            if outcome is not None:
                raise outcome

    async def watch(self, stream: str) -> None:
        self._watched.add(stream)
        if link := self._routes.get(partition(stream)):
            await link.watch(self._channels.of_stream(stream))

    async def unwatch(self, stream: str) -> None:
        self._watched.discard(stream)
        if link := self._routes.get(partition(stream)):
            await link.unwatch(self._channels.of_stream(stream))

    async def _refresh_topology(self) -> None:
        """Query the topology, and again whenever it may be stale."""
        backoff = BEAT_SECONDS / 4
        while True:
            self._stale.clear()
            try:
                self._arrange(await self._query_topology())
            except FAILED as error:
                self._on_change(describe(error))
            except Exception:
                logger.exception("Redis topology refresh failed, retrying")
            if self.healthy:
                backoff = BEAT_SECONDS / 4
                await self._stale.wait()
            await asyncio.sleep(random.uniform(backoff / 2, backoff))  # noqa: S311 (spreads queries, hides nothing)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _query_topology(self) -> frozenset[Server]:
        """Query the known servers for the topology, healthy ones first."""
        failure: Exception = RedisError("no server was queried")
        known = sorted(self._links, key=lambda server: not self._links[server].healthy)
        urls = dict.fromkeys([*(server.url for server in known), self._url])
        for url in urls:
            try:
                return await query_topology(url, self._channels)
            except FAILED as error:
                failure = error
        raise failure

    def _arrange(self, servers: frozenset[Server]) -> None:
        """Open links to new servers, close those to servers that are gone, and keep the others."""
        for server in self._links.keys() - servers:
            closing = asyncio.create_task(self._links.pop(server).close(), name="redis bus: close a link")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        for server in servers - self._links.keys():
            beat = self._channels.beat(min(server.partitions), self._process)
            channels = [
                self._channels.of_stream(stream) for stream in self._watched if partition(stream) in server.partitions
            ]
            link = Link(server.url, beat, channels, sharded=server.sharded, on_message=self._on_message)
            self._links[server] = link
            link.open(self._on_change)
        self._routes = {number: link for server, link in self._links.items() for number in server.partitions}

    def _on_message(self, channel: str, data: bytes) -> None:
        stream = self._channels.stream_of(channel)
        try:
            batch = Batch.unpack(stream, data.decode())
        except ValueError:
            logger.warning("ignoring a message that is no batch, on the channel of stream %s: %.100r", stream, data)
            return
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._pending.append(batch)

    def _deliver(self) -> None:
        """Pass the batches that arrived in this step to the hub, with consecutive ones joined."""
        batches, self._pending = self._pending, []
        if self._receive is not None:
            for batch in merged(batches):
                self._receive(batch)

    def _on_change(self, reason: str) -> None:
        """Log when the bus goes away and when it is back, once each."""
        if not self.healthy:
            self._stale.set()
        if self.healthy != self._was_healthy:
            self._was_healthy = self.healthy
            logger.warning("the bus is %s: %s", "back" if self.healthy else "away, the journal delivers", reason)
