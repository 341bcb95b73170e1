"""`GET /ws`: any number of streams on one connection, each from its own cursor on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import WebSocketRoute

from commitstream.db.database import CONNECTION_LOST
from commitstream.engine import Engine
from commitstream.hub import UnknownCursor
from commitstream.service.limits import Bucket, Limits
from commitstream.service.problems import Draining, Problem, problem_response
from commitstream.service.tokens import InvalidToken
from commitstream.topics import InvalidStreamError, Stream, Topic, UnknownTopicError, user_stream
from commitstream.transports.cursors import parse_cursor
from commitstream.transports.direct_write import SocketWatcher, get_protocol
from commitstream.transports.protocol import (
    CLIENT_MESSAGE,
    MOST_SUBSCRIPTIONS,
    PONG,
    CloseCode,
    Hello,
    Ping,
    Renew,
    Subscribe,
    Unsubscribe,
    ended_message,
    hello_message,
    live_message,
    renewed_message,
    subscribed_message,
    unsubscribed_message,
)
from commitstream.user import User
from commitstream.watchers import CloseReason, Live, QueueWatcher, Watcher

logger = logging.getLogger(__name__)

SUBPROTOCOL = "events.v2"
BEARER_PREFIX = "bearer."
HELLO_SECONDS = 5.0
CLOSE_SECONDS = 1.0
MESSAGES_PER_MINUTE = 240

REASONS: Mapping[CloseReason, str] = {
    CloseReason.RESTART: "this process is shutting down: reconnect with your cursors",
    CloseReason.SLOW: "too slow: reconnect with your cursors",
    CloseReason.FORBIDDEN: "you may no longer watch this stream",
}


class Refused(Exception):
    """Why a socket is closed, or a subscription ends."""

    def __init__(self, code: CloseCode | CloseReason, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Connection(Protocol):
    """Carries messages to a client and back: Starlette's socket, or the server's protocol itself."""

    async def receive(self) -> Any: ...

    async def send(self, message: Any) -> None: ...


class Watched(NamedTuple):
    """A stream of which the topic is known."""

    topic: Topic
    key: str


@dataclass(frozen=True)
class Subscription:
    watched: Watched
    watcher: Watcher
    pump: asyncio.Task[None] | None = None


class EventSocket:
    """One client's connection."""

    def __init__(self, socket: WebSocket) -> None:
        self._protocol = get_protocol(socket.scope)
        self._connection: Connection = self._protocol or socket
        self._engine = cast("Engine", socket.app.state.engine)
        self._tokens = self._engine.tokens
        self._limits = cast("Limits", socket.app.state.limits)
        self._subscriptions: dict[str, Subscription] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._expiry: asyncio.Timeout | None = None
        self._joined = False
        self._user: User

    async def serve(self, socket: WebSocket) -> None:
        offered, after = socket.scope["subprotocols"], socket.query_params.get("after")
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        conversation = self._converse(offered, after)
        if self._protocol is not None:
            self._protocol.run_after_handshake(conversation)
        else:
            await conversation

    async def _converse(self, offered: list[str], after: str | None) -> None:
        try:
            self._engine.require_open()
            self._user, hello = await self._authenticate(offered, after)
            self._joined = hello.joined
            with self._limits.socket(self._user.id):
                await self._watch(hello)
        except WebSocketDisconnect:
            pass
        except Draining:
            await self._close(CloseReason.RESTART, REASONS[CloseReason.RESTART])
        except Refused as refused:
            await self._close(refused.code, refused.reason)
        except Problem as too_many:
            await self._close(CloseCode.TOO_MANY, too_many.detail)
        except (*CONNECTION_LOST, SQLAlchemyError) as error:
            logger.warning("closing a socket (1013), the database is unavailable: %s", error)
            await self._close(CloseCode.TRY_LATER, "the database can't be reached")
        except Exception:
            logger.exception("a socket failed")
            await self._close(CloseCode.FAILED, "the service failed; its log says why")
        finally:
            for name in list(self._subscriptions):
                await self._unsubscribe(name)
            for task in self._ending:
                task.cancel()
        if self._closing is not None:
            await self._closing

    async def _authenticate(self, offered: list[str], after: str | None) -> tuple[User, Hello]:
        bearer = next((word.removeprefix(BEARER_PREFIX) for word in offered if word.startswith(BEARER_PREFIX)), "")
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = (
                    Hello.model_validate({"token": bearer})
                    if bearer
                    else Hello.model_validate_json(await self._receive_text())
                )
            if after is not None and hello.after is None:
                hello = hello.model_copy(update={"after": parse_cursor(after)})
            return self._tokens.user(hello.token), hello
        except TimeoutError:
            reason = f'send {{"token": "…"}} within {HELLO_SECONDS:g} s'
            raise Refused(CloseCode.UNAUTHENTICATED, reason) from None
        except ValidationError:
            raise Refused(CloseCode.BAD_MESSAGE, 'begin with {"token": "…", "after": 0}') from None
        except ValueError as no_cursor:
            raise Refused(CloseCode.BAD_MESSAGE, f"after: {no_cursor}") from None
        except InvalidToken as invalid:
            raise Refused(CloseCode.UNAUTHENTICATED, str(invalid)) from None

    async def _watch(self, hello: Hello) -> None:
        wanted = {str(user_stream(self._user.id)): hello.after} if hello.watch is None else hello.watch
        found, refusals = dict[str, Watched](), dict[str, Refused]()
        for name in wanted:
            try:
                found[name] = self._find(name)
            except Refused as refused:
                refusals[name] = refused
        # the cursors are read before the rights, so that a change of rights between them is noticed
        heads = await self._engine.journal.heads([name for name in found if wanted[name] is None])
        reached = {name: max(heads.get(name, 0), self._engine.hub.reached(name)) for name in found}
        cursors = dict[str, int]()
        for name, watched in found.items():
            try:
                await self._require_right(name, watched)
            except Refused as refused:
                refusals[name] = refused
            else:
                after = wanted[name]
                cursors[name] = heads.get(name, 0) if after is None else after
        await self._send(hello_message(self._user.id, cursors, datetime.now(UTC)))
        for name, cursor in cursors.items():
            try:
                await self._attach(name, found[name], cursor, reached[name])
            except Refused as refused:
                refusals[name] = refused
        await self._end(refusals)
        self._engine.require_open()
        allowance = Bucket(MESSAGES_PER_MINUTE)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_left()) as self._expiry:
                while True:
                    await self._answer(await self._receive_text())
                    if allowance.take():
                        raise Refused(CloseCode.TOO_MANY, f"more than {MESSAGES_PER_MINUTE} messages a minute")
        raise Refused(CloseCode.UNAUTHENTICATED, "the token has expired")

    def _seconds_left(self) -> float:
        return (self._user.expires - datetime.now(UTC)).total_seconds()

    async def _answer(self, text: str) -> None:
        try:
            message = CLIENT_MESSAGE.validate_json(text)
        except ValidationError:
            raise Refused(CloseCode.BAD_MESSAGE, 'not a message; {"type": "ping"} is one') from None
        if isinstance(message, Ping):
            await self._send(PONG)
        elif isinstance(message, Subscribe):
            await self._subscribe(message.stream, message.after)
        elif isinstance(message, Unsubscribe):
            if await self._unsubscribe(message.stream):
                await self._send(unsubscribed_message(message.stream))
            else:
                await self._send(ended_message(message.stream, CloseCode.UNKNOWN_STREAM, "there is no subscription"))
        elif isinstance(message, Renew):
            await self._renew(message.token)
        elif message.type in {"ping", "subscribe", "unsubscribe", "token"}:
            raise Refused(CloseCode.BAD_MESSAGE, f"not a message of type {message.type}: see docs/events.md")

    async def _subscribe(self, name: str, after: int | None) -> None:
        """Start a subscription; where it is refused, send the reason and keep the others."""
        if name in self._subscriptions:
            reason = f"{name} is subscribed already: unsubscribe first"
            await self._send(ended_message(name, CloseCode.ALREADY_SUBSCRIBED, reason))
            return
        try:
            watched = self._find(name)
            # the cursor is read before the rights, so that a change of rights between them is noticed
            cursor = await self._engine.hub.head(name) if after is None else after
            reached = cursor if after is None else self._engine.hub.reached(name)
            await self._require_right(name, watched)
            await self._send(subscribed_message(name, cursor))
            await self._attach(name, watched, cursor, reached)
        except Refused as refused:
            await self._end({name: refused})

    def _find(self, name: str) -> Watched:
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            raise Refused(CloseCode.TOO_MANY, f"more than {MOST_SUBSCRIPTIONS} subscriptions on one connection")
        try:
            stream = Stream.parse(name)
            return Watched(self._engine.topics.of(stream), stream.key)
        except (InvalidStreamError, UnknownTopicError) as unknown:
            raise Refused(CloseCode.UNKNOWN_STREAM, str(unknown)) from None

    async def _require_right(self, name: str, watched: Watched) -> None:
        if not await self._allowed(watched):
            raise Refused(CloseCode.FORBIDDEN, f"you may not watch {name}")

    async def _attach(self, name: str, watched: Watched, cursor: int, reached: int) -> None:
        """Start to send a stream's events; `reached` is a number that it had when the right was checked."""
        subscription = self._subscriptions[name] = self._subscription(name, watched, cursor)
        try:
            await self._engine.hub.attach(subscription.watcher, name, review=cursor > reached)
        except UnknownCursor as unknown:
            raise Refused(CloseCode.UNKNOWN_CURSOR, f"{unknown}: begin again with after 0") from None

    def _subscription(self, name: str, watched: Watched, cursor: int) -> Subscription:
        allowed = partial(self._allowed, watched)
        if self._protocol is not None:
            on_close = partial(self._on_close, name)
            watcher = SocketWatcher(
                self._protocol, name, cursor, joined=self._joined, allowed=allowed, on_close=on_close
            )
            return Subscription(watched, watcher)
        queue = QueueWatcher(cursor, allowed=allowed)
        pump = asyncio.create_task(self._pump(name, queue), name="socket: pump")
        return Subscription(watched, queue, pump)

    async def _allowed(self, watched: Watched) -> bool:
        return await watched.topic.allows(self._user, watched.key, self._engine)

    async def _unsubscribe(self, name: str) -> bool:
        subscription = self._subscriptions.pop(name, None)
        if subscription is None:
            return False
        await self._engine.hub.detach(subscription.watcher, name)
        if subscription.pump is not None and subscription.pump is not asyncio.current_task():
            subscription.pump.cancel()
        return True

    async def _end(self, refusals: Mapping[str, Refused]) -> None:
        """End subscriptions, and the connection with the last one."""
        for name, refused in refusals.items():
            await self._unsubscribe(name)
            await self._send(ended_message(name, refused.code, refused.reason))
        if refusals and not self._subscriptions:
            self._begin_close(refused.code, refused.reason)

    async def _renew(self, token: str) -> None:
        try:
            user = self._tokens.user(token)
        except InvalidToken as invalid:
            raise Refused(CloseCode.UNAUTHENTICATED, str(invalid)) from None
        if user.id != self._user.id:
            raise Refused(CloseCode.UNAUTHENTICATED, "the new token is another user's: open another connection")
        self._user = user
        if self._expiry is not None:
            self._expiry.reschedule(asyncio.get_running_loop().time() + self._seconds_left())
        for name, subscription in list(self._subscriptions.items()):
            if not await self._allowed(subscription.watched):
                await self._end({name: Refused(CloseReason.FORBIDDEN, REASONS[CloseReason.FORBIDDEN])})
        await self._send(renewed_message(user.expires))

    async def _pump(self, name: str, queue: QueueWatcher) -> None:
        """Send a watcher's events, on a server whose protocol has no direct writes."""
        with suppress(WebSocketDisconnect):
            while (taken := await queue.get()) is not None:
                if isinstance(taken, Live):
                    await self._send(live_message(name, taken.cursor).decode())
                    continue
                for text in [taken.packed()] if self._joined else taken.frames:
                    await self._send(text)
        if queue.reason is not None:
            self._on_close(name, queue.reason)

    async def _send(self, text: str) -> None:
        try:
            await self._connection.send({"type": "websocket.send", "text": text})
        except OSError:
            raise WebSocketDisconnect(1006) from None

    async def _receive_text(self) -> str:
        message = await self._connection.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text")
        if text is None:
            raise Refused(CloseCode.NO_BINARY, "send text, not bytes")
        return cast("str", text)

    def _on_close(self, name: str, reason: CloseReason) -> None:
        if reason is not CloseReason.FORBIDDEN:
            self._begin_close(reason, REASONS[reason])
            return
        ending = asyncio.create_task(self._end_if_open({name: Refused(reason, REASONS[reason])}), name="socket: end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end_if_open(self, refusals: Mapping[str, Refused]) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._end(refusals)

    def _begin_close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code, reason), name="socket: close")

    async def _close(self, code: int, reason: str) -> None:
        """Close the connection; abort it where the close frame can't be sent within a second."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
            if self._protocol is not None:
                self._protocol.transport.abort()


async def event_socket(socket: WebSocket) -> None:
    """Serve a socket, unless it is from a page of an origin that is not allowed."""
    engine = cast("Engine", socket.app.state.engine)
    origin = socket.headers.get("origin")
    own = origin is not None and origin.partition("://")[2] == socket.headers.get("host")
    if origin is not None and not own and origin not in engine.settings.allowed_origins:
        variable = engine.settings.variable("allowed_origins")
        refusal = problem_response(403, f"pages of {origin} may not connect: add it to {variable}")
        await socket.send_denial_response(refusal)
        return
    await EventSocket(socket).serve(socket)


route = WebSocketRoute("/ws", event_socket, name="events")
