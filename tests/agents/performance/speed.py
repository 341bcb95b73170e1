"""How fast the service is: a request beside one to a bare application, what writes or reads beside an insert and its commit."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

from app.agents.events import AgentStarted
from app.agents.tables import Run, RunStatus
from app.settings import Settings
from commitstream.service.server import listen, server_for
from commitstream.topics import user_stream
from test_framework.servers import InLoopServer, in_loop
from test_framework.speed import HttpLine, Times, timed
from tests.agents.context import AgentsContext

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

BASELINE = Path(__file__).with_name("baseline.json")
ROUNDS = 40
WARM_UP_ROUNDS = 10

BARE, COMMIT = "a bare application answers", "a row is inserted and committed"
MEASURED_BY: Mapping[str, str] = {
    "GET /health/live": BARE,
    "GET /health/ready": BARE,
    "GET /api/runs": COMMIT,
    "POST /api/runs": COMMIT,
    "from commit to socket": COMMIT,
    "from request to the end of its run": COMMIT,
}


@dataclass
class Bench:
    """A service and a bare application beside it, both in this loop, and a user who watches."""

    server: InLoopServer
    ada: AgentsContext
    line: HttpLine
    bare: HttpLine
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


@asynccontextmanager
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    """Set everything up, and warm it up."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(in_loop(settings))
        ada = await stack.enter_async_context(AgentsContext(server))
        line = await stack.enter_async_context(HttpLine.open(server.url, ada.user.token))
        bare = await stack.enter_async_context(
            HttpLine.open(await stack.enter_async_context(bare_application(settings)))
        )
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
