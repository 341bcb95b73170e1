"""What the kit sees of a test goes into the run's record by itself."""

from __future__ import annotations

import pytest

from commitstream.settings import EngineSettings
from commitstream.tests.jobs.client import JobsContext
from test_framework.reporting.facts import TestResult
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.told import gather
from test_framework.running import telling
from test_framework.servers import Server
from test_framework.tests.unit.websocket.liar import liar
from test_framework.tests.unit.websocket.planted import ADA, ada_of, text


def told_of(request: pytest.FixtureRequest) -> TestResult:
    facts: dict[str, tuple[object, ...]] = {}
    for name, value in request.node.user_properties:
        facts[name] = (*facts.get(name, ()), value)
    return TestResult(request.node.nodeid, Outcome.PASSED, facts=facts)  # type: ignore[arg-type]


async def test_a_context_tells_when_its_events_came(shared_server: Server, request: pytest.FixtureRequest) -> None:
    async with JobsContext(shared_server) as ada:
        job = await ada.do("how many words are these")

    told = gather([told_of(request)])
    (lane,) = told.lanes
    assert told.misunderstood == ()
    assert (lane.run, lane.user, len(lane.events)) == (job.id, ada.user.id, 5)
    assert all((event.received or 0) >= (event.committed or 0) > 0 for event in lane.events)


async def test_events_without_a_subject_are_a_lane(plain: EngineSettings, request: pytest.FixtureRequest) -> None:
    lines = [text(1, "bid", None), text(2, "sold", None)]
    async with liar(plain, lines) as server, JobsContext(server, ada_of(plain)) as ada:
        await ada.wait_for_seq(2)

    (lane,) = gather([told_of(request)]).lanes
    assert (lane.run, [event.type for event in lane.events]) == (ADA, ["bid", "sold"])


def test_a_matrix_and_a_delivery_are_understood(request: pytest.FixtureRequest) -> None:
    telling.tell_isolation(["ada", "bob"], [[5, 0], [0, 5]])
    telling.tell_delivery(10, 10, 10)

    told = gather([told_of(request)])

    assert told.misunderstood == ()
    assert told.isolation[0].strays == 0
    assert told.deliveries[0].equal


def test_outside_a_test_nobody_listens(request: pytest.FixtureRequest) -> None:
    telling.listen(None)
    telling.tell("anything", 1)
    telling.listen(request.node.user_properties)

    assert ("anything", 1) not in request.node.user_properties
