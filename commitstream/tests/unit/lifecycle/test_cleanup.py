"""What the coordinator promises whoever registers a handler with it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from functools import partial

import pytest

from commitstream.lifecycle import CleanupCoordinator, CleanupReport, Outcome, Priority, TooLateError


@pytest.fixture
def cleanup() -> CleanupCoordinator:
    return CleanupCoordinator()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends the threads that a test has let hang: otherwise they outlive it."""
    event = threading.Event()
    before = set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)


async def hang() -> None:
    await asyncio.Event().wait()


def outcomes(report: CleanupReport) -> dict[str, Outcome]:
    return {handler.name: handler.outcome for handler in report.handlers}


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


async def test_the_newest_is_cleaned_up_first(cleanup: CleanupCoordinator) -> None:
    order: list[str] = []
    for name in ("database", "bus", "hub"):
        cleanup.register(name, partial(order.append, name))

    await cleanup.run("the end")

    assert order == ["hub", "bus", "database"]


async def test_a_higher_priority_goes_before_everything_newer(cleanup: CleanupCoordinator) -> None:
    order: list[str] = []
    cleanup.register("sockets", lambda: order.append("sockets"), priority=Priority.FIRST)
    cleanup.register("logs", lambda: order.append("logs"), priority=Priority.LAST)
    cleanup.register("database", lambda: order.append("database"))

    await cleanup.run("the end")

    assert order == ["sockets", "database", "logs"]


async def test_one_that_raises_does_not_stop_the_rest(cleanup: CleanupCoordinator) -> None:
    async def refuse() -> None:
        raise ConnectionError("the server has gone")

    order: list[str] = []
    cleanup.register("file", lambda: order.append("file"))
    cleanup.register("redis", refuse)

    report = await cleanup.run("the end")

    assert order == ["file"]
    assert outcomes(report) == {"redis": Outcome.FAILED, "file": Outcome.OK}
    assert report.problems[0].error == "ConnectionError: the server has gone"


async def test_one_that_hangs_is_cancelled_at_its_timeout_and_named(cleanup: CleanupCoordinator) -> None:
    seen: list[str] = []

    async def hang_and_tell() -> None:
        try:
            await hang()
        finally:
            seen.append("cancelled")

    cleanup.register("after", lambda: seen.append("after"))
    cleanup.register("stuck", hang_and_tell, timeout=0.02)

    report = await cleanup.run("the end")

    assert seen == ["cancelled", "after"]
    assert outcomes(report) == {"stuck": Outcome.TIMED_OUT, "after": Outcome.OK}
    assert report.problems[0].error == "did not finish within 0.02 s"
    assert report.problems[0].seconds >= 0.02


async def test_one_that_ignores_its_cancellation_is_abandoned(cleanup: CleanupCoordinator) -> None:
    released, ended = asyncio.Event(), asyncio.Event()

    async def ignore() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    cleanup.register("deaf", ignore, timeout=0.01)

    report = await cleanup.run("the end")

    assert outcomes(report) == {"deaf": Outcome.TIMED_OUT}
    assert "abandoned" in report.problems[0].error
    assert not ended.is_set()
    released.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_one_that_raises_when_it_is_cancelled_has_still_timed_out(cleanup: CleanupCoordinator) -> None:
    async def fall_over() -> None:
        try:
            await hang()
        finally:
            raise ValueError("and now this")

    cleanup.register("clumsy", fall_over, timeout=0.01)

    report = await cleanup.run("the end")

    assert outcomes(report) == {"clumsy": Outcome.TIMED_OUT}


async def test_a_timeout_of_its_own_making_is_a_failure(cleanup: CleanupCoordinator) -> None:
    async def give_up() -> None:
        raise TimeoutError("the server did not answer")

    cleanup.register("redis", give_up)

    report = await cleanup.run("the end")

    assert outcomes(report) == {"redis": Outcome.FAILED}


