"""Who watches: one user on several sockets, runs that go on side by side, and users who leave in the middle."""

from __future__ import annotations

import asyncio

import pytest

from app.agents.tables import RunStatus
from commitstream.envelope import Envelope
from test_framework.backend_client import UnexpectedAnswer
from test_framework.servers import Server
from test_framework.waiting import becomes
from tests.agents.client import AgentsClient
from tests.agents.clients import slow_reader, two_sockets
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import CALL, ENDED, STARTED, THE_FIVE, THINKING

pytestmark = pytest.mark.usefixtures("kind_of_stream")


async def test_a_run_started_over_rest_is_watched_on_two_sockets(shared_server: Server) -> None:
    async with two_sockets(shared_server) as (first, second):
        async with AgentsClient(shared_server.url, first.user.token) as elsewhere:
            run = await elsewhere.start_run("how many words are these")
        for socket in (first, second):
            await socket.wait_for_end(run.id)
            socket.capture.assert_kinds(run.id, THE_FIVE)
            socket.capture.assert_unbroken()

        second.capture.assert_same_as(first.capture)


async def test_a_run_is_watched_by_whoever_comes_in_its_middle(ada: AgentsContext) -> None:
    run = await ada.start_run("!think before\n!stall 0.1\n!think after")
    await ada.wait_for_events([THINKING], run_id=run.id)

    async with AgentsContext(ada.server, ada.user) as late:
        await late.wait_for_end(run.id)
        await ada.wait_for_end(run.id)

        late.capture.assert_same_as(ada.capture)


async def test_whoever_comes_without_a_cursor_in_its_middle_sees_the_rest_alone(ada: AgentsContext) -> None:
    run = await ada.start_run("!think before\n!stall 60")
    await ada.wait_for_events([THINKING], run_id=run.id)

    async with AgentsContext(ada.server, ada.user, after=None) as late:
        meanwhile = await ada.run_agent("!think after")
        await ada.client.cancel(run.id)
        await late.wait_for_end(run.id)

        assert late.capture.kinds(meanwhile.id) == [STARTED, THINKING, ENDED]
        assert late.capture.kinds(run.id) == [ENDED]
        late.capture.assert_unbroken()


async def test_two_runs_of_one_user_are_told_side_by_side_each_in_its_order(ada: AgentsContext) -> None:
    script = "!think a\n!stall 0.03\n!think b\n!stall 0.03\n!call current_time"
    runs = await asyncio.gather(*(ada.start_run(script) for _ in range(2)))
    for run in runs:
        await ada.wait_for_end(run.id)

    ada.capture.assert_unbroken()
    for run in runs:
        ada.capture.assert_kinds(run.id, [STARTED, THINKING, THINKING, *CALL, ENDED])
    order = [str(event.subject) for event in ada.capture.events]
    assert order != sorted(order, key=[run.id for run in runs].index), "the two did not run side by side"


async def test_a_run_that_pauses_holds_up_no_other(ada: AgentsContext) -> None:
    slow = await ada.start_run("!stall 60")

    quick = await ada.run_agent("hello")

    assert ada.capture.kinds(slow.id) == [STARTED]
    ada.capture.assert_grammatical(quick.id)
    await ada.client.cancel(slow.id)


async def test_twenty_runs_of_one_user_at_once_are_one_unbroken_stream(ada: AgentsContext) -> None:
    runs = await asyncio.gather(*(ada.start_run(f"run {number}") for number in range(20)))
    for run in runs:
        await ada.wait_for_end(run.id)

    ada.capture.assert_unbroken()
    ada.capture.assert_counts(dict.fromkeys(THE_FIVE, 20))
    for run in runs:
        ada.capture.assert_kinds(run.id, THE_FIVE)


