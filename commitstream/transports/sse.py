"""`GET /api/events`: one stream as server-sent events, for clients that can't use sockets."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from commitstream.engine import Engine
from commitstream.envelope import Batch
from commitstream.hub import SLOW_SECONDS, UnknownCursor
from commitstream.service.dependencies import EngineDep, LimitsDep, UserDep
from commitstream.service.limits import Limits
from commitstream.service.problems import Problem, responses
from commitstream.topics import InvalidStreamError, Stream, Topic, UnknownTopicError, user_stream
from commitstream.transports.cursors import Cursor
from commitstream.transports.protocol import LONGEST_STREAM
from commitstream.user import User
from commitstream.watchers import CloseReason, Live, QueueWatcher

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
LAST_SEND_SECONDS = 1.0


class EventStream(Response):
    """Sends one stream's events until the client disconnects, the token expires or the service stops."""

    media_type = "text/event-stream"

    def __init__(
        self, engine: Engine, limits: Limits, user: User, stream: Stream, topic: Topic, cursor: int, *, review: bool
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._engine = engine
        self._limits = limits
        self._user = user
        self._stream = str(stream)
        self._review = review
        self._watcher = QueueWatcher(
            cursor, on_close=self._limit_last_send, allowed=lambda: topic.allows(user, stream.key, engine)
        )
        self._sending: asyncio.Timeout | None = None
        self._send_deadline = float("inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._limits.socket(self._user.id):
            try:
                await self._engine.hub.attach(self._watcher, self._stream, review=self._review)
                self._engine.require_open()
                await self._serve(receive, send)
            except UnknownCursor as unknown:
                raise Problem(HTTPStatus.CONFLICT, f"{unknown}: begin again at 0") from None
            finally:
                await self._engine.hub.detach(self._watcher, self._stream)

    async def _serve(self, receive: Receive, send: Send) -> None:
        disconnect = asyncio.create_task(self._wait_for_disconnect(receive), name="stream: wait for disconnect")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_events(send)
        except TimeoutError:
            logger.warning("closing an event stream: its client reads too slowly")
        finally:
            disconnect.cancel()

    async def _send_events(self, send: Send) -> None:
        # a block without data: the client stores the cursor, so it loses no event if it is cut off before the first
        await self._send(send, f"id: {self._watcher.position}\n\n")
        while (left := (self._user.expires - datetime.now(UTC)).total_seconds()) > 0:
            try:
                batch = await asyncio.wait_for(self._watcher.get(), min(left, KEEP_ALIVE_SECONDS))
            except TimeoutError:
                await self._send(send, ": still here\n\n")
                continue
            if batch is None:
                break
            if isinstance(batch, Live):
                await self._send(send, ": live\n\n")
                continue
            await self._send(send, _lines(batch))
        ended = "event: ended\ndata: you may no longer watch this stream\n\n"
        await self._send(send, ended if self._watcher.reason is CloseReason.FORBIDDEN else "", last=True)

    async def _send(self, send: Send, text: str, *, last: bool = False) -> None:
        until = min(asyncio.get_running_loop().time() + SLOW_SECONDS, self._send_deadline)
        try:
            async with asyncio.timeout_at(until) as self._sending:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": not last})
        finally:
            self._sending = None

    def _limit_last_send(self) -> None:
        """Give the client a second for what is left: a stuck reader must not hold up the shutdown."""
        self._send_deadline = asyncio.get_running_loop().time() + LAST_SEND_SECONDS
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(self._send_deadline)

    async def _wait_for_disconnect(self, receive: Receive) -> None:
        try:
            with suppress(HTTPException):
                while (await receive())["type"] != "http.disconnect":
                    pass
        finally:
            self._watcher.close(CloseReason.RESTART)


def _lines(batch: Batch) -> str:
    return "".join(f"id: {batch.first + index}\ndata: {frame}\n\n" for index, frame in enumerate(batch.frames))


router = APIRouter(
    prefix="/api/events",
    tags=["events"],
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get(
    "",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "an event in each `data:`, its seq in `id:`"},
        **responses(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    },
)
async def stream_events(
    user: UserDep,
    engine: EngineDep,
    limits: LimitsDep,
    stream: Annotated[
        str | None, Query(max_length=LONGEST_STREAM, description="topic:key; your own stream unless given")
    ] = None,
    after: Annotated[Cursor | None, Query(description="the last seq already seen; absent: later events only")] = None,
    last_event_id: Annotated[Cursor | None, Header(description="the same, as clients send it that reconnect")] = None,
) -> EventStream:
    """Watch a stream as its events happen; a client that reconnects with Last-Event-ID misses none."""
    try:
        watched = user_stream(user.id) if stream is None else Stream.parse(stream)
        topic = engine.topics.of(watched)
    except (InvalidStreamError, UnknownTopicError) as unknown:
        raise Problem(HTTPStatus.NOT_FOUND, str(unknown)) from None
    wanted = after if last_event_id is None else last_event_id
    # the cursor is read before the rights, so that a change of rights between them is noticed
    cursor = await engine.hub.head(str(watched)) if wanted is None else wanted
    reached = cursor if wanted is None else engine.hub.reached(str(watched))
    if not await topic.allows(user, watched.key, engine):
        raise Problem(HTTPStatus.FORBIDDEN, f"you may not watch {watched}")
    return EventStream(engine, limits, user, watched, topic, cursor, review=cursor > reached)
