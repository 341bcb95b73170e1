"""Clients of every temper: many users at once, one user on two sockets, a slow reader, one that drops in mid-run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from test_framework.servers import Server
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext

CONNECTING_AT_ONCE = 50


@asynccontextmanager
async def isolated_users(server: Server, count: int) -> AsyncIterator[list[TestContext]]:
    """Connect so many users, none of whom has to do with another, until the block ends."""
    door = asyncio.Semaphore(CONNECTING_AT_ONCE)
    users = [TestContext(server, TestUserContext.of(server.settings, f"user{number}")) for number in range(count)]

    async def come(user: TestContext) -> None:
        async with door:
            await user.connect()

    try:
        async with asyncio.TaskGroup() as coming:
            for user in users:
                coming.create_task(come(user))
        yield users
    finally:
        await asyncio.gather(*(user.close() for user in users))


@asynccontextmanager
async def two_sockets(
    server: Server, user: TestUserContext | None = None
) -> AsyncIterator[tuple[TestContext, TestContext]]:
    """Connect one user twice, as somebody with two open tabs, until the block ends."""
    user = user or TestUserContext.of(server.settings)
    async with TestContext(server, user) as first, TestContext(server, user) as second:
        yield first, second


@asynccontextmanager
async def slow_reader(
    server: Server, user: TestUserContext | None = None, *, watch: Sequence[str] = ()
) -> AsyncIterator[TestContext]:
    """Connect a user who says hello and then reads nothing into a small buffer, before `resume_reading` is called."""
    async with AsyncExitStack() as stack:
        reader = TestContext(server, user, watch=watch)
        stack.push_async_callback(reader.close)
        await reader.connect(small=True)
        reader.pause_reading()
        stack.callback(reader.drop)  # one that reads nothing would never hear the answer to its goodbye
        yield reader


@asynccontextmanager
async def dropping(
    server: Server, after: int, user: TestUserContext | None = None, *, watch: Sequence[str] = ()
) -> AsyncIterator[TestContext]:
    """Connect a user who vanishes without a word once so many events have come; `connect` brings them back."""
    async with TestContext(server, user, watch=watch) as dropped:
        dropped.drop_after(after)
        yield dropped
