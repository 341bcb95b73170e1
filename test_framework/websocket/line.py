"""A real socket to a real server, with a reader of its own, so that everything is known by the time at which it arrived."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection

SMALL_BUFFER = 8192
CLOSE_SECONDS = 2.0


class NoServer(AssertionError):
    """There is nobody to talk to; nothing is put in the place of a server that isn't there."""


class SocketClosed(AssertionError):
    """The server has closed the socket while something was awaited."""

    def __init__(self, code: int, reason: str, awaited: str, *, what: str = "the socket was closed") -> None:
        super().__init__(f"{what} with {code} ({reason or 'no reason given'}) while {awaited}")
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Closed:
    code: int
    reason: str


class WebSocketLine:
    """One connection: what arrives goes to `take`, and `news` tells that something did."""

    def __init__(self, take: Callable[[str], None], news: asyncio.Event) -> None:
        self._take = take
        self._news = news
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._vanished = False
        self.closed: Closed | None = None

    @property
    def connection(self) -> ClientConnection:
        if self._connection is None:
            raise RuntimeError("not connected: await connect() first")
        return self._connection

    async def open(
        self, url: str, hello: Mapping[str, object], deadline: float, *, small: bool = False
    ) -> dict[str, int]:
        """Connect, introduce ourselves, and begin to read; return the cursor of each stream at which the server begins."""
        address = url.replace("http", "ws", 1) + "/ws"
        try:
            self._connection = await websockets.connect(
                address,
                open_timeout=deadline,
                close_timeout=CLOSE_SECONDS,
                compression=None,
                max_size=None,
                max_queue=None,
                proxy=None,
                sock=await _small_socket(url) if small else None,
            )
        except websockets.InvalidStatus as refused:
            body = bytes(refused.response.body or b"").decode(errors="replace")
            raise NoServer(f"{address} takes no sockets: it answered {refused.response.status_code}\n{body}") from None
        except (OSError, TimeoutError, websockets.InvalidHandshake, EOFError) as error:
            reason = str(error) or f"nobody answered within {deadline:g} s"
            raise NoServer(
                f"there is no server at {address}: {reason}; ask for the `server` fixture, or begin one with in_loop() "
                "or in_process() of test_framework.servers"
            ) from None
        return await self._introduce(hello, deadline)

    async def send(self, text: str) -> None:
        with suppress(websockets.ConnectionClosed):  # the reader tells of it, with its code
            await self.connection.send(text)

    def drop(self) -> None:
        """Vanish without a word, as a client does whose network is gone: what is on its way is not taken any more."""
        self._vanished = True
        if self._connection is not None:
            self._connection.transport.abort()

    def pause_reading(self) -> None:
        """Leave what comes in the kernel's hands, until they are full."""
        cast("asyncio.ReadTransport", self.connection.transport).pause_reading()

    def resume_reading(self) -> None:
        cast("asyncio.ReadTransport", self.connection.transport).resume_reading()

    async def close(self) -> None:
        """Say goodbye, and wait until the reader has heard of it."""
        connection, reader = self._connection, self._reader
        self._connection = self._reader = None
        if connection is not None:
            await connection.close()
        if reader is not None:
            await reader

    async def _introduce(self, hello: Mapping[str, object], deadline: float) -> dict[str, int]:
        await self.send(json.dumps(hello))
        try:
            answer = json.loads(await asyncio.wait_for(self.connection.recv(), deadline))
        except TimeoutError:
            raise AssertionError(f"the server's hello was awaited for {deadline:g} s in vain") from None
        except websockets.ConnectionClosed as closed:
            raise SocketClosed(*_told(closed), "its hello was awaited") from None
        if answer.get("type") != "hello":
            raise AssertionError(f"the server had to begin with a hello, but it said {answer}")
        self._reader = asyncio.create_task(self._read(self.connection), name="a test's socket: read")
        return cast("dict[str, int]", answer["streams"])

    async def _read(self, connection: ClientConnection) -> None:
        try:
            while not self._vanished:
                text = await connection.recv()
                if not self._vanished:
                    self._take(str(text))
                    self._news.set()
            self.closed = Closed(1006, "the client vanished")
        except websockets.ConnectionClosed as closed:
            self.closed = Closed(*_told(closed))
        finally:
            self._news.set()


def _told(closed: websockets.ConnectionClosed) -> tuple[int, str]:
    """The server's code and reason; 1006 where it went without a word."""
    return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "without a word")


async def _small_socket(url: str) -> socket.socket:
    """A connection into which little fits before its server has to wait."""
    address = urlsplit(url)
    small = socket.socket()
    try:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, (address.hostname, address.port))
    except BaseException:
        small.close()
        raise
    return small
