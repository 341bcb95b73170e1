"""The event that the benchmarks write: it has a subject and an order, as those of a domain may have."""

from __future__ import annotations

from commitstream.events import Event
from commitstream.topics import Order, users


class Started(Event, subject="run_id"):
    run_id: str
    message: str


TOPICS = (users(events=[Started], order=Order(first=[Started], follows={Started: []})),)
