"""Clients of every temper: many users at once, one user on two sockets, a slow reader, one that drops in mid-run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar

from test_framework.servers import Server
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext

CONNECTING_AT_ONCE = 50

Context = TypeVar("Context", bound=TestContext)
Watch = Sequence[str] | Mapping[str, int | None]
"""The streams that a client watches; the user's own where none is named."""


class Clients(Generic[Context]):
    """Makes clients of one class: a domain's tests have one that knows its routes."""

    def __init__(self, context: type[Context]) -> None:
        self._context = context

    @asynccontextmanager
    async def isolated_users(
        self, server: Server, count: int, *, watch: Watch | Callable[[TestUserContext], Watch] = ()
    ) -> AsyncIterator[list[Context]]:
        """Connect so many users, none of whom has to do with another, until the block ends.

        Each watches their own stream, the streams that `watch` names, or those that it returns for a user.
        """
        connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)
        identities = [TestUserContext.of(server.settings, f"user{number}") for number in range(count)]
        users = [self._context(server, one, watch=watch(one) if callable(watch) else watch) for one in identities]

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
        self, server: Server, user: TestUserContext | None = None, *, watch: Watch = ()
    ) -> AsyncIterator[tuple[Context, Context]]:
        """Connect one user twice, as a person with two open tabs, until the block ends."""
        user = user or TestUserContext.of(server.settings)
        async with (
            self._context(server, user, watch=watch) as first,
            self._context(server, user, watch=watch) as second,
        ):
            yield first, second

    @asynccontextmanager
    async def slow_reader(
        self, server: Server, user: TestUserContext | None = None, *, watch: Watch = ()
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
        self, server: Server, after: int, user: TestUserContext | None = None, *, watch: Watch = ()
    ) -> AsyncIterator[Context]:
        """Connect a user who vanishes without a close once so many events have come; `connect` brings them back."""
        async with self._context(server, user, watch=watch) as dropped:
            dropped.drop_after(after)
            yield dropped


CLIENTS = Clients(TestContext)
isolated_users, two_sockets = CLIENTS.isolated_users, CLIENTS.two_sockets
slow_reader, dropping = CLIENTS.slow_reader, CLIENTS.dropping
