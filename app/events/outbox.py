"""From the commit to the bus: the after-commit hook, and the relay that publishes.

The hook never lets out what was not committed. Events staged in a transaction that is plain (no savepoint, nothing joined)
are handed over as they are: the commit has just made them true. Around savepoints SQLAlchemy's `after_commit` fires too
early and too often, so there the hook is a mere wake-up, and the relay reads from the journal what is really there.

The relay is no guarantee, only speed: what it can't publish, because Redis is away or this process dies, every hub reads
from the journal by itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from app.events.bus import Bus, BusAway
from app.events.envelope import Batch, merged
from app.events.tally import Tally

logger = logging.getLogger(__name__)

STAGED = "events staged for the outbox"
SAVEPOINT_SEEN = "a savepoint was set in this transaction"
LONGEST_QUEUE = 10_000

ReadAfterEach = Callable[[Mapping[str, int]], Awaitable[list[Batch]]]


@dataclass(frozen=True)
class Staged:
    """Events written in a transaction that is still open."""

    outbox: Outbox
    connection: Connection
    batch: Batch

    @property
    def committed(self) -> bool:
        """Whether a session's commit was this connection's commit, with no savepoint on the way."""
        return not self.connection.in_transaction() and SAVEPOINT_SEEN not in self.connection.info


class Outbox:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._relay: Relay | None = None
        _listen()

    def stage(self, session: AsyncSession, connection: AsyncConnection, batch: Batch) -> None:
        """Remember events until their transaction ends; a rollback forgets them."""
        staged = session.sync_session.info.setdefault(STAGED, [])
        staged.append(Staged(self, _sync(connection), batch))

    def feed(self, relay: Relay | None) -> None:
        """Name the relay that takes what is committed; without one, hubs read the journal."""
        self._relay = relay

    def promote(self, staged: Staged) -> None:
        if staged.committed:
            self._tally.committed += len(staged.batch.frames)
            if self._relay is not None:
                self._relay.take(staged.batch)
        elif self._relay is not None:
            self._relay.look(staged.batch.user_id, after=staged.batch.first - 1)


def _sync(connection: AsyncConnection) -> Connection:
    if connection.sync_connection is None:
        raise RuntimeError("events can't be staged on a connection that was never opened")
    return connection.sync_connection


def _after_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return
    for staged in session.info.pop(STAGED, ()):
        staged.outbox.promote(staged)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(STAGED, None)


def _begin(connection: Connection) -> None:
    connection.info.pop(SAVEPOINT_SEEN, None)


def _savepoint(connection: Connection, name: str) -> None:
    connection.info[SAVEPOINT_SEEN] = name


def _listen() -> None:
    """Register the hooks once, for every session of the process, whichever maker it came from."""
    for target, name, hook in (
        (Session, "after_commit", _after_commit),
        (Session, "after_transaction_end", _after_transaction_end),
        (Engine, "begin", _begin),
        (Engine, "savepoint", _savepoint),
    ):
        if not event.contains(target, name, hook):
            event.listen(target, name, hook)


class Relay:
    """Publishes what was committed, in the background, as many events at a time as have come together."""

    def __init__(self, bus: Bus, read: ReadAfterEach, tally: Tally) -> None:
        self._bus = bus
        self._read = read
        self._tally = tally
        self._batches: deque[Batch] = deque()
        self._looks: dict[str, int] = {}
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._task = asyncio.create_task(self._run(), name="outbox relay")

    def take(self, batch: Batch) -> None:
        """Publish this; it is committed."""
        if len(self._batches) >= LONGEST_QUEUE:
            self._tally.left_to_journal += len(self._batches.popleft().frames)
        self._batches.append(batch)
        self._wake()

    def look(self, user_id: str, after: int) -> None:
        """Publish whatever the journal has of a user after a number."""
        self._looks[user_id] = min(after, self._looks.get(user_id, after))
        self._wake()

    async def idle(self, deadline: float) -> bool:
        """Wait until all that was taken is published or given up; False when the deadline comes first."""
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, deadline: float = 1.0) -> None:
        await self.idle(deadline)
        self._task.cancel()
        await asyncio.wait([self._task])

    def _wake(self) -> None:
        self._idle.clear()
        if threading.get_ident() == self._thread:
            self._work.set()
        else:
            self._loop.call_soon_threadsafe(self._work.set)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            batches = list(self._batches)
            self._batches.clear()
            looks, self._looks = self._looks, {}
            if looks:
                batches += await self._look_up(looks)
            await self._publish(merged(batches))
            if not self._work.is_set():
                self._idle.set()

    async def _look_up(self, looks: dict[str, int]) -> list[Batch]:
        try:
            found = await self._read(looks)
        except (OSError, SQLAlchemyError) as error:
            logger.warning("the relay could not read the journal, hubs will: %s", error)
            return []
        self._tally.committed += sum(len(batch.frames) for batch in found)
        return found

    async def _publish(self, batches: list[Batch]) -> None:
        count = sum(len(batch.frames) for batch in batches)
        try:
            await self._bus.publish(batches)
        except BusAway as away:
            self._tally.left_to_journal += count
            logger.debug("left %d events to the journal: %s", count, away)
        else:
            self._tally.published += count
