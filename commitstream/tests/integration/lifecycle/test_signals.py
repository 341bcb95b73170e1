"""What happens when a process is told to end: real signals, and where they would end it, real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import psutil
import pytest

from commitstream.lifecycle import NotTheMainThreadError, signals_routed
from commitstream.lifecycle.signals import STOP_SIGNALS
from test_framework.running.hearing import hearing, rest_of
from test_framework.waiting import becomes

pytestmark = pytest.mark.needs("posix")

LOOPS = ["asyncio", "uvloop"]


def nobody(number: int) -> None:
    raise AssertionError(f"{signal.Signals(number).name} came here")


def open_files() -> int:
    return psutil.Process().num_fds()


@pytest.fixture
def before() -> Iterator[list[int]]:
    """Hears every stop signal that nobody else does, so that none of them ends the test run."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    previous = {number: signal.signal(number, hear) for number in STOP_SIGNALS}
    yield heard
    for number, handler in previous.items():
        signal.signal(number, handler)


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says `ready` when signals may come."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hearing(),  # noqa: PLW1509 (all it does is set signals)
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    output, errors = rest_of(process, 10)
    assert errors == ""
    return output, process.returncode


SERVICE = """
    import asyncio, sys
    from commitstream.lifecycle import signals_routed

    async def serve():
        stopping, forced = asyncio.Event(), asyncio.Event()

        def stop(number):
            print("stop", number.name, flush=True)
            stopping.set()

        def force(number):
            print("force", number.name, flush=True)
            forced.set()

        with signals_routed(stop, force):
            print("ready", flush=True)
            await stopping.wait()
            if "--stubborn" in sys.argv:
                await forced.wait()
                sys.exit(3)

    sys.argv += {arguments}
    {loop}.run(serve())
"""


