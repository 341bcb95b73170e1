"""`GET /api/events`: the stream of `/ws` as server-sent events, for those who can't use sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from app.api.dependencies import LimitsDep, ServiceDep, UserDep
from app.api.limits import Limits
from app.api.problems import Problem, responses
from app.api.tokens import User
from app.events.envelope import Batch
from app.events.hub import UnknownCursor
from app.events.journal import LARGEST_NUMBER
from app.events.watchers import Mailbox
from app.service import Service

router = APIRouter(
    prefix="/api/events",
    tags=["events"],
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
)

KEEP_ALIVE_SECONDS = 15.0


@router.get(
    "",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "an event in each `data:`, its seq in `id:`"},
        **responses(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    },
)
async def stream_events(
    user: UserDep,
    service: ServiceDep,
    limits: LimitsDep,
    after: Annotated[
        int | None, Query(ge=0, le=LARGEST_NUMBER, description="the last seq already seen; absent: what is to come")
    ] = None,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=LARGEST_NUMBER, description="the same, as clients that come back send it")
    ] = None,
) -> StreamingResponse:
    """Watch your events as they happen; a client that comes back with Last-Event-ID misses none."""
    limits.demand_socket(user.id)
    head = await service.hub.head(user.id)
    wanted = after if last_event_id is None else last_event_id
    cursor = head if wanted is None else wanted
    if cursor > head:
        raise Problem(HTTPStatus.CONFLICT, f"cursor {cursor} is ahead of the last event, {head}: begin again at 0")
    stream = _stream(service, limits, user, cursor)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(service: Service, limits: Limits, user: User, cursor: int) -> AsyncIterator[str]:
    mailbox = Mailbox(cursor)
    yield f": hello, you are at {cursor}\n\n"
    with limits.socket(user.id), suppress(UnknownCursor):
        try:
            await service.hub.attach(mailbox, user.id)
            while (left := (user.expires - datetime.now(UTC)).total_seconds()) > 0:
                try:
                    batch = await asyncio.wait_for(mailbox.take(), min(left, KEEP_ALIVE_SECONDS))
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if batch is None:
                    return
                yield _told(batch)
        finally:
            await service.hub.detach(mailbox, user.id)


def _told(batch: Batch) -> str:
    return "".join(f"id: {batch.first + place}\ndata: {frame}\n\n" for place, frame in enumerate(batch.frames))
