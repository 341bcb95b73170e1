"""A client that writes to a lost connection learns of the loss, and of nothing else, on each Python."""

from __future__ import annotations

import asyncio
import socket

import pytest


async def test_a_write_to_a_lost_connection_is_a_lost_connection() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    theirs.close()
    writer.transport.abort()
    await asyncio.sleep(0)

    writer.writelines([b"a", b"b"])

    with pytest.raises(ConnectionResetError):
        await writer.drain()


async def test_a_write_to_a_connection_that_holds_arrives() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)

    writer.writelines([b"a", b"b"])
    await writer.drain()

    theirs.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(theirs, 2) == b"ab"
    theirs.close()
    writer.close()
    await writer.wait_closed()
