"""`--async-debug` tells what held up the loop, and a time-out tells who waited for what."""

from __future__ import annotations

import pytest

from test_framework.running.planted import Ended
from test_framework.tests.kit.guards.planted import run_planted

TESTS = """
import asyncio, threading, time
import pytest

async def innermost():
    await asyncio.Event().wait()

async def outer():
    await innermost()

@pytest.mark.timeout(1)
async def test_hangs():
    helper = asyncio.create_task(outer(), name="the one that hangs")
    thread = threading.Thread(target=time.sleep, args=[1.2], name="the sleeper")
    thread.start()
    await helper

async def test_after():
    await asyncio.sleep(0)

async def test_is_slow():
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        pass

async def test_is_quick():
    await asyncio.sleep(0.001)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return run_planted(tmp_path_factory.mktemp("debug"), {"tests/unit/test_planted.py": TESTS}, "--async-debug")


def test_a_time_out_tells_which_task_waits_where_down_to_the_last_line(run: Ended) -> None:
    dump = run.output[run.output.index("who waited for what") :]

    assert "task 'the one that hangs', begun at tests/unit/test_planted.py:13 in test_hangs" in dump
    chain = [
        dump.index(f"tests/unit/test_planted.py:{line} in {name}") for line, name in ((9, "outer"), (6, "innermost"))
    ]
    assert chain == sorted(chain)
    assert "thread 'the sleeper'" in dump


def test_the_next_test_meets_nothing_of_it(run: Ended) -> None:
    assert run.of("test_after").failed == {}, run.output


def test_what_holds_up_the_loop_is_told_with_where_and_how_long(run: Ended) -> None:
    (line,) = run.of("test_is_slow").properties["guards.slow_callbacks"]

    assert "test_is_slow" in line
    assert "took 0." in line
    assert "test_planted.py::test_is_slow held up the loop: Executing" in run.output


def test_what_does_not_hold_it_up_is_not_told(run: Ended) -> None:
    assert run.of("test_is_quick").properties == {}


def test_without_it_nothing_is_slow_and_a_time_out_speaks_all_the_same(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = run_planted(tmp_path_factory.mktemp("plain"), {"tests/unit/test_planted.py": TESTS})

    assert run.of("test_is_slow").properties == {}
    assert "task 'the one that hangs'" in run.output
