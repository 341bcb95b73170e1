"""What rooms of the kit have told about tests, by the names under which they tell it.

A room appends `("events.lane", {...})` to its item's `user_properties`; here it becomes part of the model. What does not have
the form that is promised in docs/reports.md is left out and named, because a report must not fail of one test's words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from test_framework.reporting.facts import TestResult
from test_framework.reporting.model import (
    Delivery,
    Event,
    EventLane,
    IsolationMatrix,
    Leak,
    Startup,
    StartupPhase,
)

LANE = "events.lane"
DELIVERY = "events.delivery"
ISOLATION = "isolation.matrix"
STARTUP = "startup.phases"
LEAKS = "guards.leaks"
LOST = "events.lost"

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Loss:
    """Events that one capture of a test passed over."""

    test: str
    events: int


@dataclass(frozen=True)
class Told:
    lanes: tuple[EventLane, ...]
    deliveries: tuple[Delivery, ...]
    isolation: tuple[IsolationMatrix, ...]
    startups: tuple[Startup, ...]
    leaks: tuple[Leak, ...]
    losses: tuple[Loss, ...]
    misunderstood: tuple[str, ...]

    @property
    def lost(self) -> dict[str, int] | None:
        """How many events each test lost; None where no test captured or counted any."""
        if not (self.lanes or self.deliveries or self.losses):
            return None
        found: Counter[str] = Counter()
        for loss in self.losses:
            found[loss.test] += loss.events
        for delivery in self.deliveries:
            found[delivery.test] += max(0, delivery.committed - min(delivery.published, delivery.received))
        return {test: events for test, events in found.items() if events}


def gather(results: Iterable[TestResult]) -> Told:
    """Gather what all tests have told."""
    telling = [result for result in results if result.facts]
    wrong: list[str] = []

    def each(name: str, read: Callable[[str, JsonValue], Iterable[Thing]]) -> tuple[Thing, ...]:
        return tuple(_each(telling, name, read, wrong))

    return Told(
        each(LANE, _lane), each(DELIVERY, _delivery), each(ISOLATION, _isolation), each(STARTUP, _startup),
        each(LEAKS, _leaks), each(LOST, _loss), tuple(wrong),
    )  # fmt: skip


def _each(
    results: Iterable[TestResult], name: str, read: Callable[[str, JsonValue], Iterable[Thing]], wrong: list[str]
) -> Iterator[Thing]:
    for result in results:
        for value in result.facts.get(name, ()):
            try:
                yield from list(read(result.id, value))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                wrong.append(f"{result.id} told {name} in a form that is not known: {error!r}")


def _lane(test: str, value: JsonValue) -> Iterator[EventLane]:
    match value:
        case {"run": str(run), "events": list(events), **rest}:
            yield EventLane(test, run, str(rest.get("user", "")), tuple(map(_event, events)))
        case _:
            raise ValueError("a lane has a run and events")


def _event(value: JsonValue) -> Event:
    match value:
        case {"type": str(event_type), "seq": int(seq), **event}:
            committed, published, received = map(event.get, ("committed", "published", "received"))
            return Event(event_type, seq, _time(committed), _time(published), _time(received))
        case _:
            raise ValueError("an event has a type and a seq")


def _time(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _delivery(test: str, value: JsonValue) -> Iterator[Delivery]:
    match value:
        case {"committed": int(committed), "published": int(published), "received": int(received)}:
            yield Delivery(test, committed, published, received)
        case _:
            raise ValueError("a delivery has committed, published and received")


def _isolation(test: str, value: JsonValue) -> Iterator[IsolationMatrix]:
    match value:
        case {"users": list(users), "seen": list(rows)}:
            seen = tuple(tuple(int(count) for count in row) for row in rows)  # type: ignore[union-attr, arg-type]
            if len(seen) != len(users) or any(len(row) != len(users) for row in seen):
                raise ValueError("there is a row and a column for every user")
            yield IsolationMatrix(test, tuple(map(str, users)), seen)
        case _:
            raise ValueError("a matrix has users and seen")


def _startup(test: str, value: JsonValue) -> Iterator[Startup]:
    match value:
        case [*phases]:
            yield Startup(test, tuple(map(_phase, phases)))
        case _:
            raise ValueError("phases are a list")


def _phase(value: JsonValue) -> StartupPhase:
    match value:
        case {"name": str(name), "start": int() | float() as start, "seconds": int() | float() as seconds, **rest}:
            return StartupPhase(name, float(start), float(seconds), str(rest.get("state", "done")))
        case _:
            raise ValueError("a phase has name, start and seconds")


def _loss(test: str, value: JsonValue) -> Iterator[Loss]:
    match value:
        case {"missing": [*missing]}:
            yield Loss(test, len(missing))
        case _:
            raise ValueError("a loss has the numbers that are missing")


def _leaks(test: str, value: JsonValue) -> Iterator[Leak]:
    for what in value if isinstance(value, list) else [value]:
        yield Leak(test, str(what))
