"""The engine: the parts that write, publish and deliver events. `StartupManager` opens them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream.bus.base import Bus, MemoryBus
from commitstream.counters import EventCounters
from commitstream.db.base import Base
from commitstream.db.database import Database
from commitstream.db.migrate import Migrations
from commitstream.domain import Domain
from commitstream.events import Event
from commitstream.hub import Hub
from commitstream.journal import NO_METADATA, Journal, Metadata
from commitstream.outbox import Outbox, Relay
from commitstream.service.problems import Draining
from commitstream.service.tokens import Tokens, TokenVerifier
from commitstream.settings import EngineSettings
from commitstream.topics import Stream, Topic, Topics

FLUSH_SECONDS = 1.0


class Engine:
    """Writes events in transactions, and delivers them to watchers.

    Args:
        settings: read from the environment (COMMITSTREAM_…) unless given.
        topics: those of the application; each domain adds its own.
        migrations: the application's; unless given, the engine migrates its own tables, at each start.
        metadata: tables of an application without migrations, which are created where they are missing.
        tokens: verifies bearer tokens; unless given, the engine's own signed tokens.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        *,
        topics: Iterable[Topic] = (),
        migrations: Migrations | None = None,
        metadata: MetaData | None = None,
        tokens: TokenVerifier | None = None,
    ) -> None:
        self.settings = settings = EngineSettings() if settings is None else settings
        if metadata is not None and (taken := metadata.tables.keys() & Base.metadata.tables.keys()):
            raise ValueError(f"the engine has tables of these names too: {', '.join(sorted(taken))}")
        # an application without migrations has no command that would apply the engine's
        self._migrates = settings.migrate or settings.embedded_database or migrations is None
        self.migrations = Migrations() if migrations is None else migrations
        self.metadata = metadata
        self.tokens: TokenVerifier = Tokens(settings) if tokens is None else tokens
        self.process = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(3)}"
        self.counters = EventCounters()
        self.database = Database(settings.database_url, settings.database_pool_size)
        self.outbox = Outbox(self.counters)
        self.topics = Topics(topics)
        self.journal = Journal(self.database, self.outbox, self.topics)
        self.bus = choose_bus(settings, self.process)
        self.hub = Hub(self.journal, self.bus, self.counters)
        self.domains: Sequence[Domain] = ()
        self.draining = False
        self.requests: dict[tuple[str, str, int], tuple[int, float]] = {}
        self._relay: Relay | None = None

    def use(self, domains: Sequence[Domain]) -> None:
        """Add domains and their topics; `install` calls it once, before the start."""
        self.domains = domains
        for topic in (topic for domain in domains for topic in domain.topics):
            self.topics.add(topic)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session that writes: commits when the block ends, rolls back when it raises."""
        return self.database.transaction()

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session that only reads; on SQLite readers don't wait for the writer."""
        return self.database.reading()

    async def append(
        self, session: AsyncSession, stream: Stream, *events: Event, metadata: Metadata = NO_METADATA
    ) -> None:
        """Write events in a transaction, published after its commit: see `Journal.append`."""
        await self.journal.append(session, stream, *events, metadata=metadata)

    async def prepare_schema(self) -> None:
        """Migrate the database where the settings say so, and require that this code can work on it."""
        if self._migrates and (await self.migrations.standing(self.database.engine)).behind:
            await self.migrations.upgrade(self.database.engine)
        await self.migrations.require_newest(self.database.engine)
        if self.metadata is not None:
            await self.migrations.create(self.database.engine, self.metadata)

    async def open_bus(self) -> None:
        await self.bus.start(self.hub.receive)

    async def open_relay(self) -> None:
        self._relay = Relay(self.bus, self.journal.after_each, self.counters)
        self.outbox.feed(self._relay)

    async def close_relay(self) -> None:
        self.outbox.feed(None)
        if self._relay is not None:
            await self._relay.close()

    def require_open(self) -> None:
        """Raise `Draining` while the process drains."""
        if self.draining:
            raise Draining

    async def drain(self) -> None:
        """Shut down gracefully: drain every domain, publish the last events, close the watchers."""
        self.draining = True
        for domain in self.domains:
            await domain.drain(self.settings.shutdown_timeout)
        if self._relay is not None:
            await self._relay.idle(FLUSH_SECONDS)
        await self.hub.close_watchers(FLUSH_SECONDS)


def choose_bus(settings: EngineSettings, process: str) -> Bus:
    """Return the bus that the settings name; Redis's client is imported only where there is a Redis."""
    if settings.embedded_bus:
        return MemoryBus()
    from commitstream.bus.redis import RedisBus

    return RedisBus(settings.redis_url, settings.channel_prefix, process)
