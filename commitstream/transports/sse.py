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
from commitstream.watchers import CloseReason, Live, Mailbox

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
LAST_SECONDS = 1.0


class EventStream(Response):
    """Shows one stream's events until the client leaves, the token expires or the service ends."""

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
        self._mailbox = Mailbox(cursor, dismissed=self._hurry, allowed=lambda: topic.allows(user, stream.key, engine))
        self._sending: asyncio.Timeout | None = None
        self._last_moment = float("inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._limits.socket(self._user.id):
            try:
                await self._engine.hub.attach(self._mailbox, self._stream, review=self._review)
                self._engine.require_open()
                await self._show(receive, send)
            except UnknownCursor as unknown:
                raise Problem(HTTPStatus.CONFLICT, f"{unknown}: begin again at 0") from None
            finally:
                await self._engine.hub.detach(self._mailbox, self._stream)

    async def _show(self, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(self._hear_it_leave(receive), name="stream: hear it leave")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._tell(send)
        except TimeoutError:
            logger.warning("a stream was cut: its client reads too slowly")
        finally:
            leaving.cancel()

    async def _tell(self, send: Send) -> None:
        # a block without data: the client remembers the cursor, so that none is lost if it is cut before its first event
        await self._send(send, f"id: {self._mailbox.position}\n\n")
        while (left := (self._user.expires - datetime.now(UTC)).total_seconds()) > 0:
            try:
                batch = await asyncio.wait_for(self._mailbox.take(), min(left, KEEP_ALIVE_SECONDS))
            except TimeoutError:
                await self._send(send, ": still here\n\n")
                continue
            if batch is None:
                break
            if isinstance(batch, Live):
                await self._send(send, ": live\n\n")
                continue
            await self._send(send, _told(batch))
        ended = "event: ended\ndata: you may no longer watch this stream\n\n"
        await self._send(send, ended if self._mailbox.reason is CloseReason.FORBIDDEN else "", last=True)

    async def _send(self, send: Send, text: str, *, last: bool = False) -> None:
        until = min(asyncio.get_running_loop().time() + SLOW_SECONDS, self._last_moment)
        try:
            async with asyncio.timeout_at(until) as self._sending:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": not last})
        finally:
            self._sending = None

    def _hurry(self) -> None:
        """Give the client a moment to take what is left: a reader that is stuck must not hold up the end of a process."""
        self._last_moment = asyncio.get_running_loop().time() + LAST_SECONDS
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(self._last_moment)

    async def _hear_it_leave(self, receive: Receive) -> None:
        try:
            with suppress(HTTPException):
                while (await receive())["type"] != "http.disconnect":
                    pass
        finally:
            self._mailbox.dismiss(CloseReason.RESTART)


def _told(batch: Batch) -> str:
    return "".join(f"id: {batch.first + place}\ndata: {frame}\n\n" for place, frame in enumerate(batch.frames))


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
    after: Annotated[Cursor | None, Query(description="the last seq already seen; absent: what is to come")] = None,
    last_event_id: Annotated[Cursor | None, Header(description="the same, as clients that come back send it")] = None,
) -> EventStream:
    """Watch a stream as its events happen; a client that comes back with Last-Event-ID misses none."""
    try:
        watched = user_stream(user.id) if stream is None else Stream.parse(stream)
        topic = engine.topics.of(watched)
    except (InvalidStreamError, UnknownTopicError) as unknown:
        raise Problem(HTTPStatus.NOT_FOUND, str(unknown)) from None
    wanted = after if last_event_id is None else last_event_id
    # the cursor is read before the rights: a change of rights between them comes after it, and is noticed
    cursor = await engine.hub.head(str(watched)) if wanted is None else wanted
    reached = cursor if wanted is None else engine.hub.reached(str(watched))
    if not await topic.allows(user, watched.key, engine):
        raise Problem(HTTPStatus.FORBIDDEN, f"you may not watch {watched}")
    return EventStream(engine, limits, user, watched, topic, cursor, review=cursor > reached)
