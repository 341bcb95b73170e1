"""A server on loopback that says on its sockets just what a test tells it to, however wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from commitstream.settings import EngineSettings
from commitstream.transports.protocol import hello_message


@dataclass
class Liar:
    settings: EngineSettings
    url: str
    hellos: list[dict[str, object]] = field(default_factory=list)


@asynccontextmanager
async def liar(
    settings: EngineSettings,
    lines: Sequence[str] | Callable[[int], Sequence[str]] = (),
    *,
    greeting: str | None = "",
    close: tuple[int, str] | None = None,
    refuse: HTTPStatus | None = None,
) -> AsyncIterator[Liar]:
    """Serve until the block ends: greet, by the protocol's hello unless given, say the lines, and close or wait."""
    told = Liar(settings, "")

    async def converse(connection: ServerConnection) -> None:
        said = json.loads(await connection.recv())
        told.hellos.append(said)
        if greeting is not None:
            await connection.send(greeting or _hello(said["watch"]))
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


def _hello(watched: Mapping[str, int | None]) -> str:
    return hello_message("ada", {stream: after or 0 for stream, after in watched.items()}, datetime.now(UTC))
