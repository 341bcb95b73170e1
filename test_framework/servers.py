"""The service under test, running for real: its own `create_app`, behind its own server, on a loopback socket.

`InLoopServer` runs in the test's event loop, so that a test may reach into the service; `ProcessServer` is a process of its
own, as in production, and `ProcessServers` are several of them behind one door. All have a URL, and none pretends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, cast

from fastapi import FastAPI
from pydantic import SecretStr

from test_framework.overrides import at_work
from test_framework.project import project
from test_framework.running.hearing import hearing
from test_framework.settings import variable
from test_framework.websocket.front_door import front_door

if TYPE_CHECKING:
    from commitstream.engine import Engine
    from commitstream.settings import EngineSettings
    from commitstream.transports.direct_write import DirectWriteProtocol

START_SECONDS = 20.0
STOP_SECONDS = 10.0
NOTHING_MORE: Mapping[str, str] = {}
_ADDRESS = re.compile(r"http://\S+")


class Server(Protocol):
    url: str

    @property
    def settings(self) -> EngineSettings: ...


@dataclass
class InLoopServer:
    settings: EngineSettings
    url: str
    app: FastAPI
    engine: Engine
    connections: Collection[DirectWriteProtocol]


@dataclass
class ProcessServer:
    settings: EngineSettings
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

    settings: EngineSettings
    url: str
    members: Sequence[ProcessServer]


@asynccontextmanager
async def in_loop(settings: EngineSettings, app: FastAPI | None = None) -> AsyncIterator[InLoopServer]:
    """Serve in this event loop until the block ends: the service, or another application of its kind."""
    app = app or project().create_app(settings)
    async with project().serve(app, settings, START_SECONDS) as served:
        with at_work(app):
            yield InLoopServer(settings, served.url, app, served.engine, served.connections)


@asynccontextmanager
async def in_process(
    settings: EngineSettings, environment: Mapping[str, str] = NOTHING_MORE, *, module: str | None = None
) -> AsyncIterator[ProcessServer]:
    """Serve in a process of its own until the block ends; `environment` is what it gets beside its settings.

    `module` is what `python -m` runs: the service, or another application that prints its URL when it is ready.
    """
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would stop a server that has much to say
        process = await asyncio.create_subprocess_exec(
            *(project().command() if module is None else (sys.executable, "-m", module)),
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
async def in_processes(
    settings: EngineSettings, count: int, *, module: str | None = None
) -> AsyncIterator[ProcessServers]:
    """Serve in several processes that share a database and a Redis, behind one door, until the block ends."""
    async with AsyncExitStack() as stack:
        members = await asyncio.gather(
            *(stack.enter_async_context(in_process(settings, module=module)) for _ in range(count))
        )
        url = await stack.enter_async_context(front_door([member.url for member in members]))
        yield ProcessServers(settings, url, members)


def token(settings: EngineSettings, user_id: str) -> str:
    """A token that a server with these settings accepts."""
    return project().token(settings, user_id)


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


def _environment(settings: EngineSettings) -> Mapping[str, str]:
    """The environment that makes an application load the same settings, the secret ones too."""
    given = {variable(type(settings), name): _spelled(value) for name, value in settings}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **given}


def _spelled(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list | dict):
        return json.dumps(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)
