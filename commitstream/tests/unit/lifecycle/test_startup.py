"""What the start of a service promises: order, barriers, time-outs, and no trace of a start that failed."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError
from itertools import pairwise

import pytest

from commitstream.lifecycle import (
    CleanupCoordinator,
    ComponentReport,
    Phase,
    StartupError,
    StartupManager,
    StartupPlanError,
    StartupReport,
    StartupStoppedError,
    State,
)

Step = Callable[[], Awaitable[None]]


class Diary:
    """Makes starts and stops that write down when they happened."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> Step:
        async def write() -> None:
            self.lines.append(line)

        return write


@pytest.fixture
def cleanup() -> CleanupCoordinator:
    return CleanupCoordinator()


@pytest.fixture
def startup(cleanup: CleanupCoordinator) -> StartupManager:
    return StartupManager(cleanup)


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def nothing() -> None:
    pass


async def hang() -> None:
    await asyncio.Event().wait()


async def refuse() -> None:
    raise ConnectionError("refused")


def component(report: StartupReport, name: str) -> ComponentReport:
    return next(member for phase in report.phases for member in phase.components if member.name == name)


def states(report: StartupReport) -> dict[str, State]:
    return {member.name: member.state for phase in report.phases for member in phase.components}


async def test_a_phase_begins_only_when_the_one_before_is_complete(startup: StartupManager, diary: Diary) -> None:
    async def take_a_while() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        diary.lines.append("database is open")

    startup.add("bus", phase=Phase.BUS, start=diary.note("bus"))
    startup.add("database", phase=Phase.DATABASE, start=take_a_while)

    await startup.run()

    assert diary.lines == ["database is open", "bus"]


async def test_components_of_one_phase_start_side_by_side(startup: StartupManager) -> None:
    both_here = asyncio.Barrier(2)
    startup.add("left", phase=Phase.BUS, start=both_here.wait, timeout=5)
    startup.add("right", phase=Phase.BUS, start=both_here.wait, timeout=5)

    report = await startup.run()

    assert report.state is State.READY


async def test_the_same_plan_starts_in_the_same_order(startup: StartupManager, diary: Diary) -> None:
    names = ["delta", "alpha", "charlie", "bravo"]
    for name in names:
        startup.add(name, phase=Phase.DOMAINS, start=diary.note(name))

    await startup.run()

    assert diary.lines == names


async def test_a_component_waits_for_those_it_names_in_its_own_phase(startup: StartupManager, diary: Diary) -> None:
    startup.add("hub", phase=Phase.BUS, start=diary.note("hub"), after=("relay",))
    startup.add("relay", phase=Phase.BUS, start=diary.note("relay"), after=("bus",))
    startup.add("bus", phase=Phase.BUS, start=diary.note("bus"))

    await startup.run()

    assert diary.lines == ["bus", "relay", "hub"]


async def test_a_service_may_have_phases_of_its_own(cleanup: CleanupCoordinator, diary: Diary) -> None:
    startup = StartupManager(cleanup, phases=("dig", "build"))
    startup.add("house", phase="build", start=diary.note("house"), after=("pit",))
    startup.add("pit", phase="dig", start=diary.note("pit"))

    report = await startup.run()

    assert diary.lines == ["pit", "house"]
    assert [phase.name for phase in report.phases] == ["dig", "build"]


async def test_a_circle_is_shown_and_nothing_runs(startup: StartupManager, diary: Diary) -> None:
    startup.add("settings", phase=Phase.SETTINGS, start=diary.note("settings"))
    startup.add("a", phase=Phase.BUS, start=diary.note("a"), after=("b",))
    startup.add("b", phase=Phase.BUS, start=diary.note("b"), after=("c",))
    startup.add("c", phase=Phase.BUS, start=diary.note("c"), after=("a",))

    with pytest.raises(StartupPlanError) as raised:
        await startup.run()

    circle = str(raised.value).removeprefix("these components wait for each other: ").split(" → ")
    assert circle[0] == circle[-1]
    assert set(pairwise(circle)) == {("a", "b"), ("b", "c"), ("c", "a")}
    assert diary.lines == []
    assert startup.report().state is State.FAILED