async def test_one_that_cancels_itself_is_a_failure(cleanup: CleanupCoordinator) -> None:
    async def cancel_itself() -> None:
        raise asyncio.CancelledError

    cleanup.register("odd", cancel_itself)

    report = await cleanup.run("the end")

    assert report.problems[0].error == "RuntimeError: it was cancelled from inside"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_sys_exit_in_a_handler_ends_neither_the_loop_nor_the_rest(cleanup: CleanupCoordinator, kind: str) -> None:
    async def leave() -> None:
        sys.exit(7)

    order: list[str] = []
    cleanup.register("after", lambda: order.append("after"))
    cleanup.register("leaver", leave if kind == "async" else lambda: sys.exit(7))

    report = await cleanup.run("the end")

    assert order == ["after"]
    assert outcomes(report)["leaver"] is Outcome.FAILED
    assert "sys.exit(7)" in report.problems[0].error


async def test_a_sync_handler_runs_in_a_daemon_thread(cleanup: CleanupCoordinator) -> None:
    threads: list[threading.Thread] = []
    cleanup.register("file", lambda: threads.append(threading.current_thread()))

    await cleanup.run("the end")

    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


async def test_a_sync_handler_that_hangs_is_abandoned(cleanup: CleanupCoordinator, released: threading.Event) -> None:
    order: list[str] = []
    cleanup.register("after", lambda: order.append("after"))
    cleanup.register("stuck", released.wait, timeout=0.02)

    report = await cleanup.run("the end")

    assert order == ["after"]
    assert outcomes(report) == {"stuck": Outcome.TIMED_OUT, "after": Outcome.OK}


def test_a_sync_handler_that_hangs_does_not_keep_the_process() -> None:
    done = run_python("""
        import asyncio, logging, sys, threading
        from commitstream.lifecycle import CleanupCoordinator

        logging.disable()
        cleanup = CleanupCoordinator()
        cleanup.register("stuck", threading.Event().wait, timeout=0.01, critical=True)
        sys.exit(asyncio.run(cleanup.run("the end")).exit_code)
    """)

    assert (done.returncode, done.stderr) == (1, "")


async def test_a_lambda_around_an_async_function_is_awaited(cleanup: CleanupCoordinator) -> None:
    closed: list[str] = []

    async def close(name: str) -> None:
        await asyncio.sleep(0)
        closed.append(name)

    cleanup.register("pool", lambda: close("pool"))

    report = await cleanup.run("the end")

    assert closed == ["pool"]
    assert report.problems == ()


async def test_an_object_with_an_async_call_runs_in_the_loop(cleanup: CleanupCoordinator) -> None:
    threads: list[threading.Thread] = []

    class Closer:
        async def __call__(self) -> None:
            threads.append(threading.current_thread())

    cleanup.register("closer", Closer())

    await cleanup.run("the end")

    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(("critical", "exit_code"), [(True, 1), (False, 0)])
async def test_only_a_critical_failure_shows_in_the_exit_code(
    cleanup: CleanupCoordinator, critical: bool, exit_code: int
) -> None:
    cleanup.register("hang", hang, timeout=0.01, critical=critical)
    cleanup.register("fine", lambda: None, critical=True)

    report = await cleanup.run("the end")

    assert report.exit_code == exit_code


async def test_a_second_run_waits_for_the_first_and_gets_its_report(cleanup: CleanupCoordinator) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def close() -> None:
        calls.append("close")
        began.set()
        await go_on.wait()

    cleanup.register("pool", close)

    first = asyncio.create_task(cleanup.run("SIGTERM"))
    await began.wait()
    second = asyncio.create_task(cleanup.run("and again"))
    go_on.set()
    reports = [await first, await second, await cleanup.run("and once more")]

    assert calls == ["close"]
    assert reports[0].reason == "SIGTERM"
    assert all(report is reports[0] for report in reports)


