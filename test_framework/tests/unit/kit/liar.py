"""A server on loopback that says on its sockets just what a test tells it to, however wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from app.settings import Settings


@dataclass
class Liar:
    settings: Settings
    url: str
    hellos: list[dict[str, object]] = field(default_factory=list)


@asynccontextmanager
async def liar(
    settings: Settings,
    lines: Sequence[str] | Callable[[int], Sequence[str]] = (),
    *,
    greeting: str | None = '{"type": "hello", "v": 1, "cursor": 0}',
    close: tuple[int, str] | None = None,
    refuse: HTTPStatus | None = None,
) -> AsyncIterator[Liar]:
    """Serve until the block ends: greet, say the lines (those of each connection), and close or wait."""
    told = Liar(settings, "")

    async def converse(connection: ServerConnection) -> None:
        told.hellos.append(json.loads(await connection.recv()))
        if greeting is not None:
            await connection.send(greeting)
        for line in lines(len(told.hellos)) if callable(lines) else lines:
            await connection.send(line)
        if close is not None:
            await connection.close(*close)
        await connection.wait_closed()

    def turn_away(connection: ServerConnection, request: Request) -> Response | None:
        return None if refuse is None else connection.respond(refuse, "not today\n")

    async with serve(converse, "127.0.0.1", 0, process_request=turn_away, close_timeout=0.2) as server:
        told.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield told
        server.close()
        await asyncio.wait_for(server.wait_closed(), 5)
