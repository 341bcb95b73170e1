"""What a night of operation asks of the service: the same start every time, honest health, restarts nobody notices, no growth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
import psutil
import pytest

from app.main import create_app
from commitstream.lifecycle.plan import Phase, State
from commitstream.lifecycle.startup import StartupManager
from test_framework.faults.breakable import Breakable, Network
from test_framework.fixtures import MakeSettings
from test_framework.ports import lease_many
from test_framework.servers import ProcessServer, in_process, token
from test_framework.services.fault import Fault
from test_framework.waiting import becomes
from tests.agents.client import AgentsClient
from tests.agents.performance.crowd import gathered

STARTS = 100
RUNS = 10_000
WARM_UP_RUNS = 2_000
AT_ONCE = 32
SHORTEST = "!stall 0"  # a run that begins and ends: nothing is told in between, everything is kept and let go of
PAUSE = 0.4
BACK_SECONDS = 20.0
ENDED_SECONDS = 10.0
SHOWN_SECONDS = 5.0
DRAINED_SECONDS = 10.0
A_FIFTH = 1.2
POOLED = 20

ORDER = list(Phase)


@pytest.mark.timeout(120)
async def test_a_hundred_starts_go_the_same_way_and_pass_each_barrier_in_order(make_settings: MakeSettings) -> None:
    settings = make_settings()
    ways: set[tuple[tuple[str, tuple[str, ...]], ...]] = set()

    for _ in range(STARTS):
        app = create_app(settings)
        passed = watched(app.state.startup)
        report = await app.state.startup.run()
        await app.state.cleanup.run("one of many starts is over")

        ways.add(tuple((each.name, tuple(part.name for part in each.components)) for each in report.phases))
        assert [phase for phase, _ in passed] == ORDER
        for place, (_, states) in enumerate(passed):
            assert {states[before] for before in ORDER[:place]} <= {State.READY}
            assert {states[after] for after in ORDER[place + 1 :]} <= {State.PENDING}

    assert len(ways) == 1


def watched(startup: StartupManager) -> list[tuple[str, dict[str, State]]]:
    """Have something look about in every phase: which phase it was, and how far each was then."""
    seen: list[tuple[str, dict[str, State]]] = []

    async def look(phase: str) -> None:
        seen.append((phase, {report.name: report.state for report in startup.report().phases}))

    for phase in ORDER:
        startup.add(f"looks about in {phase}", phase=phase, start=partial(look, phase))
    return seen


Breaking = Callable[[Breakable, Breakable, Network], Fault]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("breaking", "word", "status", "at_fault"),
    [
        pytest.param(lambda redis, _, __: redis.paused(), "degraded", 200, {"bus"}, id="redis frozen"),
        pytest.param(lambda redis, _, __: redis.killed(), "degraded", 200, {"bus"}, id="redis killed"),
        pytest.param(lambda _, __, network: network.cut("redis"), "degraded", 200, {"bus"}, id="redis cut off"),
        pytest.param(lambda _, postgres, __: postgres.paused(), "failed", 503, {"database"}, id="postgres frozen"),
        pytest.param(lambda _, postgres, __: postgres.killed(), "failed", 503, {"database"}, id="postgres killed"),
        pytest.param(lambda _, __, network: network.cut(), "failed", 503, {"bus", "database"}, id="both cut off"),
    ],
)
async def test_health_says_what_is_wrong_and_that_it_is_over(
    make_settings: MakeSettings,
    redis: Breakable,
    postgres: Breakable,
    network: Network,
    breaking: Breaking,
    word: str,
    status: int,
    at_fault: set[str],
) -> None:
    async with in_process(make_settings()) as server, AgentsClient(server.url) as client:

        async def says(expected: str) -> bool:
            return (await client.ready()).status == expected

        await becomes(lambda: says("ready"), "the service ready")

        async with breaking(redis, postgres, network):
            await becomes(lambda: says(word), f"the service {word}")
            readiness = await client.ready()
            code, live, started = await codes(server)

            assert {name for name, check in readiness.checks.items() if not check.ok} == at_fault
            assert (code, live, started) == (status, 200, 200)

        took = await becomes(lambda: says("ready"), "the service ready again", BACK_SECONDS)
        print(f"\nready again {took:.2f} s after it was healed")


async def codes(server: ProcessServer) -> tuple[int, ...]:
    """The status of /health/ready, /health/live and /health/startup."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        return tuple([(await http.get(f"/health/{name}")).status_code for name in ("ready", "live", "startup")])


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
