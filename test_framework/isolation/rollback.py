"""Isolation by one transaction that is never committed: below SQLAlchemy, in the driver, so that nothing above it can tell.

asyncpg makes a savepoint of any transaction that begins within another. So the app's own BEGIN, COMMIT and ROLLBACK are savepoints
of ours without a line of SQLAlchemy being aware of it: every hook fires when it would in production, once for each commit of
the app's, and not at all for a savepoint of the app's that it rolls back later. There is one connection, so transactions take turns.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

TURN_SECONDS = 3.0


class OneConnectionError(RuntimeError):
    """Two transactions at once, where there is one connection."""


class Outer:
    """The connection whose transaction is undone after the test."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.turn = asyncio.Lock()
        self.holder = ""
        self._transaction = connection.transaction()

    async def begin(self) -> None:
        await self._transaction.start()

    async def undo(self) -> None:
        """Forget all that the test and the app wrote."""
        await self._transaction.rollback()

    async def share(self, *arguments: object, **options: object) -> ConnectionProxy:
        """What SQLAlchemy takes for a connection of its own."""
        return ConnectionProxy(self)


class ConnectionProxy:
    """One of several who use the connection, a transaction at a time."""

    def __init__(self, outer: Outer) -> None:
        self._outer = outer
        self._open: Savepoint | None = None
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer.connection, name)

    def transaction(self, **options: object) -> Savepoint:
        self._open = Savepoint(self._outer, options)
        return self._open

    def is_closed(self) -> bool:
        return self._closed or bool(self._outer.connection.is_closed())

    async def close(self, *, timeout: float | None = None) -> None:
        self._closed = True
        if self._open is not None:
            await self._open.rollback()

    def terminate(self) -> None:
        self._closed = True
        if self._open is not None:
            self._open.abandon()


class Savepoint:
    """A transaction of the app's: the driver makes it a savepoint of ours."""

    def __init__(self, outer: Outer, options: dict[str, object]) -> None:
        # the isolation level is the outer transaction's, and can't be another inside it
        self._transaction = outer.connection.transaction(**{**options, "isolation": None})
        self._outer = outer
        self._open = False
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._outer.turn.acquire()
        except TimeoutError:
            raise OneConnectionError(
                f'under isolation "rollback" transactions take turns, and {self._outer.holder} has held the turn for '
                f'{TURN_SECONDS:g} s\n  next: end that transaction first, or mark the test @pytest.mark.isolation("reset")'
            ) from None
        task = asyncio.current_task()
        self._outer.holder = f"the task {task.get_name()!r}" if task else "a task"
        self._open = True
        try:
            await self._transaction.start()
        except BaseException:
            self._pass_on()
            raise

    async def commit(self) -> None:
        if self._open:
            try:
                await self._transaction.commit()
            finally:
                self._pass_on()

    async def rollback(self) -> None:
        if self._open:
            try:
                await self._transaction.rollback()
            finally:
                self._pass_on()

    def abandon(self) -> None:
        """Roll back where nobody waits for it: the app's connection was cut off in the middle."""
        if self._open:
            self._ending = asyncio.get_running_loop().create_task(self.rollback(), name="roll a savepoint back")

    def _pass_on(self) -> None:
        self._open = False
        self._outer.turn.release()