@pytest.mark.parametrize("leaving", ["politely", "without a word"])
async def test_a_run_goes_on_when_its_user_disconnects_and_is_there_when_they_are_back(
    ada: AgentsContext, leaving: str
) -> None:
    run = await ada.start_run("!think before\n!stall 0.05\n!call current_time")
    await ada.wait_for_events([THINKING], run_id=run.id)
    if leaving == "politely":
        await ada.disconnect()
    else:
        ada.drop()
        await ada.wait_for_close()

    async def over() -> bool:
        return (await ada.client.run(run.id)).status is RunStatus.COMPLETED

    await becomes(over, "the end of the run that nobody watches")
    await ada.connect()
    await ada.wait_for_end(run.id)

    assert ada.validate([STARTED, THINKING, *CALL, ENDED]).valid


async def test_a_run_that_nobody_ever_watched_is_told_whole_to_whoever_asks_later(shared_server: Server) -> None:
    watcher = AgentsContext(shared_server)
    runs = [await watcher.start_run(message) for message in ("one", "!fail two")]

    async with watcher:
        for run in runs:
            await watcher.wait_for_end(run.id)

        watcher.capture.assert_unbroken()
        watcher.capture.assert_kinds(runs[0].id, THE_FIVE)
        watcher.capture.assert_kinds(runs[1].id, [STARTED, ENDED])


async def test_one_socket_that_drops_takes_nothing_from_the_other(shared_server: Server) -> None:
    async with two_sockets(shared_server) as (staying, dropping):
        dropping.drop_after(2)
        run = await staying.run_agent("hello")

        staying.capture.assert_kinds(run.id, THE_FIVE)
        staying.capture.assert_unbroken()
        await dropping.wait_for_close()
        assert [event.seq for event in dropping.capture.events] == [1, 2]


async def test_one_who_does_not_read_holds_up_neither_the_other_socket_nor_other_users(
    ada: AgentsContext, shared_server: Server
) -> None:
    async with (
        slow_reader(shared_server) as slow,
        AgentsContext(shared_server, slow.user) as quick,
    ):
        for _ in range(4):
            await quick.run_agent("!think " + "x" * 200_000)
        run = await ada.run_agent("hello")

        quick.capture.assert_unbroken()
        ada.capture.assert_kinds(run.id, THE_FIVE)
        assert slow.capture.events == []


async def test_socket_and_stream_are_shown_the_same_live(ada: AgentsContext) -> None:
    streamed: list[Envelope] = []

    async with ada.client.stream(after=0) as stream:
        run = await ada.run_agent("hello")
        while len(streamed) < len(THE_FIVE):
            streamed.append(await anext(stream))

    assert streamed == ada.capture.of_run(run.id)


async def test_one_key_sent_twice_is_one_run_with_its_events_once(ada: AgentsContext) -> None:
    first, second = [await ada.start_run("hello", key="one-key") for _ in range(2)]
    await ada.wait_for_end(first.id)
    await ada.run_agent("another")

    assert second.id == first.id
    ada.capture.assert_kinds(first.id, THE_FIVE)
    assert len(ada.capture.runs) == 2


async def test_a_run_that_is_refused_leaves_no_event(ada: AgentsContext) -> None:
    await ada.run_agent("hello")
    for attempt in (ada.client.using(None), ada.client.using(ada.user.forged_token)):
        with pytest.raises(UnexpectedAnswer, match="got 401"):
            await attempt.start_run("not mine to start")
    await ada.ping()

    assert len(ada.capture.events) == len(THE_FIVE)


async def test_ten_sockets_of_one_user_are_all_shown_the_same(ada: AgentsContext) -> None:
    others = [AgentsContext(ada.server, ada.user, joined=number % 2 == 0) for number in range(9)]
    await asyncio.gather(*(other.connect() for other in others))

    runs = await asyncio.gather(*(ada.start_run("hello") for _ in range(3)))

    for socket in (ada, *others):
        for run in runs:
            await socket.wait_for_end(run.id)
        socket.capture.assert_same_as(ada.capture)
    await asyncio.gather(*(other.close() for other in others))
