"""The bus of a service that is many processes: Redis pub/sub, one subscription connection for each process and server.

The server says itself whether it is a cluster; there, channels are sharded, so that a message stays with the one master
that serves its stream and is not passed on to all. When a server fails or a slot moves, it is asked anew who serves what.
Until then the bus is unhealthy, and hubs read the journal.
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
from commitstream.bus.redis_link import BEAT_SECONDS, FAILED, LONGEST_PAUSE, Link, describe, end
from commitstream.bus.redis_topology import Server, ask
from commitstream.envelope import Batch, merged

logger = logging.getLogger(__name__)


class RedisBus:
    def __init__(self, url: str, prefix: str, process: str) -> None:
        self._url = url
        self._channels = Channels(prefix)
        self._process = process
        self._receive: Receive | None = None
        self._watched: set[str] = set()
        self._links: dict[Server, Link] = {}
        self._routes: dict[int, Link] = {}
        self._doubt = asyncio.Event()
        self._pending: list[Batch] = []
        self._task: asyncio.Task[None] | None = None
        self._letting_go: set[asyncio.Task[None]] = set()
        self._was_healthy = True

    @property
    def healthy(self) -> bool:
        return len(self._routes) == PARTITIONS and all(link.healthy for link in self._links.values())

    async def start(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.create_task(self._find_servers(), name="redis bus")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._letting_go)
        self._links, self._routes = {}, {}

    async def publish(self, batches: Sequence[Batch]) -> None:
        shares: defaultdict[Link, list[tuple[str, str]]] = defaultdict(list)
        for batch in batches:
            link = self._routes.get(partition(batch.stream))
            if link is None:
                raise BusAway("no Redis has said yet that it carries this stream's events")
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

    async def _find_servers(self) -> None:
        """Learn who serves what, and again whenever that is in doubt."""
        pause = BEAT_SECONDS / 4
        while True:
            self._doubt.clear()
            try:
                self._arrange(await self._ask_around())
            except FAILED as error:
                self._note(describe(error))
            except Exception:
                logger.exception("who serves what could not be learned, and is asked again")
            if self.healthy:
                pause = BEAT_SECONDS / 4
                await self._doubt.wait()
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads questions, hides nothing)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _ask_around(self) -> frozenset[Server]:
        """Ask whoever may know, those first that were well a moment ago."""
        failure: Exception = RedisError("nobody was asked")
        known = sorted(self._links, key=lambda server: not self._links[server].healthy)
        places = dict.fromkeys([*(server.url for server in known), self._url])
        for place in places:
            try:
                return await ask(place, self._channels)
            except FAILED as error:
                failure = error
        raise failure

    def _arrange(self, servers: frozenset[Server]) -> None:
        """Keep the links that are still right, let go of the others, and open those that are missing."""
        for server in self._links.keys() - servers:
            closing = asyncio.create_task(self._links.pop(server).close(), name="redis bus: let go of a server")
            self._letting_go.add(closing)
            closing.add_done_callback(self._letting_go.discard)
        for server in servers - self._links.keys():
            beat = self._channels.beat(min(server.partitions), self._process)
            theirs = [
                self._channels.of_stream(stream) for stream in self._watched if partition(stream) in server.partitions
            ]
            link = Link(server.url, beat, theirs, sharded=server.sharded, heard=self._hear)
            self._links[server] = link
            link.open(self._note)
        self._routes = {number: link for server, link in self._links.items() for number in server.partitions}

    def _hear(self, channel: str, data: bytes) -> None:
        stream = self._channels.stream_of(channel)
        try:
            batch = Batch.unpack(stream, data.decode())
        except ValueError:
            logger.warning("on the channel of %s came what is no event: %.100r", stream, data)
            return
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._pending.append(batch)

    def _hand_over(self) -> None:
        """Give the hub what has arrived together, joined where it belongs together."""
        batches, self._pending = self._pending, []
        if self._receive is not None:
            for batch in merged(batches):
                self._receive(batch)

    def _note(self, what: str) -> None:
        """Say in the log when the bus goes away and when it is back, once each."""
        if not self.healthy:
            self._doubt.set()
        if self.healthy != self._was_healthy:
            self._was_healthy = self.healthy
            logger.warning("the bus is %s: %s", "back" if self.healthy else "away, the journal delivers", what)
