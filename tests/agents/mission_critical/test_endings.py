"""A run ends once, with a journal that obeys the grammar, whatever ends it and however badly timed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from app.agents.events import AgentThinking, ToolExecuting
from app.agents.model import Turn
from app.agents.runs import IdempotencyConflict, RunOver
from app.agents.tables import Run, RunStatus
from test_framework.websocket.event_path import EventPath
from tests.agents.agent_room import agent_room, kinds
from tests.agents.mission_critical.ways import COMPLETED, ENDED, EXECUTING, STARTED, THINKING

DEADLINE_SECONDS = 5.0


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def answer_at_once() -> str:
    return "there"


async def work(turn: Turn) -> str:
    await turn.think("first")
    await turn.call("answer_at_once", {})
    await turn.think("then")
    return "done"


async def hang(turn: Turn) -> str:
    await turn.call("wait_for_ever", {})
    return "not reached"


@contextmanager
def commits_heard(path: EventPath, hear: list[asyncio.Event]) -> Iterator[None]:
    """Set the n-th event in the very moment in which the n-th commit is on its way to the database."""
    remaining = iter(hear)

    def on_commit(connection: Connection) -> None:
        next(remaining, asyncio.Event()).set()

    engine = path.database.engine.sync_engine
    event.listen(engine, "commit", on_commit)
    try:
        yield
    finally:
        event.remove(engine, "commit", on_commit)


async def expire_lease(path: EventPath, run: Run) -> None:
    async with path.database.transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(Run).where(Run.id == run.id).values(lease_until=past))


@pytest.mark.parametrize("commit", range(1, 8))
async def test_a_drain_in_the_middle_of_any_commit_leaves_a_run_that_ended_once(path: EventPath, commit: int) -> None:
    heard = [asyncio.Event() for _ in range(8)]
    async with agent_room(path, work, [answer_at_once]) as room:
        with commits_heard(path, heard):
            starting = asyncio.create_task(room.start())
            async with asyncio.timeout(DEADLINE_SECONDS):
                if commit < 7:
                    await heard[commit - 1].wait()
                run = await starting
                await asyncio.gather(room.runner.drain(0), room.runner.drain(0))

        events = await room.ended(run)

    assert kinds(events).count(ENDED) == 1


@pytest.mark.parametrize("commit", range(1, 8))
async def test_a_user_s_cancel_in_the_middle_of_any_commit_ends_the_run_once(path: EventPath, commit: int) -> None:
    heard = [asyncio.Event() for _ in range(8)]
    async with agent_room(path, work, [answer_at_once]) as room:
        with commits_heard(path, heard):
            run = await room.start()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await heard[min(commit, 6) - 1].wait()
                await asyncio.gather(*(room.runner.cancel("ada", run.id) for _ in range(3)))

            events = await room.ended(run)

    assert events[-1].payload["status"] in {"cancelled", "completed"}


async def test_a_cancelled_run_closes_the_call_it_was_in(path: EventPath) -> None:
    async with agent_room(path, hang, [wait_for_ever]) as room:
        run = await room.start()
        await path.bus.hear(EXECUTING, run.id)

        await room.runner.cancel("ada", run.id)
        events = await room.ended(run)

    assert [event.payload.get("status") for event in events[2:]] == ["cancelled", "cancelled"]


async def test_a_call_given_up_while_its_first_event_is_committed_is_completed_before_the_model_goes_on(
    path: EventPath,
) -> None:
    heard = [asyncio.Event() for _ in range(2)]

    async def give_up(turn: Turn) -> str:
        calling = asyncio.ensure_future(turn.call("wait_for_ever", {}))
        await heard[1].wait()
        calling.cancel()
        await asyncio.wait([calling])
        await turn.think("so be it")
        return "done"

    async with agent_room(path, give_up, [wait_for_ever]) as room:
        with commits_heard(path, heard):
            events = await room.carry_out()

    assert kinds(events)[1:-1] == [EXECUTING, COMPLETED, THINKING]


async def test_a_run_is_cancelled_by_the_process_that_did_not_start_it(path: EventPath) -> None:
    async with agent_room(path, hang, [wait_for_ever]) as here, agent_room(path, hang, owner="there") as there:
        run = await here.start()

        await there.runner.cancel("ada", run.id)
        assert await here.runs.renew([run.id]) == [run.id]


async def test_a_run_that_was_left_is_ended_once_by_whoever_finds_it(path: EventPath) -> None:
    async with agent_room(path, hang, [wait_for_ever]) as dead, agent_room(path, hang, owner="there") as other:
        run = await dead.start()
        await path.bus.hear(EXECUTING, run.id)
        await expire_lease(path, run)

        finders = [room for room in (dead, other) * 5 for found in await room.runs.abandoned() if found.id == run.id]
        endings = [room.runs.finish(room.origin, run.id, RunStatus.INTERRUPTED, {}) for room in finders]
        outcomes = await asyncio.gather(*endings)
        events = await other.ended(run)

    assert (outcomes.count(True), outcomes.count(False)) == (1, 9)
    assert kinds(events) == [
        STARTED,
        EXECUTING,
        COMPLETED,
        ENDED,
    ]
    assert (await other.row(run.id)).status == "interrupted"


async def test_the_heart_of_another_process_ends_what_was_left(
    path: EventPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.runner.HEARTBEAT_SECONDS", 0.01)
    async with agent_room(path, hang, [wait_for_ever]) as dead:
        run, _ = await dead.runs.start(dead.origin, "left at once", None)
        await expire_lease(path, run)

        events = await dead.ended(run)

    assert kinds(events) == [STARTED, ENDED]


async def test_a_process_that_was_thought_dead_writes_nothing_after_the_end(path: EventPath) -> None:
    go_on = asyncio.Event()

    async def sleep_through_its_end(turn: Turn) -> str:
        await turn.think("before")
        await go_on.wait()
        await turn.think("after")
        return "done"

    async with agent_room(path, sleep_through_its_end) as zombie, agent_room(path, hang, owner="there") as other:
        run = await zombie.start()
        await path.bus.hear(THINKING, run.id)
        await other.runs.finish(other.origin, run.id, RunStatus.INTERRUPTED, {})
        events = await other.ended(run)

        go_on.set()
        await zombie.runner.drain(DEADLINE_SECONDS)

        assert await other.events(run.id) == events
        assert (await other.row(run.id)).status == "interrupted"


async def test_the_end_of_a_run_waits_for_what_its_process_is_writing_and_closes_that_too(path: EventPath) -> None:
    """The process is slow, not dead: its tool call is being written in the moment in which another ends its run."""
    async with agent_room(path, hang) as slow, agent_room(path, hang, owner="there") as other:
        run, _ = await slow.runs.start(slow.origin, "go", None)
        call = slow.runs.draft(slow.origin, ToolExecuting(run_id=run.id, tool="slow", arguments={}))

        async with path.database.reading() as session:
            await session.execute(select(Run).where(Run.id == run.id).with_for_update())
            writing = asyncio.create_task(slow.runs.log(call))
            ending = asyncio.create_task(other.runs.finish(other.origin, run.id, RunStatus.INTERRUPTED, {}))
            await asyncio.sleep(0)
        await asyncio.gather(writing, ending, return_exceptions=True)  # whichever comes second may be refused

        await other.ended(run)


async def test_an_event_whose_commit_was_not_answered_is_written_once(path: EventPath) -> None:
    lost = 0

    def lose_the_answer(connection: Connection) -> None:
        """Commit, and then break as a connection does that is cut before the answer."""
        nonlocal lost
        if lost < 3:
            lost += 1
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            raise OperationalError("COMMIT", {}, Exception("cut"), connection_invalidated=True)

    async def think_twice(turn: Turn) -> str:
        event.listen(path.database.engine.sync_engine, "commit", lose_the_answer)
        await turn.think("once")
        await turn.think("and again")
        return "done"

    async with agent_room(path, think_twice) as room:
        events = await room.carry_out()

    assert lost == 3
    assert [event.payload.get("thought") for event in events[1:-1]] == ["once", "and again"]


async def test_an_event_whose_commit_never_arrived_is_written_by_the_next_attempt(path: EventPath) -> None:
    lost = 0

    def break_before(connection: Connection) -> None:
        nonlocal lost
        if lost < 3:
            lost += 1
            raise OperationalError("COMMIT", {}, Exception("cut"), connection_invalidated=True)

    async def think(turn: Turn) -> str:
        event.listen(path.database.engine.sync_engine, "commit", break_before)
        await turn.think("once")
        return "done"

    async with agent_room(path, think) as room:
        events = await room.carry_out()

    assert lost == 3
    assert [event.payload.get("thought") for event in events[1:-1]] == ["once"]


async def test_an_attempt_that_is_still_on_its_way_is_waited_for_before_the_next(path: EventPath) -> None:
    """The first attempt hangs in the server when its client gives it up: the second must not write beside it."""
    async with agent_room(path, hang) as room:
        run, _ = await room.runs.start(room.origin, "go", None)
        thought = room.runs.draft(room.origin, AgentThinking(run_id=run.id, thought="once"))

        async with path.database.transaction() as session:
            await session.execute(select(Run).where(Run.id == run.id).with_for_update())
            await path.journal.write(session, thought)
            second = asyncio.create_task(room.runs.log(thought, again=True))
            done, _ = await asyncio.wait([second], timeout=0.1)
            assert not done
        await second

        assert kinds(await room.events(run.id)) == [STARTED, THINKING]


async def test_one_key_sent_twenty_times_at_once_is_one_run(path: EventPath) -> None:
    async with agent_room(path, work, [answer_at_once]) as room:
        runs = await asyncio.gather(*(room.start("go", key="the key") for _ in range(20)))
        events = await room.ended(runs[0])

    assert len({run.id for run in runs}) == 1
    assert len(await path.written("user:ada")) == len(events)


async def test_one_key_for_two_messages_is_refused(path: EventPath) -> None:
    async with agent_room(path, work, [answer_at_once]) as room:
        await room.start("go", key="the key")

        with pytest.raises(IdempotencyConflict):
            await room.start("stop", key="the key")


async def test_one_key_of_two_users_is_two_runs(path: EventPath) -> None:
    async with agent_room(path, work, [answer_at_once]) as ada, agent_room(path, work, [answer_at_once]) as bob:
        bob.origin = type(bob.origin)("bob")

        assert (await ada.start("go", key="the key")).id != (await bob.start("go", key="the key")).id


async def test_an_event_of_a_run_that_is_over_is_refused(path: EventPath) -> None:
    async with agent_room(path, work, [answer_at_once]) as room:
        run = await room.start()
        await room.ended(run)

        thought = room.runs.draft(room.origin, AgentThinking(run_id=run.id, thought="late"))
        with pytest.raises(RunOver):
            await room.runs.log(thought)
