"""One topic with 1,000 watchers of 1,000 users, against one user with 1,000 sockets

Both audiences are on one worker, and take turns. The hub serialises an event once for all its watchers, so the number of their
users must make no difference.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial

from benchmarks.contenders import Lots
from benchmarks.measure import Row, say, take_turns
from benchmarks.stage import OTHER_CORE, pin, raise_limits, stage
from test_framework.service_pool import ServicePool

SOCKETS = 1000
EVENTS = 50
TURNS = 15
NO_SLOWER = 0.95


def run() -> list[Row]:
    """Measure both audiences."""
    pin(OTHER_CORE)
    raise_limits()
    with ServicePool("bundled", say=say) as pool:
        return asyncio.run(_measure(pool.get("redis").url))


async def _measure(redis_url: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        contender = Lots(redis_url, f"sqlite+aiosqlite:///{directory}/app.db")
        async with (
            stage(contender, redis_url) as place,
            place.audience(SOCKETS, "lot") as many,
            place.audience(SOCKETS, "ada") as one,
        ):
            audiences = {"many": many, "one": one}
            single = await take_turns({name: audience.work for name, audience in audiences.items()}, TURNS)
            burst = await take_turns({n: partial(a.burst, EVENTS) for n, a in audiences.items()}, TURNS)
    return [
        Row.ahead("one by one, per second of work", single["many"], single["one"], "/s", NO_SLOWER),
        Row.ahead(f"a burst of {EVENTS}", burst["many"], burst["one"], "/s", NO_SLOWER),
    ]
