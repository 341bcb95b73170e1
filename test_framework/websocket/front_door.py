"""What stands before several processes of the service: it hands each connection to the next of them, as a load balancer would."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024


@asynccontextmanager
async def front_door(urls: Sequence[str]) -> AsyncIterator[str]:
    """Listen until the block ends, and yield the URL that leads to each of those in turn."""
    turns = itertools.cycle([urlsplit(url) for url in urls])
    connections: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = next(turns)
        try:
            answers, beyond = await asyncio.open_connection(behind.hostname, behind.port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pour(reader, beyond), _pour(answers, writer))

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(reader, writer), name="front door")
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        if connections:
            await asyncio.wait(list(connections))


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry everything one way, to the end of it."""
    try:
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()  # what was written before still arrives
        with suppress(OSError):
            await sink.wait_closed()
