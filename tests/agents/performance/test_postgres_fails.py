"""Ten users at work on two processes, and Postgres breaks: some are told to come back, and none is told what isn't so."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import httpx
import pytest

from app.settings import Settings
from test_framework.faults.breakable import Breakable, Disk
from test_framework.fixtures import MakeSettings
from test_framework.isolation.template import CONNECTION_LOST
from test_framework.ports import lease_many
from test_framework.servers import ProcessServer
from test_framework.waiting import becomes
from tests.agents.performance.crowd import gathered
from tests.agents.performance.ordeal import (
    SHARING,
    USERS,
    Breakables,
    Scenario,
    flapping,
    held,
    in_process_with_rooms,
    logged_in_as,
    urls,
    work_through,
)

pytestmark = pytest.mark.timeout(120)

START_SECONDS = 10.0


async def crash(breakables: Breakables) -> None:
    """Have one session die of SIGKILL, as of want of memory: the server then ends all others and recovers."""
    for _ in range(2):
        connection = await asyncpg.connect(breakables.postgres.url.replace("+asyncpg", ""))
        with suppress(*CONNECTION_LOST):
            await connection.execute("COPY (SELECT 1) TO PROGRAM 'kill -KILL $PPID'")
        connection.terminate()
        await asyncio.sleep(1.0)


async def both_killed(breakables: Breakables) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(breakables.postgres.killed())
        await stack.enter_async_context(breakables.redis.killed())
        await asyncio.sleep(2.0)


SCENARIOS = {
    "postgres is frozen": Scenario(lambda on: held(on.postgres.paused(), 4.0), 5.0, "failed"),
    "postgres is killed and comes back": Scenario(lambda on: held(on.postgres.killed(), 2.0), 3.0, "failed"),
    "postgres is restarted": Scenario(lambda on: held(on.postgres.restarted(), 1.5), 3.0),
    "a session of postgres dies": Scenario(crash, 3.0),
    "postgres is cut off": Scenario(lambda on: held(on.network.cut("postgres"), 2.0), 3.0, "failed"),
    "postgres comes and goes": Scenario(lambda on: flapping(lambda: on.network.cut("postgres")), 4.0, "failed"),
    "postgres answers 200 ms late": Scenario(lambda on: held(on.network.delayed(100, 0, "postgres"), 3.0), 3.0),
    "both are killed and come back": Scenario(both_killed, 3.0, "failed"),
    "both are cut off": Scenario(lambda on: held(on.network.cut(), 2.0), 3.0, "failed"),
}


@pytest.mark.parametrize("what", SCENARIOS)
async def test_nothing_that_was_taken_is_lost_when(
    what: str,
    breakables: Breakables,
    pair: list[ProcessServer],
    shared: Settings,
) -> None:
    scenario = SCENARIOS[what]
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        await work_through(crowd, pair, lambda: scenario.breaking(breakables), scenario.seconds, scenario.says)


async def test_nothing_that_was_taken_is_lost_when_the_disk_is_full(
    disk: Disk, pair: list[ProcessServer], shared: Settings
) -> None:
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        await work_through(crowd, pair, lambda: held(disk.full(), 2.0), 4.0)

        assert 503 in {answer.status for answer in crowd.answers}, "nobody noticed that the disk was full"


async def test_nothing_that_was_taken_is_lost_while_postgres_refuses_our_login(
    postgres: Breakable, make_settings: MakeSettings, shared: Settings
) -> None:
    async with AsyncExitStack() as stack:
        role = await stack.enter_async_context(a_role(postgres, shared.database_url))
        settings = make_settings(database_url=role.url, requests_per_minute=shared.requests_per_minute)
        pair = [await stack.enter_async_context(in_process_with_rooms(settings)) for _ in range(2)]
        crowd = await stack.enter_async_context(gathered(shared, urls(pair), USERS, sharing=SHARING))
        await work_through(crowd, pair, role.refused, 3.5, "failed")


class Role:
    """A login of Postgres's that is taken away behind the service's back."""

    def __init__(self, admin: asyncpg.Connection, url: str) -> None:
        self._admin = admin
        self.name, self._password = f"service_{secrets.token_hex(4)}", secrets.token_hex(16)
        self.url = logged_in_as(url, self.name, self._password)

    async def open(self, verb: str = "ALTER") -> None:
        await self._admin.execute(f"{verb} ROLE {self.name} SUPERUSER LOGIN PASSWORD '{self._password}'")

    async def close(self) -> None:
        await self._admin.execute(f"ALTER ROLE {self.name} NOLOGIN PASSWORD 'another'")
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", self.name
        )

    async def refused(self) -> None:
        await self.close()
        try:
            await asyncio.sleep(2.0)
        finally:
            await self.open()


@asynccontextmanager
async def a_role(postgres: Breakable, url: str) -> AsyncIterator[Role]:
    admin = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
    try:
        role = Role(admin, url)
        await role.open("CREATE")
        try:
            yield role
        finally:
            await role.close()
            await admin.execute(f"DROP ROLE {role.name}")
    finally:
        await admin.close()


async def test_a_service_that_starts_before_its_postgres_says_so_and_serves_once_it_is_there(
    postgres: Breakable, shared: Settings
) -> None:
    comes, gone = asyncio.Event(), asyncio.Event()

    async def absent() -> None:
        async with postgres.killed():
            gone.set()
            await comes.wait()

    async def wait_for_it(url: str) -> None:
        """See what a process says that waits for its database; then let it come."""
        async with httpx.AsyncClient(base_url=url, timeout=START_SECONDS, trust_env=False) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/health/live")).status_code == 200
                except httpx.TransportError:
                    return False

            await becomes(answers, "the process listening", START_SECONDS)
            for path in ("/health/ready", "/health/startup", "/api/runs"):
                assert (await http.get(path)).status_code == 503, path
        comes.set()

    async with AsyncExitStack() as stack:
        [held_port] = [stack.enter_context(each) for each in lease_many(["LATE_PORT"])]
        settings = shared.model_copy(update={"port": held_port.port})
        async with asyncio.TaskGroup() as group:
            group.create_task(absent())
            await gone.wait()
            group.create_task(wait_for_it(f"http://127.0.0.1:{held_port.port}"))
            server = await stack.enter_async_context(in_process_with_rooms(settings))
        crowd = await stack.enter_async_context(gathered(settings, [server.url], USERS, sharing=SHARING))
        assert {answer.status for answer in await crowd.work(1.0, 0.2)} == {202}
        await crowd.runs_ended(START_SECONDS)
        assert await crowd.assert_all_shown(START_SECONDS)
