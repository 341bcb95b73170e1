"""A small proxy in front of the app's replicas: hands each connection to the next one, sockets as they are.

Only for trying several processes on one machine (`docker compose --profile app up`); in production use your own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator

BACKEND = os.environ.get("BACKEND", "app")
PORT = int(os.environ.get("PORT", "8000"))
CONNECT_SECONDS = 2.0
CHUNK = 64 * 1024
turns: Iterator[int] = itertools.count()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    backend = await connect()
    if backend is None:
        writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        writer.close()
        return
    try:
        await asyncio.gather(pour(reader, backend[1], backend[1].write_eof), pour(backend[0], writer, writer.close))
    finally:
        backend[1].close()
        writer.close()


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Reach a replica: the next in turn, or whichever of the others answers."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(BACKEND, PORT, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return None
    replicas = sorted(address[4][0] for address in found)
    first = next(turns)
    for place in range(len(replicas)):
        replica = str(replicas[(first + place) % len(replicas)])
        try:
            return await asyncio.wait_for(asyncio.open_connection(replica, PORT), CONNECT_SECONDS)
        except (OSError, TimeoutError):
            continue
    return None


async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter, end: Callable[[], None]) -> None:
    try:
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        end()  # only its half for a client that has sent all of its request: it still waits for the answer
    except OSError:
        sink.close()


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)  # noqa: S104 (compose publishes it on loopback only)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
