"""The slowest commits of 16 concurrent writers on SQLite, against the driver's defaults

By default writers poll for the lock and fall behind at random; ours stand in line for it.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.measure import Row, percentile, take_turns
from benchmarks.writing import Write, create_plain_table, desk, journaled, plain_row, seconds_each

BAR_MILLISECONDS = 30
EVENTS = 640
TURNS = 3
USERS = [f"user-{n}" for n in range(16)]


def run() -> list[Row]:
    """Measure events through our journal beside plain rows through the driver as it is."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(f"sqlite+aiosqlite:///{directory}"))


async def _measure(directory: str) -> list[Row]:
    engine = create_async_engine(f"{directory}/default.db", connect_args={"timeout": 60})
    await create_plain_table(engine)
    sessions = async_sessionmaker(engine)

    async def default(user_id: str) -> None:
        async with sessions.begin() as session:
            session.add(plain_row(user_id))

    async with desk(f"{directory}/ours.db") as (database, journal):
        writes: dict[str, Write] = {"ours": journaled(database, journal), "default": default}
        slowest = await take_turns({name: partial(_slowest, write) for name, write in writes.items()}, TURNS)
    await engine.dispose()
    claim = f"{len(USERS)} writers, 99 of 100 commits within"
    return [Row.under(claim, slowest["ours"], BAR_MILLISECONDS, "ms", slowest["default"])]


async def _slowest(write: Write) -> float:
    return percentile(await seconds_each(write, USERS, EVENTS), 0.99) * 1000
