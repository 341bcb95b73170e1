"""Whether captured events keep the order of types that their topic declares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from commitstream.envelope import Envelope
from commitstream.topics import Order, OrderError, Stream, Topics, UnknownTopicError
from test_framework.project import project


@cache
def registry() -> Topics:
    """Return the topics of the project under test."""
    return Topics(project().topics())


def order_of(event: Envelope) -> Order | None:
    """Return the order that an event has to keep; None where its topic has none for its type."""
    try:
        return registry().of(Stream.parse(event.stream)).order_of(event.type)
    except UnknownTopicError:
        return None


def first_fault(events: Sequence[Envelope]) -> tuple[int, str] | None:
    """Return where the events about one subject break their order, and how; None where they keep it."""
    last: dict[int, str] = {}
    for place, event in enumerate(events):
        if (order := order_of(event)) is None:
            continue
        try:
            order.check(last.get(id(order)), event.type)
        except OrderError as fault:
            return place, str(fault)
        last[id(order)] = event.type
    return None


def missing_end(events: Sequence[Envelope]) -> str:
    """Say which types could end what these events began; empty where it has ended, or has no order."""
    ordered = [(order, event) for event in events if (order := order_of(event)) is not None]
    if not ordered:
        return ""
    order, last = ordered[-1]
    return "" if last.type in order.last or not order.last else " or ".join(sorted(order.last))