def service(loop: str, *arguments: str) -> str:
    program = SERVICE.replace("{arguments}", repr(list(arguments))).replace("{loop}", loop)
    return program.replace("import asyncio, sys", f"import asyncio, sys, {loop}")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_wakes_an_idle_service_which_ends_in_good_order(loop: str, number: signal.Signals) -> None:
    with child(service(loop)) as process:
        process.send_signal(number)

        assert end_of(process) == (f"stop {number.name}\n", 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_forces_the_end(loop: str) -> None:
    with child(service(loop, "--stubborn")) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stop SIGINT\n"
        process.send_signal(signal.SIGTERM)

        assert end_of(process) == ("force SIGTERM\n", 3)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_that_hits_another_thread_wakes_the_loop_all_the_same(loop: str) -> None:
    program = f"""
        import asyncio, signal, threading, {loop}
        from commitstream.lifecycle import signals_routed

        async def serve():
            stopping, idle = asyncio.Event(), threading.Event()

            def hit_this_thread():
                idle.wait()
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

            with signals_routed(lambda number: stopping.set(), print):
                print("ready", flush=True)
                threading.Thread(target=hit_this_thread).start()
                asyncio.get_running_loop().call_soon(idle.set)
                await stopping.wait()

        {loop}.run(serve())
    """
    with child(program) as process:
        assert end_of(process) == ("", 0)


def test_without_an_event_loop_the_listener_is_called_at_once() -> None:
    program = """
        import signal
        from commitstream.lifecycle import signals_routed

        heard = []
        with signals_routed(heard.append, heard.append):
            print("ready", flush=True)
            while not heard:
                signal.sigtimedwait([], 0.05)
        print(heard[0].name)
    """
    with child(program) as process:
        process.send_signal(signal.SIGTERM)

        assert end_of(process) == ("SIGTERM\n", 0)


def test_after_the_block_a_signal_ends_the_process_as_before() -> None:
    program = """
        import asyncio, signal
        from commitstream.lifecycle import signals_routed

        async def serve():
            with signals_routed(print, print):
                pass
            print("ready", flush=True)
            await asyncio.Event().wait()

        asyncio.run(serve())
    """
    with child(program) as process:
        process.send_signal(signal.SIGTERM)

        assert end_of(process) == ("", -signal.SIGTERM)


def test_a_signal_that_nobody_else_hears_ends_the_process_when_it_is_passed_on() -> None:
    program = """
        import asyncio
        from commitstream.lifecycle import signals_routed

        async def serve():
            told = asyncio.get_running_loop().create_future()
            with signals_routed(told.set_result, print) as route:
                print("ready", flush=True)
                number = await told
                print("drained", flush=True)
                route.pass_on(number)
            print("still here")

        asyncio.run(serve())
    """
    with child(program) as process:
        process.send_signal(signal.SIGTERM)

        assert end_of(process) == ("drained\n", -signal.SIGTERM)


def test_what_nohup_ignores_stays_ignored() -> None:
    program = """
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    """
    with child(textwrap.dedent(program) + textwrap.dedent(service("asyncio"))) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert end_of(process) == ("stop SIGTERM\n", 0)


def test_a_forked_child_dies_of_the_signal_and_its_parent_does_not_hear_it() -> None:
    program = """
        import asyncio, os, signal, time
        from commitstream.lifecycle import signals_routed

        async def serve():
            with signals_routed(lambda number: print("parent heard", number), print):
                print("ready", flush=True)
                parents_end, childs_end = os.pipe()
                forked = os.fork()
                if not forked:
                    os.write(childs_end, b"!")
                    for _ in range(1000):
                        time.sleep(0.01)
                    os._exit(9)
                os.read(parents_end, 1)
                os.kill(forked, signal.SIGTERM)
                print(os.WTERMSIG(os.waitpid(forked, 0)[1]) == signal.SIGTERM)
                await asyncio.sleep(0)

        asyncio.run(serve())
    """
    with child(program) as process:
        assert end_of(process) == ("True\n", 0)


async def test_the_listener_is_called_in_the_loop(before: list[int]) -> None:
    loops: asyncio.Queue[asyncio.AbstractEventLoop] = asyncio.Queue()

    with signals_routed(lambda _: loops.put_nowait(asyncio.get_running_loop()), nobody):
        signal.raise_signal(signal.SIGTERM)
        assert loops.empty()
        heard_in = await asyncio.wait_for(loops.get(), 5)

    assert heard_in is asyncio.get_running_loop()
    assert before == []


async def test_afterwards_everything_is_as_it_was(before: list[int]) -> None:
    handlers = [signal.getsignal(number) for number in STOP_SIGNALS]
    files = open_files()

    for _ in range(3):
        with signals_routed(nobody, nobody):
            assert [signal.getsignal(number) for number in STOP_SIGNALS] != handlers

    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers
    # somebody else in this process, who looks after the services of the run, may hold one for a moment
    await becomes(lambda: open_files() <= files, "as few open files as before")
    signal.raise_signal(signal.SIGTERM)
    assert before == [signal.SIGTERM]


async def test_a_block_that_raises_gives_the_signals_back(before: list[int]) -> None:
    def fail() -> None:
        with signals_routed(nobody, nobody):
            raise KeyError("lost")

    with pytest.raises(KeyError):
        fail()

    signal.raise_signal(signal.SIGINT)
    assert before == [signal.SIGINT]


async def test_of_nested_blocks_the_inner_one_hears_and_then_the_outer_one(before: list[int]) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    with signals_routed(lambda _: heard.put_nowait("outer"), nobody):
        with signals_routed(lambda _: heard.put_nowait("inner"), nobody):
            os.kill(os.getpid(), signal.SIGTERM)
            first = await asyncio.wait_for(heard.get(), 5)
        os.kill(os.getpid(), signal.SIGTERM)
        second = await asyncio.wait_for(heard.get(), 5)

    assert (first, second) == ("inner", "outer")
    assert heard.empty()


async def test_a_signal_can_be_passed_on_to_whoever_listened_before(before: list[int]) -> None:
    told: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    with signals_routed(told.set_result, nobody) as route:
        assert route is not None
        signal.raise_signal(signal.SIGTERM)
        route.pass_on(await asyncio.wait_for(told, 5))

    assert before == [signal.SIGTERM]


async def test_handlers_that_others_gave_the_loop_work_during_and_after_the_block(before: list[int]) -> None:
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[str] = asyncio.Queue()
    loop.add_signal_handler(signal.SIGTERM, heard.put_nowait, "theirs")
    loop.add_signal_handler(signal.SIGUSR1, heard.put_nowait, "their other one")

    try:
        with signals_routed(lambda _: heard.put_nowait("ours"), nobody) as route:
            assert route is not None
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR1)
            during = {await asyncio.wait_for(heard.get(), 5) for _ in range(2)}
            assert heard.empty()
            route.pass_on(signal.SIGTERM)
            passed_on = await asyncio.wait_for(heard.get(), 5)
        os.kill(os.getpid(), signal.SIGTERM)
        after = await asyncio.wait_for(heard.get(), 5)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGUSR1)

    assert during == {"ours", "their other one"}
    assert (passed_on, after) == ("theirs", "theirs")


async def test_a_handler_that_somebody_gives_the_loop_within_the_block_outlives_it(before: list[int]) -> None:
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[str] = asyncio.Queue()

    try:
        with signals_routed(nobody, nobody):
            loop.add_signal_handler(signal.SIGUSR1, heard.put_nowait, "theirs")
        os.kill(os.getpid(), signal.SIGUSR1)
        after = await asyncio.wait_for(heard.get(), 5)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)

    assert after == "theirs"


def test_in_another_thread_it_is_refused_with_a_way_out() -> None:
    def enter() -> None:
        with pytest.raises(NotTheMainThreadError, match=r"'worker-1'.*main thread.*required=False"):
            signals_routed(nobody, nobody).__enter__()
        told.append("refused")

    told: list[str] = []
    thread = threading.Thread(target=enter, name="worker-1")
    thread.start()
    thread.join(5)

    assert told == ["refused"]


def test_in_another_thread_it_does_nothing_when_it_is_not_required() -> None:
    handlers = [signal.getsignal(number) for number in STOP_SIGNALS]

    def enter() -> None:
        with signals_routed(nobody, nobody, required=False) as route:
            seen.append(route)
            seen.append([signal.getsignal(number) for number in STOP_SIGNALS] == handlers)

    seen: list[object] = []
    thread = threading.Thread(target=partial(enter))
    thread.start()
    thread.join(5)

    assert seen == [None, True]
