"""Envelopes, each serialised once, and batches of them for one stream.

The journal stores an envelope's text without its number, because the INSERT assigns the number. A frame is that text
with `seq` put in front; bus, hub and sockets pass frames on and never parse or build JSON again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field, JsonValue
from pydantic_core import to_json

from commitstream.events import Event, RightsChanged
from commitstream.topics import Stream, Topic

VERSION = 2
_SEQ = '{"seq":'
_RIGHTS_CHANGED = f'"type":"{RightsChanged.event_type}"'
_AT = re.compile(r'"at":"([^"]+)"')


class Envelope(BaseModel, frozen=True):
    """One event, as every client is shown it."""

    seq: int = Field(description="the event's number in its stream, from 1, without gaps: the cursor to resume at")
    v: int = Field(VERSION, description="the version of this envelope")
    stream: str = Field(description="topic:key")
    type: str
    subject: str | None = Field(None, description="what the event is about, where its type says so")
    at: datetime
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="where the event came from, as far as its topic shows that"
    )


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no number yet."""

    stream: Stream
    type: str
    subject: str | None
    at: datetime
    body: str
    metadata: str | None

    @classmethod
    def write(cls, topic: Topic, stream: Stream, event: Event, metadata: Mapping[str, JsonValue | None]) -> Self:
        """Serialise an event."""
        at = datetime.now(UTC)
        visible = topic.metadata_shown(event.event_type)
        known = {name: value for name, value in metadata.items() if value is not None}
        shown = {name: value for name, value in known.items() if name in visible}
        body: dict[str, object] = {"v": VERSION, "stream": str(stream), "type": event.event_type}
        if event.subject is not None:
            body["subject"] = event.subject
        body |= {"at": at, "payload": event.payload()}
        if shown:
            body["metadata"] = shown
        kept = to_json(known).decode() if known else None
        return cls(stream, event.event_type, event.subject, at, to_json(body).decode(), kept)


def frame(seq: int, body: str) -> str:
    """Return an event's text with its number."""
    return f"{_SEQ}{seq},{body[1:]}"


def written_at(frame: str) -> datetime | None:
    """Return when a frame's event was written, without parsing the rest of it."""
    found = _AT.search(frame)
    return datetime.fromisoformat(found.group(1)) if found else None


class Batch:
    """Consecutive events of one stream, in the form that bus, hub and sockets pass on."""

    __slots__ = ("_joined_wire", "_wire", "first", "frames", "stream")

    def __init__(self, stream: str, first: int, frames: Sequence[str]) -> None:
        self.stream = stream
        self.first = first
        self.frames = frames
        self._wire: bytes | None = None
        self._joined_wire: bytes | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.frames) - 1

    def after(self, seq: int) -> Batch:
        """Return the events after a number."""
        return self if seq < self.first else Batch(self.stream, seq + 1, self.frames[seq + 1 - self.first :])

    def through_rights_change(self) -> Batch | None:
        """Return the events up to a change of rights; None where the rights have not changed."""
        index = next((index for index, frame in enumerate(self.frames) if _RIGHTS_CHANGED in frame), None)
        if index is None:
            return None
        return self if index == len(self.frames) - 1 else Batch(self.stream, self.first, self.frames[: index + 1])

    def packed(self) -> str:
        """Return the events as one text for the bus, one on each line; JSON text has no line breaks."""
        return "\n".join(self.frames)

    @classmethod
    def unpack(cls, stream: str, text: str) -> Self:
        """Parse a batch from the bus; raises ValueError for any other text."""
        if not text.startswith(_SEQ):
            raise ValueError("not a batch of events")
        frames = text.split("\n")
        return cls(stream, int(text[len(_SEQ) : text.index(",")]), frames)

    def wire(self) -> bytes:
        """Return the bytes of one WebSocket message per event, made once for all sockets."""
        if self._wire is None:
            self._wire = b"".join(text_message(frame.encode()) for frame in self.frames)
        return self._wire

    def joined_wire(self) -> bytes:
        """Return the bytes of one WebSocket message with an event on each line."""
        if self._joined_wire is None:
            self._joined_wire = text_message(self.packed().encode())
        return self._joined_wire


def text_message(payload: bytes) -> bytes:
    """Frame a server's text message by RFC 6455: final, unmasked, uncompressed."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def batches(rows: Iterable[tuple[str, int, str]]) -> Iterator[Batch]:
    """Group sorted (stream, seq, body) rows into one batch per run of consecutive numbers."""
    current, first, frames = "", 0, list[str]()
    for stream, seq, body in rows:
        if frames and (stream != current or seq != first + len(frames)):
            yield Batch(current, first, frames)
            frames = []
        if not frames:
            current, first = stream, seq
        frames.append(frame(seq, body))
    if frames:
        yield Batch(current, first, frames)


def merged(batches: list[Batch]) -> list[Batch]:
    """Join consecutive batches: a burst of one stream's events is sent as one message."""
    joined: list[Batch] = []
    for batch in sorted(batches, key=lambda batch: (batch.stream, batch.first)):
        last = joined[-1] if joined else None
        if last is not None and last.stream == batch.stream and batch.first == last.last + 1:
            joined[-1] = Batch(last.stream, last.first, [*last.frames, *batch.frames])
        else:
            joined.append(batch)
    return joined