async def test_the_cleanup_goes_on_when_its_caller_is_cancelled(cleanup: CleanupCoordinator) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def close() -> None:
        began.set()
        await go_on.wait()

    cleanup.register("pool", close)
    caller = asyncio.create_task(cleanup.run("the end"))
    await began.wait()

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    report = await cleanup.run("again")

    assert outcomes(report) == {"pool": Outcome.OK}


async def test_after_the_deadline_the_rest_is_skipped_and_named(cleanup: CleanupCoordinator) -> None:
    cleanup.register("database", lambda: None, critical=True)
    cleanup.register("stuck", hang, timeout=60)

    report = await cleanup.run("the end", timeout=0.02)

    assert outcomes(report) == {"stuck": Outcome.TIMED_OUT, "database": Outcome.SKIPPED}
    assert report.handlers[1].error == "the timeout of 0.02 s was over"
    assert report.exit_code == 1
    assert report.seconds < 5


async def test_force_abandons_the_one_that_runs_and_skips_the_rest(cleanup: CleanupCoordinator) -> None:
    began = asyncio.Event()

    async def hang_and_tell() -> None:
        began.set()
        await hang()

    cleanup.register("database", lambda: None)
    cleanup.register("stuck", hang_and_tell, timeout=60)
    running = asyncio.create_task(cleanup.run("the end"))
    await began.wait()

    cleanup.force()
    report = await asyncio.wait_for(running, 5)

    assert outcomes(report) == {"stuck": Outcome.ABANDONED, "database": Outcome.SKIPPED}


async def test_force_before_the_run_skips_everything(cleanup: CleanupCoordinator) -> None:
    cleanup.register("database", lambda: pytest.fail("it ran"))

    cleanup.force()
    report = await cleanup.run("the end")

    assert outcomes(report) == {"database": Outcome.SKIPPED}


async def test_what_is_registered_during_the_run_is_cleaned_up_too(cleanup: CleanupCoordinator) -> None:
    order: list[str] = []

    async def open_something_more() -> None:
        cleanup.register("more", lambda: order.append("more"))

    cleanup.register("database", lambda: order.append("database"))
    cleanup.register("agents", open_something_more)

    await cleanup.run("the end")

    assert order == ["more", "database"]


async def test_what_is_registered_after_the_run_is_refused(cleanup: CleanupCoordinator) -> None:
    await cleanup.run("SIGTERM")

    with pytest.raises(TooLateError, match=r"'late' comes too late.*SIGTERM.*reset\(\)"):
        cleanup.register("late", lambda: None)


def test_a_name_is_given_only_once(cleanup: CleanupCoordinator) -> None:
    cleanup.register("pool", lambda: None)

    with pytest.raises(ValueError, match="'pool' exists already"):
        cleanup.register("pool", lambda: None)


async def test_an_unregistered_handler_does_not_run(cleanup: CleanupCoordinator) -> None:
    cleanup.register("pool", lambda: pytest.fail("it ran"))

    assert cleanup.unregister("pool") is True
    assert cleanup.unregister("pool") is False
    assert (await cleanup.run("the end")).handlers == ()


async def test_a_handler_can_be_registered_by_a_decorator(cleanup: CleanupCoordinator) -> None:
    closed: list[str] = []

    @cleanup.handler("pool", critical=True)
    async def close_pool() -> None:
        closed.append("pool")

    report = await cleanup.run("the end")
    await close_pool()

    assert closed == ["pool", "pool"]
    assert report.handlers[0].critical


async def test_a_handler_can_be_registered_for_a_block_only(cleanup: CleanupCoordinator) -> None:
    with cleanup.registered("upload", lambda: pytest.fail("it ran")):
        pass

    assert (await cleanup.run("the end")).handlers == ()


async def test_a_run_inside_the_block_finds_its_handler(cleanup: CleanupCoordinator) -> None:
    with cleanup.registered("upload", lambda: None):
        report = await cleanup.run("SIGTERM")

    assert outcomes(report) == {"upload": Outcome.OK}