async def test_a_component_that_waits_for_itself_is_a_circle(startup: StartupManager) -> None:
    startup.add("snake", phase=Phase.BUS, start=nothing, after=("snake",))

    with pytest.raises(StartupPlanError, match="snake → snake"):
        startup.validate()


async def test_a_dependency_that_nobody_added_is_named(startup: StartupManager, diary: Diary) -> None:
    startup.add("settings", phase=Phase.SETTINGS, start=diary.note("settings"))
    startup.add("hub", phase=Phase.SOCKETS, start=nothing, after=("buss",))

    with pytest.raises(StartupPlanError, match="'hub' comes after 'buss', which was not added"):
        await startup.run()

    assert diary.lines == []


async def test_a_dependency_in_a_later_phase_is_refused(startup: StartupManager) -> None:
    startup.add("database", phase=Phase.DATABASE, start=nothing, after=("bus",))
    startup.add("bus", phase=Phase.BUS, start=nothing)

    with pytest.raises(StartupPlanError, match=r"'database' \(phase 'database'\) comes after 'bus'.*later phase 'bus'"):
        await startup.run()


def test_a_name_is_given_only_once(startup: StartupManager) -> None:
    startup.add("bus", phase=Phase.BUS, start=nothing)

    with pytest.raises(StartupPlanError, match="two components are named 'bus'"):
        startup.add("bus", phase=Phase.SOCKETS, start=nothing)


def test_an_unknown_phase_is_refused_with_those_that_exist(startup: StartupManager) -> None:
    with pytest.raises(StartupPlanError, match=r"unknown phase 'warp'.*settings, database, migrations"):
        startup.add("engine", phase="warp", start=nothing)


async def test_retries_wait_twice_as_long_each_time(cleanup: CleanupCoordinator) -> None:
    delays: list[float] = []
    answers = iter([ConnectionError("1"), ConnectionError("2"), ConnectionError("3"), None])

    async def remember(delay: float) -> None:
        delays.append(delay)

    async def start() -> None:
        if error := next(answers):
            raise error

    startup = StartupManager(cleanup, sleep=remember)
    startup.add("redis", phase=Phase.BUS, start=start, retries=3, backoff=0.5)

    report = await startup.run()

    assert delays == [0.5, 1.0, 2.0]
    assert component(report, "redis").attempts == 4
    assert component(report, "redis").state is State.READY
    assert component(report, "redis").error == ""


async def test_a_final_error_ends_the_attempts(startup: StartupManager) -> None:
    startup.add("database", phase=Phase.DATABASE, start=refuse, retries=5, final=(ConnectionError,))

    with pytest.raises(StartupError, match="refused"):
        await startup.run()

    assert component(startup.report(), "database").attempts == 1


async def test_the_error_names_component_phase_reason_and_next_step(startup: StartupManager) -> None:
    startup.add(
        "schema", phase=Phase.MIGRATIONS, start=refuse, retries=1, backoff=0, next_step="run: alembic upgrade head"
    )

    with pytest.raises(StartupError) as raised:
        await startup.run()

    assert str(raised.value) == (
        "schema did not start (phase migrations): ConnectionError: refused (attempt 2 of 2). "
        "Next: run: alembic upgrade head"
    )
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert startup.report().error == str(raised.value)


async def test_a_timeout_says_what_was_awaited_and_for_how_long(startup: StartupManager) -> None:
    startup.add("redis", phase=Phase.BUS, start=hang, timeout=0.02)

    with pytest.raises(StartupError, match=r"redis did not start .*did not finish within 0\.02 s \(attempt 1 of 1\)"):
        await startup.run()


