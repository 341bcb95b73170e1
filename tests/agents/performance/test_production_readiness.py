"""What a night of operation asks of the service: restarts without lost events, no growth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import psutil
import pytest

from test_framework.fixtures import MakeSettings
from test_framework.ports import lease_many
from test_framework.servers import ProcessServer, in_process, token
from tests.agents.performance.crowd import gathered

RUNS = 10_000
WARM_UP_RUNS = 2_000
AT_ONCE = 32
SHORTEST = "!stall 0"  # a run that begins and ends: nothing is told in between, everything is kept and let go of
PAUSE = 0.4
ENDED_SECONDS = 10.0
SHOWN_SECONDS = 5.0
DRAINED_SECONDS = 10.0
A_FIFTH = 1.2
POOLED = 20


@asynccontextmanager
async def restartable(make_settings: MakeSettings, count: int) -> AsyncIterator[list[ProcessServer]]:
    """Processes of the service at addresses that they come back to."""
    async with AsyncExitStack() as stack:
        names = [f"REPLICA_{number}_PORT" for number in range(count)]
        ports = [stack.enter_context(held).port for held in lease_many(names)]
        base = make_settings(requests_per_minute=100_000)
        settings = [base.model_copy(update={"port": port}) for port in ports]
        yield [await stack.enter_async_context(in_process(each)) for each in settings]


@pytest.mark.timeout(90)
async def test_a_rolling_restart_is_noticed_by_nobody(make_settings: MakeSettings) -> None:
    async with AsyncExitStack() as stack, restartable(make_settings, 2) as pair:
        urls = [server.url for server in pair]
        crowd = await stack.enter_async_context(gathered(pair[0].settings, urls, 8, watches_each=1))

        async def roll() -> None:
            for server in pair:
                crowd.urls.remove(server.url)  # as a balancer does, which has seen that it is not ready
                server.process.terminate()
                assert await asyncio.wait_for(server.process.wait(), DRAINED_SECONDS) == 0, server.said
                await stack.enter_async_context(in_process(server.settings))
                crowd.urls.append(server.url)

        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.work(6.0, PAUSE))
            group.create_task(roll())
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)

        restarts = sum(watch.closes[1012] for watch in crowd.watches)
        print(f"\n{shown} events shown, {restarts} sockets were told to come back, {len(crowd.answers)} requests")
        statuses = Counter(answer.status for answer in crowd.answers)
        assert statuses.keys() <= {202, 503}, (
            "whoever was on the way when a process began to drain is told to come back"
        )
        assert statuses[503] <= len(crowd.users) * len(pair)
        assert await crowd.count_of_runs() == statuses[202]
        assert restarts >= len(crowd.watches)


@pytest.mark.timeout(300)
async def test_ten_thousand_runs_leave_the_process_as_it_was(make_settings: MakeSettings) -> None:
    settings = make_settings(requests_per_minute=10_000_000)
    async with in_process(settings) as server:
        process = psutil.Process(server.process.pid)
        await many_runs(server, WARM_UP_RUNS)
        memory, files, threads = process.memory_info().rss, process.num_fds(), process.num_threads()

        await many_runs(server, RUNS - WARM_UP_RUNS)

        grown = process.memory_info().rss
        print(f"\n{memory / 2**20:.0f} MB after {WARM_UP_RUNS} runs, {grown / 2**20:.0f} MB after {RUNS}")
        assert grown < memory * A_FIFTH
        assert process.num_fds() <= files + POOLED  # connections to the database, kept for the next
        assert process.num_threads() <= threads


async def many_runs(server: ProcessServer, count: int) -> None:
    """Start so many runs, never more than a few at once, and wait until each has ended."""
    left = iter(range(count))
    async with httpx.AsyncClient(base_url=server.url, timeout=10.0, trust_env=False) as http:

        async def user(number: int) -> None:
            headers = {"Authorization": f"Bearer {token(server.settings, f'user{number}')}"}
            async with http.stream("GET", "/api/events", headers=headers) as events:
                lines = events.aiter_lines()
                for _ in left:
                    answer = await http.post("/api/runs", json={"message": SHORTEST}, headers=headers)
                    assert answer.status_code == 202, answer.text
                    async for line in lines:
                        if "agent_completed" in line:
                            break

        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(user(number))
