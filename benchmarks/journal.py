"""The journal's price: an event numbered, committed and handed on, against a plain ORM insert and commit

Both write through the same engine and the same pool, and take turns. The bar holds for writers of different users; where
all write to one user's stream they wait for one another, which is what makes the stream gapless. Events of three streams
in one transaction are measured against one event, with the same writers.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial

from benchmarks.measure import Row, say, take_turns
from benchmarks.writing import desk, journaled, plain, seconds_in_all
from test_framework.service_pool import ServicePool

AT_MOST = 1.25
STREAMS, AT_MOST_FOR_THREE = 3, 1.5
EVENTS = 320
TURNS = 9
WRITERS = {
    "1 writer": (["ada"], AT_MOST),
    "16 writers": ([f"user-{n}" for n in range(16)], AT_MOST),
    "16 writers of one user": (["ada"] * 16, None),
}


def run() -> list[Row]:
    """Measure both on Postgres and on SQLite."""
    with ServicePool("bundled", say=say) as pool, tempfile.TemporaryDirectory() as directory:
        urls = {
            "Postgres": pool.get("postgres").url,
            "SQLite": f"sqlite+aiosqlite:///{directory}/journal.db",
        }
        return [row for name, url in urls.items() for row in asyncio.run(_measure(name, url))]


async def _measure(name: str, url: str) -> list[Row]:
    rows = []
    async with desk(url) as (database, journal):
        for who, (users, bar) in WRITERS.items():
            say(f"{name}, {who}")
            writes = {
                "plain": plain(database),
                "ours": journaled(database, journal),
                "three": journaled(database, journal, STREAMS),
            }
            seconds = await take_turns({n: partial(seconds_in_all, w, users, EVENTS) for n, w in writes.items()}, TURNS)
            each = {n: value / EVENTS * 1000 for n, value in seconds.items()}
            three_bar = None if bar is None else AT_MOST_FOR_THREE
            rows += [
                Row.within(f"{name}, {who}", each["ours"], each["plain"], "ms", bar),
                Row.within(f"{name}, {who}, {STREAMS} streams at once", each["three"], each["ours"], "ms", three_bar),
            ]
    return rows
