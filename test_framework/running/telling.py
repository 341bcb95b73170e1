"""What a room of the kit tells about the test that is running: it travels with the test's report into the run's record.

docs/reports.md says under which names, and in which form, the dashboard understands it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

    from commitstream.lifecycle.plan import StartupReport
    from test_framework.websocket_capture import WebSocketEventCapture

LANES = 4
EVENTS_OF_A_LANE = 60

_listening: list[tuple[str, object]] | None = None


def listen(properties: list[tuple[str, object]] | None) -> None:
    """From now on what is told is about the test with these properties; about nobody, if there are none."""
    global _listening  # noqa: PLW0603, one process runs one test at a time
    _listening = properties


def tell(name: str, value: JsonValue) -> None:
    """Tell something about the running test; outside a test nobody listens."""
    if _listening is not None:
        _listening.append((name, value))


def tell_lanes(capture: WebSocketEventCapture, user: str) -> None:
    """Tell when each event about the first few subjects was written, and when it came; of a stream, where it has none."""
    if _listening is None or sum(name == "events.lane" for name, _ in _listening) >= LANES:
        return
    arrivals = dict(zip((event.seq for event in capture.events), capture.arrivals, strict=False))
    subjects = dict.fromkeys(event.subject for event in capture.events)
    for subject in list(subjects)[:LANES]:
        events: list[JsonValue] = [
            {
                "type": event.type,
                "seq": event.seq,
                "committed": event.at.timestamp(),
                "received": arrivals[event.seq].timestamp(),
            }
            for event in capture.of_run(subject)[:EVENTS_OF_A_LANE]
        ]
        tell("events.lane", {"run": subject or capture.stream, "user": user, "events": events})


def tell_losses(capture: WebSocketEventCapture, user: str) -> None:
    """Record the events that a capture passed over, whatever the test made of it."""
    if capture.events and not capture.loses_on_purpose and (missing := capture.missing):
        tell("events.lost", {"user": user, "missing": [*missing]})


def tell_isolation(users: Sequence[str], seen: Sequence[Sequence[int]]) -> None:
    """Tell who was shown how many events of whom."""
    rows: list[JsonValue] = [list(row) for row in seen]
    tell("isolation.matrix", {"users": list(users), "seen": rows})


def tell_delivery(committed: int, published: int, received: int) -> None:
    """Tell three numbers that have to be equal."""
    tell("events.delivery", {"committed": committed, "published": published, "received": received})


def tell_startup(report: StartupReport) -> None:
    """Tell how long each phase of a service's start took."""
    phases: list[JsonValue] = []
    start = 0.0
    for phase in report.phases:
        phases.append({"name": phase.name, "start": start, "seconds": phase.seconds, "state": "done"})
        start += phase.seconds
    tell("startup.phases", phases)