async def test_a_start_that_ignores_its_cancellation_is_abandoned_and_not_tried_twice(
    startup: StartupManager,
) -> None:
    released, ended = asyncio.Event(), asyncio.Event()

    async def ignore() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    startup.add("deaf", phase=Phase.BUS, start=ignore, timeout=0.01, retries=5, backoff=0)

    with pytest.raises(StartupError, match="was abandoned"):
        await startup.run()

    assert component(startup.report(), "deaf").attempts == 1
    released.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_sys_exit_in_a_start_is_a_failure_like_any_other(startup: StartupManager, diary: Diary) -> None:
    async def leave() -> None:
        sys.exit("no configuration")

    startup.add("settings", phase=Phase.SETTINGS, start=nothing, stop=diary.note("undone"))
    startup.add("database", phase=Phase.DATABASE, start=leave)

    with pytest.raises(StartupError, match=r"sys\.exit\('no configuration'\)"):
        await startup.run()

    assert diary.lines == ["undone"]


async def test_a_start_that_is_not_async_does_not_block_the_loop(startup: StartupManager) -> None:
    loop_still_turns = threading.Event()
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, loop_still_turns.set)
    startup.add("schema", phase=Phase.MIGRATIONS, start=lambda: loop_still_turns.wait(5) or sys.exit(1))

    report = await startup.run()

    assert report.state is State.READY


async def test_the_service_does_without_what_is_optional(startup: StartupManager, diary: Diary) -> None:
    startup.add("redis", phase=Phase.BUS, start=refuse, stop=diary.note("redis stopped"), optional=True)
    startup.add("hub", phase=Phase.BUS, start=diary.note("hub"), after=("redis",))

    report = await startup.run()

    assert report.state is State.DEGRADED
    assert report.ready
    assert states(report) == {"redis": State.DEGRADED, "hub": State.READY}
    assert component(report, "redis").error == "ConnectionError: refused (attempt 1 of 1)"
    assert diary.lines == ["hub"]


async def test_a_failed_start_is_undone_in_reverse(
    startup: StartupManager, cleanup: CleanupCoordinator, diary: Diary
) -> None:
    cleanup.register("logs", diary.note("logs"))
    for phase in (Phase.SETTINGS, Phase.DATABASE, Phase.BUS):
        startup.add(phase, phase=phase, start=nothing, stop=diary.note(phase))
    startup.add("agents", phase=Phase.DOMAINS, start=refuse, stop=diary.note("agents, which never started"))
    startup.add("hub", phase=Phase.SOCKETS, start=diary.note("hub started"))

    with pytest.raises(StartupError):
        await startup.run()

    assert diary.lines == ["bus", "database", "settings", "logs"]
    assert startup.report().state is State.FAILED
    assert startup.report().phase == "domains"
    assert states(startup.report()) == {
        "settings": State.STOPPED,
        "database": State.STOPPED,
        "bus": State.STOPPED,
        "agents": State.FAILED,
        "hub": State.PENDING,
    }


async def test_siblings_of_a_failure_are_cancelled_and_awaited(startup: StartupManager, diary: Diary) -> None:
    waiting = asyncio.Event()

    async def wait_for_ever() -> None:
        waiting.set()
        try:
            await hang()
        finally:
            await asyncio.sleep(0)
            diary.lines.append("sibling put away what it held")

    async def fail_when_the_other_waits() -> None:
        await waiting.wait()
        raise ConnectionError("refused")

    startup.add("settings", phase=Phase.SETTINGS, start=nothing, stop=diary.note("undone"))
    startup.add("slow", phase=Phase.BUS, start=wait_for_ever)
    startup.add("broken", phase=Phase.BUS, start=fail_when_the_other_waits)

    with pytest.raises(StartupError, match="broken did not start"):
        await startup.run()

    assert diary.lines == ["sibling put away what it held", "undone"]
    assert states(startup.report())["slow"] is State.STOPPED


