"""A socket whose buffer is full refuses a batch and keeps its position, so that the hub can replay it later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest_asyncio

from commitstream.envelope import Batch
from commitstream.transports.direct_write import WRITE_BUFFER_LIMIT, SocketWatcher
from commitstream.watchers import always

Connected = tuple[asyncio.StreamReader, asyncio.Transport]


@pytest_asyncio.fixture
async def connected() -> AsyncIterator[Connected]:
    """A client's reader, and the server's transport to it."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    async with await asyncio.start_server(lambda _, writer: accepted.put_nowait(writer), "127.0.0.1", 0) as server:
        reader, own = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
        theirs = await accepted.get()
        yield reader, cast("asyncio.Transport", theirs.transport)
        theirs.transport.abort()
        own.transport.abort()


def watcher_on(transport: asyncio.Transport) -> SocketWatcher:
    protocol = SimpleNamespace(transport=transport, close_sent=False, disconnected=False)
    return SocketWatcher(cast("Any", protocol), "user:ada", 0, joined=False, allowed=always, on_close=lambda _: None)


async def test_a_full_socket_refuses_a_batch_and_keeps_its_position(connected: Connected) -> None:
    _, transport = connected
    watcher = watcher_on(transport)
    while transport.get_write_buffer_size() <= WRITE_BUFFER_LIMIT:
        # the client reads nothing: first the system's buffers fill, then this one
        transport.write(bytes(WRITE_BUFFER_LIMIT))
        await asyncio.sleep(0)
    waiting = transport.get_write_buffer_size()

    taken = watcher.try_send(Batch("user:ada", 1, ("{}",)))

    assert (taken, watcher.position, transport.get_write_buffer_size()) == (False, 0, waiting)


async def test_a_socket_with_room_takes_a_batch_and_sends_it(connected: Connected) -> None:
    reader, transport = connected
    watcher = watcher_on(transport)
    batch = Batch("user:ada", 1, ("{}", "[]"))

    taken = watcher.try_send(batch)

    assert (taken, watcher.position) == (True, 2)
    assert await reader.readexactly(len(batch.wire())) == batch.wire()
