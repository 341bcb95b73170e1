"""What is to be said of a stream that was captured: whether it is what it had to be, and how quick it was."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from test_framework.websocket.difference import label
from test_framework.websocket.order import first_fault, missing_end

if TYPE_CHECKING:
    from test_framework.websocket_capture import WebSocketEventCapture


@dataclass(frozen=True)
class Latency:
    """From the writing of an event to its arrival, in seconds."""

    count: int = 0
    median: float = 0.0
    p95: float = 0.0
    worst: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        return cls(len(ordered), statistics.median(ordered), ordered[len(ordered) * 95 // 100], ordered[-1])


@dataclass(frozen=True)
class Performance:
    """How quick a user's stream was."""

    events: int
    seconds: float
    latency: Latency
    connections: int

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Validation:
    """What is wrong with a stream; valid where nothing is."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    order: tuple[str, ...]
    counts: Mapping[str, int]
    latency: Latency

    @property
    def valid(self) -> bool:
        return not (self.missing or self.extra or self.order)

    def __str__(self) -> str:
        if self.valid:
            return f"a valid stream of {sum(self.counts.values())} events"
        faults = {"missing": self.missing, "extra": self.extra, "order": self.order}
        return "\n".join(f"{name}: {', '.join(what)}" for name, what in faults.items() if what)


def judge(capture: WebSocketEventCapture, expected: Sequence[str] | None = None) -> Validation:
    """Hold a stream against its numbers, each of its runs against the grammar, and all of it against what is expected."""
    about = {subject: capture.of_run(subject) for subject in capture.runs}
    wanted, came = Counter(expected or ()), capture.counts
    missing = [f"event {seq}" for seq in capture.missing]
    missing += [f"{end} of {subject}" for subject, events in about.items() if (end := missing_end(events))]
    extra = [f"event {label(event)}, again" for event in capture.duplicates]
    extra += [f"event {label(event)} of {event.stream}" for event in capture.foreign]
    extra += [f"what is no event: {fault.reason}" for fault in capture.malformed]
    order = [f"event {label(event)}, too late" for event in capture.disordered]
    order += [f"{fault[1]}, in {subject}" for subject, events in about.items() if (fault := first_fault(events))]
    if expected is not None:
        missing += [f"{count} × {name}" for name, count in (wanted - came).items()]
        extra += [f"{count} × {name}" for name, count in (came - wanted).items()]
        if wanted == came and list(expected) != [event.type for event in capture.events]:
            order.append("the types that were expected came in another order")
    return Validation(tuple(missing), tuple(extra), tuple(order), came, Latency.of(capture.latencies))
