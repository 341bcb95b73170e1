"""A proxy that a test puts in front of a service: a stable address, which can be made slow, or cut.

The service's address is asked for anew when nobody is there any more, so that a client keeps its URL while a service that
was killed comes back on another port. It listens as the service does, on a socket in a private folder or on a loopback port.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from test_framework.services.run import leased_folder

T = TypeVar("T")
CHUNK_BYTES = 64 * 1024
POSTGRES_SOCKET = ".s.PGSQL.5432"
CLOSING_SECONDS = 1.0
THREAD_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)  # closing drops what is unsent, and the other side is told that the connection broke


class SlowProxy:
    """Carries bytes both ways, each `delay` seconds late and up to `jitter` more; lets nobody through while it is `shut`."""

    def __init__(self, target: Callable[[], str], folder: Path) -> None:
        self.delay = 0.0
        self.jitter = 0.0
        self.shut = False
        self.url = ""
        self._target = target
        self._folder = folder
        self._known: Path | tuple[str, int] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen; from now on `url` leads to the service by way of this proxy."""
        url = await asyncio.to_thread(self._target)
        target = address_of(url)
        if isinstance(target, Path):
            listener = self._folder / target.name
            self._server = await asyncio.start_unix_server(self.carry, listener)
            self.url = through(url, listener)
        else:
            self._server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
            self.url = through(url, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and break what is open."""
        if self._server is None:
            return
        self.shut = True
        self._server.close()
        broken = set(self._connections)
        self.cut()
        if broken:  # or they would end with their loop, half-way
            await asyncio.wait(broken, timeout=CLOSING_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await asyncio.gather(*self._connections, return_exceptions=True)
                await self._server.wait_closed()

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
            if self.shut:
                return
            answers, beyond = await self._connect()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, beyond))
                both.create_task(self._pump(answers, writer))
        except asyncio.CancelledError:
            pass
        except Exception:  # noqa: BLE001 - whatever keeps us from the service breaks the connection, as it would without us
            pass
        finally:
            for side in (writer, beyond):
                if side is not None:
                    break_off(side)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._known is not None:
            with suppress(OSError):
                return await _open(self._known)
        self._known = address_of(await asyncio.to_thread(self._target))  # an engine may take longer than a client waits
        return await _open(self._known)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, chunk = await late.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not chunk:
                    raise ConnectionResetError("the other side has hung up")
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            chunk = b"begin"
            while chunk:
                chunk = await reader.read(CHUNK_BYTES)
                late.put_nowait((loop.time() + self.delay + random.uniform(0, self.jitter), chunk))


async def _open(target: Path | tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


@asynccontextmanager
async def slow_proxy(target: Callable[[], str]) -> AsyncIterator[SlowProxy]:
    """Stand in front of the service at a URL until the block ends; `proxy.url` is that URL, by way of the proxy."""
    with leased_folder("way") as folder:
        proxy = SlowProxy(target, folder)
        await proxy.open()
        try:
            yield proxy
        finally:
            await proxy.close()


class ProxyThread:
    """A loop in a thread of its own, where proxies stand for as long as a session of tests lasts."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="service-proxies", daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(THREAD_SECONDS)

    def end(self) -> None:
        """Let every task come to its end, and then the loop: what is left pending would be found by somebody else's test."""
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(THREAD_SECONDS)
        self.loop.close()

    async def _cancel_all(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def address_of(url: str) -> Path | tuple[str, int]:
    """Where the service at a URL listens: a socket in a folder, or a host and a port."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Path(parts.path)
    if folder := parse_qs(parts.query).get("host"):
        return Path(folder[0], POSTGRES_SOCKET)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{parts.scheme}://{parts.hostname or ''} has no host and port to go to")
    return parts.hostname, parts.port


def through(url: str, way: Path | int) -> str:
    """The URL that leads to the same place by way of a socket or a port of ours."""
    address = urlsplit(url)
    if isinstance(way, int):
        credentials, at, _ = address.netloc.rpartition("@")
        return urlunsplit(address._replace(netloc=f"{credentials}{at}127.0.0.1:{way}"))
    if address.scheme == "unix":
        return url.replace(f"{address.netloc}{address.path}", f"{address.netloc}{way}", 1)
    query = "&".join(
        f"host={quote(str(way.parent))}" if part.startswith("host=") else part for part in address.query.split("&")
    )
    return urlunsplit(address._replace(query=query))


def break_off(side: asyncio.StreamWriter) -> None:
    """Break a connection off, as a network does: no farewell."""
    with suppress(OSError):
        side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    side.transport.abort()
