"""How many connections the service has to a database that counts them."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from commitstream.engine import Engine
from commitstream.tests.jobs.application import migrations
from commitstream.tests.jobs.conftest import MakeJobsSettings

WAITS_SECONDS = 0.3
DEADLINE_SECONDS = 5.0
OURS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = current_setting('application_name')"
)


async def test_a_process_has_no_more_connections_to_postgres_than_it_is_allowed(
    make_settings: MakeJobsSettings,
) -> None:
    database = Engine(make_settings(database_pool_size=2), migrations=migrations).database
    async with database.reading() as one, database.reading() as other:
        await one.execute(text("SELECT 1"))
        assert await other.scalar(OURS) == 2

        third = asyncio.create_task(database.ping())
        await asyncio.wait([third], timeout=WAITS_SECONDS)

        assert not third.done()
        assert await other.scalar(OURS) == 2
    async with asyncio.timeout(DEADLINE_SECONDS):
        await third
    await database.close()
