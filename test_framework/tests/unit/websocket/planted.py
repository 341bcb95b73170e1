"""Streams made by hand, to be wrong in ways that a service never should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from commitstream.envelope import Envelope
from commitstream.settings import EngineSettings
from commitstream.tests.jobs.client import STARTED, THE_FIVE
from test_framework.users import TestUserContext
from test_framework.websocket_capture import WebSocketEventCapture

ADA = "user:ada"
EVE = "user:eve"


def text(
    seq: int, event_type: str, run_id: str | None = "run", *, stream: str = ADA, at: datetime | None = None
) -> str:
    """An event as a socket brings it."""
    at = at or datetime.now(UTC)
    event = Envelope(seq=seq, v=2, stream=stream, type=event_type, subject=run_id, at=at, payload={"number": seq})
    return event.model_dump_json()


def stream(*events: tuple[int, str], after: int = 0, run_id: str = "run") -> WebSocketEventCapture:
    """What a socket would have captured of these events."""
    capture = WebSocketEventCapture(after)
    for seq, event_type in events:
        capture.capture(text(seq, event_type, run_id))
    return capture


def run_of(*event_types: str, first: int = 1) -> Sequence[tuple[int, str]]:
    """Events of these types, numbered as they should be."""
    return list(enumerate(event_types, first))


def good() -> WebSocketEventCapture:
    return stream(*run_of(*THE_FIVE))


def ada_of(settings: EngineSettings) -> TestUserContext:
    """The user whose own stream is ADA."""
    return TestUserContext(settings, "ada")


def whose(user: TestUserContext, *streams: str) -> WebSocketEventCapture:
    """What a user's socket would have captured of events of these streams."""
    capture = WebSocketEventCapture(user=user)
    for seq, name in enumerate(streams, 1):
        capture.capture(text(seq, STARTED, f"run{seq}", stream=name))
    return capture


def long_ago() -> datetime:
    return datetime(2001, 1, 1, tzinfo=UTC)
