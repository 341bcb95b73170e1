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


def judge_all(captures: Sequence[WebSocketEventCapture], expected: Mapping[str, Sequence[str]]) -> Validation:
    """Judge several streams, each against the types that are expected of it; a fault names its stream."""
    if unknown := expected.keys() - {capture.stream for capture in captures}:
        raise ValueError(f"{', '.join(sorted(unknown))} is not watched: expect types of streams that `watch` names")
    verdicts = {capture.stream: judge(capture, expected.get(capture.stream)) for capture in captures}
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))

    def named(faults: str) -> tuple[str, ...]:
        return tuple(f"{fault} ({stream})" for stream, one in verdicts.items() for fault in getattr(one, faults))

    counts = sum((Counter(one.counts) for one in verdicts.values()), Counter[str]())
    latency = Latency.of([took for capture in captures for took in capture.latencies])
    return Validation(named("missing"), named("extra"), named("order"), counts, latency)


def judge(capture: WebSocketEventCapture, expected: Sequence[str] | None = None) -> Validation:
    """Compare a stream with its numbers, with the order of its topic, and with the types that are expected.

    The order holds for each subject, which has to come to its end. A stream whose events have no subject may go on.
    """
    topics = capture.topics
    about = {subject: capture.of_run(subject) for subject in capture.runs}
    wanted, came = Counter(expected or ()), capture.counts
    missing = [f"event {seq}" for seq in capture.missing]
    missing += [f"{end} of {subject}" for subject, events in about.items() if (end := missing_end(events, topics))]
    extra = [f"event {label(event)}, again" for event in capture.duplicates]
    extra += [f"event {label(event)} of {event.stream}" for event in capture.foreign]
    extra += [f"{', '.join(names)} in event {label(event)}" for event, names in capture.exposed]
    extra += [f"what is no event: {fault.reason}" for fault in capture.malformed]
    order = [f"event {label(event)}, too late" for event in capture.disordered]
    order += [
        f"{fault[1]}, in {subject}" for subject, events in about.items() if (fault := first_fault(events, topics))
    ]
    if fault := first_fault(capture.of_run(None), topics, resumed=capture.after > 0):
        order.append(f"{fault[1]}, in {capture.stream or 'the stream'}")
    if expected is not None:
        missing += [f"{count} × {name}" for name, count in (wanted - came).items()]
        extra += [f"{count} × {name}" for name, count in (came - wanted).items()]
        if wanted == came and list(expected) != [event.type for event in capture.events]:
            order.append("the types that were expected came in another order")
    return Validation(tuple(missing), tuple(extra), tuple(order), came, Latency.of(capture.latencies))