async def test_the_first_failure_is_the_cause_and_the_others_are_notes(startup: StartupManager) -> None:
    together = asyncio.Barrier(2)

    async def fail(error: Exception) -> None:
        await together.wait()
        raise error

    startup.add("redis", phase=Phase.BUS, start=lambda: fail(ConnectionError("refused")))
    startup.add("relay", phase=Phase.BUS, start=lambda: fail(OSError("disk full")))

    with pytest.raises(StartupError) as raised:
        await startup.run()

    named = {raised.value.component, *(note.split()[4] for note in raised.value.__notes__)}
    assert named == {"redis", "relay"}
    assert raised.value.__notes__[0].startswith("at the same time: ")


async def test_a_stop_that_fails_when_the_start_is_undone_is_a_note(startup: StartupManager) -> None:
    startup.add("database", phase=Phase.DATABASE, start=nothing, stop=refuse)
    startup.add("bus", phase=Phase.BUS, start=hang, timeout=0.01)

    with pytest.raises(StartupError, match="bus did not start") as raised:
        await startup.run()

    assert raised.value.__notes__ == ["when it was undone, database failed: ConnectionError: refused"]


async def test_a_cancelled_start_is_undone(startup: StartupManager, diary: Diary) -> None:
    begun = asyncio.Event()

    async def begin_and_hang() -> None:
        begun.set()
        await hang()

    startup.add("database", phase=Phase.DATABASE, start=nothing, stop=diary.note("database closed"))
    startup.add("bus", phase=Phase.BUS, start=begin_and_hang)
    running = asyncio.create_task(startup.run())
    await begun.wait()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert diary.lines == ["database closed"]
    assert startup.report().state is State.STOPPED
    assert states(startup.report()) == {"database": State.STOPPED, "bus": State.STOPPED}


async def test_a_cleanup_that_begins_during_the_start_ends_it_first(
    startup: StartupManager, cleanup: CleanupCoordinator, diary: Diary
) -> None:
    begun = asyncio.Event()

    async def begin_and_hang() -> None:
        begun.set()
        try:
            await hang()
        finally:
            diary.lines.append("bus gave up")

    startup.add("database", phase=Phase.DATABASE, start=nothing, stop=diary.note("database closed"))
    startup.add("bus", phase=Phase.BUS, start=begin_and_hang, timeout=60)
    running = asyncio.create_task(startup.run())
    await begun.wait()

    report = await asyncio.wait_for(cleanup.run("SIGTERM"), 5)
    with pytest.raises(StartupStoppedError, match=r"bus did not start \(phase bus\): it was stopped"):
        await running

    assert diary.lines == ["bus gave up", "database closed"]
    assert report.problems == ()


async def test_what_comes_up_in_spite_of_its_cancellation_is_stopped(startup: StartupManager, diary: Diary) -> None:
    begun = asyncio.Event()

    async def come_up_anyway() -> None:
        begun.set()
        try:
            await hang()
        except asyncio.CancelledError:
            diary.lines.append("pool is open")

    startup.add("pool", phase=Phase.DATABASE, start=come_up_anyway, stop=diary.note("pool closed"))
    running = asyncio.create_task(startup.run())
    await begun.wait()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert diary.lines == ["pool is open", "pool closed"]


async def test_after_a_good_start_the_cleanup_stops_everything_in_reverse(
    startup: StartupManager, cleanup: CleanupCoordinator, diary: Diary
) -> None:
    for phase in (Phase.SETTINGS, Phase.DATABASE, Phase.BUS):
        startup.add(phase, phase=phase, start=nothing, stop=diary.note(phase))
    await startup.run()

    report = await cleanup.run("the end")

    assert diary.lines == ["bus", "database", "settings"]
    assert [handler.name for handler in report.handlers] == ["bus", "database", "settings"]


