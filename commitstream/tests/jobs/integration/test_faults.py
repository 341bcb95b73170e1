"""The service under faults that a test asks for by name: they reach it wherever its Postgres and its Redis run."""

from __future__ import annotations

from commitstream.tests.jobs.client import JobsClient, JobsContext
from test_framework.faults.breakable import Breakable, Disk, Network
from test_framework.faults.skewed_clock import Clock
from test_framework.servers import Server
from test_framework.waiting import becomes

DEADLINE_SECONDS = 15.0


async def readiness(client: JobsClient) -> str:
    return str((await client.request("GET", "/health/ready")).json()["status"])


async def comes_to(client: JobsClient, *wanted: str) -> None:
    async def there() -> bool:
        return await readiness(client) in wanted

    await becomes(there, f"readiness to be {' or '.join(wanted)}", DEADLINE_SECONDS)


async def test_a_killed_redis_degrades_the_service_until_it_is_back(server: Server, redis: Breakable) -> None:
    async with JobsContext(server) as ada:
        await comes_to(ada.client, "ready")
        async with redis.killed():
            await comes_to(ada.client, "degraded")
            job = await ada.client.start("hello")
            await ada.wait_for_end(job.id)
        await comes_to(ada.client, "ready")

        ada.capture.assert_unbroken()


async def test_a_killed_postgres_takes_the_service_out_until_it_is_back(server: Server, postgres: Breakable) -> None:
    async with JobsContext(server) as ada:
        before = await ada.do("hello")
        async with postgres.killed():
            await comes_to(ada.client, "failed")
        await comes_to(ada.client, "ready")

        assert [job.id for job in await ada.client.jobs()] == [before.id]


async def test_a_cut_network_is_noticed_and_the_service_recovers(server: Server, network: Network) -> None:
    async with JobsContext(server) as ada:
        await comes_to(ada.client, "ready")
        async with network.cut():
            await comes_to(ada.client, "failed")
        await comes_to(ada.client, "ready")


async def test_a_slow_network_makes_the_service_slow_and_no_worse(server: Server, network: Network) -> None:
    async with JobsContext(server) as ada:
        async with network.delayed(20, 20):
            job = await ada.do("hello")

        assert job.id
        ada.capture.assert_unbroken()


async def test_what_was_written_is_read_from_a_full_disk_and_writing_goes_on_after_it(
    server: Server, disk: Disk
) -> None:
    async with JobsContext(server) as ada:
        before = await ada.do("hello")
        async with disk.full():
            assert [job.id for job in await ada.client.jobs()] == [before.id]
        await comes_to(ada.client, "ready")
        after = await ada.do("hello again")

        assert {job.id for job in await ada.client.jobs()} == {before.id, after.id}


async def test_a_clock_that_jumps_ahead_ends_a_token_and_one_set_right_again_takes_it(
    server: Server, clock: Clock
) -> None:
    async with JobsContext(server) as ada:
        assert (await ada.client.request("GET", "/api/jobs")).status_code == 200
        async with clock.skewed(400 * 24 * 3600):
            assert (await ada.client.request("GET", "/api/jobs")).status_code == 401
        assert (await ada.client.request("GET", "/api/jobs")).status_code == 200
