"""`GET /ws`: a user's events as they happen, from any point on.

The client's first message says who it is and where to begin, `{"token": "…", "after": 12}`; the server answers
`{"type": "hello", "cursor": 12, "at": "…"}`, replays what came after that number, and goes on live without a seam. A message with
a `kind` is an event; one with a `type` is about the connection. docs/events.md tells all of it, close codes included.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any, Protocol, cast

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import WebSocketRoute

from commitstream.db.database import CONNECTION_LOST
from commitstream.engine import Engine
from commitstream.envelope import VERSION
from commitstream.hub import UnknownCursor
from commitstream.journal import LARGEST_NUMBER
from commitstream.service.limits import Bucket, Limits
from commitstream.service.problems import Problem, problem_response
from commitstream.service.tokens import InvalidToken, Tokens, User
from commitstream.transports.cursors import parse_cursor
from commitstream.transports.direct_write import SocketWatcher, lent
from commitstream.watchers import Goodbye, Mailbox, Watcher

logger = logging.getLogger(__name__)

SUBPROTOCOL = "events.v1"
BEARER_PREFIX = "bearer."
HELLO_SECONDS = 5.0
CLOSE_SECONDS = 1.0
MESSAGES_PER_MINUTE = 240


class CloseCode(IntEnum):
    """Why a socket is closed; 1012 and 4008 (see `Goodbye`) mean: come back with your cursor."""

    NO_BINARY = 1003
    FAILED = 1011
    TRY_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHENTICATED = 4401
    UNKNOWN_CURSOR = 4410
    TOO_MANY = 4429


class Hello(BaseModel):
    """The first message of a client."""

    model_config = ConfigDict(extra="ignore")

    token: str = Field("", description="a bearer token, unless a subprotocol carried it")
    after: Annotated[int, Field(strict=True, ge=0, le=LARGEST_NUMBER)] | None = Field(
        None, description="the last seq already seen; 0 for everything; absent for what is to come"
    )
    joined: bool = Field(False, description="several events may come in one message, one on each line")


class Refused(Exception):
    def __init__(self, code: CloseCode | Goodbye, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Line(Protocol):
    """What carries messages to a client and back."""

    async def receive(self) -> Any: ...

    async def send(self, message: Any) -> None: ...


class EventSocket:
    """One client's connection."""

    def __init__(self, socket: WebSocket) -> None:
        self._protocol = lent(socket.scope)
        self._line: Line = self._protocol or socket
        self._engine = cast("Engine", socket.app.state.engine)
        self._tokens = cast("Tokens", socket.app.state.tokens)
        self._limits = cast("Limits", socket.app.state.limits)
        self._closing: asyncio.Task[None] | None = None

    async def serve(self, socket: WebSocket) -> None:
        offered, after = socket.scope["subprotocols"], socket.query_params.get("after")
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        conversation = self._converse(offered, after)
        if self._protocol is not None:
            self._protocol.go_on_with(conversation)
        else:
            await conversation

    async def _converse(self, offered: list[str], after: str | None) -> None:
        try:
            self._demand_open()
            user, hello = await self._introduction(offered, after)
            with self._limits.socket(user.id):
                await self._show(user, hello)
        except WebSocketDisconnect:
            pass
        except Refused as refused:
            await self._close(refused.code, refused.reason)
        except Problem as too_many:
            await self._close(CloseCode.TOO_MANY, too_many.detail)
        except (*CONNECTION_LOST, SQLAlchemyError) as error:
            logger.warning("a socket was sent away, the database is: %s", error)
            await self._close(CloseCode.TRY_LATER, "the database can't be reached")
        except Exception:
            logger.exception("a socket failed")
            await self._close(CloseCode.FAILED, "the service failed; its log says why")
        if self._closing is not None:
            await self._closing

    def _demand_open(self) -> None:
        if self._engine.draining:
            raise Refused(Goodbye.RESTART, "this process is shutting down: come back with your cursor")

    async def _introduction(self, offered: list[str], after: str | None) -> tuple[User, Hello]:
        bearer = next((word.removeprefix(BEARER_PREFIX) for word in offered if word.startswith(BEARER_PREFIX)), "")
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = Hello.model_validate({"token": bearer}) if bearer else self._parse(await self._text())
            if after is not None and hello.after is None:
                hello = hello.model_copy(update={"after": parse_cursor(after)})
            return self._tokens.user(hello.token), hello
        except TimeoutError:
            reason = f'say who you are within {HELLO_SECONDS:g} s: {{"token": "…"}}'
            raise Refused(CloseCode.UNAUTHENTICATED, reason) from None
        except ValidationError:
            raise Refused(CloseCode.BAD_MESSAGE, 'begin with {"token": "…", "after": 0}') from None
        except ValueError as no_cursor:
            raise Refused(CloseCode.BAD_MESSAGE, f"after: {no_cursor}") from None
        except InvalidToken as invalid:
            raise Refused(CloseCode.UNAUTHENTICATED, str(invalid)) from None

    async def _show(self, user: User, hello: Hello) -> None:
        hub = self._engine.hub
        cursor = await hub.head(user.id) if hello.after is None else hello.after
        greeting = {"type": "hello", "v": VERSION, "cursor": cursor, "at": datetime.now(UTC)}
        await self._say(to_json(greeting).decode())
        watcher, pump = self._watcher(cursor, joined=hello.joined)
        try:
            await hub.attach(watcher, user.id)
            self._demand_open()
            allowance = Bucket(MESSAGES_PER_MINUTE)
            with suppress(TimeoutError):
                async with asyncio.timeout((user.expires - datetime.now(UTC)).total_seconds()):
                    while True:
                        await self._answer(await self._text())
                        if allowance.take():
                            raise Refused(CloseCode.TOO_MANY, f"more than {MESSAGES_PER_MINUTE} messages a minute")
            raise Refused(CloseCode.UNAUTHENTICATED, "the token has expired")
        except UnknownCursor as unknown:
            raise Refused(CloseCode.UNKNOWN_CURSOR, f"{unknown}: begin again with after 0") from None
        finally:
            await hub.detach(watcher, user.id)
            if pump is not None:
                pump.cancel()

    def _watcher(self, position: int, *, joined: bool) -> tuple[Watcher, asyncio.Task[None] | None]:
        if self._protocol is not None:
            return SocketWatcher(self._protocol, position, joined=joined, dismissed=self._dismiss), None
        mailbox = Mailbox(position)
        return mailbox, asyncio.create_task(self._pump(mailbox, joined=joined), name="socket: pump")

    async def _pump(self, mailbox: Mailbox, *, joined: bool) -> None:
        while batch := await mailbox.take():
            for text in [batch.packed()] if joined else batch.frames:
                await self._say(text)
        if mailbox.goodbye is not None:
            self._dismiss(mailbox.goodbye)

    async def _answer(self, text: str) -> None:
        try:
            message = Message.model_validate_json(text)
        except ValidationError:
            raise Refused(CloseCode.BAD_MESSAGE, 'not a message; {"type": "ping"} is one') from None
        if message.type == "ping":
            await self._say('{"type":"pong"}')

    async def _say(self, text: str) -> None:
        try:
            await self._line.send({"type": "websocket.send", "text": text})
        except OSError:
            raise WebSocketDisconnect(1006) from None

    async def _text(self) -> str:
        message = await self._line.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text")
        if text is None:
            raise Refused(CloseCode.NO_BINARY, "send text, not bytes")
        return cast("str", text)

    def _parse(self, text: str) -> Hello:
        return Hello.model_validate_json(text)

    def _dismiss(self, goodbye: Goodbye) -> None:
        reason = "come back with your cursor" if goodbye is Goodbye.RESTART else "too slow: come back with your cursor"
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(goodbye, reason), name="socket: close")

    async def _close(self, code: int, reason: str) -> None:
        """Say goodbye; a socket that doesn't take it within a second is cut."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._line.send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
            if self._protocol is not None:
                self._protocol.transport.abort()


class Message(BaseModel):
    """What a client may say later."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field(max_length=50)


async def event_socket(socket: WebSocket) -> None:
    """Let in pages of our own origin and clients that are no browsers; refuse the rest before the handshake."""
    engine = cast("Engine", socket.app.state.engine)
    origin = socket.headers.get("origin")
    own = origin is not None and origin.partition("://")[2] == socket.headers.get("host")
    if origin is not None and not own and origin not in engine.settings.allowed_origins:
        refusal = problem_response(
            403, f"pages of {origin} may not connect: add it to {engine.settings.variable('allowed_origins')}"
        )
        await socket.send_denial_response(refusal)
        return
    await EventSocket(socket).serve(socket)


route = WebSocketRoute("/ws", event_socket, name="events")
