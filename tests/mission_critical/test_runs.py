"""From a request to the socket: the same claims, whatever is real."""

from __future__ import annotations

from app.events.kinds import EventKind
from test_framework.servers import Server
from test_framework.test_context import TestContext

THE_FIVE = [
    EventKind.AGENT_STARTED,
    EventKind.AGENT_THINKING,
    EventKind.TOOL_EXECUTING,
    EventKind.TOOL_COMPLETED,
    EventKind.AGENT_COMPLETED,
]


async def test_a_run_shows_its_five_events_once_and_in_order(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.run_agent("how many words are these")

        ada.capture.assert_kinds(run.id, THE_FIVE)
        ada.capture.assert_unbroken()
        assert ada.capture.events[-1].payload["answer"] == "Your message has 5 words."


async def test_the_journal_holds_what_the_socket_was_shown(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.run_agent("hello")

        assert await ada.client.events(run.id) == ada.capture.of_run(run.id)
        assert (await ada.client.run(run.id)).status == "completed"


async def test_a_tool_that_is_not_there_is_announced_and_completed_all_the_same(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.run_agent("!call no_such_tool {}")

        completed = ada.capture.of_run(run.id)[2]
        assert completed.kind is EventKind.TOOL_COMPLETED
        assert completed.payload["status"] == "failed"
        ada.capture.assert_grammatical(run.id)


async def test_a_model_that_fails_ends_its_run_as_failed(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.run_agent("!fail out of ideas")

        last = ada.capture.of_run(run.id)[-1]
        assert (last.kind, last.payload) == (EventKind.AGENT_COMPLETED, {"status": "failed", "error": "out of ideas"})


async def test_a_cancelled_run_ends_as_cancelled(server: Server) -> None:
    async with TestContext(server) as ada:
        run = await ada.client.start_run("!stall 60")

        await ada.client.cancel(run.id)
        await ada.wait_for_end(run.id)

        assert ada.capture.events[-1].payload["status"] == "cancelled"
        ada.capture.assert_grammatical(run.id)


async def test_a_client_that_comes_back_with_its_cursor_misses_nothing(server: Server) -> None:
    async with TestContext(server) as ada:
        await ada.run_agent("before")
        await ada.disconnect()

        run = await ada.client.start_run("meanwhile")
        await ada.connect()
        await ada.wait_for_end(run.id)

        ada.capture.assert_unbroken()
        ada.capture.assert_kinds(run.id, THE_FIVE)


async def test_a_user_is_never_shown_the_events_of_another(server: Server) -> None:
    async with TestContext(server) as ada, TestContext(server) as bob:
        hers = await ada.run_agent("mine")
        his = await bob.run_agent("my own")

        assert {event.run_id for event in ada.capture.events} == {hers.id}
        assert {event.run_id for event in bob.capture.events} == {his.id}
        assert (await bob.client.request("GET", f"/api/runs/{hers.id}")).status_code == 404