async def test_leaving_the_coordinators_block_cleans_up(cleanup: CleanupCoordinator) -> None:
    closed: list[str] = []

    async def serve() -> None:
        async with cleanup:
            cleanup.register("pool", lambda: closed.append("pool"))
            raise KeyError("lost")

    with pytest.raises(KeyError):
        await serve()

    assert closed == ["pool"]
    assert (await cleanup.run("again")).reason == "the block raised KeyError: 'lost'"


async def test_after_a_reset_it_begins_anew(cleanup: CleanupCoordinator) -> None:
    cleanup.register("first", lambda: None)
    cleanup.force()
    await cleanup.run("the end")

    cleanup.reset()
    cleanup.register("second", lambda: None)
    report = await cleanup.run("the second end")

    assert outcomes(report) == {"second": Outcome.OK}


async def test_a_reset_during_the_run_is_refused(cleanup: CleanupCoordinator) -> None:
    async def reset() -> None:
        cleanup.reset()

    cleanup.register("impatient", reset)

    report = await cleanup.run("the end")

    assert "await run() before reset()" in report.problems[0].error


async def test_a_report_can_not_be_changed(cleanup: CleanupCoordinator) -> None:
    report = await cleanup.run("the end")

    with pytest.raises(FrozenInstanceError):
        report.reason = "another"  # type: ignore[misc]


@pytest.mark.needs("posix")
def test_a_forked_child_leaves_its_parents_handlers_alone() -> None:
    done = run_python("""
        import asyncio, os
        from commitstream.lifecycle import CleanupCoordinator

        cleanup = CleanupCoordinator()
        cleanup.register("database", lambda: print("database closed by", who, flush=True))
        child = os.fork()
        who = "parent" if child else "child"
        if child:
            os.waitpid(child, 0)
        else:
            cleanup.register("pipe", lambda: print("pipe closed by", who, flush=True))
        print(who, [handler.name for handler in asyncio.run(cleanup.run("the end")).handlers], flush=True)
    """)

    assert done.stdout.splitlines() == [
        "pipe closed by child",
        "child ['pipe']",
        "database closed by parent",
        "parent ['database']",
    ]
    assert done.stderr == ""


def test_there_is_one_for_the_process() -> None:
    assert CleanupCoordinator.of_this_process() is CleanupCoordinator.of_this_process()


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
WILLING = "import signal; print('up', flush=True); signal.pause()"


@contextmanager
def child_process(program: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.needs("posix")
async def test_a_child_is_ended(cleanup: CleanupCoordinator) -> None:
    with child_process(WILLING) as process:
        cleanup.register_child("worker", process)

        report = await cleanup.run("the end")

        assert outcomes(report) == {"worker": Outcome.OK}
        assert process.returncode == -signal.SIGTERM


@pytest.mark.needs("posix")
async def test_a_child_that_does_not_heed_is_killed_and_named(cleanup: CleanupCoordinator) -> None:
    with child_process(STUBBORN) as process:
        cleanup.register_child("worker", process, grace=0.05, critical=True)

        report = await cleanup.run("the end")

        assert process.returncode == -signal.SIGKILL
        assert f"process {process.pid} did not end within 0.05 s" in report.problems[0].error
        assert report.exit_code == 1


@pytest.mark.needs("posix")
async def test_a_forced_end_kills_children_that_there_is_no_time_for(cleanup: CleanupCoordinator) -> None:
    with child_process(STUBBORN) as process:
        cleanup.register_child("worker", process)
        cleanup.force()

        report = await cleanup.run("the end")

        assert outcomes(report) == {"worker": Outcome.SKIPPED}
        assert await asyncio.to_thread(process.wait, 5) == -signal.SIGKILL


@pytest.mark.needs("posix")
async def test_a_child_of_asyncio_is_ended_too(cleanup: CleanupCoordinator) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WILLING, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    cleanup.register_child("worker", process)

    await cleanup.run("the end")

    assert process.returncode == -signal.SIGTERM
