"""The service under test, running for real: its own `create_app`, behind its own server, on a loopback socket.

`InLoopServer` runs in the test's event loop, so that a test may reach into the service; `ProcessServer` is a process of its
own, as in production, and `ProcessServers` are several of them behind one door. All have a URL, and none pretends.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import IO, Protocol, cast

from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from commitstream.engine import Engine
from commitstream.service.server import listen, server_for
from commitstream.service.tokens import Tokens
from commitstream.transports.direct_write import DirectWriteProtocol
from test_framework.overrides import at_work
from test_framework.running.hearing import hearing
from test_framework.websocket.front_door import front_door

START_SECONDS = 20.0
STOP_SECONDS = 10.0
NOTHING_MORE: Mapping[str, str] = {}
_ADDRESS = re.compile(r"http://\S+")


class Server(Protocol):
    settings: Settings
    url: str


@dataclass
class InLoopServer:
    settings: Settings
    url: str
    app: FastAPI
    engine: Engine
    connections: Collection[DirectWriteProtocol]


@dataclass
class ProcessServer:
    settings: Settings
    url: str
    process: asyncio.subprocess.Process
    log: IO[bytes]

    @property
    def said(self) -> str:
        """What it has logged so far."""
        return _text(self.log)


@dataclass
class ProcessServers:
    """Several processes behind one URL: what comes in at one is watched at another."""

    settings: Settings
    url: str
    members: Sequence[ProcessServer]


@asynccontextmanager
async def in_loop(settings: Settings, app: FastAPI | None = None) -> AsyncIterator[InLoopServer]:
    """Serve in this event loop until the block ends: the service, or an app that a test has made of it."""
    listener = listen(settings)
    app = app or create_app(settings)
    server = server_for(app)
    serving = asyncio.create_task(server.serve([listener]), name="the server under test")
    try:
        await app.state.startup.wait_ready(START_SECONDS)
        host, port = listener.getsockname()[:2]
        connections = cast("Collection[DirectWriteProtocol]", server.server_state.connections)
        engine = cast("Engine", app.state.engine)
        with at_work(app):
            yield InLoopServer(settings, f"http://{host}:{port}", app, engine, connections)
    finally:
        await cast("Engine", app.state.engine).drain()
        server.should_exit = True
        await serving


@asynccontextmanager
async def in_process(settings: Settings, environment: Mapping[str, str] = NOTHING_MORE) -> AsyncIterator[ProcessServer]:
    """Serve in a process of its own until the block ends; `environment` is what it gets beside its settings."""
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would stop a server that has much to say
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app",
            env={**_environment(settings), **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            preexec_fn=hearing(),
        )
        try:
            yield ProcessServer(settings, await _address(process, log), process, log)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.communicate(), STOP_SECONDS)
                except TimeoutError:
                    process.kill()
                    await process.communicate()
                    raise TimeoutError(f"the server did not end within {STOP_SECONDS:g} s of SIGTERM") from None


@asynccontextmanager
async def in_processes(settings: Settings, count: int) -> AsyncIterator[ProcessServers]:
    """Serve in several processes that share a database and a Redis, behind one door, until the block ends."""
    async with AsyncExitStack() as stack:
        members = await asyncio.gather(*(stack.enter_async_context(in_process(settings)) for _ in range(count)))
        url = await stack.enter_async_context(front_door([member.url for member in members]))
        yield ProcessServers(settings, url, members)


def token(settings: Settings, user_id: str) -> str:
    """A token that a server with these settings accepts."""
    return Tokens(settings).issue(user_id)


async def _address(process: asyncio.subprocess.Process, log: IO[bytes]) -> str:
    output = cast("asyncio.StreamReader", process.stdout)
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await output.readline()).decode():
                if found := _ADDRESS.search(line):
                    return found.group()
    except TimeoutError:
        process.kill()
    await process.communicate()
    raise RuntimeError(f"the server did not start within {START_SECONDS:g} s; it said:\n{_text(log)[-2000:]}")


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def _environment(settings: Settings) -> Mapping[str, str]:
    """The environment that makes `python -m app` load the same settings, the secret ones too."""
    given = {Settings.variable(name): _spelled(value) for name, value in settings}
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **given}


def _spelled(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)
