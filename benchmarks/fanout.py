"""Fan-out on one worker through Redis: events of one user, many sockets

Every server runs at once and contenders take turns. In a burst all events are published in one go: messages that wait may
then be joined. One by one, an event is published when everybody has the one before, so that each delivery is a write of
its own for every contender: counted are deliveries per second of the worker's processor, the price of a single delivery.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.contenders import Broadcaster, Ours, SocketIO
from benchmarks.measure import Row, say, take_turns
from benchmarks.peers import USER
from benchmarks.stage import OTHER_CORE, Audience, pin, raise_limits, stage
from test_framework.service_pool import ServicePool

TURNS = 5
EVENTS = {100: 200, 1000: 20}


def run() -> list[Row]:
    """Measure 100 and 1,000 sockets."""
    pin(OTHER_CORE)
    raise_limits()
    with ServicePool("bundled", say=say) as pool:
        return asyncio.run(_measure(pool.get("redis").url))


async def _measure(redis_url: str) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            contenders = (
                Ours(redis_url, f"sqlite+aiosqlite:///{directory}/app.db"),
                Broadcaster(redis_url),
                SocketIO(redis_url),
            )
            entering = [stack.enter_async_context(stage(contender, redis_url)) for contender in contenders]
            ours, broadcaster, socketio = await asyncio.gather(*entering)
            for sockets in EVENTS:
                async with AsyncExitStack() as audiences:
                    entering_too = [
                        audiences.enter_async_context(place.audience(sockets, user))
                        for place, user in (
                            (ours, f"ada-{sockets}"),
                            (ours, f"joined-{sockets}"),
                            (broadcaster, USER),
                            (socketio, USER),
                        )
                    ]
                    names = ("ours", "joined", "broadcaster", "socketio")
                    rows += await _rows(dict(zip(names, await asyncio.gather(*entering_too), strict=True)), sockets)
    return rows


async def _rows(audiences: dict[str, Audience], sockets: int) -> list[Row]:
    say(f"{sockets} sockets, in bursts of {EVENTS[sockets]} and one by one")
    burst = await take_turns({n: partial(a.burst, EVENTS[sockets]) for n, a in audiences.items()}, TURNS)
    single = await take_turns({n: a.work for n, a in audiences.items() if n != "joined"}, TURNS)
    rows = []
    for peer, bar in (("broadcaster", 1.2), ("socketio", 2.5)):
        claim = f"{sockets:,} sockets"
        rows += [
            Row.ahead(
                f"{claim}, one by one, per second of work, against {peer}", single["ours"], single[peer], "/s", bar
            ),
            Row.ahead(f"{claim}, a burst, a frame per event, against {peer}", burst["ours"], burst[peer], "/s", bar),
            Row.ahead(f"{claim}, a burst, joined frames, against {peer}", burst["joined"], burst[peer], "/s", 5),
        ]
    return rows
