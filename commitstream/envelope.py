"""What travels: an envelope, serialised once in its life, and a batch of them for one user.

The journal keeps an envelope's text without its number, because the number is given by the INSERT itself. A frame is that
text with `seq` put in front; bus, hub and sockets hand frames on and never parse or build JSON again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field, JsonValue
from pydantic_core import to_json

VERSION = 1
_SEQ = '{"seq":'
_AT = re.compile(r'"at":"([^"]+)"')


class Envelope(BaseModel, frozen=True):
    """One event of one run, as every client is shown it."""

    seq: int = Field(
        description="the event's number in its user's stream, from 1, without gaps: the cursor to resume at"
    )
    v: int = Field(VERSION, description="the version of this envelope")
    run_id: str
    kind: str
    at: datetime
    request_id: str | None = Field(None, description="the request that caused the run")
    trace_id: str | None = None
    payload: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no number yet."""

    run_id: str
    kind: str
    at: datetime
    body: str

    @classmethod
    def write(
        cls,
        run_id: str,
        kind: str,
        payload: dict[str, JsonValue] | None = None,
        *,
        request_id: str | None = None,
        trace_id: str | None = None,
    ) -> Self:
        """Put an event into words, once."""
        at = datetime.now(UTC)
        body = to_json(
            {
                "v": VERSION,
                "run_id": run_id,
                "kind": kind,
                "at": at,
                "request_id": request_id,
                "trace_id": trace_id,
                "payload": payload or {},
            }
        )
        return cls(run_id, kind, at, body.decode())


def frame(seq: int, body: str) -> str:
    """Number an event's text."""
    return f"{_SEQ}{seq},{body[1:]}"


def written_at(frame: str) -> datetime | None:
    """When a frame's event was written, read without parsing the rest of it."""
    found = _AT.search(frame)
    return datetime.fromisoformat(found.group(1)) if found else None


class Batch:
    """Consecutive events of one user, ready to send: the form in which bus, hub and sockets hand events on."""

    __slots__ = ("_joined_wire", "_wire", "first", "frames", "user_id")

    def __init__(self, user_id: str, first: int, frames: Sequence[str]) -> None:
        self.user_id = user_id
        self.first = first
        self.frames = frames
        self._wire: bytes | None = None
        self._joined_wire: bytes | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.frames) - 1

    def after(self, seq: int) -> Batch:
        """What of this batch comes after a number."""
        return self if seq < self.first else Batch(self.user_id, seq + 1, self.frames[seq + 1 - self.first :])

    def packed(self) -> str:
        """One text for the bus; JSON text holds no line break of its own."""
        return "\n".join(self.frames)

    @classmethod
    def unpack(cls, user_id: str, text: str) -> Self:
        """Take a batch from the bus; raises ValueError for what is none."""
        if not text.startswith(_SEQ):
            raise ValueError("not a batch of events")
        frames = text.split("\n")
        return cls(user_id, int(text[len(_SEQ) : text.index(",")]), frames)

    def wire(self) -> bytes:
        """The bytes of one WebSocket message per event, made once for all sockets."""
        if self._wire is None:
            self._wire = b"".join(text_message(frame.encode()) for frame in self.frames)
        return self._wire

    def joined_wire(self) -> bytes:
        """The bytes of one WebSocket message with an event on each line, for clients that asked for it."""
        if self._joined_wire is None:
            self._joined_wire = text_message(self.packed().encode())
        return self._joined_wire


def text_message(payload: bytes) -> bytes:
    """Frame a server's text message as RFC 6455 has it: final, unmasked, uncompressed."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def batches(rows: Iterable[tuple[str, int, str]]) -> Iterator[Batch]:
    """Gather (user, seq, body) rows, sorted, into one batch per unbroken stretch."""
    user_id, first, frames = "", 0, list[str]()
    for user, seq, body in rows:
        if frames and (user != user_id or seq != first + len(frames)):
            yield Batch(user_id, first, frames)
            frames = []
        if not frames:
            user_id, first = user, seq
        frames.append(frame(seq, body))
    if frames:
        yield Batch(user_id, first, frames)


def merged(batches: list[Batch]) -> list[Batch]:
    """Join what follows on one another: a burst of one user's events travels as one message."""
    joined: list[Batch] = []
    for batch in sorted(batches, key=lambda batch: (batch.user_id, batch.first)):
        last = joined[-1] if joined else None
        if last is not None and last.user_id == batch.user_id and batch.first == last.last + 1:
            joined[-1] = Batch(last.user_id, last.first, [*last.frames, *batch.frames])
        else:
            joined.append(batch)
    return joined
