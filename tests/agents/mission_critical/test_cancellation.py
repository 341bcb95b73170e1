"""A run that is cancelled ends as cancelled, once, with whatever it was doing closed before, whenever that comes."""

from __future__ import annotations

import asyncio

import pytest

from app.agents.tables import RunStatus
from test_framework.backend_client import UnexpectedAnswer
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import CALL, ENDED, STARTED, THE_FIVE, THINKING

pytestmark = pytest.mark.usefixtures("kind_of_stream")

CANCELLED = {"status": "cancelled"}


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        ("!stall 60", [STARTED]),
        ("!think hm\n!stall 60", [STARTED, THINKING]),
        ("!call current_time\n!stall 60", [STARTED, *CALL]),
        ("!call no_such_tool\n!stall 60\n!fail never", [STARTED, *CALL, THINKING]),
        ("!stall 60\n!think never\n!call current_time", [STARTED]),
    ],
    ids=["at its beginning", "after a thought", "after a call", "after a call that failed", "before all it would do"],
)
async def test_a_run_is_cancelled_wherever_it_is(ada: AgentsContext, script: str, kinds: list[str]) -> None:
    run = await ada.start_run(script)
    await ada.wait_for_events(kinds, run_id=run.id)

    await ada.client.cancel(run.id)
    await ada.wait_for_end(run.id)

    verdict = ada.validate([*kinds, ENDED])
    assert verdict.valid, verdict
    assert ada.capture.events[-1].payload == CANCELLED
    assert (await ada.client.run(run.id)).status is RunStatus.CANCELLED


async def test_a_run_that_is_cancelled_at_once_ends_once(ada: AgentsContext) -> None:
    run = await ada.start_run("!call current_time\n!stall 60")

    await asyncio.gather(*(ada.client.cancel(run.id) for _ in range(10)))
    await ada.wait_for_end(run.id)
    await ada.run_agent("!stall 0")

    ada.capture.assert_unbroken()
    ada.capture.assert_grammatical(run.id)
    assert ada.capture.of_run(run.id)[-1].payload == CANCELLED


async def test_a_cancel_that_comes_after_the_end_changes_nothing(ada: AgentsContext) -> None:
    run = await ada.run_agent("hello")

    assert (await ada.client.cancel(run.id)).status is RunStatus.COMPLETED
    await ada.run_agent("!stall 0")

    assert len(ada.capture.of_run(run.id)) == len(THE_FIVE)
    assert ada.capture.of_run(run.id)[-1].payload["status"] == "completed"


async def test_a_cancel_touches_no_other_run_of_the_user(ada: AgentsContext) -> None:
    kept = await ada.start_run("!stall 0.2\n!think still here")
    cancelled = await ada.start_run("!stall 60")

    await ada.client.cancel(cancelled.id)
    await ada.wait_for_end(cancelled.id)
    await ada.wait_for_end(kept.id)

    ada.capture.assert_kinds(kept.id, [STARTED, THINKING, ENDED])
    assert ada.capture.of_run(kept.id)[-1].payload["status"] == "completed"


async def test_nobody_cancels_the_run_of_another(ada: AgentsContext, bob: AgentsContext) -> None:
    run = await ada.start_run("!stall 0.1\n!think undisturbed")

    with pytest.raises(UnexpectedAnswer, match=f"(?s)got 404.*you have no run {run.id}"):
        await bob.client.cancel(run.id)
    await ada.wait_for_end(run.id)

    assert ada.capture.events[-1].payload["status"] == "completed"
    assert bob.capture.events == []


async def test_a_run_is_cancelled_by_a_user_who_has_left(ada: AgentsContext) -> None:
    run = await ada.start_run("!think hm\n!stall 60")
    await ada.wait_for_events([THINKING], run_id=run.id)
    await ada.disconnect()

    await ada.client.cancel(run.id)
    await ada.connect()
    await ada.wait_for_end(run.id)

    assert ada.validate([STARTED, THINKING, ENDED]).valid
    assert ada.capture.events[-1].payload == CANCELLED
