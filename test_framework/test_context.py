"""TestContext: one simulated user at one real server, with a real socket. It never falls back to anything else.

async with TestContext(server) as ada:
    run = await ada.run_agent("How many words are these?")
    ada.capture.assert_grammatical(run.id)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Self

import websockets
from websockets.asyncio.client import ClientConnection

from app.api.runs import RunView
from app.events.kinds import EventKind
from test_framework.backend_client import BackendClient
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket_capture import WebSocketEventCapture

DEADLINE_SECONDS = 10.0


class TestContext:
    """A user who is connected from the moment the block begins."""

    __test__ = False

    def __init__(
        self, server: Server, user: TestUserContext | None = None, *, after: int | None = 0, joined: bool = False
    ) -> None:
        self.server = server
        self.user = user or TestUserContext.of(server.settings)
        self.client = BackendClient(server.url, self.user.token)
        self.capture = WebSocketEventCapture(after or 0)
        self._after = after
        self._joined = joined
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()
        await self.client.__aexit__(kind, error, trace)

    @property
    def socket(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("not connected: await connect() first")
        return self._socket

    async def connect(self, url: str | None = None) -> None:
        """Open a socket, say who we are, and go on after what was captured."""
        address = (url or self.server.url).replace("http", "ws", 1) + "/ws"
        self._socket = await websockets.connect(
            address, open_timeout=DEADLINE_SECONDS, compression=None, max_size=None, max_queue=None, proxy=None
        )
        after = self.capture.cursor if self.capture.events else self._after
        await self._socket.send(json.dumps({"token": self.user.token, "after": after, "joined": self._joined}))
        hello = json.loads(await self._next("the server's hello"))
        assert hello.get("type") == "hello", f"expected a hello, got {hello}"
        if not self.capture.events:
            self.capture.after = hello["cursor"]

    async def disconnect(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def run_agent(self, message: str, deadline: float = DEADLINE_SECONDS) -> RunView:
        """Start a run and capture events until it has ended."""
        run = await self.client.start_run(message)
        await self.wait_for_end(run.id, deadline)
        return run

    async def wait_for_end(self, run_id: str, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until a run's `agent_completed` is there."""
        await self.wait_until(
            lambda: EventKind.AGENT_COMPLETED in self.capture.kinds(run_id),
            f"agent_completed of run {run_id}",
            deadline,
        )

    async def wait_for_seq(self, seq: int, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until the event with a number is there."""
        await self.wait_until(lambda: self.capture.cursor >= seq, f"event {seq}", deadline)

    async def wait_until(self, there: Callable[[], bool], what: str, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until something is there; a time-out says what was awaited, and what came."""
        try:
            async with asyncio.timeout(deadline):
                while not there():
                    self.capture.capture(str(await self.socket.recv()))
        except TimeoutError:
            came = [f"{event.seq} {event.kind}" for event in self.capture.events]
            raise AssertionError(f"{what} did not come within {deadline:g} s; what came: {came}") from None

    async def _next(self, what: str) -> str:
        try:
            return str(await asyncio.wait_for(self.socket.recv(), DEADLINE_SECONDS))
        except TimeoutError:
            raise AssertionError(f"{what} did not come within {DEADLINE_SECONDS:g} s") from None
