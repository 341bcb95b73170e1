"""Protocol 2 of the WebSocket: the messages beside the events, and the close codes.

A message with a `seq` is an event; one without is about the connection or a subscription. docs/events.md has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import to_json

from commitstream.envelope import VERSION
from commitstream.journal import LARGEST_NUMBER
from commitstream.topics import LONGEST_KEY

LONGEST_STREAM = LONGEST_KEY + 41
MOST_SUBSCRIPTIONS = 1000

After = Annotated[int, Field(strict=True, ge=0, le=LARGEST_NUMBER)] | None
StreamName = Annotated[str, Field(min_length=1, max_length=LONGEST_STREAM)]


class CloseCode(IntEnum):
    """Why a socket is closed, or a subscription ended; those of `CloseReason` besides."""

    NO_BINARY = 1003
    FAILED = 1011
    TRY_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    UNKNOWN_STREAM = 4404
    ALREADY_SUBSCRIBED = 4409
    UNKNOWN_CURSOR = 4410
    TOO_MANY = 4429


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Hello(_Message):
    """The first message of a client. Without `watch` it subscribes to the user's own stream."""

    token: str = Field("", description="a bearer token, unless a subprotocol carried it")
    after: After = Field(None, description="the last seq already seen; 0 for everything; absent for later events only")
    watch: Annotated[dict[StreamName, After], Field(max_length=MOST_SUBSCRIPTIONS)] | None = Field(
        None, description="streams to subscribe to, each with its `after`"
    )
    joined: bool = Field(False, description="several events may come in one message, one on each line")


class Ping(_Message):
    type: Literal["ping"]


class Subscribe(_Message):
    type: Literal["subscribe"]
    stream: StreamName
    after: After = None


class Unsubscribe(_Message):
    type: Literal["unsubscribe"]
    stream: StreamName


class Renew(_Message):
    """A newer token of the same user, so that the connection outlives the first one."""

    type: Literal["token"]
    token: str


class Other(_Message):
    """A message of a type that this version doesn't know; it is ignored."""

    type: Annotated[str, Field(max_length=50)]


ClientMessage = Ping | Subscribe | Unsubscribe | Renew | Other
CLIENT_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(union_mode="left_to_right")])


def hello_message(user: str, streams: Mapping[str, int], at: datetime) -> str:
    return to_json({"type": "hello", "v": VERSION, "at": at, "user": user, "streams": streams}).decode()


def live_message(stream: str, cursor: int) -> bytes:
    """Return the message that a stream's replay is complete."""
    return to_json({"type": "live", "stream": stream, "cursor": cursor})


def subscribed_message(stream: str, cursor: int) -> str:
    return to_json({"type": "subscribed", "stream": stream, "cursor": cursor}).decode()


def unsubscribed_message(stream: str) -> str:
    return to_json({"type": "unsubscribed", "stream": stream}).decode()


def ended_message(stream: str, code: int, reason: str) -> str:
    return to_json({"type": "ended", "stream": stream, "code": code, "reason": reason}).decode()


def renewed_message(expires: datetime) -> str:
    return to_json({"type": "token", "expires": expires}).decode()


PONG = '{"type":"pong"}'
