"""Clients of every temper: many users at once, one user on two sockets, a slow reader, one that drops in mid-run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar

from test_framework.servers import Server
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext

CONNECTING_AT_ONCE = 50

Context = TypeVar("Context", bound=TestContext)


class Clients(Generic[Context]):
    """Makes clients of one class: a domain's tests have one that knows its routes."""

    def __init__(self, context: type[Context]) -> None:
        self._context = context

    @asynccontextmanager
    async def isolated_users(self, server: Server, count: int) -> AsyncIterator[list[Context]]:
        """Connect so many users, none of whom has to do with another, until the block ends."""
        connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)
        users = [self._context(server, TestUserContext.of(server.settings, f"user{number}")) for number in range(count)]

        async def connect(user: Context) -> None:
            async with connecting:
                await user.connect()

        try:
            async with asyncio.TaskGroup() as tasks:
                for user in users:
                    tasks.create_task(connect(user))
            yield users
        finally:
            await asyncio.gather(*(user.close() for user in users))

    @asynccontextmanager
    async def two_sockets(
        self, server: Server, user: TestUserContext | None = None
    ) -> AsyncIterator[tuple[Context, Context]]:
        """Connect one user twice, as a person with two open tabs, until the block ends."""
        user = user or TestUserContext.of(server.settings)
        async with self._context(server, user) as first, self._context(server, user) as second:
            yield first, second

    @asynccontextmanager
    async def slow_reader(
        self, server: Server, user: TestUserContext | None = None, *, watch: Sequence[str] = ()
    ) -> AsyncIterator[Context]:
        """Connect a user who says hello and then reads nothing into a small buffer, before `resume_reading` is called."""
        async with AsyncExitStack() as stack:
            reader = self._context(server, user, watch=watch)
            stack.push_async_callback(reader.close)
            await reader.connect(small=True)
            reader.pause_reading()
            stack.callback(reader.drop)  # one that reads nothing would never read the answer to its close
            yield reader

    @asynccontextmanager
    async def dropping(
        self, server: Server, after: int, user: TestUserContext | None = None, *, watch: Sequence[str] = ()
    ) -> AsyncIterator[Context]:
        """Connect a user who vanishes without a close once so many events have come; `connect` brings them back."""
        async with self._context(server, user, watch=watch) as dropped:
            dropped.drop_after(after)
            yield dropped


CLIENTS = Clients(TestContext)
isolated_users, two_sockets = CLIENTS.isolated_users, CLIENTS.two_sockets
slow_reader, dropping = CLIENTS.slow_reader, CLIENTS.dropping
