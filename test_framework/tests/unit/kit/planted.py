"""Streams made by hand, to be wrong in ways that a service never should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from app.agents.events import EventKind
from commitstream.envelope import Draft, frame
from test_framework.users import TestUserContext
from test_framework.websocket_capture import WebSocketEventCapture

STARTED, THINKING, EXECUTING, COMPLETED, ENDED = EventKind
THE_FIVE = tuple(EventKind)


def text(
    seq: int, kind: EventKind, run_id: str = "run", *, trace_id: str | None = None, at: datetime | None = None
) -> str:
    """An event as a socket brings it."""
    draft = Draft.write(run_id, kind, {"number": seq}, trace_id=trace_id)
    body = draft.body if at is None else draft.body.replace(draft.at.isoformat()[:10], at.isoformat()[:10])
    return frame(seq, body)


def stream(*events: tuple[int, EventKind], after: int = 0, run_id: str = "run") -> WebSocketEventCapture:
    """What a socket would have captured of these events."""
    capture = WebSocketEventCapture(after)
    for seq, kind in events:
        capture.capture(text(seq, kind, run_id))
    return capture


def run_of(*kinds: EventKind, first: int = 1) -> Sequence[tuple[int, EventKind]]:
    """Events of these kinds, numbered as they should be."""
    return list(enumerate(kinds, first))


def good() -> WebSocketEventCapture:
    return stream(*run_of(*THE_FIVE))


def whose(user: TestUserContext, *threads: str | None) -> WebSocketEventCapture:
    """What a user's socket would have captured of events of these threads."""
    capture = WebSocketEventCapture(user=user)
    for seq, thread in enumerate(threads, 1):
        capture.capture(text(seq, STARTED, f"run{seq}", trace_id=thread))
    return capture


def long_ago() -> datetime:
    return datetime(2001, 1, 1, tzinfo=UTC)
