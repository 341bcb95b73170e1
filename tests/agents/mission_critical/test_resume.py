"""Whoever comes back with a cursor, wherever they dropped, is shown the rest: nothing twice, nothing missing."""

from __future__ import annotations

import asyncio

import pytest

from commitstream.envelope import Envelope
from test_framework.servers import Server
from tests.agents.clients import dropping, slow_reader
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import CALL, ENDED, STARTED, THINKING

pytestmark = pytest.mark.usefixtures("kind_of_stream")

SCRIPT = "!think one\n!call current_time\n!stall 0.02\n!think two\n!call no_such_tool"
KINDS = [STARTED, THINKING, *CALL, THINKING, *CALL, THINKING, ENDED]
POSITIONS = range(len(KINDS) + 1)
NAMES = ["before the beginning", *(f"after {number} {kind}" for number, kind in enumerate(KINDS, 1))]


every_position = pytest.mark.parametrize("seen", POSITIONS, ids=NAMES)


@every_position
async def test_who_drops_in_mid_run_and_is_back_at_once_sees_the_rest(shared_server: Server, seen: int) -> None:
    async with dropping(shared_server, after=seen) as ada:
        run = await ada.start_run(SCRIPT)
        await ada.wait_for_close()

        await ada.connect()
        await ada.wait_for_end(run.id)

        verdict = ada.validate(KINDS)
        assert verdict.valid, verdict
        assert ada.connections == 2


@every_position
async def test_who_drops_in_mid_run_and_is_back_after_its_end_sees_the_rest(shared_server: Server, seen: int) -> None:
    async with (
        AgentsContext(shared_server) as witness,
        dropping(shared_server, seen, witness.user) as ada,
    ):
        run = await witness.run_agent(SCRIPT)
        await ada.wait_for_close()

        await ada.connect()
        await ada.wait_for_end(run.id)

        ada.capture.assert_same_as(witness.capture)
        ada.capture.assert_unbroken()


@every_position
async def test_a_stream_that_is_resumed_there_begins_with_the_next_event(ada: AgentsContext, seen: int) -> None:
    run = await ada.run_agent(SCRIPT)
    rest: list[Envelope] = []

    async with ada.client.stream(after=seen) as stream:
        second = await ada.run_agent("!stall 0")
        while len(rest) < len(KINDS) - seen + 2:
            rest.append(await anext(stream))

    assert rest == ada.capture.events[seen:]
    assert [event.seq for event in await ada.client.events(run.id, after=seen)] == list(range(seen + 1, len(KINDS) + 1))
    assert rest[-1].subject == second.id


async def test_who_drops_after_every_single_event_sees_each_once(ada: AgentsContext) -> None:
    run = await ada.start_run(SCRIPT)

    for seen in range(1, len(KINDS) + 1):
        ada.drop_after(seen)
        await ada.wait_for_close()
        await ada.connect()
    await ada.wait_for_end(run.id)

    assert ada.validate(KINDS).valid
    assert ada.connections == len(KINDS) + 1


async def test_who_comes_and_goes_while_runs_go_on_sees_all_of_them(ada: AgentsContext) -> None:
    running = [await ada.start_run(SCRIPT) for _ in range(8)]

    while len(ada.capture.of_kind(ENDED)) < len(running):
        ada.drop_after(len(ada.capture.events) + 5)
        await ada.wait_until(
            lambda: ada.closed is not None or len(ada.capture.of_kind(ENDED)) == len(running), "a drop or the end"
        )
        await ada.connect()

    ada.capture.assert_unbroken()
    for run in running:
        ada.capture.assert_kinds(run.id, KINDS)


async def test_who_dropped_between_two_runs_sees_the_second_alone(ada: AgentsContext) -> None:
    await ada.run_agent("first")
    ada.drop()
    await ada.wait_for_close()
    run = await ada.start_run("second")
    seen = len(ada.capture.events)

    await ada.connect()
    await ada.wait_for_end(run.id)

    assert {event.subject for event in ada.capture.events[seen:]} == {run.id}
    ada.capture.assert_unbroken()


async def test_who_said_goodbye_and_who_vanished_come_back_to_the_same(shared_server: Server) -> None:
    async with AgentsContext(shared_server) as polite, AgentsContext(shared_server, polite.user) as vanished:
        await polite.run_agent("before")
        await vanished.wait_for_seq(5)
        vanished.drop()
        await polite.disconnect()
        run = await polite.start_run(SCRIPT)

        for one in (polite, vanished):
            await one.connect()
            await one.wait_for_end(run.id)

        vanished.capture.assert_same_as(polite.capture)


async def test_who_comes_back_at_the_very_head_is_shown_what_is_to_come_and_nothing_else(ada: AgentsContext) -> None:
    await ada.run_agent("before")
    head = ada.capture.cursor

    async with AgentsContext(ada.server, ada.user, after=head) as back:
        await back.ping()
        assert back.capture.events == []
        run = await back.run_agent("after")

        assert back.capture.runs == [run.id]
        back.capture.assert_unbroken()


async def test_who_begins_anew_is_shown_everything_again(ada: AgentsContext) -> None:
    for message in ("one", "!fail two", "!stall 0"):
        await ada.run_agent(message)

    async with AgentsContext(ada.server, ada.user, after=0) as anew:
        await anew.wait_for_seq(ada.capture.cursor)

        anew.capture.assert_same_as(ada.capture)


async def test_many_who_come_back_at_once_from_everywhere_see_each_their_rest(ada: AgentsContext) -> None:
    run = await ada.run_agent(SCRIPT)
    everywhere = [AgentsContext(ada.server, ada.user, after=seen, joined=seen % 2 == 0) for seen in POSITIONS]

    await asyncio.gather(*(one.connect() for one in everywhere))
    second = await ada.run_agent("!stall 0")

    for seen, one in zip(POSITIONS, everywhere, strict=True):
        await one.wait_for_end(second.id)
        assert one.capture.events == ada.capture.events[seen:]
        assert one.capture.of_run(run.id) == ada.capture.of_run(run.id)[seen:]
        await one.close()


async def test_who_could_not_read_for_a_while_has_missed_nothing(shared_server: Server) -> None:
    async with (
        slow_reader(shared_server) as slow,
        AgentsContext(shared_server, slow.user) as quick,
    ):
        for _ in range(4):
            run = await quick.run_agent("!think " + "x" * 900_000)  # more than all the buffers on its way

        slow.resume_reading()
        await slow.wait_until(
            lambda: slow.closed is not None or ENDED in slow.capture.kinds(run.id), "its events, or to be sent away"
        )
        if slow.closed is not None:
            await slow.connect()
        await slow.wait_for_end(run.id)

        slow.capture.assert_same_as(quick.capture)
        slow.capture.assert_unbroken()
