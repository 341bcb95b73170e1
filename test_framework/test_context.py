"""TestContext: one simulated user at one real server, with a real socket. It never falls back to anything else.

async with TestContext(server) as ada:
    await ada.client.request("POST", "/api/orders", json={"title": "bread"})
    await ada.wait_for_seq(1)
    assert ada.validate().valid
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from pydantic import JsonValue
from websockets.asyncio.client import ClientConnection

from commitstream.envelope import Envelope
from commitstream.topics import user_stream
from test_framework.backend_client import BackendClient
from test_framework.running.telling import tell_lanes, tell_losses
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket.difference import label
from test_framework.websocket.line import Closed, SocketClosed, WebSocketLine
from test_framework.websocket.order import missing_end
from test_framework.websocket.verdicts import Latency, Performance, Validation, judge
from test_framework.websocket_capture import WebSocketEventCapture

DEADLINE_SECONDS = 10.0
PONG: dict[str, JsonValue] = {"type": "pong"}


class TestContext:
    """A user who is connected from the moment the block begins, and shown everything from `after` on."""

    __test__ = False

    def __init__(
        self,
        server: Server,
        user: TestUserContext | None = None,
        *,
        after: int | None = 0,
        joined: bool = False,
        watch: Sequence[str] = (),
    ) -> None:
        """Watch the user's own stream, or those that `watch` names, all from `after` on."""
        self.server = server
        self.user = user or TestUserContext.of(server.settings)
        self.client = self.client_of(server, self.user)
        streams = tuple(watch) or (str(user_stream(self.user.id)),)
        self.captures = {name: WebSocketEventCapture(after or 0, user=self.user, stream=name) for name in streams}
        self.capture = self.captures[streams[0]]
        self.connections = 0
        self._after = after
        self._joined = joined
        self._news = asyncio.Event()
        self._line = WebSocketLine(self._take, self._news)
        self._received = 0
        self._drop_after: int | None = None
        self._began = time.monotonic()

    def client_of(self, server: Server, user: TestUserContext) -> BackendClient:
        """Make the client for requests; a domain's context makes one that has its routes."""
        return BackendClient.of(server, user)

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave, close all connections, and tell the run's record what was seen."""
        await self.disconnect()
        for capture in self.captures.values():
            tell_lanes(capture, self.user.id)
            tell_losses(capture, self.user.id)
        await self.client.close()

    @property
    def socket(self) -> ClientConnection:
        return self._line.connection

    @property
    def closed(self) -> Closed | None:
        """With which code and reason the server has closed the socket; None while it is open."""
        return self._line.closed

    async def connect(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        after: int | None = None,
        small: bool = False,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        """Open a socket, say who we are, and go on after what was captured of each stream.

        `url` is another process than the first, `after` another place to begin at, `token` somebody else's word.
        """
        await self.disconnect()
        self._line = WebSocketLine(self._take, self._news)
        wanted = {
            name: after if after is not None else (capture.cursor if self.connections else self._after)
            for name, capture in self.captures.items()
        }
        hello = {"token": token or self.user.token, "watch": wanted, "joined": self._joined}
        cursors = await self._line.open(url or self.server.url, hello, deadline, small=small)
        self.connections += 1
        for name, cursor in cursors.items():
            if not self.captures[name].events:
                self.captures[name].after = cursor

    async def disconnect(self) -> None:
        """Close the socket; what was captured stays, and `connect` goes on from there."""
        await self._line.close()

    def drop(self) -> None:
        """Vanish without a word, as a client does whose network is gone."""
        self._line.drop()

    def drop_after(self, events: int) -> None:
        """Vanish in the moment in which so many events have been captured."""
        self._drop_after = events
        self._drop_if_due()

    def pause_reading(self) -> None:
        """Take nothing more from the socket, so that the server has to hold it back."""
        self._line.pause_reading()

    def resume_reading(self) -> None:
        self._line.resume_reading()

    async def send(self, message: Mapping[str, object] | str) -> None:
        """Say something on the socket: JSON, or whatever text a test wants to be wrong with."""
        await self._line.send(message if isinstance(message, str) else json.dumps(message))

    async def ping(self, deadline: float = DEADLINE_SECONDS) -> None:
        """Ask the service on the socket whether it is there."""
        before = self.capture.said.count(PONG)
        await self.send({"type": "ping"})
        await self.wait_until(lambda: self.capture.said.count(PONG) > before, "the pong", deadline)

    async def receive(self, deadline: float = DEADLINE_SECONDS) -> Envelope:
        """Give the next event that was not received so yet."""
        await self.wait_until(lambda: len(self.capture.events) > self._received, "another event", deadline)
        self._received += 1
        return self.capture.events[self._received - 1]

    async def wait_for_events(
        self, kinds: Sequence[str], deadline: float = DEADLINE_SECONDS, *, run_id: str | None = None
    ) -> list[Envelope]:
        """Capture until events of these types have come in this order, whatever else between them; and give them."""
        names = ", ".join(kinds)
        of_run = "" if run_id is None else f" of run {run_id}"
        await self.wait_until(lambda: len(self._in_order(kinds, run_id)) == len(kinds), f"{names}{of_run}", deadline)
        return self._in_order(kinds, run_id)

    async def wait_for_end(self, subject: str, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until the events about a subject have ended, as the order of their topic has it."""

        def ended() -> bool:
            events = self.capture.of_run(subject)
            return bool(events) and not missing_end(events)

        await self.wait_until(ended, f"the last event of {subject}", deadline)

    async def wait_for_seq(self, seq: int, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until the event with a number is there."""
        await self.wait_until(lambda: self.capture.cursor >= seq, f"event {seq}", deadline)

    async def wait_for_close(self, deadline: float = DEADLINE_SECONDS) -> Closed:
        """Wait until the server has closed the socket, and tell with what."""
        await self.wait_until(lambda: self.closed is not None, "the close of the socket", deadline)
        assert self.closed is not None
        return self.closed

    async def wait_until(self, there: Callable[[], bool], what: str, deadline: float = DEADLINE_SECONDS) -> None:
        """Capture until something is there; a time-out and a close say what was awaited, and what came."""
        try:
            async with asyncio.timeout(deadline):
                while not there():
                    if self.closed is not None:
                        awaited = f"{what} was awaited; {self._what_came()}"
                        raise SocketClosed(self.closed.code, self.closed.reason, awaited)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come within {deadline:g} s; {self._what_came()}") from None

    def validate(self, expected: Sequence[str] | None = None) -> Validation:
        """Say what is missing from the stream, too much in it or out of order; `expected` is every type, in order."""
        return judge(self.capture, expected)

    def performance(self) -> Performance:
        """Say how many events came, how quickly, over how many connections."""
        seconds = time.monotonic() - self._began
        latency = Latency.of(self.capture.latencies)
        return Performance(len(self.capture.events), seconds, latency, self.connections)

    def _take(self, text: str) -> None:
        for line in text.split("\n"):
            self._capture_of(line).capture(line)
        self._drop_if_due()

    def _capture_of(self, line: str) -> WebSocketEventCapture:
        """The capture of a message's stream; the first one takes what names no stream that is watched."""
        try:
            message = json.loads(line)
        except ValueError:
            return self.capture
        stream = message.get("stream") if isinstance(message, dict) else None
        return self.captures.get(stream, self.capture) if isinstance(stream, str) else self.capture

    def _drop_if_due(self) -> None:
        if self._drop_after is not None and len(self.capture.events) >= self._drop_after:
            self._drop_after = None
            self._line.drop()

    def _in_order(self, kinds: Sequence[str], run_id: str | None) -> list[Envelope]:
        """The first events that are of these types, as many as there are."""
        found: list[Envelope] = []
        for event in self.capture.events:
            if len(found) < len(kinds) and event.type == kinds[len(found)] and run_id in {None, event.subject}:
                found.append(event)
        return found

    def _what_came(self) -> str:
        came = [label(event) for event in self.capture.events]
        said = f", and {self.capture.said}" if self.capture.said else ""
        malformed = f", and what is no event: {self.capture.malformed}" if self.capture.malformed else ""
        return f"what came: {came}{said}{malformed}"
