"""How fast the service is, as ratios: its times divided by those of something plain, on the same machine at the same time.

A request is compared with one to a bare application behind the same uvicorn, what writes or reads with an insert and its
commit. Each round measures everything once, so that other load on the machine slows all of it; a look is the medians of
40 rounds. An operation is slower when the median of several looks exceeds its baseline by more than the limit.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import urlsplit

from app.agents.events import AgentStarted
from app.agents.tables import Run, RunStatus
from app.settings import Settings
from commitstream.service.server import listen, server_for
from commitstream.topics import user_stream
from test_framework.servers import InLoopServer, in_loop
from tests.agents.context import AgentsContext

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

BASELINE = Path(__file__).with_name("baseline.json")
ROUNDS = 40
WARM_UP_ROUNDS = 10
LIMIT = 1.5
DEADLINE_SECONDS = 10.0

BARE, COMMIT = "a bare application answers", "a row is inserted and committed"
MEASURED_BY: Mapping[str, str] = {
    "GET /health/live": BARE,
    "GET /health/ready": BARE,
    "GET /api/runs": COMMIT,
    "POST /api/runs": COMMIT,
    "from commit to socket": COMMIT,
    "from request to the end of its run": COMMIT,
}

Ratios = Mapping[str, float]
Times = Mapping[str, float]


class Line:
    """A connection that is kept open and says HTTP with as little ado as possible, so that the server is what takes the time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader, self._writer, self._head = reader, writer, head

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, token: str = "") -> AsyncIterator[Self]:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield cls(reader, writer, f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\n")
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, request: str, body: str = "") -> bytes:
        """Send a request, and return the body of its answer."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        async with asyncio.timeout(DEADLINE_SECONDS):
            self._writer.write(f"{request} HTTP/1.1\r\n{self._head}{length}\r\n{body}".encode())
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 20"), head
            return await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))


@dataclass
class Bench:
    """A service and a bare application beside it, both in this loop, and a user who watches."""

    server: InLoopServer
    ada: AgentsContext
    line: Line
    bare: Line
    seq: int = 0

    async def round(self) -> Times:
        """Measure everything once, in seconds."""
        times = {
            BARE: await timed(lambda: self.bare.ask("GET /")),
            "GET /health/live": await timed(lambda: self.line.ask("GET /health/live")),
        }
        await self.line.ask("GET /health/ready")  # asks the services; its answer is kept for the next one
        times |= {
            "GET /health/ready": await timed(lambda: self.line.ask("GET /health/ready")),
            COMMIT: await timed(self.commit),
            "GET /api/runs": await timed(lambda: self.line.ask("GET /api/runs?limit=5")),
        }
        began = time.perf_counter()
        run = json.loads(await self.line.ask("POST /api/runs", '{"message":"!think"}'))
        times["POST /api/runs"] = time.perf_counter() - began
        await self.ada.wait_for_end(run["id"])
        times["from request to the end of its run"] = time.perf_counter() - began
        self.seq = self.ada.capture.cursor
        times["from commit to socket"] = await self.event()
        return times

    async def commit(self) -> None:
        """Insert a row by the same engine, and nothing else."""
        now, name = datetime.now(UTC), uuid.uuid4().hex
        async with self.server.engine.database.transaction() as session:
            session.add(
                Run(
                    id=name,
                    user_id="nobody",
                    message="",
                    status=RunStatus.COMPLETED,
                    cancel_requested=False,
                    owner="nobody",
                    lease_until=now,
                    created_at=now,
                )
            )

    async def event(self) -> float:
        """Write an event; how long after its commit it is at its user's."""
        journal = self.server.engine.journal
        async with self.server.engine.database.transaction() as session:
            event = AgentStarted(run_id=uuid.uuid4().hex, message="late?")
            await journal.append(session, user_stream(self.ada.user.id), event)
        began = time.perf_counter()
        self.seq += 1
        await self.ada.wait_for_seq(self.seq)
        return time.perf_counter() - began

    async def look(self, rounds: int = ROUNDS) -> Times:
        """The usual time of everything, in seconds."""
        seen = [await self.round() for _ in range(rounds)]
        return {name: median(times[name] for times in seen) for name in seen[0]}


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def ratios(times: Times) -> Ratios:
    """What takes how many times as long as the plain thing that it is measured by."""
    return {name: round(times[name] / times[plain], 3) for name, plain in MEASURED_BY.items()}


def slower(baseline: Ratios, looks: Sequence[Ratios]) -> list[str]:
    """Name what takes more than `LIMIT` times as long as its baseline, by the median of the looks."""
    found = []
    for name, was in baseline.items():
        now = median(look[name] for look in looks)
        if now > was * LIMIT:
            found.append(f"{name} takes {now:.2f} times as long as {MEASURED_BY[name]}; the baseline is {was:.2f}")
    return found


def median_of(looks: Sequence[Ratios]) -> Ratios:
    """The median of each ratio."""
    return {name: round(median(look[name] for look in looks), 2) for name in MEASURED_BY}


@asynccontextmanager
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    """Set everything up, and warm it up."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(in_loop(settings))
        ada = await stack.enter_async_context(AgentsContext(server))
        line = await stack.enter_async_context(Line.open(server.url, ada.user.token))
        bare = await stack.enter_async_context(Line.open(await stack.enter_async_context(bare_application(settings))))
        ready = Bench(server, ada, line, bare)
        await ready.look(WARM_UP_ROUNDS)
        yield ready


@asynccontextmanager
async def bare_application(settings: Settings) -> AsyncIterator[str]:
    """An application that does nothing, behind the same server as the service."""
    listener = listen(settings)
    server = server_for(cast("FastAPI", _bare))
    server.config.lifespan = "off"
    serving = asyncio.create_task(server.serve([listener]), name="a bare application")
    try:
        host, port = listener.getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await serving


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"17")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"status":"bare"}'})
