"""From the commit to the bus: the after-commit hook, and the relay that publishes.

The hook never publishes events that were not committed. Events are staged on the connection that wrote them, because
only its transaction decides whether they are committed. After a plain transaction the relay publishes them at once.
Around savepoints, and in transactions that a session only joined, SQLAlchemy's `after_commit` fires too early and too
often. There, and where an application ran `SAVEPOINT` or `COMMIT` as SQL text, it is only a hint, and the relay asks
the journal which of the events it has.

The relay makes delivery fast, not reliable: the events that it can't publish, because Redis is away or this process
dies, every hub reads from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from commitstream.bus.base import Bus, BusAway
from commitstream.counters import EventCounters
from commitstream.envelope import Batch, Draft, merged
from commitstream.service.tracing import tracer

logger = logging.getLogger(__name__)

PENDING = "events that the commit will write"
STAGED = "events staged for the outbox"
SAVEPOINT_SEEN = "a savepoint was set in this transaction"
REFUSED = "the events of this transaction could not be written"
LONGEST_QUEUE = 10_000
_TRANSACTION_CONTROL = re.compile(
    r"(?:\s|;|/\*.*?\*/|--[^\n]*\n)*(savepoint|rollback(?:.*\bto\b)?|release|commit|end|abort|prepare)\b",
    re.IGNORECASE | re.DOTALL,
)

Listener = Callable[[str], None]
Insert = Callable[[Connection, Sequence[Draft]], list[Batch]]


class ReadAfterEach(Protocol):
    def __call__(self, positions: Mapping[str, int], limit: int, /) -> Awaitable[list[Batch]]: ...


@dataclass(frozen=True)
class Staged:
    """Events written in a transaction that is still open."""

    outbox: Outbox
    batch: Batch
    span: Span


@dataclass(frozen=True)
class Refusal:
    """Why a transaction must not commit; a rollback to one of these savepoints clears it."""

    error: Exception
    savepoints: set[str]


@dataclass(frozen=True)
class Pending:
    """Events of a transaction that are not written yet."""

    outbox: Outbox
    insert: Insert
    drafts: Sequence[Draft]


class Outbox:
    """Keeps the events of open transactions, and passes the committed ones to the relay and to listeners."""

    def __init__(self, counters: EventCounters) -> None:
        self._counters = counters
        self._relay: Relay | None = None
        self._listeners: set[Listener] = set()
        _listen()

    async def add(self, session: AsyncSession, insert: Insert, drafts: Sequence[Draft]) -> None:
        """Keep events until their transaction commits; after a savepoint, write them at once.

        They are kept on the connection, because only its transaction decides about them; a rollback drops them.
        """
        connection = await session.connection()
        written_by = _sync(connection)
        written_by.info.setdefault(PENDING, []).append(Pending(self, insert, drafts))
        session.sync_session.info.setdefault(STAGED, set()).add(written_by)
        if SAVEPOINT_SEEN in written_by.info:
            await connection.run_sync(_write)

    def feed(self, relay: Relay | None) -> None:
        """Set the relay that publishes committed events; without one, hubs read the journal."""
        self._relay = relay

    def wake(self, listener: Listener) -> Callable[[], None]:
        """Call a listener with the stream of each commit here; returns what removes it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def promote(self, staged: Staged, *, certain: bool) -> None:
        """Publish the events of an ended transaction; `certain` where it has committed all that it wrote."""
        if certain:
            self._counters.committed += len(staged.batch.frames)
        if self._relay is not None:
            self._relay.take(staged.batch, certain=certain, span=staged.span)
        for listener in self._listeners:
            listener(staged.batch.stream)


def _publishing(batch: Batch) -> Span:
    """Start the span of the publishing; after a rollback it is never ended, and so never exported."""
    about: dict[str, str | int] = {
        "messaging.operation.type": "send",
        "messaging.batch.message_count": len(batch.frames),
    }
    return tracer.start_span("publish events", kind=SpanKind.PRODUCER, attributes=about)


def _sync(connection: AsyncConnection) -> Connection:
    if connection.sync_connection is None:
        raise RuntimeError("events can't be staged on a connection that was never opened")
    return connection.sync_connection


def _after_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return
    for connection in session.info.pop(STAGED, ()):
        if not (connection.in_transaction() or connection.closed or connection.invalidated):
            _settle(connection.info, certain=SAVEPOINT_SEEN not in connection.info)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(STAGED, None)


def _begin(connection: Connection) -> None:
    for name in (SAVEPOINT_SEEN, REFUSED, PENDING):
        connection.info.pop(name, None)
    _settle(connection.info, certain=False)


def _commit(connection: Connection) -> None:
    if REFUSED in connection.info:
        raise connection.info[REFUSED].error
    _write(connection)


def _write(connection: Connection) -> None:
    """Write the events that are kept with a transaction, and stage them for publishing."""
    kept: dict[Insert, list[Draft]] = {}
    for pending in (waiting := connection.info.pop(PENDING, ())):
        kept.setdefault(pending.insert, []).extend(pending.drafts)
    outboxes = {pending.insert: pending.outbox for pending in waiting}
    for insert, drafts in kept.items():
        try:
            batches = insert(connection, drafts)
        except Exception as error:
            if not connection.invalidated:  # a lost connection has no info, and can't commit
                # a caller that catches the error must not commit without its events, or with refused ones
                connection.info.setdefault(REFUSED, Refusal(error, set(connection.info.get(SAVEPOINT_SEEN, ()))))
            raise
        staged = connection.info.setdefault(STAGED, [])
        staged += [Staged(outboxes[insert], batch, _publishing(batch)) for batch in batches]


