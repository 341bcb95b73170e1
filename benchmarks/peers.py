"""The peers as their own documentation writes them, each a small FastAPI service: `python -m benchmarks.peers broadcaster 8001 redis://…`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI, WebSocket

USER = "ada"


def broadcaster_app(redis_url: str) -> Any:
    """FastAPI and broadcaster, as broadcaster's README has it."""
    from broadcaster import Broadcast
    from broadcaster._backends.redis import RedisBackend

    broadcast: Any = Broadcast(backend=RedisBackend(redis_url))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # broadcaster 0.3.1 begins to listen at its second subscription: at the first, redis-py 8 is not there yet
        async with broadcast, broadcast.subscribe(channel="nobody"):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def events(websocket: WebSocket) -> None:
        await websocket.accept()

        async def receive() -> None:
            async for _ in websocket.iter_text():
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            async with broadcast.subscribe(channel=USER) as subscriber:
                async for event in subscriber:
                    await websocket.send_text(event.message)

    return app


def socketio_app(redis_url: str) -> Any:
    """python-socketio with its Redis manager, everybody in the user's room."""
    import socketio

    server = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis_url))

    async def connect(sid: str, environment: dict[str, object]) -> None:
        await server.enter_room(sid, USER)

    server.on("connect", connect)
    return socketio.ASGIApp(server, FastAPI())


APPS: dict[str, Callable[[str], Any]] = {"broadcaster": broadcaster_app, "socketio": socketio_app}


def main(name: str, port: str, redis_url: str) -> None:
    # as fast as uvicorn goes: the same loop, the same protocol and no compression, as in ours
    uvicorn.run(
        APPS[name](redis_url),
        port=int(port),
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="critical",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
