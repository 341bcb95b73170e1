"""Whether captured events keep the order of types that their topic declares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from commitstream.envelope import Envelope
from commitstream.topics import InvalidStreamError, Order, OrderError, Stream, Topic, Topics, UnknownTopicError
from test_framework.project import project


@cache
def registry() -> Topics:
    """Return the topics of the project under test."""
    return Topics(project().topics())


def topic_of(event: Envelope, topics: Topics | None = None) -> Topic | None:
    """Return the topic of an event's stream, of these topics or the project's; None where it is none of them."""
    try:
        return (topics or registry()).of(Stream.parse(event.stream))
    except (InvalidStreamError, UnknownTopicError):
        return None


def order_of(event: Envelope, topics: Topics | None = None) -> Order | None:
    """Return the order that an event has to keep; None where its topic has none for its type."""
    topic = topic_of(event, topics)
    return None if topic is None else topic.order_of(event.type)


def first_fault(
    events: Sequence[Envelope], topics: Topics | None = None, *, resumed: bool = False
) -> tuple[int, str] | None:
    """Return where the events about one subject break their order, and how; None where they keep it.

    `resumed`: events came before the first one, so that any type may begin.
    """
    last: dict[int, str] = {}
    for place, event in enumerate(events):
        if (order := order_of(event, topics)) is None:
            continue
        try:
            if id(order) in last or not resumed:
                order.check(last.get(id(order)), event.type)
        except OrderError as fault:
            return place, str(fault)
        last[id(order)] = event.type
    return None


def missing_end(events: Sequence[Envelope], topics: Topics | None = None) -> str:
    """Say which types could end what these events began; empty where it has ended, or has no order."""
    ordered = [(order, event) for event in events if (order := order_of(event, topics)) is not None]
    if not ordered:
        return ""
    order, last = ordered[-1]
    return "" if last.type in order.last or not order.last else " or ".join(sorted(order.last))