async def test_only_what_is_required_is_critical_to_stop(startup: StartupManager, cleanup: CleanupCoordinator) -> None:
    startup.add("metrics", phase=Phase.BUS, start=nothing, stop=refuse, optional=True)
    startup.add("database", phase=Phase.DATABASE, start=nothing, stop=nothing)
    await startup.run()

    report = await cleanup.run("the end")

    assert {handler.name: handler.critical for handler in report.handlers} == {"metrics": False, "database": True}
    assert report.exit_code == 0


async def test_the_report_shows_how_far_the_start_has_come(startup: StartupManager) -> None:
    seen: list[StartupReport] = []

    async def look() -> None:
        seen.append(startup.report())

    startup.add("settings", phase=Phase.SETTINGS, start=nothing)
    startup.add("bus", phase=Phase.BUS, start=look)
    startup.add("hub", phase=Phase.SOCKETS, start=nothing)

    before, after = startup.report(), await startup.run()

    assert (before.state, before.phase, before.ready) == (State.PENDING, None, False)
    assert (seen[0].state, seen[0].phase, seen[0].ready) == (State.STARTING, "bus", False)
    assert states(seen[0]) == {"settings": State.READY, "bus": State.STARTING, "hub": State.PENDING}
    assert {phase.name: phase.state for phase in seen[0].phases} == {
        "settings": State.READY,
        "database": State.READY,
        "migrations": State.READY,
        "bus": State.STARTING,
        "domains": State.PENDING,
        "sockets": State.PENDING,
        "ready": State.PENDING,
    }
    assert (after.state, after.phase, after.ready) == (State.READY, "ready", True)
    assert component(after, "bus").seconds > 0


async def test_others_can_wait_until_the_service_is_ready(startup: StartupManager) -> None:
    go_on = asyncio.Event()
    startup.add("bus", phase=Phase.BUS, start=go_on.wait)
    waiting = asyncio.create_task(startup.wait_ready(5))
    running = asyncio.create_task(startup.run())

    go_on.set()
    await running

    assert (await waiting).state is State.READY


async def test_who_waits_for_a_start_that_fails_is_told_why(startup: StartupManager) -> None:
    startup.add("bus", phase=Phase.BUS, start=refuse)
    waiting = asyncio.create_task(startup.wait_ready(5))

    with pytest.raises(StartupError):
        await startup.run()

    with pytest.raises(StartupError, match="bus did not start"):
        await waiting


async def test_who_waits_for_a_plan_that_cannot_be_is_told_at_once(startup: StartupManager) -> None:
    startup.add("hub", phase=Phase.BUS, start=nothing, after=["buss"])
    starting = asyncio.create_task(startup.run())

    with pytest.raises(StartupPlanError, match="'hub' comes after 'buss', which was not added"):
        await startup.wait_ready(5)

    with pytest.raises(StartupPlanError):
        await starting
    assert startup.report().state is State.FAILED


async def test_who_waits_too_long_is_told_what_the_start_waits_for(startup: StartupManager) -> None:
    begun = asyncio.Event()
    attempts = iter([ConnectionError("refused")])

    async def fail_then_hang() -> None:
        for error in attempts:
            raise error
        begun.set()
        await hang()

    startup.add("redis", phase=Phase.BUS, start=fail_then_hang, retries=1, backoff=0)
    with pytest.raises(TimeoutError, match=r"not ready within 0\.01 s: the start has not run yet"):
        await startup.wait_ready(0.01)
    running = asyncio.create_task(startup.run())
    await begun.wait()

    with pytest.raises(
        TimeoutError, match=r"phase bus waits for redis \(ConnectionError: refused \(attempt 1 of 2\)\)"
    ):
        await startup.wait_ready(0.01)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_start_runs_only_once(startup: StartupManager) -> None:
    await startup.run()

    with pytest.raises(RuntimeError, match="make a new StartupManager"):
        await startup.run()


async def test_a_report_can_not_be_changed(startup: StartupManager) -> None:
    report = startup.report()

    with pytest.raises(FrozenInstanceError):
        report.state = State.READY  # type: ignore[misc]
