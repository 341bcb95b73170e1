"""One socket with 100 subscriptions, against 100 sockets

50 clients watch the same 100 lots: first each by one socket, then each by a socket for every lot. Every measurement has a
fresh server. Memory and work are those that the clients added to it, for one subscription; a delivery is measured when
one event of each lot comes at once.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from statistics import median

from benchmarks.contenders import ManyLots
from benchmarks.measure import Row, say
from benchmarks.peers import USER
from benchmarks.stage import OTHER_CORE, pin, raise_limits, stage
from test_framework.service_pool import ServicePool

STREAMS = 100
CLIENTS = 50
TURNS = 3
A_FIFTH = 0.2


@dataclass(frozen=True)
class Cost:
    """What one subscription costs: kilobytes, milliseconds of work to begin it, microseconds of work for a delivery."""

    memory: float
    begin: float
    delivery: float


def run() -> list[Row]:
    """Fill servers with clients of both kinds, in turns."""
    pin(OTHER_CORE)
    raise_limits()
    with ServicePool("bundled", say=say) as pool:
        return asyncio.run(_measure(pool.get("redis").url))


async def _measure(redis_url: str) -> list[Row]:
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    for turn in range(TURNS):
        for one_socket in sorted(costs, reverse=turn % 2 == 0):
            costs[one_socket].append(await _cost(redis_url, one_socket=one_socket))
    rows = []
    for claim, name, unit, bar in (
        ("memory of a subscription", "memory", "kB", A_FIFTH),
        ("work to begin a subscription", "begin", "ms", A_FIFTH),
        ("work for a delivery, an event of each lot at once", "delivery", "µs", None),
    ):
        ours, theirs = (median(getattr(cost, name) for cost in costs[one_socket]) for one_socket in (True, False))
        rows.append(Row.within(claim, ours, theirs, unit, bar))
    return rows


async def _cost(redis_url: str, *, one_socket: bool) -> Cost:
    with tempfile.TemporaryDirectory() as directory:
        contender = ManyLots(redis_url, f"sqlite+aiosqlite:///{directory}/app.db", STREAMS, one_socket=one_socket)
        async with stage(contender, redis_url) as place:
            async with place.audience(1, USER, warm_up=False):
                pass  # what every first client brings into a process is no price of a subscription
            megabytes, worked = place.megabytes, place.processor_seconds
            async with place.audience(CLIENTS, USER, warm_up=False) as audience:
                subscriptions = CLIENTS * STREAMS
                memory = (place.megabytes - megabytes) * 1000 / subscriptions
                begin = (place.processor_seconds - worked) * 1000 / subscriptions
                await audience.burst(STREAMS)
                cost = Cost(memory, begin, 1e6 / await audience.work(STREAMS))
    say(f"{contender.name}: {cost.memory:.2g} kB, {cost.begin:.2g} ms, {cost.delivery:.2g} µs a delivery")
    return cost
