"""A plain application behind uvicorn: in the loop of a test, or as a process by `python -m test_framework.uvicorn_server`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from test_framework.project import Served, project

CLOSE_SECONDS = 5


class InLoopUvicorn(uvicorn.Server):
    """uvicorn's server without its signal handlers; `settled` is set when its start has succeeded or failed."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()


@asynccontextmanager
async def served(app: FastAPI, timeout: float) -> AsyncIterator[Served]:
    """Serve on a free port of loopback until the block ends."""
    config = uvicorn.Config(
        app, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=CLOSE_SECONDS
    )
    server = InLoopUvicorn(config)
    listener = socket.create_server(("127.0.0.1", 0))
    url = url_of(listener)
    serving = asyncio.create_task(server.serve([listener]), name="the server under test")
    try:
        await asyncio.wait_for(server.settled.wait(), timeout)
        if not server.started:
            raise RuntimeError("the application did not start: its lifespan failed, and logged why")
        yield Served(url)
    except TimeoutError:
        raise TimeoutError(f"the application did not start within {timeout:g} s") from None
    finally:
        server.should_exit = True
        await serving
        listener.close()


def url_of(listener: socket.socket) -> str:
    """Return the URL of a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def main() -> None:
    adapter = project()
    app = adapter.create_app(adapter.load_settings(None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(url_of(listener), flush=True)
        uvicorn.Server(uvicorn.Config(app, lifespan="on", access_log=False)).run([listener])


if __name__ == "__main__":
    main()