def _savepoint(connection: Connection, name: str) -> None:
    _write(connection)
    connection.info.setdefault(SAVEPOINT_SEEN, set()).add(name)
    if REFUSED in connection.info:  # from now on the name is that of a savepoint set after the refusal
        connection.info[REFUSED].savepoints.discard(name)


def _statement(
    connection: Connection, cursor: object, statement: str, parameters: object, context: object, many: bool
) -> None:
    """Notice savepoints, and the end of a transaction, that an application runs as SQL text."""
    control = _TRANSACTION_CONTROL.match(statement)
    if control is None:
        return
    verb, name = control.group(1).lower(), statement.rstrip("; \n").split()[-1].strip('"').lower()
    if verb == "savepoint":
        _savepoint(connection, name)
        return
    _write(connection)
    connection.info.setdefault(SAVEPOINT_SEEN, set())
    if verb in {"rollback", "abort"}:
        connection.info.pop(REFUSED, None)
    elif verb.startswith("rollback"):
        _rollback_to_savepoint(connection, name, context)


def _rollback_to_savepoint(connection: Connection, name: str, context: object) -> None:
    if REFUSED in connection.info and name in connection.info[REFUSED].savepoints:
        del connection.info[REFUSED]


def _rollback(connection: Connection) -> None:
    if not connection.invalidated:
        for name in (STAGED, PENDING, REFUSED):
            connection.info.pop(name, None)


def _checkin(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info.pop(PENDING, None)
    _settle(record.info, certain=False)


def _settle(info: dict[Any, Any], *, certain: bool) -> None:
    for staged in info.pop(STAGED, ()):
        staged.outbox.promote(staged, certain=certain)


def _listen() -> None:
    """Register the hooks once, for all sessions of the process, whichever factory made them."""
    for target, name, hook in (
        (Session, "after_commit", _after_commit),
        (Session, "after_transaction_end", _after_transaction_end),
        (Engine, "begin", _begin),
        (Engine, "commit", _commit),
        (Engine, "savepoint", _savepoint),
        (Engine, "rollback_savepoint", _rollback_to_savepoint),
        (Engine, "before_cursor_execute", _statement),
        (Engine, "rollback", _rollback),
        (Pool, "checkin", _checkin),
    ):
        if not event.contains(target, name, hook):
            event.listen(target, name, hook)


class _Taken(NamedTuple):
    batch: Batch
    span: Span


class Relay:
    """Publishes committed events in the background, all that have queued up in one call of the bus."""

    def __init__(self, bus: Bus, read: ReadAfterEach, counters: EventCounters) -> None:
        self._bus = bus
        self._read = read
        self._counters = counters
        self._certain: list[_Taken] = []
        self._doubtful: list[_Taken] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="outbox relay")

    def take(self, batch: Batch, *, certain: bool = True, span: Span = INVALID_SPAN) -> None:
        """Queue a batch; unless `certain`, it is published only if the journal has it. Never raises."""
        taken = _Taken(batch, span)
        if _running_loop() is self._loop:
            self._take(taken, certain)
        else:
            with suppress(RuntimeError):  # the loop is closed: hubs read the journal
                self._loop.call_soon_threadsafe(self._take, taken, certain)

    async def idle(self, timeout: float) -> bool:
        """Wait until the queue is empty: published, or left to the journal; False after the timeout."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, timeout: float = 1.0) -> None:
        await self.idle(timeout)
        self._task.cancel()
        await asyncio.wait([self._task])

    def _take(self, taken: _Taken, certain: bool) -> None:
        queue = self._certain if certain else self._doubtful
        if len(queue) >= LONGEST_QUEUE:
            self._counters.left_to_journal += len(taken.batch.frames)
            return
        queue.append(taken)
        self._idle.clear()
        self._work.set()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            certain, self._certain = self._certain, []
            doubtful, self._doubtful = self._doubtful, []
            try:
                await self._publish(certain + await self._committed(doubtful))
            except Exception:
                logger.exception("the relay could not publish %d batches, hubs will read them", len(certain))
            if not self._work.is_set():
                self._idle.set()

    async def _committed(self, doubtful: list[_Taken]) -> list[_Taken]:
        """Ask the journal which batches it has: all of a batch or nothing, since one statement wrote it."""
        if not doubtful:
            return []
        before: dict[str, int] = {}
        last: dict[str, int] = {}
        for batch, _ in doubtful:
            before[batch.stream] = min(batch.first - 1, before.get(batch.stream, batch.first))
            last[batch.stream] = max(batch.last, last.get(batch.stream, 0))
        try:
            written = await self._read(before, max(last[stream] - before[stream] for stream in before))
        except (OSError, SQLAlchemyError) as error:
            logger.warning("the relay could not read the journal, hubs will read it: %s", error)
            return []
        existing = {(batch.stream, frame) for batch in written for frame in batch.frames}
        found = [taken for taken in doubtful if (taken.batch.stream, taken.batch.frames[0]) in existing]
        self._counters.committed += sum(len(batch.frames) for batch, _ in found)
        return found

    async def _publish(self, taken: list[_Taken]) -> None:
        count = sum(len(batch.frames) for batch, _ in taken)
        try:
            await self._bus.publish(merged([batch for batch, _ in taken]))
        except BusAway as away:
            self._counters.left_to_journal += count
            logger.debug("left %d events to the journal: %s", count, away)
            for _, span in taken:
                span.set_status(StatusCode.ERROR, "the bus is away: left to the journal")
        else:
            self._counters.published += count
        for _, span in taken:
            span.end()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
