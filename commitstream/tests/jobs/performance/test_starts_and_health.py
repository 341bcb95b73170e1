"""A hundred starts go the same way, and health tells each fault of a service by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx
import pytest

from commitstream.lifecycle.plan import Phase, State
from commitstream.lifecycle.startup import StartupManager
from commitstream.tests.jobs.application import create_app
from commitstream.tests.jobs.client import JobsClient
from commitstream.tests.jobs.conftest import MODULE, MakeJobsSettings
from test_framework.faults.breakable import Breakable, Network
from test_framework.servers import ProcessServer, in_process
from test_framework.services.fault import Fault
from test_framework.waiting import becomes

STARTS = 100
BACK_SECONDS = 20.0

ORDER = list(Phase)


@pytest.mark.timeout(120)
async def test_a_hundred_starts_go_the_same_way_and_pass_each_barrier_in_order(make_settings: MakeJobsSettings) -> None:
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
    make_settings: MakeJobsSettings,
    redis: Breakable,
    postgres: Breakable,
    network: Network,
    breaking: Breaking,
    word: str,
    status: int,
    at_fault: set[str],
) -> None:
    async with in_process(make_settings(), module=MODULE) as server, JobsClient(server.url) as client:

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
