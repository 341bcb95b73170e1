"""Counters of events in this process, for /metrics and for tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EventCounters:
    committed: int = 0
    published: int = 0
    left_to_journal: int = 0
    received: int = 0
    delivered: int = 0
    gaps_filled: int = 0
    slow_sockets_closed: int = 0
    lag_seconds: float = 0.0
