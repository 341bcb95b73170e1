"""A loopback proxy that a test puts in front of a service, to make it slow or to cut its connections.

The service's address is asked for anew with every connection, so that a client keeps its URL while a service that was
killed comes back on another port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

CHUNK_BYTES = 64 * 1024


class SlowProxy:
    """Carries bytes both ways, each `delay` seconds late."""

    def __init__(self, target: Callable[[], str]) -> None:
        self.delay = 0.0
        self.url = ""
        self._target = target
        self._connections: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Break every connection that is open now."""
        for connection in self._connections:
            connection.cancel()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        me = asyncio.current_task()
        if me is not None:
            self._connections.add(me)
            me.add_done_callback(self._connections.discard)
        beyond: asyncio.StreamWriter | None = None
        try:
            answers, beyond = await self._connect()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, beyond))
                both.create_task(self._pump(answers, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            for side in (writer, beyond):
                if side is not None:
                    side.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = urlsplit(self._target())
        if target.scheme == "unix":
            return await asyncio.open_unix_connection(target.path)
        return await asyncio.open_connection(target.hostname, target.port)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, chunk = await late.get()
                await asyncio.sleep(due - loop.time())
                if not chunk:
                    raise ConnectionResetError("the other side has hung up")
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            while chunk := await reader.read(CHUNK_BYTES):
                late.put_nowait((loop.time() + self.delay, chunk))
            late.put_nowait((loop.time() + self.delay, b""))


@asynccontextmanager
async def slow_proxy(target: Callable[[], str]) -> AsyncIterator[SlowProxy]:
    """Stand in front of the service at a URL until the block ends; `proxy.url` is that URL, by way of the proxy."""
    proxy = SlowProxy(target)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.url = through(target(), server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await server.wait_closed()


def through(url: str, port: int) -> str:
    """The URL that leads to the same place by way of a port of ours."""
    address = urlsplit(url)
    credentials, at, _ = address.netloc.rpartition("@")
    if address.scheme == "unix":
        database = parse_qs(address.query).get("db", ["0"])[0]
        return f"redis://{credentials}{at}127.0.0.1:{port}/{database}"
    return urlunsplit(address._replace(netloc=f"{credentials}{at}127.0.0.1:{port}"))
