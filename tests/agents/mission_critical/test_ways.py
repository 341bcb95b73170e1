"""Every way a run can go: the events that tell of it, in order, each exactly once, the same for whoever looks."""

from __future__ import annotations

import pytest

from app.agents.tables import RunStatus
from commitstream.envelope import Envelope
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import WAYS, Way

on_both_kinds_of_stream = pytest.mark.usefixtures("kind_of_stream")


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@on_both_kinds_of_stream
async def test_a_run_is_told_event_by_event_once_and_in_order(ada: AgentsContext, way: Way) -> None:
    run = await ada.run_agent(way.message)

    verdict = ada.validate(way.kinds)
    assert verdict.valid, verdict
    way.assert_told_by(ada.capture.of_run(run.id))
    assert (await ada.client.run(run.id)).status == ada.capture.events[-1].payload["status"]


async def test_socket_journal_and_stream_tell_a_run_alike(ada: AgentsContext, way: Way) -> None:
    run = await ada.run_agent(way.message)
    streamed: list[Envelope] = []

    async with ada.client.stream(after=0) as stream:
        async for event in stream:
            streamed.append(event)
            if len(streamed) == len(way.kinds):
                break
    async with AgentsContext(ada.server, ada.user, joined=True) as joined:
        await joined.wait_for_end(run.id)

        joined.capture.assert_same_as(ada.capture)
    assert streamed == ada.capture.events
    assert await ada.client.events(run.id) == ada.capture.events


async def test_runs_of_every_way_one_after_another_are_one_unbroken_stream(ada: AgentsContext) -> None:
    runs = [(way, await ada.run_agent(way.message)) for way in WAYS.values()]

    ada.capture.assert_unbroken()
    assert ada.capture.runs == [run.id for _, run in runs]
    for way, run in runs:
        way.assert_told_by(ada.capture.of_run(run.id))


@on_both_kinds_of_stream
async def test_runs_of_every_way_at_once_are_each_told_whole(ada: AgentsContext) -> None:
    runs = {way: await ada.start_run(way.message) for way in WAYS.values()}
    for run in runs.values():
        await ada.wait_for_end(run.id)

    ada.capture.assert_unbroken()
    ada.capture.assert_nothing_foreign()
    for way, run in runs.items():
        way.assert_told_by(ada.capture.of_run(run.id))
    assert {view.status for view in await ada.client.runs()} == {RunStatus.COMPLETED, RunStatus.FAILED}
