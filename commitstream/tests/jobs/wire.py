"""A client that is allowed to be wrong: raw bytes over TCP, frames made by hand, and what comes back, frame by frame."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from commitstream.settings import EngineSettings
from test_framework.servers import Server

DEADLINE_SECONDS = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame, as RFC 6455 has it or, where asked, as it must not be."""
    first = (0x80 if final else 0) | (reserved << 4) | opcode
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 1 << 16:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


@dataclass
class Address:
    """A server that is only known by where it is."""

    settings: EngineSettings
    url: str


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        with suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()

    def stop_reading(self) -> None:
        """Leave what comes in the kernel's hands, until they are full."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def handshake(self, path: str = "/ws", headers: Sequence[str] = (), host: str = "localhost") -> str:
        """Ask for a WebSocket; the answer's head."""
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *headers,
        )
        await self.send("\r\n".join((*lines, "", "")).encode("latin-1"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def introduce(self, token: str, **more: object) -> dict[str, object]:
        """Say who we are; what the server says to that."""
        await self.send(frame(TEXT, json.dumps({"token": token, **more}).encode()))
        opcode, payload = await self.next()
        return {"closed": int.from_bytes(payload[:2], "big")} if opcode == CLOSE else dict(json.loads(payload))

    async def next(self) -> tuple[int, bytes]:
        """The next frame; (0, b"") where the connection ended without one."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size >= 126:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""

    async def said(self, kind: str) -> dict[str, object]:
        """Read on to a message of a type."""
        while True:
            opcode, payload = await self.next()
            if opcode != TEXT:
                raise AssertionError(f"{kind} was awaited, and what came is {opcode}: {payload!r}")
            message: dict[str, object] = json.loads(payload)
            if message.get("type") == kind:
                return message

    async def close_code(self) -> int:
        """Read on until the server closes; 1005 where it names no code, 1006 where it says nothing at all."""
        while True:
            opcode, payload = await self.next()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") or 1005
            if opcode == 0:
                return 1006

    async def body(self) -> str:
        """What is left, to the end of the connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return (await self.reader.read()).decode("latin-1")


@asynccontextmanager
async def wire(server: Server) -> AsyncIterator[Wire]:
    """A TCP connection to the server."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
