"""10,000 sockets on one worker: the memory they hold when idle, and fan-out to all of them

One server at a time, each with a fresh process. Memory is what the worker holds once everybody is in; then single events
go to all of them.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from statistics import median

from benchmarks.contenders import Broadcaster, Contender, Ours, SocketIO
from benchmarks.measure import Row, say
from benchmarks.peers import USER
from benchmarks.stage import OTHER_CORE, pin, raise_limits, stage
from test_framework.service_pool import ServicePool

SOCKETS = 10_000
MEGABYTES = 350
TURNS = 3


@dataclass(frozen=True)
class Result:
    megabytes: float
    fanout: float
    seconds: float


def run() -> list[Row]:
    """Fill each server with sockets, one server after the other."""
    pin(OTHER_CORE)
    raise_limits()
    with ServicePool("bundled", say=say) as pool:
        return asyncio.run(_measure(pool.get("redis").url))


async def _measure(redis_url: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        ours = await _fill(Ours(redis_url, f"sqlite+aiosqlite:///{directory}/app.db"), redis_url)
    rows = []
    for peer in (Broadcaster(redis_url), SocketIO(redis_url)):
        theirs = await _fill(peer, redis_url)
        rows += [
            Row.under(
                f"memory with {SOCKETS:,} sockets, {peer.name}", ours.megabytes, MEGABYTES, "MB", theirs.megabytes
            ),
            Row.ahead(f"fan-out, against {peer.name}", ours.fanout, theirs.fanout, "/s", 1),
            Row.within(f"until all are in, against {peer.name}", ours.seconds, theirs.seconds, "s"),
        ]
    return rows


async def _fill(contender: Contender, redis_url: str) -> Result:
    async with stage(contender, redis_url) as place, place.audience(SOCKETS, USER) as audience:
        megabytes = place.megabytes
        fanout = median([await audience.one_by_one(1) for _ in range(TURNS)])
    say(f"{contender.name}: {megabytes:.0f} MB, {fanout:,.0f} deliveries/s")
    return Result(megabytes, fanout, audience.seconds_to_enter)
