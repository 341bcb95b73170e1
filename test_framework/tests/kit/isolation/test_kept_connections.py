"""A connection that is kept from test to test belongs to somebody at every moment."""

from __future__ import annotations

import asyncio
import gc
from itertools import product

from commitstream.db.database import Database
from test_framework.isolation.databases import Databases
from test_framework.isolation.levels import Level
from test_framework.service_pool import ServicePool

MOST_TURNS = 200


async def ask(url: str) -> None:
    database = Database(url, 1)
    await database.ping()
    await database.close()


async def test_whoever_is_cancelled_while_one_is_handed_over_leaves_none_open(
    worker: Databases, pool: ServicePool
) -> None:
    async with worker.give(pool, Level.RESET, "is cancelled") as given:
        for turns, one_is_kept in product(range(0, MOST_TURNS, 2), (False, True)):
            if one_is_kept:
                await ask(given.url)
            database = Database(given.url, 1)
            asking = asyncio.create_task(database.ping())
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            await database.close()
        gc.collect()  # with a warning that fails this test, if one is still open

        await ask(given.url)
        await ask(given.url)
        assert worker.store.reused > 0


async def test_a_run_keeps_its_connections_while_their_failures_are_counted(
    worker_databases: Databases, pool: ServicePool
) -> None:
    before = worker_databases.store.reused

    async with worker_databases.give(pool, Level.RESET, "asks twice") as given:
        await ask(given.url)
        await ask(given.url)

    assert worker_databases.store.reused > before
