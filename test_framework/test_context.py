"""TestContext: one simulated user at one real server, with a real socket. It never falls back to anything else.

async with TestContext(server) as ada:
    await ada.client.request("POST", "/api/orders", json={"title": "bread"})
    await ada.wait_for_seq(1)
    assert ada.validate().valid

It watches the user's own stream, or those that `watch` names. What waits takes `stream=`; without it, it waits for the first.
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
from commitstream.topics import Topics
from test_framework.backend_client import BackendClient
from test_framework.running.telling import tell_lanes, tell_losses
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket.difference import label
from test_framework.websocket.line import Closed, SocketClosed, WebSocketLine
from test_framework.websocket.order import missing_end
from test_framework.websocket.verdicts import Latency, Performance, Validation, judge_all
from test_framework.websocket_capture import WebSocketEventCapture

DEADLINE_SECONDS = 10.0
PONG: dict[str, JsonValue] = {"type": "pong"}


class TestContext:
    """A user who is connected from the moment the block begins, and shown everything from `after` on."""

    __test__ = False
    topics: Topics | None = None
    """The topics of the server; the project's, unless a class for another application names its own."""

    def __init__(
        self,
        server: Server,
        user: TestUserContext | None = None,
        *,
        after: int | None = 0,
        joined: bool = False,
        watch: Sequence[str] | Mapping[str, int | None] = (),
    ) -> None:
        """Watch the user's own stream, or those that `watch` names: from `after` on, or each from its cursor."""
        self.server = server
        self.user = user or TestUserContext.of(server.settings)
        self.client = self.client_of(server, self.user)
        watched = watch if isinstance(watch, Mapping) else dict.fromkeys(watch, after)
        self._begin = dict(watched) or {self.user.stream: after}
        self.captures = {
            name: WebSocketEventCapture(cursor or 0, user=self.user, stream=name, topics=self.topics)
            for name, cursor in self._begin.items()
        }
        self.capture = next(iter(self.captures.values()))
        self.connections = 0
        self._joined = joined
        self._news = asyncio.Event()
        self._line = WebSocketLine(self._take, self._news)
        self._received = dict.fromkeys(self.captures, 0)
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
            name: after if after is not None else (capture.cursor if self.connections else self._begin[name])
            for name, capture in self.captures.items()
        }
        hello = {"token": token or self.user.token, "watch": wanted, "joined": self._joined}
        cursors = await self._line.open(url or self.server.url, hello, deadline, small=small)
        self.connections += 1
        for name, capture in self.captures.items():
            capture.ending = None
            if name in cursors and not capture.events:
                capture.after = cursors[name]

    def of(self, stream: str | None) -> WebSocketEventCapture:
        """Return the capture of a stream that is watched; of the first one, where none is named."""
        if stream is None:
            return self.capture
        if stream not in self.captures:
            raise ValueError(
                f"{self.user.id} watches {', '.join(self.captures)}, and not {stream}: name it in TestContext(…, watch=…)"
            )
        return self.captures[stream]

    async def disconnect(self) -> None:
        """Close the socket; what was captured stays, and `connect` goes on from there."""
        await self._line.close()

    def drop(self) -> None:
        """Vanish without a word, as a client does whose network is gone."""
        self._line.drop()

    def drop_after(self, events: int) -> None:
        """Vanish in the moment in which so many events have been captured, of all streams together."""
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

    async def receive(self, deadline: float = DEADLINE_SECONDS, *, stream: str | None = None) -> Envelope:
        """Give the next event of a stream that was not received so yet."""
        capture = self.of(stream)
        place = self._received[capture.stream]
        await self._wait_on(capture, lambda: len(capture.events) > place, "another event", deadline)
        self._received[capture.stream] += 1
        return capture.events[place]

    async def wait_for_events(
        self,
        kinds: Sequence[str],
        deadline: float = DEADLINE_SECONDS,
        *,
        run_id: str | None = None,
        stream: str | None = None,
    ) -> list[Envelope]:
        """Capture until events of these types have come in this order, whatever else between them; and give them."""
        capture = self.of(stream)

        def there() -> bool:
            return len(_in_order(capture, kinds, run_id)) == len(kinds)

        of_run = "" if run_id is None else f" of run {run_id}"
        await self._wait_on(capture, there, f"{', '.join(kinds)}{of_run}", deadline)
        return _in_order(capture, kinds, run_id)

    async def wait_for_end(
        self, subject: str | None = None, deadline: float = DEADLINE_SECONDS, *, stream: str | None = None
    ) -> None:
        """Capture until the events about a subject have ended, as the order of their topic has it; or those about none."""
        capture = self.of(stream)

        def ended() -> bool:
            events = capture.of_run(subject)
            return bool(events) and not missing_end(events, self.topics)

        await self._wait_on(capture, ended, f"the last event{f' of {subject}' if subject else ''}", deadline)

    async def wait_for_seq(self, seq: int, deadline: float = DEADLINE_SECONDS, *, stream: str | None = None) -> None:
        """Capture until the event with a number is there."""
        capture = self.of(stream)
        await self._wait_on(capture, lambda: capture.cursor >= seq, f"event {seq}", deadline)

    async def wait_for_ended(self, stream: str, deadline: float = DEADLINE_SECONDS) -> Closed:
        """Wait until the server has ended the subscription to a stream, and tell with what."""
        capture = self.of(stream)
        await self.wait_until(lambda: capture.ending is not None, f"the end of {stream}", deadline)
        assert capture.ending is not None
        return capture.ending

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

    def validate(self, expected: Sequence[str] | Mapping[str, Sequence[str]] | None = None) -> Validation:
        """Say what is missing from the streams, too much in them or out of order.

        `expected` is every type in order: of the first stream, or of each that a mapping names.
        """
        if not isinstance(expected, Mapping):
            expected = {} if expected is None else {self.capture.stream: expected}
        return judge_all(list(self.captures.values()), expected)

    def performance(self) -> Performance:
        """Say how many events came, how quickly, over how many connections."""
        seconds = time.monotonic() - self._began
        latency = Latency.of([took for capture in self.captures.values() for took in capture.latencies])
        return Performance(self._captured, seconds, latency, self.connections)

    @property
    def _captured(self) -> int:
        return sum(len(capture.events) for capture in self.captures.values())

    async def _wait_on(
        self, capture: WebSocketEventCapture, there: Callable[[], bool], what: str, deadline: float
    ) -> None:
        """Wait for something of one stream; where several are watched, the end of its subscription ends the wait."""
        if len(self.captures) == 1:  # the end of the only subscription closes the socket
            await self.wait_until(there, what, deadline)
            return
        what = f"{what} of {capture.stream}"

        def there_unless_ended() -> bool:
            if (found := there()) or (end := capture.ending) is None:
                return found
            ended = f"the subscription to {capture.stream} was ended"
            after = f"{self._what_came()}\n  next: where it has to end, wait_for_ended({capture.stream!r})"
            raise SocketClosed(end.code, end.reason, f"{what} was awaited; {after}", what=ended)

        await self.wait_until(there_unless_ended, what, deadline)

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
        if self._drop_after is not None and self._captured >= self._drop_after:
            self._drop_after = None
            self._line.drop()

    def _what_came(self) -> str:
        if len(self.captures) == 1:
            return f"what came: {_contents(self.capture)}"
        return "; ".join(f"what came of {name}: {_contents(capture)}" for name, capture in self.captures.items())


def _in_order(capture: WebSocketEventCapture, kinds: Sequence[str], run_id: str | None) -> list[Envelope]:
    """The first events that are of these types, as many as there are."""
    found: list[Envelope] = []
    for event in capture.events:
        if len(found) < len(kinds) and event.type == kinds[len(found)] and run_id in {None, event.subject}:
            found.append(event)
    return found


def _contents(capture: WebSocketEventCapture) -> str:
    said = f", and {capture.said}" if capture.said else ""
    malformed = f", and what is no event: {capture.malformed}" if capture.malformed else ""
    return f"{[label(event) for event in capture.events]}{said}{malformed}"
